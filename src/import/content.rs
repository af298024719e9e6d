//! What stands in a file: decompressed, known by its beginning, and cut into pieces of whole lines.

use anyhow::{Context, anyhow};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// A file is known by this much of its content, in bytes; a longer one may grow and stays the same.
const KEY_BYTES: u64 = 1 << 20;
/// A piece has no more lines.
const PIECE_LINES_MAX: u64 = 2_000;
/// A piece is cut when it has this many bytes; with the longest line behind, it is below 4 MiB.
const PIECE_BYTES: usize = 1 << 20;
/// Of a longer line only the beginning is sent, to be rejected: an event may have far fewer bytes.
const LINE_BYTES_MAX: usize = (1 << 20) + 1;
/// Pieces that are read ahead.
const PIECES_AHEAD: usize = 2;
/// The largest window a zstd stream may ask for, as a power of two: what `zstd --long` makes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const BUFFER_BYTES: usize = 256 << 10;

/// Whether this names standard input.
pub(super) fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// The name of a file for people.
pub(super) fn shown(file: &Path) -> String {
    if is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

/// An opened file whose beginning was read.
pub(super) struct Content {
    key: String,
    reader: Box<dyn BufRead + Send>,
    shown: String,
}

/// Whole lines of a file.
pub(super) struct Piece {
    /// The number of the first line, counted from 1.
    pub(super) first_line: u64,
    /// The lines, blank ones included.
    pub(super) text: Bytes,
    /// What of the content ends with this piece.
    pub(super) end: Skip,
}

/// A beginning of a content.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(super) struct Skip {
    /// Its lines.
    pub(super) lines: u64,
    /// Its bytes, decompressed.
    pub(super) bytes: u64,
    /// The SHA-256 of them.
    pub(super) sha256: String,
}

/// Why the lines cannot be read.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The content does not begin with what was to be passed over.
    Differs,
    /// It cannot be read.
    Unreadable(anyhow::Error),
}

impl OpenError {
    /// The error for a person.
    pub(super) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Differs => anyhow!("the file changed while it was read"),
            Self::Unreadable(error) => error,
        }
    }
}

impl Content {
    /// Opens a file and finds out how it is compressed and what it is known by. `read` counts the bytes
    /// that were read, as they lie on disk.
    pub(super) fn open(file: &Path, read: Arc<AtomicU64>) -> anyhow::Result<Self> {
        let shown = shown(file);
        let cannot = || format!("`{shown}` cannot be read");
        let raw: Box<dyn Read + Send> = if is_standard_input(file) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(PathBuf::from(file)).with_context(cannot)?)
        };
        let mut reader = decompressed(Counted { reader: raw, read }).with_context(cannot)?;
        let mut start = Vec::new();
        (&mut reader).take(KEY_BYTES).read_to_end(&mut start).with_context(cannot)?;
        let key = hexadecimal(&Sha256::digest(&start));
        let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(reader)));
        Ok(Self { key, reader, shown })
    }

    /// What the file is known by.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The lines behind `skip`.
    pub(super) fn lines(self, skip: Skip) -> Result<Lines, OpenError> {
        let Self { mut reader, shown, .. } = self;
        let mut hash = Sha256::new();
        let mut left = skip.bytes;
        while left > 0 {
            let buffer = reader.fill_buf().with_context(|| format!("`{shown}` cannot be read"));
            let buffer = buffer.map_err(OpenError::Unreadable)?;
            let taken = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if taken == 0 {
                return Err(OpenError::Differs);
            }
            hash.update(&buffer[..taken]);
            reader.consume(taken);
            left -= taken as u64;
        }
        if skip.bytes > 0 && hexadecimal(&hash.clone().finalize()) != skip.sha256 {
            return Err(OpenError::Differs);
        }
        let (pieces, ahead) = mpsc::channel(PIECES_AHEAD);
        let mut cutter = Cutter { reader, hash, lines: skip.lines, bytes: skip.bytes };
        std::thread::spawn(move || {
            loop {
                let piece = cutter.next().with_context(|| format!("`{shown}` cannot be read"));
                let is_last = !matches!(piece, Ok(Some(_)));
                if let Some(piece) = piece.transpose()
                    && pieces.blocking_send(piece).is_err()
                {
                    return;
                }
                if is_last {
                    return;
                }
            }
        });
        Ok(Lines(ahead))
    }
}

/// The pieces of a file, read on a thread of their own.
pub(super) struct Lines(mpsc::Receiver<anyhow::Result<Piece>>);

impl Lines {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        self.0.recv().await.transpose()
    }
}

struct Cutter {
    reader: Box<dyn BufRead + Send>,
    hash: Sha256,
    lines: u64,
    bytes: u64,
}

