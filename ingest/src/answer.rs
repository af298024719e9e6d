//! What a client is told: JSON, readable from any origin.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use pipeline::log::AppendError;
use serde::Serialize;
use std::ops::Range;

use crate::rules::Broken;

/// Seconds after which a client should try again when there is no better guess.
const RETRY_AFTER_S: u64 = 1;

/// A request that failed as a whole; nothing of it was kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after_s: Option<u64>,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let retry = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        Self { status, code, message: message.into(), retry_after_s: retry.then_some(RETRY_AFTER_S) }
    }

    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    }

    pub(crate) fn unknown_source(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unknown_source", message)
    }

    pub(crate) fn overloaded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
    }

    /// The answer; `close` ends the connection, because the body was not read to its end.
    pub(crate) fn answer(&self, close: bool) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        allow_any_origin(&mut response);
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if close {
            response.force_close();
        }
        response.json(Failure { success: false, code: self.code, message: &self.message })
    }
}

impl From<AppendError> for Fault {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        let (code, retry_after_s) = match error {
            AppendError::Overloaded { retry_after_s } => ("overloaded", retry_after_s),
            AppendError::StorageFull { retry_after_s, .. } => ("storage_full", retry_after_s),
            AppendError::StoreUnavailable { retry_after_s, .. } => ("storage_unavailable", retry_after_s),
            AppendError::ShuttingDown => ("shutting_down", RETRY_AFTER_S),
            AppendError::TooLarge { .. } => {
                return Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message);
            }
            // The log has said why, once.
            AppendError::Failed(_) => ("overloaded", RETRY_AFTER_S),
        };
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { retry_after_s: Some(retry_after_s.max(1)), ..fault }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    success: bool,
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Success {
    success: bool,
}

#[derive(Serialize)]
struct BatchAnswer<'a> {
    success: bool,
    received: usize,
    accepted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<ItemAnswer<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

/// What became of each item of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    items: Vec<Outcome>,
    /// All message ids, one after the other.
    ids: String,
    rejected: usize,
}

#[derive(Debug)]
struct Outcome {
    id: Option<Range<usize>>,
    broken: Option<Box<Broken>>,
}

/// How many items of a request met with which outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: usize,
    pub(crate) duplicate: usize,
    pub(crate) rejected: usize,
}

impl Outcomes {
    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// An item that was good; whether it is a duplicate the log knows.
    pub(crate) fn good(&mut self, message_id: &str) {
        let id = Some(self.keep(message_id));
        self.items.push(Outcome { id, broken: None });
    }

    /// An item that broke a rule.
    pub(crate) fn rejected(&mut self, message_id: Option<&str>, broken: Broken) {
        let id = message_id.map(|id| self.keep(id));
        self.items.push(Outcome { id, broken: Some(Box::new(broken)) });
        self.rejected += 1;
    }

    /// The rule that each rejected item broke, with the item's index.
    pub(crate) fn broken(&self) -> impl Iterator<Item = (usize, &Broken)> {
        self.items.iter().enumerate().filter_map(|(index, item)| Some((index, item.broken.as_deref()?)))
    }

    pub(crate) fn counts(&self, duplicates: &[u32]) -> Counts {
        let duplicate = duplicates.len();
        let accepted = self.items.len().saturating_sub(duplicate + self.rejected);
        Counts { accepted, duplicate, rejected: self.rejected }
    }

    /// The answer to a request with one event.
    pub(crate) fn answer_one(&self) -> HttpResponse {
        match self.items.first().and_then(|item| item.broken.as_deref()) {
            Some(broken) => Fault::bad(broken.code, &*broken.message).answer(false),
            None => success(),
        }
    }

    /// The answer to a batch; `duplicates` are indexes, ascending.
    pub(crate) fn answer_batch(&self, duplicates: &[u32], verbose: bool) -> HttpResponse {
        let accepted = self.counts(duplicates).accepted;
        let received = self.items.len();
        let results = (verbose || accepted < received).then(|| self.results(duplicates));
        let mut response = HttpResponse::Ok();
        allow_any_origin(&mut response);
        response.json(BatchAnswer { success: true, received, accepted, results })
    }

    fn results(&self, duplicates: &[u32]) -> Vec<ItemAnswer<'_>> {
        let mut duplicates = duplicates.iter().copied().peekable();
        let items = self.items.iter().enumerate();
        items
            .map(|(index, item)| {
                let duplicate = duplicates.next_if(|&next| next as usize == index).is_some();
                let broken = item.broken.as_deref();
                ItemAnswer {
                    message_id: item.id.clone().and_then(|id| self.ids.get(id)),
                    status: match broken {
                        Some(_) => "rejected",
                        None if duplicate => "duplicate",
                        None => "accepted",
                    },
                    code: broken.map(|broken| broken.code),
                    message: broken.map(|broken| broken.message.as_str()),
                }
            })
            .collect()
    }

    fn keep(&mut self, id: &str) -> Range<usize> {
        let start = self.ids.len();
        self.ids.push_str(id);
        start..self.ids.len()
    }
}

/// `{"success":true}`.
pub(crate) fn success() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    allow_any_origin(&mut response);
    response.json(Success { success: true })
}

/// Lets a page of any origin read the answer; without credentials, so that it learns nothing that
/// anybody could not ask for.
pub(crate) fn allow_any_origin(response: &mut actix_web::HttpResponseBuilder) {
    response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    response.insert_header((header::ACCESS_CONTROL_EXPOSE_HEADERS, "retry-after"));
}
