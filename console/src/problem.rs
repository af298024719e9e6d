//! Errors as the client sees them.

use crate::columns::ColumnsError;
use crate::deliveries::DeliveriesError;
use crate::reads::ReadError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use pipeline::connection::{ConnectionError, Mistake};
use pipeline::control::{ControlError, Scope};
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
    /// Everything that is wrong, each with its rule and an example.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Mistake>,
    /// When to try again, where the answer is 503.
    #[serde(skip)]
    retry_after_s: u64,
    /// The scope that the key lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            field: None,
            fields: Vec::new(),
            retry_after_s: RETRY_AFTER_S,
            scope: None,
        }
    }

    /// The same problem, to try again after so many seconds.
    pub(crate) fn after(self, retry_after_s: u64) -> Self {
        Self { retry_after_s, ..self }
    }

    /// A field, a parameter or a part of the address that breaks a rule, such as `must be a number`,
    /// with a value that would be taken.
    pub(crate) fn wrong(
        field: impl Into<String>,
        rule: impl Into<String>,
        example: impl Into<String>,
    ) -> Self {
        Self::from(ConnectionError::Wrong(vec![Mistake::new(field, rule, example)]))
    }

    /// An event that breaks a rule of the tracking API, which has a code of its own.
    pub(crate) fn broken(code: &'static str, field: Option<String>, message: String) -> Self {
        let fields = field.iter().map(|field| Mistake::new(field.as_str(), message.as_str(), "")).collect();
        Self { field, fields, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message) }
    }

    /// No API key was given.
    pub(crate) fn unauthorized() -> Self {
        let message = "an API key is needed, as `Authorization: Bearer fs_api_…`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// What was given is no API key of this server.
    pub(crate) fn unknown_key() -> Self {
        let message = "the API key is not known here: it was revoked, is another server's, or was cut short; \
                       `flowstate api-key list` shows those that are good";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// The field, where there is one, and what is wrong.
    pub(crate) fn told(self) -> (Option<String>, String) {
        (self.field, self.message)
    }

    /// The API key `name` was good until `at`.
    pub(crate) fn expired(name: &str, at: &str) -> Self {
        let message = format!("the API key `{name}` expired at {at}; another is needed");
        Self::new(StatusCode::UNAUTHORIZED, "expired", message)
    }

    /// The API key `name` lacks a scope.
    pub(crate) fn forbidden(name: &str, scope: Scope) -> Self {
        let scope = scope.as_str();
        let message = format!("this needs the scope `{scope}`, which the API key `{name}` does not have");
        Self { scope: Some(scope), ..Self::new(StatusCode::FORBIDDEN, "forbidden", message) }
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
        if let Some(scope) = self.scope {
            // RFC 6750, section 3.1.
            let lacks = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            response.insert_header((header::WWW_AUTHENTICATE, lacks));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, self.retry_after_s));
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

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        let message = error.to_string();
        match error {
            ConnectionError::Wrong(fields) => {
                let problem = Self::new(StatusCode::BAD_REQUEST, "invalid_field", message);
                Self { field: fields.first().map(|one| one.field.clone()), fields, ..problem }
            }
            ConnectionError::NotAvailable { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_available_yet", message)
            }
            ConnectionError::State(_) => Self::new(StatusCode::CONFLICT, "wrong_state", message),
            ConnectionError::Sealed(_) => {
                tracing::error!(
                    error = message,
                    "the credentials of a connection cannot be sealed or opened"
                );
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "sealed", message)
            }
            ConnectionError::Store(error) => error.into(),
        }
    }
}

impl From<DeliveriesError> for Problem {
    fn from(error: DeliveriesError) -> Self {
        let (status, code) = match &error {
            DeliveriesError::Refused(_) => (StatusCode::CONFLICT, "wrong_state"),
            DeliveriesError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            DeliveriesError::Failed(_) => {
                tracing::error!(%error, "delivery failed a request of the management API");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<ColumnsError> for Problem {
    fn from(error: ColumnsError) -> Self {
        let message = error.to_string();
        match error {
            ColumnsError::Wrong(field, rule) => {
                let example = if field == "type" { "double" } else { "price" };
                Self::wrong(field, rule, example)
            }
            ColumnsError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "unknown", message),
            ColumnsError::Conflict(_) => Self::new(StatusCode::CONFLICT, "exists", message),
            ColumnsError::Failed(_) => {
                tracing::error!(error = message, "promoted columns could not be changed or listed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            }
        }
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
