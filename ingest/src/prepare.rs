//! From the text of a request to a batch for the log, without waiting for anything.

use crate::answer::{Fault, Outcomes};
use crate::envelope::{Envelope, ITEMS_MAX, Items};
use crate::item::Item;
use crate::object::Object;
use crate::quota::Quota;
use crate::rules::{self, Broken, MessageId, replaced};
use crate::shared::Shared;
use crate::text::{Text, cut};
use crate::{Config, auth};
use pipeline::Micros;
use pipeline::control::{Keys, Source, SourceKind};
use pipeline::event::{Flags, Kind, Rejected};
use pipeline::log::{Batch, Origin};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Of a rejected event no more than this is kept.
const REJECTED_BODY_BYTES_MAX: usize = 1 << 20;

/// What the envelope gives to all items together may grow to this, because it is stored with each.
const SHARED_BYTES_MAX: usize = 16 << 20;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// One event of this kind; without it, of the kind that it says itself.
    One(Option<Kind>),
    /// An envelope with a batch.
    Batch,
}

/// What is known of a request besides its body.
pub(crate) struct Request {
    pub(crate) call: Call,
    /// The source whose key stood in a header or in the query.
    pub(crate) source: Option<Arc<Source>>,
    /// The client's address.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) now: Micros,
}

/// What preparing needs of the server.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) config: Arc<Config>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) quota: Arc<Quota>,
}

/// A request that is ready for the log.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) source: Arc<str>,
    pub(crate) batch: Batch,
    pub(crate) outcomes: Outcomes,
}

/// Takes a body apart, checks each of its events, and encodes them.
pub(crate) fn prepare(tools: &Tools, request: &Request, body: &[u8]) -> Result<Prepared, Fault> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let raw = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        Fault::bad("invalid_json", format!("the body is not UTF-8: the byte at position {at} is wrong"))
    })?;
    let text = Text::new(raw);
    match request.call {
        Call::One(kind) => one(tools, request, kind, &text),
        Call::Batch => batch(tools, request, &text),
    }
}

fn one(tools: &Tools, request: &Request, kind: Option<Kind>, text: &Text<'_>) -> Result<Prepared, Fault> {
    let (json, item) = match Item::parse(text.clean()) {
        Some(item) => (text.clean().trim_ascii(), Some(item)),
        None => (serde_json::from_str::<&RawValue>(text.clean()).map_err(not_json)?.get(), None),
    };
    let write_key = item.as_ref().and_then(|item| item.write_key);
    let source = source(tools, request, write_key)?;
    let shared = Shared::new(None, None, None, public_ip(&source, request));
    let mut intake = Intake::new(tools, request.now, &source, text, 1);
    intake.take(kind, json, item, &shared, false);
    Ok(intake.prepared)
}

fn batch(tools: &Tools, request: &Request, text: &Text<'_>) -> Result<Prepared, Fault> {
    let envelope = envelope(text.clean())?;
    let source = source(tools, request, envelope.write_key)?;
    let items = match envelope.batch {
        Items::Absent => return Err(empty_batch()),
        Items::Other => return Err(Fault::bad("bad_request", "`batch` must be an array of events")),
        Items::List(items) if items.count == 0 => return Err(empty_batch()),
        Items::List(items) => items,
    };
    let received = items.count;
    let flood = (tools.config.batch_events_max * 10).min(ITEMS_MAX);
    if received > flood {
        let message = format!("the batch has {received} events; more than {flood} are refused unread");
        return Err(Fault::too_large(message));
    }
    let parts = [envelope.context, envelope.integrations, envelope.sent_at];
    let shared_bytes: usize = parts.into_iter().flatten().map(str::len).sum();
    if shared_bytes.saturating_mul(items.len()) > SHARED_BYTES_MAX {
        let message = format!(
            "the envelope's {shared_bytes} bytes would be stored with each of {received} events; \
             allowed are {SHARED_BYTES_MAX} bytes in all"
        );
        return Err(Fault::too_large(message));
    }
    let changed = replaced_in(text, &parts);
    let [context, integrations, sent_at] = parts;
    let shared = Shared::new(context, integrations, sent_at, public_ip(&source, request));
    let mut intake = Intake::new(tools, request.now, &source, text, received);
    for (index, (json, item)) in items.into_items().enumerate() {
        if index < tools.config.batch_events_max {
            intake.take(None, json, item, &shared, changed);
        } else {
            let max = tools.config.batch_events_max;
            let message =
                format!("the batch has {received} events; allowed are {max}, this one is behind them");
            let id = item.and_then(|item| MessageId::read(item.message_id, String::new).ok());
            let given = id.filter(|id| !id.is_made()).map(|id| id.id);
            intake.reject(given, json, Broken::item("batch_too_long", message));
        }
    }
    Ok(intake.prepared)
}

fn envelope(text: &str) -> Result<Envelope<'_>, Fault> {
    Envelope::read(text).ok_or_else(|| match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Fault::bad("bad_request", "the body must be an object with a `batch` of events"),
        Err(error) => not_json(error),
    })
}

fn not_json(error: serde_json::Error) -> Fault {
    Fault::bad("invalid_json", format!("the body is not JSON: {error}"))
}

fn empty_batch() -> Fault {
    Fault::bad("empty_batch", "there is no event in `batch`")
}

fn source(tools: &Tools, request: &Request, write_key: Option<&str>) -> Result<Arc<Source>, Fault> {
    match &request.source {
        Some(source) => Ok(Arc::clone(source)),
        None => auth::source(&tools.keys, auth::body_key(write_key).as_deref()),
    }
}

