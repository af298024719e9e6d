//! The values of promoted keys in one JSON text.
//!
//! What `properties->>'key'` gives is defined by the function `json_as_text` of the queries, which
//! reads with jiter and takes the first of equal keys. Here the same parser walks the whole object
//! once for all keys, skipping each value as that function does. Where it meets an error the two
//! might differ, and the caller is told.

use hashbrown::HashMap;
use jiter::{Jiter, Peek};

/// A value, by its JSON type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
    /// An object or a list.
    Nested,
}

/// The parser gave up: what was given is right, what is missing is unknown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsure;

/// Gives each key of `keys` that has a value other than null: its number, the value's type, and the
/// text that `->>` gives.
pub(super) fn scan(
    json: &str,
    keys: &HashMap<String, usize>,
    seen: &mut Vec<bool>,
    mut found: impl FnMut(usize, Kind, &str),
) -> Result<(), Unsure> {
    seen.clear();
    seen.resize(keys.len(), false);
    each(json, |key| keys.get(key).copied().filter(|&at| !std::mem::replace(&mut seen[at], true)), &mut found)
}

/// The same for the keys that `wanted` gives a number; it must give none for a repeated key.
pub(super) fn each<T>(
    json: &str,
    mut wanted: impl FnMut(&str) -> Option<T>,
    found: &mut impl FnMut(T, Kind, &str),
) -> Result<(), Unsure> {
    let mut jiter = Jiter::new(json.as_bytes());
    let peek = jiter.peek().map_err(|_| Unsure)?;
    if peek != Peek::Object {
        return Ok(());
    }
    let mut key = jiter.known_object().map_err(|_| Unsure)?;
    while let Some(name) = key {
        let target = wanted(name);
        let peek = jiter.peek().map_err(|_| Unsure)?;
        let start = jiter.current_index();
        jiter.known_skip(peek).map_err(|_| Unsure)?;
        if let Some(target) = target {
            let raw = json.get(start..jiter.current_index()).ok_or(Unsure)?;
            value(target, peek, raw, found)?;
        }
        key = jiter.next_key().map_err(|_| Unsure)?;
    }
    Ok(())
}

/// Gives all keys and their values as JSON text, up to an error.
pub(super) fn all(json: &str, found: &mut impl FnMut(&str, &str)) {
    let mut jiter = Jiter::new(json.as_bytes());
    let mut name = String::new();
    let Ok(Peek::Object) = jiter.peek() else { return };
    let Ok(mut key) = jiter.known_object() else { return };
    while let Some(next) = key {
        name.clear();
        name.push_str(next);
        let Ok(peek) = jiter.peek() else { return };
        let start = jiter.current_index();
        if jiter.known_skip(peek).is_err() {
            return;
        }
        let Some(value) = json.get(start..jiter.current_index()) else { return };
        found(&name, value);
        let Ok(next) = jiter.next_key() else { return };
        key = next;
    }
}

fn value<T>(target: T, peek: Peek, raw: &str, found: &mut impl FnMut(T, Kind, &str)) -> Result<(), Unsure> {
    match peek {
        Peek::Null => {}
        Peek::String if is_plain(raw) => found(target, Kind::Text, &raw[1..raw.len() - 1]),
        Peek::String => {
            let mut text = Jiter::new(raw.as_bytes());
            found(target, Kind::Text, text.next_str().map_err(|_| Unsure)?);
        }
        Peek::True | Peek::False => found(target, Kind::Boolean, raw),
        Peek::Array | Peek::Object => found(target, Kind::Nested, raw),
        _ => found(target, Kind::Number, raw),
    }
    Ok(())
}

/// Whether a string stands as it is between its quotes.
fn is_plain(raw: &str) -> bool {
    raw.len() >= 2 && raw.bytes().all(|byte| byte != b'\\' && byte >= b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(json: &str) -> (Vec<(usize, Kind, String)>, bool) {
        let keys = HashMap::from([("a".to_owned(), 0), ("ä\n".to_owned(), 1)]);
        let mut values = Vec::new();
        let sure =
            scan(json, &keys, &mut Vec::new(), |at, kind, text| values.push((at, kind, text.to_owned())));
        (values, sure.is_ok())
    }

    #[test]
    fn the_first_of_equal_keys_counts_however_it_is_written() {
        let (values, sure) = scanned(r#"{"x":{"a":0},"\u00e4\n":"q\"","\u0061":1.50,"a":2,"ä\n":true}"#);
        assert!(sure);
        assert_eq!(values, [(1, Kind::Text, "q\"".to_owned()), (0, Kind::Number, "1.50".to_owned())]);
    }

    #[test]
    fn null_is_no_value_and_hides_a_repeat() {
        assert_eq!(scanned(r#"{"a":null,"a":2}"#), (vec![], true));
        assert_eq!(scanned(r#"[{"a":2}]"#), (vec![], true));
        assert_eq!(scanned(r#"{"a":[1, 2]}"#).0, [(0, Kind::Nested, "[1, 2]".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_is_unsure() {
        assert!(!scanned(r#"{"a":"\ud800"}"#).1);
        assert!(!scanned(r#"{"a":1,"#).1);
        assert!(!scanned("").1);
    }
}
