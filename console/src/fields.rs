//! The fields of a request's body, taken one by one, so that every mistake is named.

use crate::problem::Problem;
use actix_web::http::StatusCode;
use bytes::Bytes;
use pipeline::Micros;
use pipeline::event::parse_timestamp;
use serde_json::{Map, Value};

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// A time as it is given.
pub(crate) const TIME: &str = "2026-11-23T18:00:00Z";

/// The fields that were not taken yet. It has no `Debug`, as some of them are credentials.
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

    /// The fields of a body that may be left out.
    pub(crate) fn parse_optional(body: Result<Bytes, actix_web::Error>) -> Result<Self, Problem> {
        match body {
            Ok(body) if body.is_empty() => Ok(Self(Map::new())),
            body => Self::parse(body),
        }
    }

    /// Whether a field is there that was not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Any value; `None` when it is not there or null.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text such as `example`; `None` when it is not there or null.
    pub(crate) fn optional_text(&mut self, name: &str, example: &str) -> Result<Option<String>, Problem> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::wrong(name, "must be a text", example)),
        }
    }

    /// A time as RFC 3339; `None` when it is not there or null.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<Micros>, Problem> {
        let Some(text) = self.optional_text(name, TIME)? else { return Ok(None) };
        let time = parse_timestamp(&text).map(Some);
        time.ok_or_else(|| Problem::wrong(name, "must be a time as RFC 3339", TIME))
    }

    /// A number; `None` when it is not there or null.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>, Problem> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        let number = value.as_f64().map(Some);
        number.ok_or_else(|| Problem::wrong(name, "must be a number", "10"))
    }

    /// An object; empty when it is not there.
    pub(crate) fn object(&mut self, name: &str) -> Result<Map<String, Value>, Problem> {
        match self.optional(name) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(Problem::wrong(name, "must be an object", "{}")),
        }
    }

    /// A text such as `example` that must be there.
    pub(crate) fn text(&mut self, name: &str, example: &str) -> Result<String, Problem> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Problem::wrong(name, "must be a text", example)),
            None => Err(Problem::wrong(name, "is missing, it must be a text", example)),
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
        let example = words.first().map_or("", |(word, _)| word);
        let text = self.text(name, example)?;
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            Problem::wrong(name, format!("must be one of {}", words.join(", ")), example)
        })
    }

    /// True or false; false when it is not there.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Problem::wrong(name, "must be true or false", "true")),
        }
    }

    /// Refuses what was not taken.
    pub(crate) fn end(self, allowed: &str) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(80).collect();
                Err(Problem::wrong(shown, format!("is not known, allowed are {allowed}"), ""))
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
