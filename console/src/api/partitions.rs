//! `/partitions`: the log's partitions, and taking over those of servers that are lost.

use crate::Console;
use crate::fields::Fields;
use crate::partitions::{Partitions, PartitionsError};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use bytes::Bytes;
use pipeline::log::PartitionId;
use serde_json::json;

pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(json!({ "partitions": partitions(&console)?.list().await? })))
}

pub(super) async fn adopt(
    console: Data<Console>,
    partition: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse_optional(body)?;
    let (deliver, now) = (fields.flag("deliver")?, fields.flag("now")?);
    fields.end("`deliver`, `now`")?;
    let partition = PartitionId(partition.into_inner().into());
    Ok(HttpResponse::Ok().json(partitions(&console)?.adopt(partition, deliver, now).await?))
}

/// `POST /commits`: everything acknowledged is in the tables when it answers.
pub(super) async fn commit(console: Data<Console>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(partitions(&console)?.commit().await?))
}

fn partitions(console: &Console) -> Result<&dyn Partitions, Problem> {
    console.partitions.as_deref().ok_or_else(|| {
        let message = "this server knows nothing of partitions";
        Problem::new(StatusCode::NOT_IMPLEMENTED, "not_available_yet", message)
    })
}

impl From<PartitionsError> for Problem {
    fn from(error: PartitionsError) -> Self {
        let message = error.to_string();
        match error {
            PartitionsError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "unknown", message),
            PartitionsError::Refused(_) => Self::new(StatusCode::CONFLICT, "wrong_state", message),
            PartitionsError::Failed(_) => {
                tracing::error!(message, "the store failed a request of the management API");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", message)
            }
        }
    }
}
