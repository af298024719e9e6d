//! JSON that is only looked into where somebody goes.

use super::path::Step;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A JSON value. What nobody went into is still its text, so it is written back byte for byte, and
/// members keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node<'a> {
    /// Text that nobody looked into.
    Text(Cow<'a, str>),
    Object(Vec<(Cow<'a, str>, Self)>),
    List(Vec<Self>),
}

impl<'a> Node<'a> {
    /// What is there; `None` when nothing is.
    pub(super) fn get(&mut self, steps: &[Step]) -> Option<&Self> {
        let Some((step, rest)) = steps.split_first() else { return Some(self) };
        self.child(step)?.get(rest)
    }

    /// Takes out what is there, and says whether something was.
    pub(super) fn remove(&mut self, steps: &[Step]) -> bool {
        let Some((step, rest)) = steps.split_first() else { return false };
        if !rest.is_empty() {
            return self.child(step).is_some_and(|child| child.remove(rest));
        }
        self.open();
        match (self, step) {
            (Self::Object(members), Step::Key(name)) => {
                let before = members.len();
                // All of them, or an earlier one of the same name would come to light.
                members.retain(|(key, _)| **key != **name);
                members.len() < before
            }
            (Self::List(elements), &Step::Index(index)) if index < elements.len() => {
                elements.remove(index);
                true
            }
            _ => false,
        }
    }

    /// Puts a value there, in place of what is there, and makes what is missing on the way. Says
    /// whether it could; otherwise nothing is changed.
    pub(super) fn put(&mut self, steps: &[Step], value: Self) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            *self = value;
            return true;
        };
        if let Some(child) = self.child(step) {
            return child.put(rest, value);
        }
        let Some(made) = Self::made(rest, value) else { return false };
        if self.is_null() {
            return Self::made(std::slice::from_ref(step), made).map(|made| *self = made).is_some();
        }
        match (self, step) {
            (Self::Object(members), Step::Key(name)) => {
                members.push((Cow::Owned(name.clone().into()), made));
                true
            }
            (Self::List(elements), &Step::Index(index)) if index == elements.len() => {
                elements.push(made);
                true
            }
            _ => false,
        }
    }

    /// The value with everything around it that leads to it; `None` where a list would begin with
    /// another element than its first.
    pub(super) fn made(steps: &[Step], value: Self) -> Option<Self> {
        steps.iter().rev().try_fold(value, |value, step| match step {
            Step::Key(name) => Some(Self::Object(vec![(Cow::Owned(name.clone().into()), value)])),
            Step::Index(0) => Some(Self::List(vec![value])),
            Step::Index(_) => None,
        })
    }

    /// The member or element of this step; of several members with one name the last, as most parsers
    /// have it.
    fn child(&mut self, step: &Step) -> Option<&mut Self> {
        self.open();
        match (self, step) {
            (Self::Object(members), Step::Key(name)) => {
                members.iter_mut().rev().find(|(key, _)| **key == **name).map(|(_, child)| child)
            }
            (Self::List(elements), &Step::Index(index)) => elements.get_mut(index),
            _ => None,
        }
    }

    /// Looks into text. What is no object and no list, or owned, stays as it is: owned text is always
    /// a string.
    fn open(&mut self) {
        let Self::Text(Cow::Borrowed(text)) = *self else { return };
        let opened = match text.as_bytes().first() {
            Some(b'{') => {
                serde_json::from_str::<Members<'a>>(text).map(|Members(members)| Self::Object(members))
            }
            Some(b'[') => serde_json::from_str::<Vec<&'a RawValue>>(text)
                .map(|elements| Self::List(elements.into_iter().map(of).collect())),
            _ => return,
        };
        if let Ok(opened) = opened {
            *self = opened;
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Text(text) if text == "null")
    }

    pub(super) fn is_object(&self) -> bool {
        match self {
            Self::Object(_) => true,
            Self::Text(text) => text.starts_with('{'),
            Self::List(_) => false,
        }
    }

    /// The text that a string holds, or that a number is written as; `None` for anything else.
    pub(super) fn to_text(&self) -> Option<String> {
        let Self::Text(text) = self else { return None };
        match text.as_bytes().first()? {
            b'"' => serde_json::from_str(text).ok(),
            b'-' | b'0'..=b'9' => Some(text.clone().into_owned()),
            _ => None,
        }
    }

    /// Appends its text.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::List(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&quoted(key));
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn of(text: &RawValue) -> Node<'_> {
    Node::Text(Cow::Borrowed(text.get()))
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct All;
        impl<'a> Visitor<'a> for All {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut input: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = input.next_entry::<Key<'a>, &'a RawValue>()? {
                    members.push((key, of(value)));
                }
                Ok(Members(members))
            }
        }
        reader.deserialize_map(All)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
