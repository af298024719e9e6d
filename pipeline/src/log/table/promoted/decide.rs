//! Which type the column of a key gets.

use super::PromotedType;
use arrow::array::AsArray;
use arrow::record_batch::RecordBatch;

/// So many values decide about a type.
pub const VALUES_MAX: u32 = 1_000;

/// The first values of one key, by what they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Votes {
    texts: u32,
    whole: u32,
    fractions: u32,
    booleans: u32,
    nested: u32,
}

impl Votes {
    /// Counts a value, as JSON text; null and all after the first thousand count for nothing.
    pub fn add(&mut self, json: &str) {
        if self.all() >= VALUES_MAX {
            return;
        }
        match json.as_bytes().first() {
            Some(b'"') => self.texts += 1,
            Some(b't' | b'f') => self.booleans += 1,
            Some(b'{' | b'[') => self.nested += 1,
            Some(b'-' | b'0'..=b'9') if json.parse::<i64>().is_ok() => self.whole += 1,
            Some(b'-' | b'0'..=b'9') => self.fractions += 1,
            _ => {}
        }
    }

    /// Counts the values of a batch's first column, which are JSON texts.
    pub fn add_all(&mut self, batch: &RecordBatch) {
        let texts = batch.columns().first().and_then(|column| column.as_string_opt::<i32>());
        texts.into_iter().flatten().flatten().for_each(|json| self.add(json));
    }

    /// The type of most values: whole numbers alone are `bigint`, with others among them `double`.
    /// `None` without values, and where most are objects or lists.
    pub fn decide(&self) -> Option<PromotedType> {
        let numbers = self.whole + self.fractions;
        let most = self.texts.max(numbers).max(self.booleans);
        if most == 0 || most < self.nested {
            return None;
        }
        Some(match () {
            () if most == self.texts => PromotedType::Text,
            () if most == numbers && self.fractions == 0 => PromotedType::Bigint,
            () if most == numbers => PromotedType::Double,
            () => PromotedType::Boolean,
        })
    }

    fn all(&self) -> u32 {
        self.texts + self.whole + self.fractions + self.booleans + self.nested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(values: &[&str]) -> Option<PromotedType> {
        let mut votes = Votes::default();
        values.iter().for_each(|value| votes.add(value));
        votes.decide()
    }

    #[test]
    fn most_values_decide() {
        assert_eq!(decided(&["1", "-2"]), Some(PromotedType::Bigint));
        assert_eq!(decided(&["1", "2", "3.5", "\"free\""]), Some(PromotedType::Double));
        assert_eq!(decided(&["1e3"]), Some(PromotedType::Double));
        assert_eq!(decided(&["\"a\"", "1", "\"b\""]), Some(PromotedType::Text));
        assert_eq!(decided(&["true", "null"]), Some(PromotedType::Boolean));
        assert_eq!(decided(&["[1]", "{}", "1"]), None);
        assert_eq!(decided(&["null"]), None);
        let early = std::iter::repeat_n("1", 1_000).chain(std::iter::repeat_n("\"x\"", 5_000));
        assert_eq!(decided(&early.collect::<Vec<_>>()), Some(PromotedType::Bigint));
    }
}
