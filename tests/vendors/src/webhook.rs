//! A receiver of signed webhooks, as the documentation of our webhooks tells people to write one.
//!
//! It verifies what Standard Webhooks asks receivers to verify ("Standard Webhooks", specification
//! 1.0, read 2026-11): the signature over id, timestamp and body, and that the timestamp is no more
//! than five minutes off. It recognises a repeat by its `webhook-id`.

use crate::Failure;
use crate::script::Script;
use crate::server::Server;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const TOLERANCE_S: i64 = 300;
const BODY_BYTES_MAX: usize = 4 << 20;

/// A running receiver; dropping it stops it.
pub struct Receiver {
    server: Server,
    state: Arc<State>,
}

/// A webhook that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its `webhook-id`.
    pub id: String,
    /// Its body, of the first time.
    pub body: Value,
    /// How often it came.
    pub times: u32,
}

struct State {
    secret: String,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    script: Script,
    statuses: Vec<Option<u16>>,
    violations: Vec<String>,
    deliveries: Vec<Delivery>,
}

impl Receiver {
    /// Starts a receiver that knows one secret, `whsec_…`. `now` is the time in µs since 1970, by which
    /// timestamps are too old. It takes webhooks at every path,
    /// and passes over HEAD, which somebody asks who wants to know whether it is there.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(secret: &str, now: impl Fn() -> i64 + Send + Sync + 'static) -> io::Result<Self> {
        let state = Arc::new(State {
            secret: secret.to_owned(),
            now: Box::new(now),
            kept: Mutex::new(Kept::default()),
        });
        let data = Data::from(Arc::clone(&state));
        let server = Server::start(move |app| {
            app.app_data(data.clone())
                .app_data(PayloadConfig::new(BODY_BYTES_MAX))
                .default_service(web::to(answer));
        })?;
        Ok(Self { server, state })
    }

    /// Where it listens.
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

    /// What was taken, by id, in the order of the first arrivals.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.state.kept().deliveries.clone()
    }

    /// The status of each request, in order; `None` for those that got no answer.
    pub fn statuses(&self) -> Vec<Option<u16>> {
        self.state.kept().statuses.clone()
    }

    /// What was wrong with the requests that were refused.
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

    /// The id and body of a webhook that can be believed, or a status and what is wrong.
    fn check(&self, request: &HttpRequest, body: &Bytes) -> Result<(String, Value), (u16, String)> {
        let headers = request.headers();
        if request.method() != Method::POST {
            return Err((405, format!("the method is {}", request.method())));
        }
        if headers.get(CONTENT_TYPE).is_none_or(|value| value != "application/json") {
            return Err((415, format!("the content type is {:?}", headers.get(CONTENT_TYPE))));
        }
        let id = header(headers, "webhook-id");
        if id.is_empty() || id.contains('.') {
            return Err((400, format!("`webhook-id` is `{id}`")));
        }
        let timestamp = header(headers, "webhook-timestamp");
        let seconds: i64 =
            timestamp.parse().map_err(|_| (400, format!("`webhook-timestamp` is `{timestamp}`")))?;
        if ((self.now)() / 1_000_000 - seconds).abs() > TOLERANCE_S {
            return Err((400, format!("`webhook-timestamp` {timestamp} is too far from now")));
        }
        if !is_signed(&self.secret, headers, body) {
            return Err((401, "no signature in `webhook-signature` is right".to_owned()));
        }
        let value = serde_json::from_slice(body).map_err(|error| (400, format!("the body: {error}")))?;
        Ok((id.to_owned(), value))
    }
}

/// Whether one of the signatures is over this id, timestamp and body, with this secret.
fn is_signed(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(key) = secret.strip_prefix("whsec_").and_then(|key| BASE64_STANDARD.decode(key).ok()) else {
        return false;
    };
    let signed = |signature: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
        mac.update(
            format!("{}.{}.", header(headers, "webhook-id"), header(headers, "webhook-timestamp")).as_bytes(),
        );
        mac.update(body);
        let signature = signature.strip_prefix("v1,").and_then(|text| BASE64_STANDARD.decode(text).ok());
        signature.is_some_and(|signature| mac.verify_slice(&signature).is_ok())
    };
    header(headers, "webhook-signature").split(' ').any(signed)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn answer(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    if request.method() == Method::HEAD {
        return HttpResponse::MethodNotAllowed().finish();
    }
    let checked = state.check(&request, &body);
    let failure = state.kept().script.take();
    if let Some(failure) = failure {
        state.kept().fail(&failure, checked.ok());
        return failure.answer().await;
    }
    let mut kept = state.kept();
    match checked {
        Ok((id, body)) => {
            kept.statuses.push(Some(204));
            kept.take(id, body);
            HttpResponse::NoContent().finish()
        }
        Err((status, what)) => {
            kept.statuses.push(Some(status));
            kept.violations.push(what.clone());
            HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)).body(what)
        }
    }
}

impl Kept {
    fn fail(&mut self, failure: &Failure, checked: Option<(String, Value)>) {
        self.statuses.push(if let Failure::Status { status, .. } = failure { Some(*status) } else { None });
        if let (Failure::TakeAndReset, Some((id, body))) = (failure, checked) {
            self.take(id, body);
        }
    }

    fn take(&mut self, id: String, body: Value) {
        match self.deliveries.iter_mut().find(|delivery| delivery.id == id) {
            Some(delivery) => delivery.times += 1,
            None => self.deliveries.push(Delivery { id, body, times: 1 }),
        }
    }
}
