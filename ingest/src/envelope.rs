//! The body of a batch: `{batch, context, integrations, sentAt, writeKey}`.
//!
//! It is most of what comes in, so it is gone through once: an item's fields are told apart while its end is
//! looked for.

use crate::item::Item;
use pipeline::json::Scanner;

/// Items are taken apart up to this many; the rest is only counted.
pub(crate) const ITEMS_MAX: usize = 100_000;

/// The fields of so many items are told apart at once, for they take more memory than their text.
const PARSED_MAX: usize = 2_500;

/// A batch whose parts are still text. Of a key that stands twice the last counts, and `null` is
/// as good as absent.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    pub(crate) batch: Items<'a>,
    pub(crate) context: Option<&'a str>,
    pub(crate) integrations: Option<&'a str>,
    pub(crate) sent_at: Option<&'a str>,
    pub(crate) write_key: Option<&'a str>,
}

/// What stands under `batch`.
#[derive(Debug, Default)]
pub(crate) enum Items<'a> {
    /// Nothing.
    #[default]
    Absent,
    /// A value that is no array.
    Other,
    /// An array.
    List(List<'a>),
}

/// The items of a batch.
#[derive(Debug, Default)]
pub(crate) struct List<'a> {
    /// The number of all.
    pub(crate) count: usize,
    /// The text of the first [`ITEMS_MAX`].
    texts: Vec<&'a str>,
    /// The first [`PARSED_MAX`] of these, `None` where one is no object.
    parsed: Vec<Option<Item<'a>>>,
}

impl<'a> List<'a> {
    /// How many items were kept.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The items that were kept: the text of each, and its fields unless it is no object.
    pub(crate) fn into_items(self) -> impl Iterator<Item = (&'a str, Option<Item<'a>>)> {
        let mut parsed = self.parsed.into_iter();
        self.texts.into_iter().map(move |text| (text, parsed.next().unwrap_or_else(|| Item::parse(text))))
    }
}

impl<'a> Envelope<'a> {
    /// Reads a body; `None` when it is no JSON or no object.
    pub(crate) fn read(body: &'a str) -> Option<Self> {
        let (mut scanner, mut envelope) = (Scanner::new(body), Self::default());
        scanner.object(|scanner, key| {
            let slot = match &*key {
                "batch" => {
                    envelope.batch = items(scanner, body)?;
                    return Some(());
                }
                "context" => &mut envelope.context,
                "integrations" => &mut envelope.integrations,
                "sentAt" => &mut envelope.sent_at,
                "writeKey" => &mut envelope.write_key,
                _ => return scanner.value().map(drop),
            };
            let value = scanner.value()?;
            *slot = (value != "null").then_some(value);
            Some(())
        })?;
        scanner.peek().is_none().then_some(envelope)
    }
}

/// What stands under `batch` in `body`.
fn items<'a>(scanner: &mut Scanner<'a>, body: &'a str) -> Option<Items<'a>> {
    if scanner.expect(b'[').is_none() {
        let value = scanner.value()?;
        return Some(if value == "null" { Items::Absent } else { Items::Other });
    }
    let mut list = List { texts: Vec::with_capacity(100), parsed: Vec::with_capacity(100), count: 0 };
    if scanner.expect(b']').is_some() {
        return Some(Items::List(list));
    }
    loop {
        let is_object = scanner.peek()? == b'{';
        let start = scanner.at();
        let item = if is_object && list.parsed.len() < PARSED_MAX {
            Some(Item::read(scanner)?)
        } else {
            scanner.value()?;
            None
        };
        if list.texts.len() < ITEMS_MAX {
            list.texts.push(body.get(start..scanner.at())?);
            if list.parsed.len() < PARSED_MAX {
                list.parsed.push(item);
            }
        }
        list.count += 1;
        if scanner.expect(b',').is_none() {
            scanner.expect(b']')?;
            return Some(Items::List(list));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn items(json: &str) -> Option<(Vec<&str>, usize)> {
        match Envelope::read(json).unwrap().batch {
            Items::List(List { texts, count, .. }) => Some((texts, count)),
            Items::Absent | Items::Other => None,
        }
    }

    #[test]
    fn what_is_no_json_or_no_object_is_no_envelope() {
        for json in [
            "",
            "{",
            "[]",
            "1",
            "{}x",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{1:2}"#,
            r#"{"batch":[1,]}"#,
            r#"{"batch":[1 2]}"#,
            r#"{"batch":[{"a":1]}"#,
            r#"{"batch":[{"a":tru}]}"#,
            r#"{"batch":[1x]}"#,
            r#"{"batch":[]"#,
            r#"{"batch":[1}}"#,
            r#"{"batch":nul}"#,
        ] {
            assert!(Envelope::read(json).is_none(), "{json}");
        }
    }

    #[test]
    fn an_item_has_its_text_and_its_fields_wherever_it_stands() {
        let json = format!(
            r#" {{ "batch" : [ {} {{"event":"last"}} ] }} "#,
            r#"{"event":"e"} , "#.repeat(PARSED_MAX)
        );
        let Items::List(list) = Envelope::read(&json).unwrap().batch else { panic!("it is a list") };
        assert_eq!((list.count, list.len(), list.parsed.len()), (PARSED_MAX + 1, PARSED_MAX + 1, PARSED_MAX));
        let events: Vec<_> =
            list.into_items().map(|(text, item)| (text, item.unwrap().event.unwrap())).collect();
        assert_eq!(events[0], (r#"{"event":"e"}"#, r#""e""#));
        assert_eq!(events[PARSED_MAX], (r#"{"event":"last"}"#, r#""last""#));
    }

    proptest::proptest! {
        #[test]
        fn a_body_is_read_exactly_if_it_is_a_json_object(json in r#"[ ]{0,1}\{("batch"|"context"|"x"):[\[\]{}",:1a\\ ]{0,12}\}"#) {
            let is_object = serde_json::from_str::<&RawValue>(&json).is_ok();
            proptest::prop_assert_eq!(Envelope::read(&json).is_some(), is_object);
        }
    }

    #[test]
    fn items_are_taken_apart_whatever_stands_in_them() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let json = format!(r#"{{"x":{deep},"batch":[{{"a":1e999}}, 1 ,{deep}]}}"#);
        let (found, count) = items(&json).unwrap();
        assert_eq!((found[0], found[1], count), (r#"{"a":1e999}"#, "1", 3));
        assert_eq!(found[2], deep);
    }

    #[test]
    fn of_a_batch_that_is_none_only_that_is_known() {
        for json in ["{}", r#"{"batch":null}"#] {
            let envelope = Envelope::read(json).unwrap();
            assert!(matches!(envelope.batch, Items::Absent), "{json}");
        }
        for value in [r#""x""#, "1", "-1", "1.5", "true", r#"{"a":[{}]}"#] {
            let json = format!(r#"{{"batch":{value},"writeKey":"k"}}"#);
            let envelope = Envelope::read(&json).unwrap();
            assert!(matches!(envelope.batch, Items::Other), "{value}");
            assert_eq!(envelope.write_key, Some(r#""k""#));
        }
    }

    #[test]
    fn the_last_batch_of_two_counts() {
        assert_eq!(items(r#"{"batch":[1,2],"batch":[3]}"#), Some((vec!["3"], 1)));
    }

    #[test]
    fn a_flood_of_items_is_counted_and_not_kept() {
        let json = format!(r#"{{"batch":[{}1]}}"#, "1,".repeat(ITEMS_MAX + 10));
        let (found, count) = items(&json).unwrap();
        assert_eq!((found.len(), count), (ITEMS_MAX, ITEMS_MAX + 11));
    }
}
