//! `/sources/{name}/import`: events from files.

use crate::Console;
use crate::imports::{ImportsError, Piece};
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use bytes::Bytes;

/// The largest body, in bytes.
pub(super) const IMPORT_BYTES_MAX: usize = 4 << 20;

/// What a file is known by may have this many bytes.
const FILE_BYTES_MAX: usize = 200;

/// What a file may be known by.
const FILE: &str = "export-2024-05";

/// Takes lines in; the answer says what became of them, and everything in them is durable by then.
pub(super) async fn run(
    console: Data<Console>,
    source: Path<String>,
    parameters: Result<Pairs, actix_web::Error>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut parameters =
        Parameters::new(parameters.map_err(|error| Problem::wrong("query", error.to_string(), ""))?);
    let file = parameters.needed("file", FILE)?;
    if file.is_empty() || file.len() > FILE_BYTES_MAX {
        return Err(Problem::wrong("file", format!("must be a text of 1 to {FILE_BYTES_MAX} bytes"), FILE));
    }
    let line = parameters.text("line").unwrap_or_else(|| "1".to_owned());
    let first_line = line.parse().ok().filter(|line| (1..1 << 60).contains(line));
    let first_line =
        first_line.ok_or_else(|| Problem::wrong("line", "must be a whole number from 1 on", "1"))?;
    let deliver = match parameters.text("deliver").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::wrong("deliver", "must be true or false", "true")),
    };
    parameters.end("`file`, `line`, `deliver`")?;
    let lines = body.map_err(|error| {
        let message = format!("the body cannot be read, it may have {IMPORT_BYTES_MAX} bytes: {error}");
        Problem::new(error.as_response_error().status_code(), "request_too_large", message)
    })?;
    let imports = console.imports.as_ref().ok_or_else(|| {
        Problem::new(StatusCode::NOT_IMPLEMENTED, "not_available_yet", "this server takes no files")
    })?;
    let piece = Piece { source: source.into_inner(), file, first_line, deliver, lines };
    Ok(HttpResponse::Ok().json(imports.import(piece).await?))
}

impl From<ImportsError> for Problem {
    fn from(error: ImportsError) -> Self {
        let message = error.to_string();
        match error {
            ImportsError::UnknownSource(_) => Self::new(StatusCode::NOT_FOUND, "unknown", message),
            ImportsError::DisabledSource(_) => Self::new(StatusCode::CONFLICT, "wrong_state", message),
            ImportsError::Broken { code, field, .. } => Self::broken(code, field, message),
            ImportsError::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
            }
            ImportsError::Busy { retry_after_s, .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).after(retry_after_s)
            }
            ImportsError::Failed(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "failed", message),
        }
    }
}
