//! `/events/{messageId}`: the life of an event.

use crate::Console;
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

/// The longest message id that is looked for, in bytes.
const MESSAGE_ID_BYTES_MAX: usize = 1_000;

/// What became of a message id; no sources when it never came.
pub(super) async fn find(console: Data<Console>, message_id: Path<String>) -> Result<HttpResponse, Problem> {
    if message_id.len() > MESSAGE_ID_BYTES_MAX {
        let rule = format!("has {} bytes, allowed are {MESSAGE_ID_BYTES_MAX}", message_id.len());
        return Err(Problem::wrong("messageId", rule, ""));
    }
    Ok(HttpResponse::Ok().json(console.reads.event(message_id.into_inner()).await?))
}
