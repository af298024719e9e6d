//! `/events/{messageId}`: the life of an event.

use crate::Console;
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde_json::json;

/// The longest message id that is looked for, in bytes.
const MESSAGE_ID_BYTES_MAX: usize = 1_000;

/// Everything that arrived under a message id; an empty list when nothing did.
pub(super) async fn find(console: Data<Console>, message_id: Path<String>) -> Result<HttpResponse, Problem> {
    if message_id.len() > MESSAGE_ID_BYTES_MAX {
        let message =
            format!("`messageId` has {} bytes: allowed are {MESSAGE_ID_BYTES_MAX}", message_id.len());
        return Err(Problem::field("messageId", message));
    }
    let events = console.reads.events(message_id.into_inner()).await?;
    Ok(HttpResponse::Ok().json(json!({ "events": events })))
}
