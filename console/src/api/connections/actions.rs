//! What is done with a connection: enable, pause, resume, test, preview.

use super::shown;
use crate::Console;
use crate::deliveries::StepState;
use crate::fields::{Fields, TIME};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use bytes::Bytes;
use pipeline::connection::StartFrom;
use pipeline::event::{format_timestamp, parse_timestamp};
use serde_json::json;

/// How many events are previewed when nothing is said, and at most.
const PREVIEW: f64 = 5.0;
const PREVIEW_MAX: f64 = 20.0;

pub(in crate::api) async fn enable(
    console: Data<Console>,
    id: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let from = fields.text("from", "now")?;
    fields.end("`from`")?;
    let from = match from.as_str() {
        "now" => StartFrom::Now,
        "beginning" => StartFrom::Beginning,
        time => StartFrom::Time(parse_timestamp(time).ok_or_else(|| {
            Problem::wrong("from", "must be `now`, `beginning`, or a time as RFC 3339", TIME)
        })?),
    };
    let connection = console.connections.enable(&id, from).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Ok().json(shown::connection(&console, &connection)))
}

pub(in crate::api) async fn pause(console: Data<Console>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let connection = console.connections.pause(&id).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Ok().json(shown::connection(&console, &connection)))
}

pub(in crate::api) async fn resume(
    console: Data<Console>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let connection = console.connections.resume(&id).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Ok().json(shown::connection(&console, &connection)))
}

/// Proves the connection step by step, and keeps what was found.
pub(in crate::api) async fn test(
    console: Data<Console>,
    id: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse_optional(body)?;
    let sample = fields.flag("sample")?;
    fields.end("`sample`")?;
    let store = console.connections.store();
    let connection = store.connection(&id).await?;
    let steps = console.deliveries.test(connection.id.to_string(), sample).await?;
    let found = json!({
        "at": format_timestamp(console.clock.now()),
        "version": connection.version,
        "passed": steps.iter().all(|step| step.state != StepState::Failed),
        "steps": steps,
    });
    store.keep_check(&connection.id, &found).await?;
    Ok(HttpResponse::Ok().json(found))
}

/// The requests that the newest events would make.
pub(in crate::api) async fn preview(
    console: Data<Console>,
    id: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse_optional(body)?;
    let count = fields.number("count")?.unwrap_or(PREVIEW);
    fields.end("`count`")?;
    if !(1.0..=PREVIEW_MAX).contains(&count) || count.fract() != 0.0 {
        let rule = format!("must be a whole number from 1 to {PREVIEW_MAX}");
        return Err(Problem::wrong("count", rule, "5"));
    }
    let connection = console.connections.store().connection(&id).await?;
    let preview = console.deliveries.preview(connection.id.to_string(), count as usize).await?;
    Ok(HttpResponse::Ok().json(preview))
}
