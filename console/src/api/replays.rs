//! `/replays`: events of the past, sent to one connection again.

use crate::Console;
use crate::fields::Fields;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use bytes::Bytes;
use pipeline::connection::{ConnectionError, Only, Replay, ReplaySpec, ReplayState};
use pipeline::event::format_timestamp;
use serde_json::{Value, json};

/// How many are listed when nothing is said, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

/// Begins a replay, or says what it would do.
pub(super) async fn begin(
    console: Data<Console>,
    connection: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let spec = ReplaySpec {
        condition: fields.optional_text("condition", "event = 'Order Completed'")?,
        from: fields.time("from")?,
        to: fields.time("to")?,
        only: fields.word("only", &[("all", Only::All), ("failed", Only::Failed)], Some(Only::All))?,
        rate: fields.number("rate")?,
    };
    let dry_run = fields.flag("dry_run")?;
    fields.end("`condition`, `from`, `to`, `only`, `rate`, `dry_run`")?;
    if dry_run {
        console.connections.store().connection(&connection).await?;
        let mistakes = console.connections.check_replay(&spec);
        if !mistakes.is_empty() {
            return Err(ConnectionError::Wrong(mistakes).into());
        }
        let estimate = console.deliveries.estimate(connection.into_inner(), spec).await?;
        return Ok(HttpResponse::Ok().json(json!({ "estimate": estimate })));
    }
    let replay = console.connections.begin_replay(&connection, spec).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Created().json(shown(&console, &replay)))
}

/// The newest replays.
pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::new(pairs);
    let connection = parameters.text("connection");
    let limit = parameters.number("limit", 1..=LIMIT_MAX, LIMIT)?;
    parameters.end("`connection`, `limit`")?;
    let replays = console.connections.store().replays(connection.as_deref(), limit).await?;
    let replays: Vec<_> = replays.iter().map(|replay| shown(&console, replay)).collect();
    Ok(HttpResponse::Ok().json(json!({ "replays": replays })))
}

pub(super) async fn show(console: Data<Console>, id: Path<String>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(shown(&console, &console.connections.store().replay(&id).await?)))
}

pub(super) async fn pause(console: Data<Console>, id: Path<String>) -> Result<HttpResponse, Problem> {
    set_state(&console, &id, ReplayState::Paused).await
}

pub(super) async fn resume(console: Data<Console>, id: Path<String>) -> Result<HttpResponse, Problem> {
    set_state(&console, &id, ReplayState::Running).await
}

pub(super) async fn cancel(console: Data<Console>, id: Path<String>) -> Result<HttpResponse, Problem> {
    set_state(&console, &id, ReplayState::Cancelled).await
}

async fn set_state(console: &Console, id: &str, to: ReplayState) -> Result<HttpResponse, Problem> {
    let replay = console.connections.move_replay(id, to).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Ok().json(shown(console, &replay)))
}

fn shown(console: &Console, replay: &Replay) -> Value {
    json!({
        "id": replay.id,
        "connection": replay.connection,
        "condition": replay.spec.condition,
        "from": replay.spec.from.map(format_timestamp),
        "to": replay.spec.to.map(format_timestamp),
        "only": replay.spec.only,
        "rate": replay.spec.rate,
        "state": replay.state.as_str(),
        "error": replay.error,
        "counts": replay.counts,
        "seconds_left": console.deliveries.remaining(&replay.id),
        "created_at": format_timestamp(replay.created_at),
        "updated_at": format_timestamp(replay.updated_at),
    })
}