impl Cutter {
    fn next(&mut self) -> io::Result<Option<Piece>> {
        let (first_line, mut text, mut lines) = (self.lines + 1, Vec::new(), 0);
        while lines < PIECE_LINES_MAX && text.len() < PIECE_BYTES {
            if !self.line(&mut text)? {
                break;
            }
            lines += 1;
        }
        if lines == 0 {
            return Ok(None);
        }
        self.lines += lines;
        let sha256 = hexadecimal(&self.hash.clone().finalize());
        let end = Skip { lines: self.lines, bytes: self.bytes, sha256 };
        Ok(Some(Piece { first_line, text: text.into(), end }))
    }

    /// Appends one line with its end; `false` at the end of the content.
    fn line(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let start = text.len();
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                return Ok(any);
            }
            any = true;
            let end = buffer.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            self.hash.update(part);
            let room = LINE_BYTES_MAX.saturating_sub(text.len() - start);
            text.extend_from_slice(&part[..part.len().min(room)]);
            let taken = part.len();
            self.reader.consume(taken);
            self.bytes += taken as u64;
            if end.is_some() {
                if text.last() != Some(&b'\n') {
                    text.push(b'\n');
                }
                return Ok(true);
            }
        }
    }
}

/// Counts what passes through.
struct Counted<R> {
    reader: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The content of a stream, whose first bytes say how it is compressed.
fn decompressed(raw: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, raw);
    let mut magic = Vec::new();
    (&mut raw).take(4).read_to_end(&mut magic)?;
    let whole = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(magic.clone()).chain(raw));
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        _ => Box::new(whole),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn open(file: &tempfile::NamedTempFile) -> Content {
        Content::open(file.path(), Arc::default()).unwrap()
    }

    async fn pieces(mut lines: Lines) -> Vec<Piece> {
        let mut all = Vec::new();
        while let Some(piece) = lines.next().await.unwrap() {
            all.push(piece);
        }
        all
    }

    #[tokio::test]
    async fn a_content_is_the_same_however_it_is_compressed() {
        let text = (0..5_000).map(|line| format!("{{\"line\":{line}}}\n")).collect::<String>();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
        let mut keys = Vec::new();
        for bytes in [text.clone().into_bytes(), gzip.finish().unwrap(), zstd] {
            let content = open(&written(&bytes));
            keys.push(content.key().to_owned());
            let pieces = pieces(content.lines(Skip::default()).unwrap()).await;
            let reached: Vec<_> = pieces.iter().map(|piece| (piece.first_line, piece.end.lines)).collect();
            assert_eq!(reached, [(1, 2_000), (2_001, 4_000), (4_001, 5_000)]);
            assert_eq!(pieces.iter().map(|piece| &*piece.text).collect::<Vec<_>>().concat(), text.as_bytes());
        }
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }

    #[tokio::test]
    async fn reading_goes_on_behind_what_was_read_and_refuses_another_file() {
        let text = (0..4_500).map(|line| format!("{line}\n")).collect::<String>();
        let file = written(text.as_bytes());
        let all = pieces(open(&file).lines(Skip::default()).unwrap()).await;
        let rest = pieces(open(&file).lines(all[0].end.clone()).unwrap()).await;
        assert_eq!((rest.len(), rest[0].first_line), (2, 2_001));
        assert_eq!((&rest[1].text, &rest[1].end), (&all[2].text, &all[2].end));
        assert!(pieces(open(&file).lines(all[2].end.clone()).unwrap()).await.is_empty());
        let other = written(text.replacen('7', "8", 1).as_bytes());
        assert!(matches!(open(&other).lines(all[0].end.clone()), Err(OpenError::Differs)));
        assert!(matches!(open(&written(b"short\n")).lines(all[0].end.clone()), Err(OpenError::Differs)));
    }

    #[tokio::test]
    async fn a_line_without_end_takes_no_more_memory_than_one_may() {
        let mut bytes = vec![b'x'; 5 << 20];
        bytes.extend_from_slice(b"\nnext");
        let pieces = pieces(open(&written(&bytes)).lines(Skip::default()).unwrap()).await;
        assert_eq!(pieces.last().unwrap().end.lines, 2);
        assert!(pieces.iter().all(|piece| piece.text.len() <= LINE_BYTES_MAX + 5));
        assert_eq!(pieces.last().unwrap().end.bytes, bytes.len() as u64);
    }

    #[test]
    fn damaged_compression_is_an_error() {
        let refused = Content::open(written(&[0x1f, 0x8b, 8, 0, 0, 0]).path(), Arc::default());
        assert!(format!("{:#}", refused.err().unwrap()).contains("cannot be read"));
    }
}
