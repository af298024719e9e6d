//! A fake of Segment's HTTP Tracking API, stricter than Segment.
//!
//! Facts from Segment's documentation, "HTTP API" (read 2026-11). Where Segment answers 200 and
//! drops in silence (a wrong write key, more than 2,500 events, a message without an id of a user),
//! the fake refuses, so that a defect of ours is seen.

mod rules;

use crate::server::Server;
use crate::{Failure, Schema};
use actix_web::http::Method;
use actix_web::web::{self, Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures::StreamExt;
use rules::{BATCH_BYTES_MAX, Broken};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A running fake Segment; dropping it stops it.
pub struct FakeSegment {
    server: Server,
    state: Arc<State>,
}

/// One request as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The status it was answered with; `None` when it got no answer.
    pub status: Option<u16>,
    /// The message ids in it, in order; empty when it was not read that far.
    pub message_ids: Vec<String>,
}

struct State {
    write_key: String,
    schema: Option<Schema>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    failures: VecDeque<Failure>,
    down: Option<Failure>,
    requests: Vec<Request>,
    violations: Vec<String>,
    messages: Vec<Box<str>>,
    times: HashMap<String, u32>,
}

impl FakeSegment {
    /// Starts a Segment that knows one source, with this write key. Every batch is also held against
    /// `schema`, where one is given.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(write_key: &str, schema: Option<Schema>) -> io::Result<Self> {
        let state =
            Arc::new(State { write_key: write_key.to_owned(), schema, kept: Mutex::new(Kept::default()) });
        let data = Data::from(Arc::clone(&state));
        let server = Server::start(move |app| {
            app.app_data(data.clone()).default_service(web::to(answer));
        })?;
        Ok(Self { server, state })
    }

    /// The address to configure a destination with; it holds the write key.
    pub fn url(&self) -> String {
        format!("http://{}@{}", self.state.write_key, self.server.address)
    }

    /// Where it listens, in place of `api.segment.io` and `cdn.segment.com`.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Lets the next requests fail in these ways, one each, before anything else is looked at.
    pub fn fail(&self, failures: impl IntoIterator<Item = Failure>) {
        self.state.kept().failures.extend(failures);
    }

    /// Lets every request fail in this way from now on, or none.
    pub fn down(&self, failure: Option<Failure>) {
        self.state.kept().down = failure;
    }

    /// The messages taken, in the order of their first arrival, without repeats.
    pub fn messages(&self) -> Vec<Value> {
        let messages = self.state.kept().messages.clone();
        messages.iter().map(|text| serde_json::from_str(text).unwrap_or_default()).collect()
    }

    /// How many different messages were taken.
    pub fn received(&self) -> usize {
        self.state.kept().messages.len()
    }

    /// The ids of the messages taken, sorted, without repeats.
    pub fn message_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.state.kept().times.keys().cloned().collect();
        ids.sort();
        ids
    }

    /// The message ids that were taken more than once, and how often.
    pub fn repeats(&self) -> Vec<(String, u32)> {
        let kept = self.state.kept();
        let mut repeats: Vec<_> = kept
            .times
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(id, times)| (id.clone(), *times))
            .collect();
        repeats.sort();
        repeats
    }

    /// All requests, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state.kept().requests.clone()
    }

    /// What was wrong with the requests that broke a rule of Segment's.
    pub fn violations(&self) -> Vec<String> {
        self.state.kept().violations.clone()
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
}

async fn answer(request: HttpRequest, body: Payload, state: Data<State>) -> HttpResponse {
    if request.method() == Method::GET {
        return settings(request.path(), &state);
    }
    let body = match read(body).await {
        Ok(body) => body,
        Err(broken) => return refuse(&state, &broken),
    };
    let failure = {
        let mut kept = state.kept();
        kept.failures.pop_front().or_else(|| kept.down.clone())
    };
    if let Some(failure) = failure {
        fail(&state, &failure, &body);
        return failure.answer().await;
    }
    match check(&request, &body, &state) {
        Ok(batch) => {
            take(&state, &batch, Some(200));
            HttpResponse::Ok().content_type("application/json").body(r#"{"success":true}"#)
        }
        Err(broken) => refuse(&state, &broken),
    }
}

/// The settings of a source, by which Segment's own libraries see that a write key exists.
fn settings(path: &str, state: &State) -> HttpResponse {
    if path == format!("/v1/projects/{}/settings", state.write_key) {
        return HttpResponse::Ok().json(json!({"integrations": {"Segment.io": {}}}));
    }
    HttpResponse::NotFound().json(json!({"error": "not found"}))
}

async fn read(mut body: Payload) -> Result<Bytes, Broken> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| Broken::new(400, error))?);
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(Broken::new(400, format!("the request has more than {BATCH_BYTES_MAX} bytes")));
        }
    }
    Ok(bytes.into())
}

fn check(request: &HttpRequest, body: &Bytes, state: &State) -> Result<Vec<rules::Message>, Broken> {
    if request.method() != Method::POST || request.path() != "/v1/batch" {
        return Err(Broken::new(404, format!("there is no {} {}", request.method(), request.path())));
    }
    rules::check_headers(request.headers(), &state.write_key)?;
    let envelope: Value = serde_json::from_slice(body).map_err(|error| Broken::new(400, error))?;
    if let Some(schema) = &state.schema {
        schema.validate(&envelope).map_err(|error| Broken::new(400, error))?;
    }
    rules::messages(body)
}

fn fail(state: &State, failure: &Failure, body: &Bytes) {
    let batch = rules::messages(body).unwrap_or_default();
    match failure {
        Failure::TakeAndReset => take(state, &batch, None),
        Failure::Status { status, .. } => record(state, &batch, Some(*status)),
        Failure::Hang | Failure::Reset => record(state, &batch, None),
    }
}

fn take(state: &State, batch: &[rules::Message], status: Option<u16>) {
    record(state, batch, status);
    let mut kept = state.kept();
    for message in batch {
        let times = kept.times.entry(message.id.clone()).or_insert(0);
        *times += 1;
        if *times == 1 {
            kept.messages.push(message.text.clone());
        }
    }
}

fn record(state: &State, batch: &[rules::Message], status: Option<u16>) {
    let message_ids = batch.iter().map(|message| message.id.clone()).collect();
    state.kept().requests.push(Request { status, message_ids });
}

fn refuse(state: &State, broken: &Broken) -> HttpResponse {
    let mut kept = state.kept();
    kept.requests.push(Request { status: Some(broken.status), message_ids: Vec::new() });
    kept.violations.push(broken.what.clone());
    broken.answer()
}
