//! What happens to a connection that cannot be delivered to: its state changes, and the log says so.

use super::Parts;
use crate::engine::{Hold, Owner, Sink};
use async_trait::async_trait;
use pipeline::connection::{Connection, Reason, State};
use pipeline::delivery::{Class, LaneId};
use pipeline::event::{Event, Kind};
use pipeline::log::{Batch, INTERNAL_SOURCE, Origin};
use serde_json::json;
use std::sync::Arc;

/// Owns one destination while its lanes run.
pub(super) struct Custodian {
    pub(super) parts: Arc<Parts>,
    pub(super) connection: Connection,
}

#[async_trait]
impl Owner for Custodian {
    fn on_hold(&self, _: &LaneId, hold: &Hold) {
        let (parts, connection, hold) = (Arc::clone(&self.parts), self.connection.clone(), hold.clone());
        tokio::spawn(async move { move_to(&parts, &connection, &hold).await });
    }

    /// Keys do not grow old; there is nothing to renew.
    async fn renew(&self, _: &LaneId) -> Option<Arc<dyn Sink>> {
        None
    }
}

/// Holds a connection that cannot even be started.
pub(super) async fn hold_unusable(parts: &Parts, connection: &Connection, why: String) {
    let name = &connection.name;
    tracing::warn!(connection.id = %connection.id, why, "`{name}` is held: it cannot be used as it is");
    let remedy = "Change what the message names, then resume the connection.".to_owned();
    move_to(parts, connection, &Hold { class: Class::BlockedEgress, status: None, detail: why, remedy })
        .await;
}

/// Moves a connection to the state that a hold asks for, once, and records it in the log.
pub(super) async fn move_to(parts: &Parts, connection: &Connection, hold: &Hold) {
    let now = parts.clock.now();
    let to = if hold.class == Class::Gone { State::Disabled } else { State::Held };
    let reason = Reason {
        class: hold.class.as_str().to_owned(),
        text: hold.detail.clone(),
        remedy: hold.remedy.clone(),
        since: now,
    };
    let version = Some(connection.version);
    let store = parts.connections.store();
    let moved = store.set_state(&connection.id, &[State::Enabled], version, to, Some(reason), now).await;
    match moved {
        // Somebody else was first, or the configuration has changed since.
        Ok(now_is) if now_is.reason.as_ref().is_none_or(|reason| reason.since != now) => {}
        Ok(_) => record(parts, connection, hold, to).await,
        Err(error) => {
            let (name, error): (_, &dyn std::error::Error) = (&connection.name, &error);
            tracing::warn!(connection.id = %connection.id, error, "the state of `{name}` could not be kept");
        }
    }
}

/// Appends one `connection.held` (or `connection.disabled`) event to the log.
async fn record(parts: &Parts, connection: &Connection, hold: &Hold, to: State) {
    let name = format!("connection.{}", to.as_str());
    let id = format!("{name}/{}/{}/{}", connection.id, connection.version, parts.clock.now());
    let properties = json!({
        "connection_id": &*connection.id,
        "connection": connection.name,
        "vendor": connection.vendor,
        "class": hold.class.as_str(),
        "status": hold.status,
        "text": hold.detail,
        "remedy": hold.remedy,
    });
    let mut event = Event::new(Kind::Track, id);
    event.event = Some(name.into());
    event.anonymous_id = Some(connection.id.to_string().into());
    event.properties = Some(properties.to_string().into());
    let mut batch = Batch::new(Origin { source: INTERNAL_SOURCE.into(), test: false }, 1);
    batch.push_event(&event);
    if let Err(error) = parts.log.append(batch).await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "the hold of `{}` could not be recorded in the log", connection.name);
    }
}
