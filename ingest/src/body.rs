//! The body of a request: read within a limit and a time, then decompressed within the same limit.

mod decode;
mod memory;

pub(crate) use memory::{Hold, Memory};

use crate::answer::Fault;
use crate::config::Config;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web;
use bytes::{Bytes, BytesMut};
use decode::Encoding;
use futures::StreamExt;
use std::time::Duration;

/// An answer that comes early first reads this much of the rest, so that the connection can go on.
const DRAIN_BYTES_MAX: usize = 256 << 10;

/// How long an early answer may wait for the rest of the body.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// A whole body, and the memory it holds.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// Bytes as they came, before decompression.
    pub(crate) received: usize,
    _hold: Hold,
}

/// Reads and decompresses the body. What is left of it after a fault is for [`drain`].
pub(crate) async fn read(
    headers: &HeaderMap,
    payload: &mut web::Payload,
    config: &Config,
    memory: &Memory,
) -> Result<Body, Fault> {
    check_media_type(headers)?;
    let encoding = Encoding::of(headers)?;
    let announced = content_length(headers).unwrap_or(0);
    if announced > config.request_bytes_max as u64 {
        return Err(over(config.request_bytes_max, "the body"));
    }
    let mut hold = memory.hold();
    let receiving = receive(payload, announced as usize, config.request_bytes_max, &mut hold);
    let bytes = tokio::time::timeout(config.body_timeout, receiving).await.map_err(|_| {
        let message = format!("the body did not arrive within {:?}", config.body_timeout);
        Fault::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    })??;
    let received = bytes.len();
    let encoding = encoding.or_by_magic(&bytes);
    let bytes = decode::decode(encoding, bytes, config.request_bytes_max, &mut hold).await?;
    Ok(Body { bytes, received, _hold: hold })
}

async fn receive(
    payload: &mut web::Payload,
    announced: usize,
    max: usize,
    hold: &mut Hold,
) -> Result<Bytes, Fault> {
    let broken = |error| Fault::bad("bad_request", format!("the body broke off: {error}"));
    // The usual body is one chunk, which then needs no copy.
    let Some(first) = payload.next().await.transpose().map_err(broken)? else { return Ok(Bytes::new()) };
    check_size(0, first.len(), max)?;
    hold.grow(first.len())?;
    let Some(second) = payload.next().await.transpose().map_err(broken)? else { return Ok(first) };
    let mut body = BytesMut::with_capacity(announced.clamp(first.len() + second.len(), max.max(first.len())));
    body.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        check_size(body.len(), chunk.len(), max)?;
        hold.grow(chunk.len())?;
        body.extend_from_slice(&chunk);
        next = payload.next().await.transpose().map_err(broken)?;
    }
    Ok(body.freeze())
}

fn check_size(so_far: usize, more: usize, max: usize) -> Result<(), Fault> {
    if so_far + more > max { Err(over(max, "the body")) } else { Ok(()) }
}

fn over(max: usize, what: &str) -> Fault {
    Fault::too_large(format!("{what} is larger than the {max} bytes that are allowed; send smaller batches"))
}

/// Reads on to the end of the body, but not far and not for long; `false` when the end was not
/// reached and the connection has to be closed.
pub(crate) async fn drain(headers: &HeaderMap, payload: &mut web::Payload) -> bool {
    if content_length(headers).is_some_and(|bytes| bytes > DRAIN_BYTES_MAX as u64) {
        return false;
    }
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(chunk) = payload.next().await {
            match chunk {
                Ok(chunk) if chunk.len() <= left => left -= chunk.len(),
                Ok(_) | Err(_) => return false,
            }
        }
        true
    };
    tokio::time::timeout(DRAIN_TIMEOUT, reading).await.unwrap_or(false)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Browsers send `text/plain`, because that needs no preflight; old libraries send forms' type.
fn check_media_type(headers: &HeaderMap) -> Result<(), Fault> {
    const ALLOWED: [&str; 3] = ["application/json", "text/plain", "application/x-www-form-urlencoded"];
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let value = String::from_utf8_lossy(value.as_bytes());
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.is_empty() || ALLOWED.iter().any(|allowed| allowed.eq_ignore_ascii_case(media_type)) {
        return Ok(());
    }
    let media_type = crate::rules::shown(media_type);
    let message = format!("the content type is `{media_type}`; allowed are {}", ALLOWED.join(", "));
    Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
}
