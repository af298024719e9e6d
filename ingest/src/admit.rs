//! Rejected events that come again, as they were or corrected, judged by the rules of HTTP.

use crate::answer::Counts;
use crate::item::Item;
use crate::meter;
use crate::object::put_entry;
use crate::prepare::too_large;
use crate::rules::{self, Broken, MessageId, replaced, shown};
use crate::shared::Shared;
use crate::text::Text;
use crate::{Config, Ingest};
use pipeline::Micros;
use pipeline::control::Source;
use pipeline::event::{Event, Flags};
use pipeline::log::{AppendError, Batch, Offset, Origin, PartitionId};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// The key in `extra` that leads to the rejected record; a client's own is left out.
const ADMITTED_FROM: &str = "admitted_from";

/// An event that was rejected, as it is to be admitted.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// The name of its source.
    pub source: String,
    /// The partition of the rejected record.
    pub partition: PartitionId,
    /// Its offset there.
    pub offset: Offset,
    /// When it came.
    pub received_at: Micros,
    /// The message id that it came with.
    pub message_id: Option<String>,
    /// The event as JSON.
    pub event: String,
}

/// What became of an event; it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its message id.
    pub message_id: String,
    /// Its offset and when it was received; `None` where the id had been stored before.
    pub at: Option<(Offset, Micros)>,
}

/// Why an event was not admitted. Nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// There is no such source any more.
    #[error("there is no source `{0}`")]
    UnknownSource(String),
    /// The source takes no events. Enable it.
    #[error("the source `{0}` is switched off")]
    DisabledSource(String),
    /// It breaks a rule still. Correct the field.
    #[error("{message}")]
    Broken {
        /// The stable word for the rule.
        code: &'static str,
        /// The field, where there is one.
        field: Option<String>,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The log did not take it. See [`AppendError`].
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<Broken> for AdmitError {
    fn from(Broken { code, field, message }: Broken) -> Self {
        Self::Broken { code, field, message }
    }
}

impl Repaired {
    /// The message id it gets: its own, or one that is made of the record's address. So admitting a
    /// record twice stores it once.
    pub fn kept_message_id(&self) -> Cow<'_, str> {
        match &self.message_id {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(made_message_id(&self.partition, self.offset)),
        }
    }
}

/// The message id of an event that came without one, made of the address of the rejected record.
pub fn made_message_id(partition: &PartitionId, offset: Offset) -> String {
    format!("rejected-{partition}-{offset}")
}

impl Ingest {
    /// Admits an event that was rejected; when it returns, the event is durable.
    ///
    /// # Errors
    /// See [`AdmitError`].
    pub async fn admit(&self, repaired: Repaired) -> Result<Admitted, AdmitError> {
        let source = self.source_of(&repaired)?;
        let origin = Origin { source: source.name.as_str().into(), test: source.test };
        let mut batch = Batch::new(origin, 1);
        judge(&self.tools.config, &repaired, |event| batch.push_event(event))?;
        let appended = self.log.append(batch).await?;
        let is_new = appended.duplicates.is_empty();
        let (accepted, duplicate) = (usize::from(is_new), usize::from(!is_new));
        meter::items(&source.name, Counts { accepted, duplicate, rejected: 0 });
        // The receipt comes first, then the event.
        let at = is_new.then_some((appended.offset + 1, appended.received_at));
        Ok(Admitted { message_id: repaired.kept_message_id().into_owned(), at })
    }

    /// Says whether an event would be admitted now; nothing is stored. Whether its id is known already is
    /// seen only when it is.
    ///
    /// # Errors
    /// See [`AdmitError`].
    pub fn check(&self, repaired: &Repaired) -> Result<(), AdmitError> {
        self.source_of(repaired)?;
        Ok(judge(&self.tools.config, repaired, |_| {})?)
    }

    /// The source of an event, when it takes any.
    fn source_of(&self, repaired: &Repaired) -> Result<Arc<Source>, AdmitError> {
        let Some(source) = self.tools.keys.source_named(&repaired.source) else {
            return Err(AdmitError::UnknownSource(repaired.source.clone()));
        };
        if !source.enabled {
            return Err(AdmitError::DisabledSource(repaired.source.clone()));
        }
        Ok(source)
    }
}

/// Makes the event and hands it on.
fn judge(config: &Config, repaired: &Repaired, take: impl FnOnce(&Event<'_>)) -> Result<(), Broken> {
    let text = Text::new(&repaired.event);
    let not_json = |error| Broken::item("invalid_json", format!("the event is not JSON: {error}"));
    let json = serde_json::from_str::<&RawValue>(text.clean()).map_err(not_json)?.get();
    if json.len() > config.event_bytes_max {
        return Err(too_large(json, config.event_bytes_max));
    }
    let mut item = Item::parse(json).ok_or_else(|| {
        Broken::item("bad_request", format!("an event is `{}`; it must be an object", shown(json)))
    })?;
    item.extra.0.retain(|(key, _)| key != ADMITTED_FROM);
    let kept = repaired.kept_message_id();
    let message_id = MessageId::read(item.message_id, || kept.clone().into_owned())?;
    if message_id.id != kept {
        let message =
            format!("`messageId` is `{}`; it must stay `{kept}` or be left out", shown(&message_id.id));
        return Err(Broken::new("bad_request", "messageId", message));
    }
    let shared = Shared::new(None, None, None, None);
    let mut event = rules::check(None, message_id, item, &shared)?;
    let (happened, flags) = event.timestamp(repaired.received_at);
    event.original_timestamp = Some(happened);
    event.flags.insert(flags.union(Flags::ADMITTED).union(replaced(text.replaced_in(json))));
    let mut extra = event.extra.map_or_else(|| "{}".to_owned(), Cow::into_owned);
    put_entry(&mut extra, ADMITTED_FROM, &format!("\"{}:{}\"", repaired.partition, repaired.offset));
    event.extra = Some(Cow::Owned(extra));
    take(&event);
    Ok(())
}
