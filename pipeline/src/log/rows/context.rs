//! The promoted values of an event's `context`, read in one pass.

pub(super) use crate::log::table::CONTEXT_COLUMNS;
use crate::log::table::{CONTEXT, Section};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A promoted value: text, or a number as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Number(&'a str),
}

impl<'a> Value<'a> {
    /// `None` for a value that is neither text nor a number.
    fn parse(json: &'a str) -> Option<Self> {
        match json.as_bytes().first()? {
            b'"' => {
                let inner = &json[1..json.len() - 1];
                if !inner.contains('\\') {
                    return Some(Self::Text(Cow::Borrowed(inner)));
                }
                serde_json::from_str::<String>(json).ok().map(|text| Self::Text(Cow::Owned(text)))
            }
            b'-' | b'0'..=b'9' => Some(Self::Number(json)),
            _ => None,
        }
    }

    /// The value as a whole number; `None` when it is none.
    pub(super) fn as_int(&self) -> Option<i64> {
        let Self::Number(text) = self else { return None };
        text.parse().ok().or_else(|| {
            let number: f64 = text.parse().ok()?;
            (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
        })
    }
}

/// Fills the values of one section, and at the top those of the sections within.
pub(super) struct Context<'v, 'a> {
    section: &'static Section,
    first: usize,
    values: &'v mut [Option<Value<'a>>; CONTEXT_COLUMNS],
}

impl<'a> Context<'_, 'a> {
    /// One value for each column of [`CONTEXT`]; the last one where a key is repeated.
    ///
    /// A value of another type than its column's leaves `None`, and so does text that is no JSON.
    pub(super) fn promoted(context: Option<&'a str>) -> [Option<Value<'a>>; CONTEXT_COLUMNS] {
        let mut values = [const { None }; CONTEXT_COLUMNS];
        if let Some(json) = context {
            let top = Context { section: &CONTEXT[0], first: 0, values: &mut values };
            // What is no object has no values; what was read before an error stands.
            let _ = top.deserialize(&mut serde_json::Deserializer::from_str(json));
        }
        values
    }
}

/// What a key of `context` leads to.
enum Target {
    Value(usize),
    Section(&'static Section, usize),
    Nothing,
}

struct Key(&'static Section, usize);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Target;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Target, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Target, E> {
        let Self(section, first) = self;
        if let Some(index) = section.columns.iter().position(|(name, _, _)| *name == key) {
            return Ok(Target::Value(first + index));
        }
        if section.name.is_empty() && !key.is_empty() {
            let mut first = 0;
            for section in &CONTEXT {
                if section.name == key {
                    return Ok(Target::Section(section, first));
                }
                first += section.columns.len();
            }
        }
        Ok(Target::Nothing)
    }
}

impl<'de> DeserializeSeed<'de> for Context<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Context<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(target) = map.next_key_seed(Key(self.section, self.first))? {
            match target {
                Target::Value(index) => {
                    self.values[index] = Value::parse(map.next_value::<&RawValue>()?.get());
                }
                Target::Section(section, first) => {
                    map.next_value_seed(Context { section, first, values: &mut *self.values })?;
                }
                Target::Nothing => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get<'a>(values: &'a [Option<Value<'a>>], column: &str) -> Option<&'a Value<'a>> {
        let columns = CONTEXT.iter().flat_map(|section| section.columns);
        values[columns.clone().position(|(_, name, _)| *name == column).unwrap()].as_ref()
    }

    #[test]
    fn values_are_found_wherever_they_stand() {
        let json = r#"{"other":{"ip":"no"},"page":{"path":"/\u00e4\n","deep":{"path":1},"url":7.10},
            "screen":{"width":1440,"height":900.0},"library":null,"os":[1,{"name":"no"}],"device":3,
            "app":{"name":{"a":1},"version":true},"ip":"1.2.3.4","groupId":"g","campaign":"x"}"#;
        let values = Context::promoted(Some(json));
        let text = |text: &'static str| Some(Value::Text(Cow::Borrowed(text)));
        assert_eq!(get(&values, "context_ip"), text("1.2.3.4").as_ref());
        assert_eq!(get(&values, "context_group_id"), text("g").as_ref());
        assert_eq!(get(&values, "context_page_path"), text("/ä\n").as_ref());
        assert_eq!(get(&values, "context_page_url"), Some(&Value::Number("7.10")));
        assert_eq!(get(&values, "context_screen_width").unwrap().as_int(), Some(1440));
        assert_eq!(get(&values, "context_screen_height").unwrap().as_int(), Some(900));
        assert_eq!(values.iter().flatten().count(), 6);
    }

    #[test]
    fn a_number_is_whole_or_it_is_none() {
        for (text, expected) in [("12", Some(12)), ("-3.0", Some(-3)), ("1.5", None), ("1e300", None)] {
            assert_eq!(Value::Number(text).as_int(), expected, "{text}");
        }
        assert_eq!(Value::Text("12".into()).as_int(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_a_panic(text in ".{0,60}", json in r#"[\[\]{}",:a-z0-9\\ ]{0,60}"#) {
            let _ = Context::promoted(Some(&text));
            let _ = Context::promoted(Some(&json));
        }
    }
}
