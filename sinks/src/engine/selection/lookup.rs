//! Reads one member of a JSON object without reading the others.

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The text of the member called `name` of the JSON object `text`: of the last one, where there are
/// several, as most parsers have it. `None` when there is none, or `text` is no object.
pub(super) fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_map(Find(name)).ok().flatten()
}

struct Find<'n>(&'n str);

impl<'a> Visitor<'a> for Find<'_> {
    type Value = Option<&'a str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = members.next_key_seed(Is(self.0))? {
            if is_it {
                found = Some(members.next_value::<&'a RawValue>()?.get());
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one, without making a string of it.
struct Is<'n>(&'n str);

impl<'a> DeserializeSeed<'a> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::member;

    #[test]
    fn a_member_is_read_as_it_is_written() {
        for (text, found) in [
            ("{}", None),
            (r#"{"a":1}"#, Some("1")),
            (r#"{"b":{"a":2}}"#, None),
            (r#"{"b":{"a":2}, "a" : {"x": [1 , 2]} }"#, Some(r#"{"x": [1 , 2]}"#)),
            (r#"{"a":1,"a":2}"#, Some("2")),
            (r#"{"\u0061":1e400}"#, Some("1e400")),
            (r#"{"a":"x","\\":1}"#, Some(r#""x""#)),
            (r#"{"A":1}"#, None),
            ("[1]", None),
            ("null", None),
            ("", None),
            (r#"{"a":1"#, None),
        ] {
            assert_eq!(member(text, "a"), found, "{text}");
        }
    }
}
