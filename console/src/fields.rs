//! The fields of a request's body, taken one by one, so that every mistake is named.

use crate::problem::Problem;
use actix_web::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value};

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// The fields that were not taken yet.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a body, as actix read it.
    pub(crate) fn parse(body: Result<Bytes, actix_web::Error>) -> Result<Self, Problem> {
        let body = body.map_err(|error| unreadable(&error))?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(not_json("the body is not a JSON object".to_owned())),
            Err(error) => Err(not_json(format!("the body is not JSON: {error}"))),
        }
    }

    /// A text that must be there.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, Problem> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Problem::field(name, format!("field `{name}` is not a text"))),
            None => Err(Problem::field(name, format!("field `{name}` is missing"))),
        }
    }

    /// One of these words; `default` when it is not there, and without one it must be there.
    pub(crate) fn word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
        default: Option<T>,
    ) -> Result<T, Problem> {
        if let (None, Some(default)) = (self.0.get(name), default) {
            return Ok(default);
        }
        let text = self.text(name)?;
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let shown: String = text.chars().take(80).collect();
            let message = format!("field `{name}` is `{shown}`: allowed are {}", words.join(", "));
            Problem::field(name, message)
        })
    }

    /// True or false; false when it is not there.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Problem::field(name, format!("field `{name}` is not true or false"))),
        }
    }

    /// Refuses what was not taken.
    pub(crate) fn end(self, allowed: &str) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(80).collect();
                Err(Problem::field(&shown, format!("field `{shown}` is unknown: allowed are {allowed}")))
            }
        }
    }
}

fn unreadable(error: &actix_web::Error) -> Problem {
    if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("the body is over {BODY_BYTES_MAX} bytes");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message);
    }
    Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", format!("the body cannot be read: {error}"))
}

fn not_json(message: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_json", message)
}
