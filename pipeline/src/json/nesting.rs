//! Which objects and arrays lie around a place: a bit for each, so that no depth costs much.

/// The objects and arrays that were entered and not left.
#[derive(Default)]
pub(super) struct Nesting {
    depth: usize,
    /// The innermost ones, the last in the lowest bit; set for an object.
    bits: u64,
    /// The bits of those further out, 64 at a time.
    outer: Vec<u64>,
}

impl Nesting {
    pub(super) fn enter(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.depth += 1;
        self.bits = self.bits << 1 | u64::from(is_object);
    }

    /// Whether the innermost is an object; `None` outside of all.
    pub(super) fn is_object(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }
}
