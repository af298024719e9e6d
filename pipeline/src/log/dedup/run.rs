//! Reads a run: point look-ups and the entries in order.

use super::format::{FOOTER_BYTES, Footer, PLACE_BYTES, number, unseal};
use super::page::{LINES, Page, line_of};
use super::{Counters, Entry, Key, Seen};
use crate::log::LogError;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A run and those of its pages that are held in memory.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) file: Arc<RunFile>,
    lines: u64,
    /// The pages of the first segments; the others are read when they are needed.
    pages: Vec<Arc<Page>>,
}

/// An immutable file of ids, checked where it is read.
pub(super) struct RunFile {
    pub(super) path: PathBuf,
    pub(super) footer: Footer,
    file: File,
    /// Where each segment's page lies.
    directory: Vec<Range<u64>>,
    damaged: AtomicBool,
    counters: Arc<Counters>,
}

impl Run {
    /// Opens a run without loading its pages.
    ///
    /// # Errors
    /// What is wrong with it, when it is not what a writer has finished.
    pub(super) fn open(path: &Path, counters: Arc<Counters>) -> Result<Self, LogError> {
        let file = RunFile::open(path, counters)?;
        let lines = file.footer.segments * LINES as u64;
        Ok(Self { file: Arc::new(file), lines, pages: Vec::new() })
    }

    /// Where and when the id was stored.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when what has to be read is damaged.
    pub(super) fn find(&self, hash: u64, key: Key<'_>) -> Result<Option<Seen>, LogError> {
        if self.lines == 0 {
            return Ok(None);
        }
        let line = line_of(hash, self.lines);
        let segment = line as usize / LINES;
        match self.pages.get(segment) {
            Some(page) if !page.may_hold(line, hash) => Ok(None),
            Some(page) => self.file.find(page, hash, key),
            None => {
                self.file.counters.disk_reads.fetch_add(1, Relaxed);
                let page = self.file.page(segment)?;
                if page.may_hold(line, hash) { self.file.find(&page, hash, key) } else { Ok(None) }
            }
        }
    }

    /// The memory it takes without its pages.
    pub(super) fn fixed_bytes(&self) -> usize {
        self.file.directory.capacity() * size_of::<Range<u64>>() + 512
    }

    /// The memory that its pages take.
    pub(super) fn pages_bytes(&self) -> usize {
        let pages: usize = self.pages.iter().map(|page| page.bytes()).sum();
        pages + self.pages.capacity() * size_of::<Arc<Page>>()
    }

    /// Reads every page once.
    ///
    /// # Errors
    /// As [`Run::find`].
    pub(super) fn check_pages(&self) -> Result<(), LogError> {
        (0..self.file.directory.len()).try_for_each(|segment| self.file.page(segment).map(drop))
    }

    /// The run with as many of its pages in memory as take no more than `bytes`.
    ///
    /// # Errors
    /// As [`Run::find`].
    pub(super) fn resident(&self, bytes: usize) -> Result<Self, LogError> {
        let mut left = bytes;
        let mut pages = Vec::new();
        for segment in 0..self.file.directory.len() {
            let page = match self.pages.get(segment) {
                Some(page) => Arc::clone(page),
                None if left < size_of::<Page>() => break,
                None => Arc::new(self.file.page(segment)?),
            };
            let Some(rest) = left.checked_sub(page.bytes() + size_of::<Arc<Page>>()) else { break };
            left = rest;
            pages.push(page);
        }
        pages.shrink_to_fit();
        Ok(Self { file: Arc::clone(&self.file), lines: self.lines, pages })
    }

    /// The run with only those pages that are in memory already and take no more than `bytes`.
    pub(super) fn reduced(&self, bytes: usize) -> Self {
        let mut left = bytes;
        let fits = |page: &&Arc<Page>| {
            let needed = page.bytes() + size_of::<Arc<Page>>();
            left.checked_sub(needed).map(|rest| left = rest).is_some()
        };
        let mut pages: Vec<_> = self.pages.iter().take_while(fits).map(Arc::clone).collect();
        pages.shrink_to_fit();
        Self { file: Arc::clone(&self.file), lines: self.lines, pages }
    }
}