/// The address to fill in: a server's own says nothing about a user.
fn public_ip(source: &Source, request: &Request) -> Option<IpAddr> {
    request.ip.filter(|_| source.kind == SourceKind::Browser)
}

fn replaced_in(text: &Text<'_>, parts: &[Option<&str>]) -> bool {
    parts.iter().flatten().any(|part| text.replaced_in(part))
}

/// A request whose items are being taken in.
pub(crate) struct Intake<'r, 't> {
    tools: &'r Tools,
    now: Micros,
    text: &'r Text<'t>,
    pub(crate) prepared: Prepared,
}

impl<'r, 't> Intake<'r, 't> {
    pub(crate) fn new(
        tools: &'r Tools,
        now: Micros,
        source: &Source,
        text: &'r Text<'t>,
        received: usize,
    ) -> Self {
        let name: Arc<str> = source.name.as_str().into();
        let origin = Origin { source: Arc::clone(&name), test: source.test };
        let batch = Batch::new(origin, u32::try_from(received).unwrap_or(u32::MAX));
        let prepared = Prepared { source: name, batch, outcomes: Outcomes::default() };
        Self { tools, now, text, prepared }
    }

    /// Takes in one item; `changed` when characters were replaced in what all items share.
    fn take<'a>(
        &mut self,
        kind: Option<Kind>,
        json: &'a str,
        item: Option<Item<'a>>,
        shared: &'a Shared<'a>,
        changed: bool,
    ) {
        let now = self.now;
        let make = || new_message_id(now);
        self.take_with(kind, json, item, shared, replaced(changed), make);
    }

    /// Takes in one item, which gets these flags, and an id that is made where it has none.
    pub(crate) fn take_with<'a>(
        &mut self,
        kind: Option<Kind>,
        json: &'a str,
        item: Option<Item<'a>>,
        shared: &'a Shared<'a>,
        flags: Flags,
        make_message_id: impl FnOnce() -> String,
    ) {
        let Some(item) = item else {
            let message = format!("an event is `{}`; it must be an object", rules::shown(json));
            return self.reject(None, json, Broken::item("bad_request", message));
        };
        let message_id = match MessageId::read(item.message_id, make_message_id) {
            Ok(message_id) => message_id,
            Err(broken) => return self.reject(None, json, broken),
        };
        let given = (!message_id.is_made()).then(|| message_id.id.clone());
        if let Err(broken) = self.check_size(json) {
            return self.reject(given, json, broken);
        }
        match rules::check(kind, message_id, item, shared) {
            Err(broken) => self.reject(given, json, broken),
            Ok(mut event) => {
                event.flags.insert(flags.union(replaced(self.text.replaced_in(json))));
                self.prepared.batch.push_event(&event);
                self.prepared.outcomes.good(&event.message_id);
            }
        }
    }

    /// Whether an item is small enough.
    pub(crate) fn check_size(&self, json: &str) -> Result<(), Broken> {
        let max = self.tools.config.event_bytes_max;
        if json.len() <= max {
            return Ok(());
        }
        Err(too_large(json, max))
    }

    /// Keeps one item aside.
    pub(crate) fn reject(&mut self, message_id: Option<Cow<'_, str>>, json: &str, broken: Broken) {
        let raw = without_key(self.text, json);
        let body = cut(&raw, REJECTED_BODY_BYTES_MAX);
        let is_kept = self.tools.quota.take(&self.prepared.source, body.len() as u64, self.now);
        self.prepared.batch.push_rejected(&Rejected {
            code: broken.code.into(),
            field: broken.field.as_deref().map(Cow::Borrowed),
            message: broken.message.as_str().into(),
            message_id: message_id.as_deref().map(Cow::Borrowed),
            body: is_kept.then_some(Cow::Borrowed(body)),
            body_bytes: json.len() as u64,
        });
        self.prepared.outcomes.rejected(message_id.as_deref(), broken);
    }
}

/// An event that is too large.
pub(crate) fn too_large(json: &str, max: usize) -> Broken {
    Broken::item("event_too_large", format!("the event has {} bytes; allowed are {max}", json.len()))
}

/// An item as the client wrote it, but without its write key, which is nobody's business.
fn without_key<'t>(text: &Text<'t>, json: &str) -> Cow<'t, str> {
    let raw = text.raw_of(json);
    let may_have_one = |name: &[u8]| memchr::memmem::find(raw.as_bytes(), name).is_some();
    if !may_have_one(b"rite") && !may_have_one(b"\\u") {
        return Cow::Borrowed(raw);
    }
    let Some(mut object) = Object::parse(json) else { return Cow::Borrowed(raw) };
    if !object.0.iter().any(|(key, _)| auth::is_key_name(key)) {
        return Cow::Borrowed(raw);
    }
    object.0.retain(|(key, _)| !auth::is_key_name(key));
    object.0.iter_mut().for_each(|(_, value)| *value = text.raw_of(value));
    Cow::Owned(object.to_json())
}

/// A UUID of version 7, so that ids made by the server sort by time.
fn new_message_id(now: Micros) -> String {
    let seconds = u64::try_from(now.div_euclid(1_000_000)).unwrap_or(0);
    let nanos = now.rem_euclid(1_000_000) as u32 * 1_000;
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).to_string()
}

#[cfg(test)]
mod tests;
