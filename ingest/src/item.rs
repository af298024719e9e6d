//! One event as the client wrote it, its known fields told apart and still text.

use crate::object::Object;
use pipeline::json::Scanner;

/// The fields of an item as JSON. Of a key that stands twice the last counts, and `null` is as good
/// as absent. Names are those of the Segment Spec, "Common fields" (read 2026-11).
#[derive(Clone, Debug, Default)]
pub(crate) struct Item<'a> {
    pub(crate) kind: Option<&'a str>,
    pub(crate) message_id: Option<&'a str>,
    pub(crate) anonymous_id: Option<&'a str>,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) group_id: Option<&'a str>,
    pub(crate) previous_id: Option<&'a str>,
    pub(crate) event: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    pub(crate) category: Option<&'a str>,
    pub(crate) timestamp: Option<&'a str>,
    pub(crate) original_timestamp: Option<&'a str>,
    pub(crate) sent_at: Option<&'a str>,
    pub(crate) properties: Option<&'a str>,
    pub(crate) traits: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
    pub(crate) integrations: Option<&'a str>,
    /// Never kept, for it is a key.
    pub(crate) write_key: Option<&'a str>,
    /// All other fields, in their order.
    pub(crate) extra: Object<'a>,
}

impl<'a> Item<'a> {
    /// Reads an item; `None` when `json` is no object.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        let mut scanner = Scanner::new(json);
        let item = Self::read(&mut scanner)?;
        scanner.peek().is_none().then_some(item)
    }

    /// Reads the object that comes next; `None` when there is none.
    pub(crate) fn read(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut item = Self::default();
        scanner.object(|scanner, key| {
            let value = scanner.value()?;
            match item.slot(&key) {
                Some(slot) => *slot = (value != "null").then_some(value),
                None => item.extra.0.push((key, value)),
            }
            Some(())
        })?;
        item.extra.keep_last();
        Some(item)
    }

    /// The known fields with their names, as far as they may be nested.
    pub(crate) fn nested(&self) -> [(&'static str, Option<&'a str>); 4] {
        [
            ("properties", self.properties),
            ("traits", self.traits),
            ("context", self.context),
            ("integrations", self.integrations),
        ]
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<&'a str>> {
        Some(match key {
            "type" => &mut self.kind,
            "messageId" => &mut self.message_id,
            "anonymousId" => &mut self.anonymous_id,
            "userId" => &mut self.user_id,
            "groupId" => &mut self.group_id,
            "previousId" => &mut self.previous_id,
            "event" => &mut self.event,
            "name" => &mut self.name,
            "category" => &mut self.category,
            "timestamp" => &mut self.timestamp,
            "originalTimestamp" => &mut self.original_timestamp,
            "sentAt" => &mut self.sent_at,
            "properties" => &mut self.properties,
            "traits" => &mut self.traits,
            "context" => &mut self.context,
            "integrations" => &mut self.integrations,
            "writeKey" | "writekey" => &mut self.write_key,
            _ => return None,
        })
    }
}
