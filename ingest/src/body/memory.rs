//! How much memory the bodies of all requests under way take together.

use crate::answer::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A budget of bytes, shared by all requests.
#[derive(Clone)]
pub(crate) struct Memory {
    max: usize,
    held: Arc<AtomicUsize>,
}

/// One request's part of the budget, given back when it is dropped.
pub(crate) struct Hold {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Arc::default() }
    }

    pub(crate) fn hold(&self) -> Hold {
        Hold { memory: self.clone(), bytes: 0 }
    }
}

impl Hold {
    /// Takes `bytes` more; the fault asks the client to come again.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes += bytes;
        if self.memory.held.fetch_add(bytes, Relaxed) + bytes > self.memory.max {
            return Err(Fault::overloaded("too many requests are being read at once"));
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_a_budget_and_give_their_part_back() {
        let memory = Memory::new(10);
        let mut first = memory.hold();
        assert!(first.grow(6).is_ok());
        let mut second = memory.hold();
        assert_eq!(second.grow(5).unwrap_err().code, "overloaded");
        drop(second);
        assert!(first.grow(4).is_ok());
        drop(first);
        assert!(memory.hold().grow(10).is_ok());
    }
}
