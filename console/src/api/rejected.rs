//! `/rejected`: events that broke a rule, and admitting them after all.

mod many;

use super::search;
use crate::Console;
use crate::fields::Fields;
use crate::imports::{Imports, Repaired};
use crate::logged::{Admission, RejectedEvent};
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use bytes::Bytes;
pub(super) use many::run as admit_many;
use pipeline::log::{Offset, PartitionId};
use serde_json::{Map, Value, json};

/// What rejected events are found by.
const COLUMNS: [&str; 4] = ["source", "code", "field", "message_id"];
/// How many are listed when nothing is said, and at most: each may have a body of 1 MiB.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 200;

/// One page.
pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    let search = search::search(Parameters::new(pairs), &COLUMNS, 1..=LIMIT_MAX, LIMIT)?;
    let page = console.reads.rejected(search).await?;
    Ok(HttpResponse::Ok().json(search::Shown::new("rejected", page)))
}

/// Admits one, as it is, with a patch, or as another event. Doing so twice stores it once.
pub(super) async fn admit(
    console: Data<Console>,
    address: Path<(String, String)>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let (partition, offset) = address.into_inner();
    let wrong = || Problem::wrong("offset", "must be a whole number", "4711");
    let offset: Offset = offset.parse().ok().filter(|offset| *offset <= i64::MAX as u64).ok_or_else(wrong)?;
    let mut fields = Fields::parse_optional(body)?;
    let (event, patch) = (object(&mut fields, "event")?, object(&mut fields, "patch")?);
    fields.end("`event`, `patch`")?;
    if event.is_some() && patch.is_some() {
        return Err(Problem::wrong(
            "patch",
            "goes with no `event`; give one of them",
            r#"{"userId": "ada"}"#,
        ));
    }
    let found = console.reads.rejected_at(PartitionId(partition.as_str().into()), offset).await?;
    let Some(of) = found else {
        let message = format!("there is no rejected event at offset {offset} of partition `{partition}`");
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown", message));
    };
    if let Some(admission) = &of.admitted {
        return Ok(HttpResponse::Ok().json(shown("duplicate", admission)));
    }
    let event = match (event, patch) {
        (Some(event), _) => Value::Object(event).to_string(),
        (None, Some(patch)) => patched(&of, patch)?,
        (None, None) => body_of(&of)?.to_owned(),
    };
    let admission = imports(&console)?.admit(Repaired { of, event }).await?;
    let outcome = if admission.place.is_some() { "accepted" } else { "duplicate" };
    Ok(HttpResponse::Ok().json(shown(outcome, &admission)))
}

/// The way in for events; a server without one says so.
fn imports(console: &Console) -> Result<&dyn Imports, Problem> {
    console.imports.as_deref().ok_or_else(|| {
        Problem::new(StatusCode::NOT_IMPLEMENTED, "not_available_yet", "this server takes no events")
    })
}

fn shown(outcome: &str, admission: &Admission) -> Value {
    let mut answer = json!(admission);
    answer["outcome"] = outcome.into();
    answer
}

fn object(fields: &mut Fields, name: &str) -> Result<Option<Map<String, Value>>, Problem> {
    match fields.optional(name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Problem::wrong(name, "must be an object", r#"{"userId": "ada"}"#)),
    }
}

fn body_of(of: &RejectedEvent) -> Result<&str, Problem> {
    let whole = of.body.as_deref().filter(|body| body.len() as u64 == of.body_bytes || is_json(body));
    whole.ok_or_else(|| {
        Problem::wrong("event", "is needed, as the event was not kept whole when it was rejected", "{}")
    })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

/// The event with a JSON merge patch (RFC 7396) applied.
fn patched(of: &RejectedEvent, patch: Map<String, Value>) -> Result<String, Problem> {
    let mut event: Value = serde_json::from_str(body_of(of)?).map_err(|error| {
        Problem::wrong(
            "patch",
            format!("needs JSON to go on, and the event is none: {error}; give `event`"),
            "",
        )
    })?;
    merge(&mut event, Value::Object(patch));
    Ok(event.to_string())
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}
