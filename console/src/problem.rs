//! Errors as the client sees them.

use crate::reads::ReadError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use pipeline::control::ControlError;
use serde::Serialize;

/// When to try again a query that came while too many ran, in seconds.
const RETRY_AFTER_S: u64 = 2;

/// An answer that says what was wrong.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The field, parameter or part of the address that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None }
    }

    /// A field, a parameter or a body that is wrong.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "invalid_field", message);
        Self { field: Some(field.to_owned()), ..problem }
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "an API key is needed, as `Authorization: Bearer fs_api_…`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER_S));
        }
        response.json(self)
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let (status, code) = match &error {
            ControlError::Exists(_) => (StatusCode::CONFLICT, "exists"),
            ControlError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown"),
            ControlError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_field"),
            ControlError::Store(_) => {
                tracing::error!(%error, "the control store failed a request of the management API");
                let message = "the control store failed; the server's log says why";
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message);
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let (status, code) = match &error {
            ReadError::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
            ReadError::Limit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "over_limit"),
            ReadError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            ReadError::Failed(_) => {
                tracing::error!(%error, "the log could not be read for the management API");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, code, error.to_string())
    }
}
