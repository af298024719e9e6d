//! A fake of Mixpanel's ingestion and of the one address that knows accounts, stricter than Mixpanel.
//!
//! Facts from Mixpanel's documentation, "Import Events", "User Profiles", "Group Profiles" and
//! "Identity Management" (read 2026-11). `/import` names the events that it refuses and stores the
//! others, with status 400. `/engage` and `/groups` refuse a request as a whole, with status 200.
//! Where Mixpanel is silent (an unknown token, a group key that is not there, a property `$ignore`,
//! special events in the simplified identity model), the fake refuses.

mod identity;
mod import;
mod profiles;
mod request;
mod rule_packs;
mod rules;

pub use identity::Identity;
pub use rule_packs::RulePacks;

use crate::Failure;
use crate::script::Script;
use crate::server::Server;
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes, Data, PayloadConfig, Query};
use actix_web::{HttpRequest, HttpResponse};
use identity::People;
use import::Events;
use profiles::{Groups, Profiles};
use request::{REQUEST_BYTES_MAX, check_import, header, me, records};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MINUTE: i64 = 60_000_000;

/// A running fake Mixpanel; dropping it stops it.
pub struct FakeMixpanel {
    server: Server,
    state: Arc<State>,
}

/// The one project that a fake Mixpanel has.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its token.
    pub token: String,
    /// Its number.
    pub id: String,
    /// The user name and the secret of the service account that may write to it.
    pub service_account: (String, String),
    /// How it joins ids.
    pub identity: Identity,
    /// Its group keys.
    pub group_keys: Vec<String>,
}

/// One request as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The status it was answered with; `None` when it got no answer.
    pub status: Option<u16>,
    /// How many records it had; 0 when it was not read that far.
    pub records: usize,
}

struct State {
    project: Project,
    packs: Option<RulePacks>,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    script: Script,
    requests: Vec<Request>,
    violations: Vec<String>,
    events: Events,
    people: People,
    profiles: Profiles,
    groups: Groups,
    records_per_minute: Option<usize>,
    /// When how many records were taken, by the fake's clock.
    taken: Vec<(i64, usize)>,
}

/// What a request is answered with.
struct Reply {
    status: u16,
    body: Value,
    records: usize,
}

impl Reply {
    fn error(status: u16, words: &str, error: impl ToString) -> Self {
        Self {
            status,
            body: json!({"code": status, "error": error.to_string(), "status": words}),
            records: 0,
        }
    }
}

impl FakeMixpanel {
    /// Starts a Mixpanel with one project. `now` is the time in µs since 1970, by which events are
    /// too far ahead and minutes are counted. Every request is also held against `packs`, where they
    /// are given.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(
        project: Project,
        packs: Option<RulePacks>,
        now: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (now, kept) = (Box::new(now), Mutex::new(Kept::default()));
        let state = Arc::new(State { project, packs, now, kept });
        let data = Data::from(Arc::clone(&state));
        let server = Server::start(move |app| {
            app.app_data(data.clone())
                .app_data(PayloadConfig::new(2 * REQUEST_BYTES_MAX))
                .default_service(web::to(answer));
        })?;
        Ok(Self { server, state })
    }

    /// Where it listens, in place of all of Mixpanel's hosts.
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

    /// Takes no more records than this in any minute of its clock and answers 429 to the rest; `None`
    /// takes all.
    pub fn limit(&self, records_per_minute: Option<usize>) {
        self.state.kept().records_per_minute = records_per_minute;
    }

    /// The events stored, in the order of their first arrival, repeats removed as Mixpanel does: of
    /// those with the same name, distinct id, `$insert_id` and day, the latest is left.
    pub fn events(&self) -> Vec<Value> {
        self.state.kept().events.all()
    }

    /// How often events arrived again, by `$insert_id`.
    pub fn repeats(&self) -> HashMap<String, u32> {
        self.state.kept().events.repeats()
    }

    /// The distinct ids that are one person, by the user id that they were joined with.
    pub fn people(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.state.kept().people.all()
    }

    /// The profiles of people, by distinct id.
    pub fn profiles(&self) -> BTreeMap<String, Value> {
        self.state.kept().profiles.all()
    }

    /// The profiles of groups, by group key and group id.
    pub fn groups(&self) -> BTreeMap<(String, String), Value> {
        self.state.kept().groups.all()
    }

    /// All requests, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state.kept().requests.clone()
    }

    /// What was wrong with the requests and records that broke a rule of Mixpanel's.
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

