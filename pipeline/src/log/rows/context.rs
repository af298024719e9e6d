//! The promoted values of an event's `context`, read in one pass.

use crate::json::{self, Scanner};
pub(super) use crate::log::table::CONTEXT_COLUMNS;
use crate::log::table::{CONTEXT, Section};
use std::borrow::Cow;

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
            b'"' => json::string(json).map(Self::Text),
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

/// One value for each column of [`CONTEXT`]; the last one where a key is repeated.
///
/// A value of another type than its column's leaves `None`, and so does text that is no JSON; what was
/// read before an error stands.
pub(super) fn promoted(context: Option<&str>) -> [Option<Value<'_>>; CONTEXT_COLUMNS] {
    let mut values = [const { None }; CONTEXT_COLUMNS];
    if let Some(json) = context {
        let _ = fill(&mut Scanner::new(json), 0, &CONTEXT[0], &mut values);
    }
    values
}

/// Fills the values of one section, whose columns begin at `first`, and at the top those of the
/// sections within.
fn fill<'a>(
    scanner: &mut Scanner<'a>,
    first: usize,
    section: &Section,
    values: &mut [Option<Value<'a>>; CONTEXT_COLUMNS],
) -> Option<()> {
    scanner.object(|scanner, key| {
        if let Some(index) = section.columns.iter().position(|(name, _, _)| *name == key) {
            values[first + index] = Value::parse(scanner.value()?);
            return Some(());
        }
        match within(section, &key) {
            Some((section, first)) if scanner.peek()? == b'{' => fill(scanner, first, section, values),
            _ => scanner.value().map(drop),
        }
    })
}

/// The section that is named `key` in `section`, and where its columns begin.
fn within(section: &Section, key: &str) -> Option<(&'static Section, usize)> {
    if !section.name.is_empty() || key.is_empty() {
        return None;
    }
    let mut first = 0;
    CONTEXT.iter().find_map(|section| {
        let found = (section.name == key).then_some((section, first));
        first += section.columns.len();
        found
    })
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
        let values = promoted(Some(json));
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
            let _ = promoted(Some(&text));
            let _ = promoted(Some(&json));
        }
    }
}
