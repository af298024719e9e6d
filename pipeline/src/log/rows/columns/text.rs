//! A column of text that is mostly empty, as most of an event's columns are.

use arrow::array::{ArrayRef, StringBuilder};
use std::sync::Arc;

/// Counts the rows without a value, and adds them to the column when the next value comes.
#[derive(Default)]
pub(super) struct TextColumn {
    builder: StringBuilder,
    nulls: usize,
}

impl TextColumn {
    pub(super) fn append_value(&mut self, text: &str) {
        self.add_nulls();
        self.builder.append_value(text);
    }

    pub(super) fn append_null(&mut self) {
        self.nulls += 1;
    }

    pub(super) fn append_option(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.append_value(text),
            None => self.append_null(),
        }
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        self.add_nulls();
        Arc::new(self.builder.finish())
    }

    fn add_nulls(&mut self) {
        if self.nulls > 0 {
            self.builder.append_nulls(std::mem::take(&mut self.nulls));
        }
    }
}
