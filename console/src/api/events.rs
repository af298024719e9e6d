//! `/events`: looking through what came in, following it, and the life of one event.

use super::{follow, search};
use crate::Console;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use pipeline::log::{Offset, PartitionId};
use std::sync::Arc;

/// What events are found by.
const COLUMNS: [&str; 6] = ["source", "type", "event", "user_id", "anonymous_id", "message_id"];
/// How many are listed when nothing is said, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

/// The longest message id that is looked for, in bytes.
const MESSAGE_ID_BYTES_MAX: usize = 1_000;

/// One page.
pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    let search = search::search(Parameters::new(pairs), &COLUMNS, 1..=LIMIT_MAX, LIMIT)?;
    let page = console.reads.events(search).await?;
    Ok(HttpResponse::Ok().json(search::Shown::new("events", page)))
}

/// What comes in, as server-sent events.
pub(super) async fn stream(
    console: Data<Console>,
    request: HttpRequest,
    pairs: Pairs,
) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::new(pairs);
    let equal = search::equal(&mut parameters, &COLUMNS)?;
    parameters.end("`source`, `type`, `event`, `user_id`, `anonymous_id`, `message_id`")?;
    let after = request.headers().get("last-event-id").map(|id| id.to_str().ok().and_then(address));
    if after == Some(None) {
        let rule = "must be the `id` of an event of this stream, a partition and an offset";
        return Err(Problem::wrong("Last-Event-ID", rule, "00aa:7"));
    }
    let seat = Arc::clone(&console.followers).try_acquire_owned().map_err(|_| follow::full())?;
    let news = console.reads.follow(equal, after.flatten());
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(follow::body(news, seat, follow::HEARTBEAT)))
}

fn address(id: &str) -> Option<(PartitionId, Offset)> {
    let (partition, offset) = id.split_once(':')?;
    let is_one = (1..=64).contains(&partition.len()) && partition.bytes().all(|c| c.is_ascii_alphanumeric());
    Some((PartitionId(partition.into()), offset.parse().ok().filter(|_| is_one)?))
}

/// What became of a message id; no sources when it never came.
pub(super) async fn find(console: Data<Console>, message_id: Path<String>) -> Result<HttpResponse, Problem> {
    if message_id.len() > MESSAGE_ID_BYTES_MAX {
        let rule = format!("has {} bytes, allowed are {MESSAGE_ID_BYTES_MAX}", message_id.len());
        return Err(Problem::wrong("messageId", rule, ""));
    }
    Ok(HttpResponse::Ok().json(console.reads.event(message_id.into_inner()).await?))
}
