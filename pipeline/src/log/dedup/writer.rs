//! Writes a run: streaming, in bounded memory, durable before it gets its name.

use super::format::{Footer, seal};
use super::page::{Block, LINES, Page, line_of};
use super::{Entry, Offset, Shape};
use crate::log::LogError;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A block ends before it is longer than this, unless one entry alone is.
const BLOCK_BYTES_MAX: usize = 8 << 10;

/// So much is synced at once, so that the end of a large merge does not hold up the WAL's fsync.
const UNSYNCED_BYTES_MAX: u64 = 1 << 20;

/// Writes the run that covers `offsets` into `dir` and returns its path.
///
/// `fill` pushes the entries, by hash and key, at most `ids_max` of them. When it fails, nothing is
/// left behind; a run of the same offsets is replaced.
///
/// # Errors
/// Those of `fill`, and [`LogError::Store`] when the disk fails.
pub(super) fn write(
    dir: &Path,
    offsets: Range<Offset>,
    ids_max: u64,
    shape: Shape,
    fill: impl FnOnce(&mut RunWriter) -> Result<(), LogError>,
) -> Result<PathBuf, LogError> {
    let path = dir.join(format!("{:020}-{:020}.run", offsets.start, offsets.end));
    let temp = path.with_extension("tmp");
    let written = RunWriter::new(&temp, offsets, ids_max, shape)
        .map_err(|e| failed(&temp, e))
        .and_then(|mut writer| fill(&mut writer).map(|()| writer))
        .and_then(|writer| writer.finish().map_err(|e| failed(&temp, e)))
        .and_then(|()| std::fs::rename(&temp, &path).map_err(|e| failed(&path, e)));
    if let Err(error) = written {
        // What is left of it is taken away at the next start if not now.
        std::fs::remove_file(&temp).ok();
        return Err(error);
    }
    sync_dir(dir)?;
    Ok(path)
}

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| failed(dir, e))
}

fn failed(path: &Path, error: io::Error) -> LogError {
    LogError::store(format!("writing the deduplication index `{}`", path.display()), error)
}

/// A run that is being written.
pub(super) struct RunWriter {
    file: BufWriter<File>,
    position: u64,
    synced: u64,
    shape: Shape,
    page: Page,
    block: Vec<u8>,
    block_ids: usize,
    directory: Vec<u8>,
    segment: u64,
    footer: Footer,
}

impl RunWriter {
    fn new(temp: &Path, offsets: Range<Offset>, ids_max: u64, shape: Shape) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(256 << 10, File::create(temp)?),
            position: 0,
            synced: 0,
            shape,
            page: Page::new(),
            block: Vec::with_capacity(2 * BLOCK_BYTES_MAX),
            block_ids: 0,
            directory: Vec::new(),
            segment: 0,
            footer: Footer {
                offsets,
                ids: 0,
                segments: ids_max.div_ceil(shape.segment_ids),
                received: (i64::MAX, i64::MIN),
                directory: 0,
                directory_crc: 0,
            },
        })
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: Entry<'_>) -> Result<(), LogError> {
        self.add(entry).map_err(|e| LogError::store("writing the deduplication index", e))
    }

    fn add(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let line = line_of(entry.hash, self.footer.segments * LINES as u64);
        while self.segment < line / LINES as u64 {
            self.end_segment()?;
        }
        let full = self.block_ids >= self.shape.block_ids
            || self.block.len() + entry.bytes() > BLOCK_BYTES_MAX && self.block_ids > 0;
        if full {
            self.end_block()?;
        }
        if self.block_ids == 0 {
            self.page.add_block(Block { first: entry.hash, position: self.position });
        }
        entry.encode(&mut self.block);
        self.block_ids += 1;
        self.page.add(line, entry.hash);
        self.footer.ids += 1;
        let (min, max) = self.footer.received;
        self.footer.received = (min.min(entry.received_at), max.max(entry.received_at));
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block_ids > 0 {
            seal(&mut self.block, 0);
            self.write_block()?;
            self.block_ids = 0;
        }
        Ok(())
    }

    fn end_segment(&mut self) -> io::Result<()> {
        self.end_block()?;
        self.directory.extend_from_slice(&self.position.to_le_bytes());
        self.page.encode(&mut self.block);
        seal(&mut self.block, 0);
        self.directory.extend_from_slice(&(self.block.len() as u64).to_le_bytes());
        self.write_block()?;
        self.page = Page::new();
        self.segment += 1;
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        self.file.write_all(&self.block)?;
        self.position += self.block.len() as u64;
        self.block.clear();
        if self.position - self.synced >= UNSYNCED_BYTES_MAX {
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
            self.synced = self.position;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        while self.segment < self.footer.segments {
            self.end_segment()?;
        }
        self.footer.directory = self.position;
        self.footer.directory_crc = crc32c::crc32c(&self.directory);
        self.file.write_all(&self.directory)?;
        self.file.write_all(&self.footer.encode())?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}
