//! Which events a destination gets.

mod condition;
mod consent;
mod integrations;
mod lookup;
mod suppression;
#[cfg(test)]
mod tests;

pub(crate) use integrations::include;

use consent::{Given, given};
use pipeline::condition::Condition;
use pipeline::connection::{Consent, Routing, Suppressed};
use pipeline::event::{Event, Flags, Kind};
use pipeline::log::{INTERNAL_SOURCE, Stored};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which events a destination gets: the whole of its routing, compiled.
///
/// What decides, in this order: whether the event's source is a test, whether it was imported and nobody
/// asked to deliver it, its kind, its name, its `integrations` object, suppression, consent, and last the condition. The first that keeps the event
/// back is the reason.
#[derive(Clone)]
pub struct Selection {
    kinds: Vec<Kind>,
    names: BTreeSet<Box<str>>,
    known_as: KnownAs,
    consent: Consent,
    suppressed: Arc<Suppressed>,
    condition: Option<Arc<dyn Condition>>,
    imported: bool,
}

/// The names that a destination goes by in `integrations` objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownAs {
    /// The connection's name and the vendor's names; the first that an event mentions decides.
    pub names: Vec<String>,
    /// Whether the destination gets only events that mention it, as Salesforce does at Segment.
    pub explicit: bool,
}

/// What is done with an event at a destination. A reason is one stable word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is sent.
    Send,
    /// The destination does not want it: `test_source`, `internal`, `imported`,
    /// `kind`, `name`, `integrations` or `condition`.
    Filtered(&'static str),
    /// The person does not want it sent: `suppressed_user_id`, `suppressed_anonymous_id`,
    /// `suppressed_previous_id`, `suppressed_email`, `consent`, or `consent_unknown` where the event
    /// does not say and has to.
    Suppressed(&'static str),
    /// Nobody can tell, so it becomes a dead letter: `condition_failed`.
    Refused {
        /// The word.
        reason: &'static str,
        /// What went wrong.
        detail: String,
    },
}

/// What is wrong with a routing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A kind of call that there is not.
    #[error("`kinds` names `{0}`, but there are only track, identify, page, screen, group and alias")]
    Kind(String),
}

impl Selection {
    /// The selection of a destination with this routing. `condition` is the routing's, compiled.
    ///
    /// # Errors
    /// When the routing names a kind that there is not.
    pub fn new(
        routing: &Routing,
        known_as: KnownAs,
        suppressed: Arc<Suppressed>,
        condition: Option<Arc<dyn Condition>>,
    ) -> Result<Self, SelectionError> {
        let kind = |name: &String| Kind::parse(name).ok_or_else(|| SelectionError::Kind(name.clone()));
        Ok(Self {
            kinds: routing.kinds.iter().map(kind).collect::<Result<_, _>>()?,
            names: routing.names.iter().map(|name| name.as_str().into()).collect(),
            known_as,
            consent: routing.consent.clone(),
            suppressed,
            condition,
            imported: false,
        })
    }

    /// The same selection, but with all imported events: a replay asks for them by being made.
    #[must_use]
    pub fn with_imported(self) -> Self {
        Self { imported: true, ..self }
    }

    /// The same selection with a newer list of suppressed people.
    #[must_use]
    pub fn with_suppressed(self, suppressed: Arc<Suppressed>) -> Self {
        Self { suppressed, ..self }
    }

    /// What is done with each of the events, in their order.
    pub fn decide(&self, events: &[Stored<Event<'static>>]) -> Vec<Decision> {
        let mut decisions: Vec<_> = events.iter().map(|event| self.alone(event)).collect();
        if let Some(condition) = &self.condition {
            condition::decide(condition.as_ref(), events, &mut decisions);
        }
        decisions
    }

    /// What everything but the condition says.
    fn alone(&self, event: &Stored<Event<'static>>) -> Decision {
        if let Some(reason) = self.unwanted(event) {
            return Decision::Filtered(reason);
        }
        let event = &event.record;
        if let Some(reason) = suppression::reason(&self.suppressed, event) {
            return Decision::Suppressed(reason);
        }
        match given(&self.consent, event.context.as_deref()) {
            Given::Yes => Decision::Send,
            Given::No => Decision::Suppressed("consent"),
            Given::Unknown if self.consent.required => Decision::Suppressed("consent_unknown"),
            Given::Unknown => Decision::Send,
        }
    }

    fn unwanted(&self, event: &Stored<Event<'static>>) -> Option<&'static str> {
        if event.test {
            return Some("test_source");
        }
        if *event.source == *INTERNAL_SOURCE {
            return Some("internal");
        }
        let event = &event.record;
        let is_held = |flags: Flags| flags.contains(Flags::IMPORTED) && !flags.contains(Flags::FOR_DELIVERY);
        if !self.imported && is_held(event.flags) {
            return Some("imported");
        }
        if !self.kinds.is_empty() && !self.kinds.contains(&event.kind) {
            return Some("kind");
        }
        if event.kind == Kind::Track && !self.names.is_empty() {
            let known = event.event.as_deref().is_some_and(|name| self.names.contains(name));
            if !known {
                return Some("name");
            }
        }
        let KnownAs { names, explicit } = &self.known_as;
        let included = include(event.integrations.as_deref(), names, *explicit);
        (!included).then_some("integrations")
    }
}
