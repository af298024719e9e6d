//! A connection as it is shown. Of its credentials, only what their summaries tell.

use crate::Console;
use pipeline::connection::{Connection, Made, Start, StartFrom, State};
use pipeline::event::format_timestamp;
use serde_json::{Map, Value, json};

/// The connection with the credentials that the server just made: for this answer only.
pub(super) fn made(console: &Console, made: &Made) -> Value {
    let mut shown = connection(console, &made.connection);
    shown["generated"] = json!(made.generated);
    shown
}

pub(super) fn connection(console: &Console, connection: &Connection) -> Value {
    let credentials: Map<_, _> = connection
        .credentials
        .iter()
        .map(|(name, credential)| {
            let summary = &credential.summary;
            let shown = json!({
                "prefix": summary.prefix,
                "last_four": summary.last_four,
                "created_at": format_timestamp(summary.created_at),
            });
            (name.clone(), shown)
        })
        .collect();
    json!({
        "id": connection.id,
        "name": connection.name,
        "vendor": connection.vendor,
        "settings": connection.settings,
        "credentials": credentials,
        "hosts": connection.hosts,
        "routing": connection.routing,
        "state": connection.state.as_str(),
        "reason": reason(connection),
        "version": connection.version,
        "start": connection.start.as_ref().map(start),
        "delivery": console.deliveries.status(&connection.id),
        "last_check": connection.last_check,
        "created_at": format_timestamp(connection.created_at),
        "updated_at": format_timestamp(connection.updated_at),
    })
}

/// Why it is not delivered to, and what to do; null when it is.
fn reason(connection: &Connection) -> Value {
    if let Some(reason) = &connection.reason {
        return json!({
            "class": reason.class,
            "text": reason.text,
            "remedy": reason.remedy,
            "since": format_timestamp(reason.since),
        });
    }
    let (text, remedy) = match connection.state {
        State::Enabled => return Value::Null,
        State::Draft => ("It was never enabled.", "Enable it, from now or from an earlier time."),
        State::Paused => ("A person paused it. Its events wait.", "Resume it."),
        State::Held => ("The vendor refuses its credentials. Its events wait.", "Enter new credentials."),
        State::Disabled => {
            ("The receiver wants no more requests. Its events wait.", "Resume it once it does.")
        }
    };
    json!({ "class": null, "text": text, "remedy": remedy, "since": format_timestamp(connection.updated_at) })
}

fn start(start: &Start) -> Value {
    let from = match start.from {
        StartFrom::Now => "now".to_owned(),
        StartFrom::Beginning => "beginning".to_owned(),
        StartFrom::Time(time) => format_timestamp(time),
    };
    json!({ "from": from, "asked_at": format_timestamp(start.asked_at) })
}
