//! One event while rules change it.

use super::Compiled;
use super::field::Field;
use super::json::{Node, quoted};
use super::path::Path;
use pipeline::event::Event;
use pipeline::log::Stored;
use std::borrow::Cow;

type Text = Option<Cow<'static, str>>;

const OBJECTS: usize = Field::OBJECTS.len();

/// One event while rules change it. The texts of its objects are kept outside, so that what nobody
/// changes is borrowed from them.
pub(super) struct Editing<'a> {
    event: Stored<Event<'static>>,
    /// In the order of [`Field::OBJECTS`]; `None` where the event has none.
    objects: [Option<Node<'a>>; OBJECTS],
    changed: [bool; OBJECTS],
}

impl<'a> Editing<'a> {
    /// An event whose objects have these texts.
    pub(super) fn new(event: Stored<Event<'static>>, texts: &'a [Text; OBJECTS]) -> Self {
        let objects =
            texts.each_ref().map(|text| text.as_deref().map(|text| Node::Text(Cow::Borrowed(text.trim()))));
        Self { event, objects, changed: [false; OBJECTS] }
    }

    /// The event, and the new text of each object that is not as it was.
    pub(super) fn finish(self) -> (Stored<Event<'static>>, [Option<Text>; OBJECTS]) {
        let mut changed = self.changed.into_iter();
        let texts = self.objects.map(|object| {
            changed.next().unwrap_or_default().then(|| {
                object.map(|object| {
                    let mut text = String::new();
                    object.write(&mut text);
                    Cow::Owned(text)
                })
            })
        });
        (self.event, texts)
    }

    pub(super) fn apply(&mut self, rule: &'a Compiled) {
        match rule {
            Compiled::Drop { path } => self.remove(path),
            Compiled::Set { path, value } => {
                self.put(path, Node::Text(Cow::Borrowed(value)));
            }
            Compiled::Copy { from, to } => {
                let value = from.iter().find_map(|from| self.get(from).filter(|value| !value.is_null()));
                if let Some(value) = value {
                    self.put(to, value);
                }
            }
            Compiled::Rename { from, to } => self.rename(from, to),
        }
    }

    fn rename(&mut self, from: &'a Path, to: &'a Path) {
        let Some(value) = self.get(from) else { return };
        let same_field = from.field == to.field;
        if same_field && from.steps.starts_with(&to.steps) {
            // What is moved out of the value that it replaces goes with that value.
            self.put(to, value);
        } else if same_field && to.steps.starts_with(&from.steps) {
            if let Some(around) = Node::made(&to.steps[from.steps.len()..], value) {
                self.put(from, around);
            }
        } else if self.put(to, value) {
            self.remove(from);
        }
    }

    /// What is there.
    fn get(&mut self, path: &Path) -> Option<Node<'a>> {
        match path.field.object_index() {
            Some(index) => self.objects[index].as_mut()?.get(&path.steps).cloned(),
            None => path.field.text(&self.event).map(|text| Node::Text(Cow::Owned(quoted(&text)))),
        }
    }

    fn remove(&mut self, path: &Path) {
        let Some(index) = path.field.object_index() else {
            if let Some(place) = path.field.text_mut(&mut self.event.record) {
                *place = None;
            }
            return;
        };
        let object = &mut self.objects[index];
        self.changed[index] |= match object {
            Some(_) if path.steps.is_empty() => object.take().is_some(),
            Some(object) => object.remove(&path.steps),
            None => false,
        };
    }

    /// Puts a value there, if the field can take it, and says whether it could.
    fn put(&mut self, path: &Path, value: Node<'a>) -> bool {
        let Some(index) = path.field.object_index() else { return self.put_text(path.field, &value) };
        if path.steps.is_empty() && !value.is_object() {
            return false;
        }
        let object = self.objects[index].take();
        let none = object.is_none();
        let mut object = object.unwrap_or(Node::Text(Cow::Borrowed("{}")));
        let done = object.put(&path.steps, value);
        self.objects[index] = (done || !none).then_some(object);
        self.changed[index] |= done;
        done
    }

    fn put_text(&mut self, field: Field, value: &Node<'a>) -> bool {
        let text = value.to_text().filter(|text| !(field.is_id() && text.is_empty()));
        match (text, field.text_mut(&mut self.event.record)) {
            (Some(text), Some(place)) => {
                *place = Some(Cow::Owned(text));
                true
            }
            _ => false,
        }
    }
}
