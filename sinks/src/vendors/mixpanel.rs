//! Mixpanel: events, the profiles of people, and groups.
//!
//! Facts from Mixpanel's documentation, "Import Events", "User Profiles", "Group Profiles" and
//! "Identity Management", and its OpenAPI descriptions (read 2026-11): `/import` names the records
//! that it refuses and stores the others; `/engage` and `/groups` answer 200 also when they refuse;
//! events are known again by name, time, distinct id and `$insert_id`.

mod answers;
mod check;
mod context;
mod insert_id;
mod mapping;
mod object;
mod people;
mod project;
mod traits;

use super::manners;
use crate::SettingError;
use crate::engine::{Account, Check, Manners, Mapped, Operation, Sink, Verdict};
use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pipeline::Micros;
use pipeline::egress::{Answer, Http, Request, TIMEOUT};
use pipeline::event::Event;
use pipeline::log::Stored;
use project::Project;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use std::io::Write;

/// The endpoint for events, by its place in the facts.
const IMPORT: usize = 0;
/// The endpoint for the profiles of people, likewise.
const ENGAGE: usize = 1;
/// The endpoint for the profiles of groups, likewise.
const GROUPS: usize = 2;

/// A Mixpanel project that events are sent to.
#[derive(Debug)]
pub struct Mixpanel {
    project: Project,
    manners: Manners,
}

impl Mixpanel {
    /// A project. Settings: `region` is `us`, `eu` or `in`; `identity_mode` is `simplified` (the
    /// default) or `original`; `project_id` is its number; `group_keys` are its group keys, the
    /// first of which stands for the groups of `group` calls. Credentials: `project_token`, and
    /// `service_account` as `user:secret`, which needs the `project_id`.
    ///
    /// # Errors
    /// When one of them is missing or wrong.
    pub fn new(account: &Account) -> Result<Self, SettingError> {
        Ok(Self { project: Project::new(account)?, manners: manners::of("mixpanel") })
    }

    fn post(&self, path: &str, authorization: Option<&HeaderValue>, body: Body) -> Request {
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let body = match body {
            Body::Plain(body) => body.into(),
            Body::Packed(body) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                body
            }
        };
        let url = self.project.ingestion_url(path);
        Request { method: Method::POST, url, headers, body, timeout: TIMEOUT }
    }
}

enum Body {
    Plain(Vec<u8>),
    Packed(Bytes),
}

/// A JSON array of the operations' bodies.
fn array(bodies: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = vec![b'['];
    for body in bodies {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&body);
    }
    out.push(b']');
    out
}

fn packed(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).expect("memory takes everything");
    encoder.finish().expect("memory takes everything").into()
}

#[async_trait]
impl Sink for Mixpanel {
    fn manners(&self) -> &Manners {
        &self.manners
    }

    fn map(&self, event: &Stored<Event<'static>>) -> Mapped {
        mapping::map(event, &self.project)
    }

    fn request(&self, operations: &[&Operation], _now: Micros) -> Request {
        let endpoint = operations.first().map_or(IMPORT, |operation| operation.endpoint);
        let bodies = operations.iter().map(|operation| operation.body.as_ref());
        match endpoint {
            IMPORT => {
                let body = array(bodies.map(|body| self.project.with_token_if_special(body)));
                let path = self.project.import_path();
                self.post(&path, Some(self.project.authorization()), Body::Packed(packed(&body)))
            }
            ENGAGE | GROUPS => {
                let path = if endpoint == ENGAGE { "/engage?verbose=1" } else { "/groups?verbose=1" };
                let body = array(bodies.map(|body| self.project.with_token(body)));
                self.post(path, None, Body::Plain(body))
            }
            _ => unreachable!("`map` makes operations of three endpoints"),
        }
    }

    fn verdicts(&self, operations: &[&Operation], answer: &Answer, now: Micros) -> Vec<Verdict> {
        answers::verdicts(&self.project, operations, answer, now)
    }

    async fn check(&self, http: &dyn Http, now: Micros, sample: bool) -> Check {
        self.prove(http, now, sample).await
    }
}

#[cfg(test)]
mod tests;
