//! A fake of Google Analytics' Measurement Protocol, stricter than Google.
//!
//! Facts from Google's documentation, "Measurement Protocol (Google Analytics 4)" (read 2026-11).
//! Google answers 204 whatever it is sent, and drops in silence what it cannot use. The fake answers
//! the same, and keeps what Google would drop apart, with the reason.

mod rules;

use crate::script::Script;
use crate::server::Server;
use crate::{Failure, Schema};
use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Bytes, Data, PayloadConfig, Query};
use actix_web::{HttpRequest, HttpResponse};
use rules::Broken;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A running fake Google Analytics; dropping it stops it.
pub struct FakeGoogleAnalytics {
    server: Server,
    state: Arc<State>,
}

/// A stream of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// A web stream, by its measurement id, such as `G-ABCDE12345`.
    Web(String),
    /// An app stream, by its Firebase app id, such as `1:1234567890:android:0a1b2c`.
    App(String),
}

/// One request as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The status it was answered with; `None` when it got no answer.
    pub status: Option<u16>,
    /// How many events it had; 0 when it was not read that far.
    pub events: usize,
}

/// What Google would have dropped, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// The rule that it broke.
    pub why: String,
    /// The body; `null` when it is no JSON.
    pub body: Value,
}

struct State {
    api_secret: String,
    stream: Stream,
    schema: Option<Schema>,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    script: Script,
    requests: Vec<Request>,
    dropped: Vec<Dropped>,
    events: Vec<Value>,
    transactions: HashSet<String>,
}

impl FakeGoogleAnalytics {
    /// Starts a Google Analytics with one stream and one secret. `now` is the time in µs since 1970,
    /// by which events are too old. Every body is also held against `schema`, where one is given.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(
        api_secret: &str,
        stream: Stream,
        schema: Option<Schema>,
        now: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let state = Arc::new(State {
            api_secret: api_secret.to_owned(),
            stream,
            schema,
            now: Box::new(now),
            kept: Mutex::new(Kept::default()),
        });
        let data = Data::from(Arc::clone(&state));
        let server = Server::start(move |app| {
            app.app_data(data.clone()).app_data(PayloadConfig::new(4 << 20)).default_service(web::to(answer));
        })?;
        Ok(Self { server, state })
    }

    /// Where it listens, in place of `www.google-analytics.com`.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Lets the next requests fail in these ways, one each, before anything else is looked at.
    pub fn fail(&self, failures: impl IntoIterator<Item = Failure>) {
        self.state.kept().script.fail(failures);
    }

    /// Lets every request fail in this way from now on, or none.
    pub fn down(&self, failure: Option<Failure>) {
        self.state.kept().script.down(failure);
    }

    /// The events taken, in order, each with the fields of its request beside its own. A repeat counts
    /// again, but for a `purchase` with a transaction id that a web stream had before.
    pub fn events(&self) -> Vec<Value> {
        self.state.kept().events.clone()
    }

    /// What Google would have dropped in silence.
    pub fn dropped(&self) -> Vec<Dropped> {
        self.state.kept().dropped.clone()
    }

    /// All requests, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state.kept().requests.clone()
    }

    /// Stops at once; requests under way get no answer. What was received can still be asked for.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

impl State {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body, or the rule it breaks. The validation server does not look at the keys in the `query`.
    fn check(&self, body: &Bytes, query: Option<&HashMap<String, String>>) -> Result<Value, Broken> {
        if let Some(query) = query {
            rules::check_keys(query, &self.api_secret, &self.stream)?;
        }
        if body.len() >= rules::BODY_BYTES_BELOW {
            return Err(Broken::new("", "VALUE_OUT_OF_BOUNDS", format!("the body has {} bytes", body.len())));
        }
        let value: Value =
            serde_json::from_slice(body).map_err(|error| Broken::new("", "VALUE_INVALID", error))?;
        rules::check(&value, &self.stream, (self.now)())?;
        if let Some(schema) = &self.schema {
            schema.validate(&value).map_err(|error| Broken::new("", "VALUE_INVALID", error))?;
        }
        Ok(value)
    }
}

async fn answer(
    request: HttpRequest,
    query: Query<HashMap<String, String>>,
    body: Bytes,
    state: Data<State>,
) -> HttpResponse {
    let failure = state.kept().script.take();
    match failure {
        Some(Failure::TakeAndReset) => {
            take(&state, &request, &query, &body, None);
            return Failure::TakeAndReset.answer().await;
        }
        Some(failure) => {
            let status = if let Failure::Status { status, .. } = &failure { Some(*status) } else { None };
            record(&state, &request, &body, status);
            return failure.answer().await;
        }
        None => {}
    }
    let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
    match (request.method(), request.path()) {
        (&Method::POST, "/mp/collect") if is_json => {
            take(&state, &request, &query, &body, Some(204));
            HttpResponse::NoContent().finish()
        }
        (&Method::POST, "/debug/mp/collect") if is_json => {
            record(&state, &request, &body, Some(200));
            let messages: Vec<Value> = state.check(&body, None).err().iter().map(Broken::message).collect();
            HttpResponse::Ok().json(json!({"validationMessages": messages}))
        }
        (method, path) => {
            let why = format!("there is no {method} {path} for this content type");
            record(&state, &request, &body, Some(404));
            state.kept().dropped.push(Dropped { why, body: Value::Null });
            HttpResponse::NotFound().finish()
        }
    }
}

fn take(
    state: &State,
    request: &HttpRequest,
    query: &HashMap<String, String>,
    body: &Bytes,
    status: Option<u16>,
) {
    record(state, request, body, status);
    let checked = state.check(body, Some(query));
    let mut kept = state.kept();
    match checked {
        Ok(mut body) => {
            let events = body["events"].take();
            for mut event in events.as_array().cloned().unwrap_or_default() {
                let id = event["params"]["transaction_id"].as_str().unwrap_or_default().to_owned();
                let is_purchase = event["name"] == "purchase" && matches!(state.stream, Stream::Web(_));
                if is_purchase && !kept.transactions.insert(id) {
                    continue;
                }
                for (key, value) in body.as_object().into_iter().flatten().filter(|(key, _)| *key != "events")
                {
                    event[key] = value.clone();
                }
                kept.events.push(event);
            }
        }
        Err(broken) => {
            let body = serde_json::from_slice(body).unwrap_or_default();
            kept.dropped.push(Dropped { why: broken.to_string(), body });
        }
    }
}

fn record(state: &State, request: &HttpRequest, body: &Bytes, status: Option<u16>) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let events = body["events"].as_array().map_or(0, Vec::len);
    state.kept().requests.push(Request { path: request.path().to_owned(), status, events });
}

#[cfg(test)]
mod tests;
