//! A segment's filter and the index of its blocks.
//!
//! Hashes are uniform, so a run's segments divide the space of hashes evenly: the product of hash
//! and number of lines names the filter line and with it the segment, without a search. Entries are
//! sorted by hash, so a segment's page is complete when the next segment begins.

use std::ops::Range;

/// Filter lines in one segment.
pub(super) const LINES: usize = 64;
const FILTER_BYTES: usize = LINES * size_of::<Line>();
const BLOCK_BYTES: usize = 16;

/// One cache line of a blocked Bloom filter: an id sets one bit in each of its eight words.
///
/// With 32 ids in a line (16 bits an id) one absent id in about a thousand passes.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

/// One block of entries: its first hash, and where it begins in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) first: u64,
    pub(super) position: u64,
}

/// The filter and the block index of one segment.
pub(super) struct Page {
    lines: [Line; LINES],
    blocks: Vec<Block>,
    /// Where the last block ends and the page begins.
    end: u64,
}

/// The line of the filter, and with `line / LINES` the segment, that `hash` belongs to among `lines`.
pub(super) fn line_of(hash: u64, lines: u64) -> u64 {
    ((u128::from(hash) * u128::from(lines)) >> 64) as u64
}

/// The bit for each word. The line is chosen by the hash's upper bits, so these are mixed first.
fn bits(hash: u64) -> impl Iterator<Item = u64> {
    let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..8).map(move |word| 1 << ((mixed >> (16 + 6 * word)) & 63))
}

impl Page {
    pub(super) fn new() -> Self {
        Self { lines: [Line::default(); LINES], blocks: Vec::new(), end: 0 }
    }

    /// Adds `hash` to the filter at `line` of the run.
    pub(super) fn add(&mut self, line: u64, hash: u64) {
        let words = &mut self.lines[line as usize % LINES].0;
        for (word, bit) in words.iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    pub(super) fn add_block(&mut self, block: Block) {
        self.blocks.push(block);
    }

    /// Whether `hash` may be there; `false` is certain.
    pub(super) fn may_hold(&self, line: u64, hash: u64) -> bool {
        let words = &self.lines[line as usize % LINES].0;
        words.iter().zip(bits(hash)).fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
    }

    /// The blocks in which entries with `hash` can lie.
    pub(super) fn blocks_of(&self, hash: u64) -> Range<usize> {
        let start = self.blocks.partition_point(|block| block.first < hash).saturating_sub(1);
        start..self.blocks.partition_point(|block| block.first <= hash)
    }

    /// Where block `n` lies in the file, `None` behind the last.
    pub(super) fn block(&self, n: usize) -> Option<Range<u64>> {
        let start = self.blocks.get(n)?.position;
        Some(start..self.blocks.get(n + 1).map_or(self.end, |next| next.position))
    }

    /// The memory it takes.
    pub(super) fn bytes(&self) -> usize {
        // The allocations' own headers and the alignment of the counters before it are in the 128.
        size_of::<Self>() + self.blocks.capacity() * size_of::<Block>() + 128
    }

    /// Its bytes in the file.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for word in self.lines.iter().flat_map(|line| line.0) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for block in &self.blocks {
            out.extend_from_slice(&block.first.to_le_bytes());
            out.extend_from_slice(&block.position.to_le_bytes());
        }
    }

    /// Reads a page that lies at `position` in the file; `None` when `bytes` cannot be one.
    pub(super) fn decode(bytes: &[u8], position: u64) -> Option<Self> {
        let (filter, blocks) = bytes.split_at_checked(FILTER_BYTES)?;
        let mut page = Self { end: position, ..Self::new() };
        let words = page.lines.iter_mut().flat_map(|line| &mut line.0);
        for (word, bytes) in words.zip(filter.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let (blocks, rest) = blocks.as_chunks::<BLOCK_BYTES>();
        page.blocks = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (words, _) = block.as_chunks();
            let (first, position) = (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]));
            page.blocks.push(Block { first, position });
        }
        rest.is_empty().then_some(page)
    }
}
