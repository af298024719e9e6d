//! Decompression: cut off at the limit, and off the async threads as soon as it is more than a
//! little work.

use super::{Hold, over};
use crate::answer::Fault;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web;
use bytes::{Buf, Bytes};
use std::io::{self, Read};

/// An async thread decompresses no more than this much output, from no more than half of it as
/// input; about a fifth of a millisecond of work.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// The largest window a zstd stream may ask for, as a power of two: 8 MiB, as RFC 9659 demands.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
    Brotli,
}

impl Encoding {
    /// What the headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        Ok(match value.trim() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "zstd" => Self::Zstd,
            "br" => Self::Brotli,
            other => {
                let other = crate::rules::shown(other);
                let message = format!(
                    "the content encoding is `{other}`; allowed is one of gzip, deflate, zstd, br, identity"
                );
                return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message));
            }
        })
    }

    /// Recognises gzip that was not labelled; no JSON begins like it.
    pub(crate) fn or_by_magic(self, body: &[u8]) -> Self {
        if self == Self::Identity && body.starts_with(&[0x1f, 0x8b]) { Self::Gzip } else { self }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }
}

type Reader = Box<dyn Read + Send>;

fn reader(encoding: Encoding, body: Bytes) -> io::Result<Reader> {
    Ok(match encoding {
        Encoding::Identity => Box::new(body.reader()),
        Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(body.reader())),
        // By RFC 9110 it is zlib's format; some clients leave its header out.
        Encoding::Deflate if is_zlib(&body) => Box::new(flate2::bufread::ZlibDecoder::new(body.reader())),
        Encoding::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(body.reader())),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body.reader())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Encoding::Brotli => Box::new(brotli_decompressor::Decompressor::new(body.reader(), 16 << 10)),
    })
}

/// RFC 1950, section 2.2: the method is 8 and the first two bytes are a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0)
}

/// The decompressed body; at most `max` bytes of it are ever in memory.
pub(crate) async fn decode(
    encoding: Encoding,
    body: Bytes,
    max: usize,
    hold: &mut Hold,
) -> Result<Bytes, Fault> {
    if encoding == Encoding::Identity {
        return Ok(body);
    }
    let fault = |error: io::Error| {
        Fault::bad("bad_request", format!("the body is not valid {}: {error}", encoding.name()))
    };
    let is_small = body.len() <= INLINE_BYTES_MAX / 2;
    let mut reader = reader(encoding, body).map_err(fault)?;
    let mut out = Vec::new();
    if is_small {
        fill(&mut reader, &mut out, INLINE_BYTES_MAX.min(max + 1)).map_err(fault)?;
    }
    if !is_small || out.len() == INLINE_BYTES_MAX {
        hold.grow(max)?;
        let rest = web::block(move || fill(&mut reader, &mut out, max + 1).map(|()| out)).await;
        out = rest.map_err(|_| Fault::overloaded("the server is shutting down"))?.map_err(fault)?;
    } else {
        hold.grow(out.len())?;
    }
    if out.len() > max {
        return Err(over(max, "the decompressed body"));
    }
    Ok(out.into())
}

/// Reads until the end, or until `out` has `len` bytes.
fn fill(reader: &mut Reader, out: &mut Vec<u8>, len: usize) -> io::Result<()> {
    reader.take((len.saturating_sub(out.len())) as u64).read_to_end(out).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;
    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};

    /// Brotli without any compression (RFC 7932, section 9.2), for there is no encoder among our
    /// dependencies: a window of 16 bits, meta-blocks that are stored, and an empty last one.
    fn brotli(plain: &[u8]) -> Bytes {
        let mut out = Vec::new();
        let mut window_bits = 1;
        for block in plain.chunks(1 << 16) {
            // From the lowest bit: not the last, four nibbles of length less one, stored.
            let header = (block.len() as u32 - 1) << 3 | 1 << 19;
            out.extend_from_slice(&(header << window_bits).to_le_bytes()[..3]);
            out.extend_from_slice(block);
            window_bits = 0;
        }
        out.push(0b11);
        out.into()
    }

    fn packed(mut encoder: impl Read) -> Bytes {
        let mut out = Vec::new();
        encoder.read_to_end(&mut out).unwrap();
        out.into()
    }

    async fn decoded(encoding: Encoding, body: Bytes, max: usize) -> Result<Bytes, Fault> {
        decode(encoding.or_by_magic(&body), body, max, &mut Memory::new(1 << 30).hold()).await
    }

    fn all(plain: &[u8]) -> Vec<(Encoding, Bytes)> {
        vec![
            (Encoding::Identity, Bytes::copy_from_slice(plain)),
            (Encoding::Gzip, packed(GzEncoder::new(plain, Compression::fast()))),
            (Encoding::Identity, packed(GzEncoder::new(plain, Compression::fast()))),
            (Encoding::Deflate, packed(ZlibEncoder::new(plain, Compression::fast()))),
            (Encoding::Deflate, packed(DeflateEncoder::new(plain, Compression::fast()))),
            (Encoding::Zstd, zstd::encode_all(plain, 1).unwrap().into()),
            (Encoding::Brotli, brotli(plain)),
        ]
    }

    #[actix_web::test]
    async fn every_encoding_is_undone() {
        for plain in [&b"{\"a\":1}"[..], &vec![b'x'; INLINE_BYTES_MAX], &vec![b'x'; 1 << 20]] {
            for (encoding, body) in all(plain) {
                let out = decoded(encoding, body, 1 << 20).await;
                assert!(out.as_deref() == Ok(plain), "{encoding:?} of {} bytes", plain.len());
            }
        }
    }

    #[actix_web::test]
    async fn a_bomb_is_cut_off_at_the_limit() {
        let bomb = vec![0; 4 << 20];
        for max in [1_000, 1 << 20] {
            for (encoding, body) in all(&bomb).into_iter().skip(1) {
                let fault = decoded(encoding, body, max).await.unwrap_err();
                assert_eq!(fault.code, "request_too_large", "{encoding:?}");
            }
        }
    }

    #[actix_web::test]
    async fn a_damaged_body_is_refused() {
        let plain: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
        for (encoding, body) in all(&plain).into_iter().skip(1) {
            for damaged in [body.slice(..body.len() / 2), body.slice(..body.len() - 1), body.slice(..2)] {
                let out = decoded(encoding, damaged, 4 << 20).await;
                assert_eq!(out.unwrap_err().code, "bad_request", "{encoding:?}");
            }
        }
        let garbage = Bytes::from_static(b"{\"not\":\"compressed\"}");
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Brotli] {
            assert_eq!(decoded(encoding, garbage.clone(), 100).await.unwrap_err().code, "bad_request");
        }
    }
}