impl RunFile {
    fn open(path: &Path, counters: Arc<Counters>) -> Result<Self, LogError> {
        let wrong = |why: String| damaged(path, &why);
        let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
        let length = file.metadata().map_err(|e| wrong(e.to_string()))?.len();
        let read = |range: Range<u64>| {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, range.start).map(|()| bytes).map_err(|e| wrong(e.to_string()))
        };
        let Some(end) = length.checked_sub(FOOTER_BYTES as u64) else {
            return Err(wrong("it has no footer".into()));
        };
        let footer = Footer::decode(&read(end..length)?).ok_or_else(|| wrong("its footer".into()))?;
        let expected =
            footer.segments.checked_mul(PLACE_BYTES as u64).and_then(|n| n.checked_add(footer.directory));
        if expected != Some(end) {
            return Err(wrong(format!("it has {length} bytes, which its footer contradicts")));
        }
        let bytes = read(footer.directory..end)?;
        if crc32c::crc32c(&bytes) != footer.directory_crc {
            return Err(wrong("its directory".into()));
        }
        let mut directory = Vec::with_capacity(bytes.len() / PLACE_BYTES);
        let mut input = bytes.as_slice();
        while let (Some(position), Some(length)) = (number(&mut input), number(&mut input)) {
            directory.push(position..position + length);
        }
        Ok(Self { path: path.into(), footer, file, directory, damaged: false.into(), counters })
    }

    /// Whether something in it was found to be wrong.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Relaxed)
    }

    /// The file beside it that says that it is damaged, so that the next start drops it.
    pub(super) fn mark(path: &Path) -> PathBuf {
        path.with_extension("damaged")
    }

    fn find(&self, page: &Page, hash: u64, key: Key<'_>) -> Result<Option<Seen>, LogError> {
        self.counters.filter_hits.fetch_add(1, Relaxed);
        for n in page.blocks_of(hash) {
            let Some(range) = page.block(n) else { break };
            self.counters.disk_reads.fetch_add(1, Relaxed);
            let block = self.read(range)?;
            let mut input = block.as_slice();
            while let Some(entry) = Entry::decode(&mut input) {
                if entry.hash == hash && key.is(entry.key) {
                    return Ok(Some(Seen { offset: entry.offset, received_at: entry.received_at }));
                }
            }
            if !input.is_empty() {
                return Err(self.is_wrong("a block is no list of entries"));
            }
        }
        Ok(None)
    }

    fn page(&self, segment: usize) -> Result<Page, LogError> {
        let range = self.directory[segment].clone();
        let position = range.start;
        let bytes = self.read(range)?;
        Page::decode(&bytes, position).ok_or_else(|| self.is_wrong("a page is too short"))
    }

    /// Reads a block or a page and takes its checksum off.
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, LogError> {
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= self.footer.directory);
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
            return Err(self.is_wrong("a position lies outside of it"));
        };
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, range.start).map_err(|e| self.is_wrong(&e.to_string()))?;
        match unseal(&bytes).map(<[u8]>::len) {
            Some(length) => bytes.truncate(length),
            None => return Err(self.is_wrong(&format!("the checksum of bytes {range:?}"))),
        }
        Ok(bytes)
    }

    fn is_wrong(&self, why: &str) -> LogError {
        let error = damaged(&self.path, why);
        if !self.damaged.swap(true, Relaxed) {
            tracing::warn!(%error, "part of the deduplication index is damaged; the next start rebuilds it");
            // Not synced: what a power loss takes away is found again.
            if let Err(error) = File::create(Self::mark(&self.path)) {
                tracing::warn!(%error, path = %self.path.display(), "the damage could not be marked");
            }
        }
        error
    }
}

fn damaged(path: &Path, why: &str) -> LogError {
    let path = path.display();
    LogError::Damaged(format!(
        "`{path}` of the deduplication index: {why}; a restart rebuilds it from the log"
    ))
}

/// Walks through a run's entries in order.
pub(super) struct Cursor {
    file: Arc<RunFile>,
    segment: usize,
    page: Option<Page>,
    next_block: usize,
    block: Vec<u8>,
    /// Where the entry lies in the block, and where the next one begins.
    entry: Range<usize>,
}

impl Cursor {
    /// Stands on the first entry.
    ///
    /// # Errors
    /// As [`Run::find`].
    pub(super) fn new(file: Arc<RunFile>) -> Result<Self, LogError> {
        let mut cursor = Self { file, segment: 0, page: None, next_block: 0, block: Vec::new(), entry: 0..0 };
        cursor.step()?;
        Ok(cursor)
    }

    /// The entry it stands on; `None` at the end.
    pub(super) fn entry(&self) -> Option<Entry<'_>> {
        Entry::decode(&mut &self.block[self.entry.clone()])
    }

    /// Moves to the next entry.
    ///
    /// # Errors
    /// As [`Run::find`].
    pub(super) fn step(&mut self) -> Result<(), LogError> {
        self.entry.start = self.entry.end;
        if self.entry.start == self.block.len() && !self.load()? {
            return Ok(());
        }
        let mut rest = &self.block[self.entry.start..];
        if Entry::decode(&mut rest).is_none() {
            return Err(self.file.is_wrong("a block is no list of entries"));
        }
        self.entry.end = self.block.len() - rest.len();
        Ok(())
    }

    /// Loads the next block; `false` when there is none.
    fn load(&mut self) -> Result<bool, LogError> {
        self.block.clear();
        self.entry = 0..0;
        loop {
            if let Some(range) = self.page.as_ref().and_then(|page| page.block(self.next_block)) {
                self.block = self.file.read(range)?;
                self.next_block += 1;
                return Ok(true);
            }
            if self.segment == self.file.directory.len() {
                return Ok(false);
            }
            self.page = Some(self.file.page(self.segment)?);
            self.segment += 1;
            self.next_block = 0;
        }
    }
}