async fn answer(
    request: HttpRequest,
    query: Query<HashMap<String, String>>,
    body: Result<Bytes, actix_web::Error>,
    state: Data<State>,
) -> HttpResponse {
    let told = state.kept().script.take();
    let status = match &told {
        Some(Failure::Status { status, .. }) => Some(*status),
        Some(Failure::TakeAndReset) | None => None,
        Some(failure) => {
            record(&state, &request, None, 0);
            return failure.answer().await;
        }
    };
    if let (Some(failure), Some(status)) = (&told, status) {
        record(&state, &request, Some(status), 0);
        return failure.answer().await;
    }
    let body = body.map_err(|error| Reply::error(413, "Request Entity Too Large", error));
    let reply = body.and_then(|body| reply(&request, &query, &body, &state)).unwrap_or_else(|reply| {
        state.kept().violations.push(format!("{}: {}", request.path(), reply.body["error"]));
        reply
    });
    if let Some(failure) = told {
        record(&state, &request, None, reply.records);
        return failure.answer().await;
    }
    record(&state, &request, Some(reply.status), reply.records);
    HttpResponse::build(StatusCode::from_u16(reply.status).unwrap_or_default()).json(reply.body)
}

fn record(state: &State, request: &HttpRequest, status: Option<u16>, records: usize) {
    state.kept().requests.push(Request { path: request.path().to_owned(), status, records });
}

/// The answer, or what was wrong with the request as a whole.
fn reply(
    request: &HttpRequest,
    query: &HashMap<String, String>,
    body: &[u8],
    state: &State,
) -> Result<Reply, Reply> {
    let not_found =
        || Reply::error(404, "Not Found", format!("there is no {} {}", request.method(), request.path()));
    match (request.method(), request.path()) {
        (&Method::GET, "/api/app/me") => me(request, state),
        (&Method::POST, "/import") => {
            check_import(request, query, state)?;
            let records = records(request, body, state)?;
            if let Some(limited) = limited(state, records.len()) {
                return Ok(limited);
            }
            let mut kept = state.kept();
            let Kept { events, people, violations, .. } = &mut *kept;
            let failed = events.take(&records, &state.project, (state.now)(), people);
            violations.extend(failed.iter().map(|failed| format!("/import: {failed}")));
            Ok(imported(records.len(), failed))
        }
        (&Method::POST, path @ ("/engage" | "/groups")) => {
            if query.get("verbose").map(String::as_str) != Some("1") {
                return Err(Reply::error(
                    400,
                    "Bad Request",
                    "`verbose` is not 1, so nobody sees what is refused",
                ));
            }
            if !header(request, CONTENT_ENCODING).is_empty() {
                return Err(Reply::error(400, "Bad Request", "profiles are not taken compressed"));
            }
            let records = records(request, body, state)?;
            if let Some(limited) = limited(state, records.len()) {
                return Ok(limited);
            }
            let mut kept = state.kept();
            let taken = match path {
                "/engage" => kept.profiles.take(&records, &state.project),
                _ => kept.groups.take(&records, &state.project),
            };
            let body = match &taken {
                Ok(()) => json!({"status": 1, "error": null}),
                Err(error) => json!({"status": 0, "error": error}),
            };
            kept.violations.extend(taken.err().map(|error| format!("{path}: {error}")));
            Ok(Reply { status: 200, body, records: records.len() })
        }
        _ => Err(not_found()),
    }
}

fn imported(count: usize, failed: Vec<Value>) -> Reply {
    let stored = count - failed.len();
    let (status, body) = if failed.is_empty() {
        (200, json!({"code": 200, "num_records_imported": stored, "status": "OK"}))
    } else {
        let error = "some data points in the request failed validation";
        let body = json!({"code": 400, "error": error, "failed_records": failed,
            "num_records_imported": stored, "status": "Bad Request"});
        (400, body)
    };
    Reply { status, body, records: count }
}

/// 429, when the minute has no room for so many records. No header says when to come again.
fn limited(state: &State, records: usize) -> Option<Reply> {
    let now = (state.now)();
    let mut kept = state.kept();
    kept.taken.retain(|(at, _)| now - at < MINUTE);
    let taken: usize = kept.taken.iter().map(|(_, records)| records).sum();
    if kept.records_per_minute.is_some_and(|max| taken + records > max) {
        let error = "Project exceeded rate limits. Please retry the request with exponential backoff.";
        return Some(Reply { records, ..Reply::error(429, "Too Many Requests", error) });
    }
    kept.taken.push((now, records));
    None
}

#[cfg(test)]
mod tests;
