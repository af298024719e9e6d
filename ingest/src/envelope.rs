//! The body of a batch: `{batch, context, integrations, sentAt, writeKey}`.

use crate::object::Key;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Items are taken apart up to this many; the rest is only counted.
pub(crate) const ITEMS_MAX: usize = 100_000;

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
    /// The first [`ITEMS_MAX`] items, and the number of all.
    List(Vec<&'a str>, usize),
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;
        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `batch`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(Key(key)) = map.next_key()? {
                    let slot = match &*key {
                        "batch" => {
                            envelope.batch = map.next_value()?;
                            continue;
                        }
                        "context" => &mut envelope.context,
                        "integrations" => &mut envelope.integrations,
                        "sentAt" => &mut envelope.sent_at,
                        "writeKey" => &mut envelope.write_key,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    let value = map.next_value::<&'de RawValue>()?.get();
                    *slot = (value != "null").then_some(value);
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::with_capacity(100);
                while items.len() < ITEMS_MAX {
                    let Some(item) = seq.next_element::<&'de RawValue>()? else { break };
                    items.push(item.get());
                }
                let mut count = items.len();
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items::List(items, count))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Items::Other)
            }
            fn visit_unit<E: Error>(self) -> Result<Items<'de>, E> {
                Ok(Items::Absent)
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<Items<'de>, E> {
                Ok(Items::Other)
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Items<'de>, E> {
                Ok(Items::Other)
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Items<'de>, E> {
                Ok(Items::Other)
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Items<'de>, E> {
                Ok(Items::Other)
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Items<'de>, E> {
                Ok(Items::Other)
            }
        }
        deserializer.deserialize_any(ItemsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(json: &str) -> Option<(Vec<&str>, usize)> {
        match serde_json::from_str::<Envelope<'_>>(json).unwrap().batch {
            Items::List(items, count) => Some((items, count)),
            Items::Absent | Items::Other => None,
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
            let envelope: Envelope<'_> = serde_json::from_str(json).unwrap();
            assert!(matches!(envelope.batch, Items::Absent), "{json}");
        }
        for value in [r#""x""#, "1", "-1", "1.5", "true", r#"{"a":[{}]}"#] {
            let json = format!(r#"{{"batch":{value},"writeKey":"k"}}"#);
            let envelope: Envelope<'_> = serde_json::from_str(&json).unwrap();
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
