//! A JSON object of which only the first level is looked at.

use crate::text::put_string;
use pipeline::json::Scanner;
use std::borrow::Cow;
use std::collections::HashSet;

/// Up to so many keys a look at each is cheaper than a set of them.
const FEW: usize = 24;

/// The entries of an object in their order; their values stay text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object<'a>(pub(crate) Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Object<'a> {
    /// Reads an object; `None` when `json` is any other value.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        let (mut scanner, mut entries) = (Scanner::new(json), Vec::with_capacity(16));
        scanner.object(|scanner, key| {
            entries.push((key, scanner.value()?));
            Some(())
        })?;
        scanner.peek().is_none().then_some(Self(entries))
    }

    /// The value of `key`; where it stands twice, the last one.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Leaves only the last entry of each key.
    pub(crate) fn keep_last(&mut self) {
        let known_before = |at: usize| self.0[..at].iter().any(|(key, _)| *key == self.0[at].0);
        if self.0.len() <= FEW && !(1..self.0.len()).any(known_before) {
            return;
        }
        let mut seen: HashSet<Cow<'a, str>> = HashSet::with_capacity(self.0.len());
        let mut kept: Vec<_> = self.0.drain(..).rev().filter(|(key, _)| seen.insert(key.clone())).collect();
        kept.reverse();
        self.0 = kept;
    }

    /// The entries whose key `other` does not have.
    pub(crate) fn without<'b>(
        &'b self,
        other: &'b Self,
    ) -> impl Iterator<Item = &'b (Cow<'a, str>, &'a str)> {
        let set: Option<HashSet<&str>> =
            (other.0.len() > FEW).then(|| other.0.iter().map(|(key, _)| &**key).collect());
        self.0.iter().filter(move |(key, _)| match &set {
            Some(set) => !set.contains(&**key),
            None => other.get(key).is_none(),
        })
    }

    /// The object as JSON.
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::from("{}");
        for (key, value) in &self.0 {
            put_entry(&mut json, key, value);
        }
        json
    }
}

/// Adds an entry to the end of the object that `json` is; `value` is JSON.
pub(crate) fn put_entry(json: &mut String, key: &str, value: &str) {
    json.truncate(json.trim_end().strip_suffix('}').unwrap_or(json).trim_end().len());
    if !json.ends_with('{') {
        json.push(',');
    }
    put_string(json, key);
    json.push(':');
    json.push_str(value);
    json.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_added_to_any_object() {
        for (json, expected) in [
            ("{}", r#"{"k":1}"#),
            ("{ }", r#"{"k":1}"#),
            (r#"{"a":{}}"#, r#"{"a":{},"k":1}"#),
            (r#"{"a":[1, 2] }"#, r#"{"a":[1, 2],"k":1}"#),
        ] {
            let mut json = json.to_owned();
            put_entry(&mut json, "k", "1");
            assert_eq!(json, expected);
        }
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_counts() {
        let mut object = Object::parse(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap();
        assert_eq!(object.get("a"), Some("3"));
        object.keep_last();
        assert_eq!(object.to_json(), r#"{"b":2,"a":3}"#);
    }

    #[test]
    fn many_keys_are_told_apart_like_few() {
        let many: String = (0..100).map(|n| format!("\"k{n}\":{n},")).collect();
        let many = format!("{{{}}}", many.trim_end_matches(','));
        let many = Object::parse(&many).unwrap();
        let few = Object::parse(r#"{"k7":0,"x":1}"#).unwrap();
        assert_eq!(few.without(&many).map(|(key, _)| &**key).collect::<Vec<_>>(), ["x"]);
        assert_eq!(many.without(&few).count(), 99);
    }
}
