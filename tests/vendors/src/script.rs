//! Which requests fail, and how.

use crate::Failure;
use std::collections::VecDeque;

/// What is to become of the next requests.
#[derive(Debug, Default)]
pub(crate) struct Script {
    next: VecDeque<Failure>,
    always: Option<Failure>,
}

impl Script {
    /// Lets the next requests fail in these ways, one each.
    pub(crate) fn fail(&mut self, failures: impl IntoIterator<Item = Failure>) {
        self.next.extend(failures);
    }

    /// Lets every request fail in this way from now on, or none.
    pub(crate) fn down(&mut self, failure: Option<Failure>) {
        self.always = failure;
    }

    /// What is to become of this request; `None` when it is looked at as any other.
    pub(crate) fn take(&mut self) -> Option<Failure> {
        self.next.pop_front().or_else(|| self.always.clone())
    }
}
