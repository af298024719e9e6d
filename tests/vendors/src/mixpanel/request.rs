//! What a request has to be before its records are looked at: who sends it, and how it is packed.

use super::{Project, Reply, State};
use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read;

/// 10 MB, before compression.
pub(super) const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;
const RECORDS_MAX: usize = 2_000;
/// Who the sender is, with the projects that it may see.
pub(super) fn me(request: &HttpRequest, state: &State) -> Result<Reply, Reply> {
    let (user, secret) = &state.project.service_account;
    if header(request, AUTHORIZATION) != basic(user, secret) {
        return Err(Reply::error(401, "Unauthorized", "Invalid credentials"));
    }
    let projects = json!({&state.project.id: {"id": state.project.id.parse::<u64>().ok(), "name": "Fake"}});
    Ok(Reply { status: 200, body: json!({"status": "ok", "results": {"projects": projects}}), records: 0 })
}

/// Whether the sender may write events.
pub(super) fn check_import(
    request: &HttpRequest,
    query: &HashMap<String, String>,
    state: &State,
) -> Result<(), Reply> {
    let Project { token, id, service_account: (user, secret), .. } = &state.project;
    let authorization = header(request, AUTHORIZATION);
    if authorization == basic(user, secret) {
        if query.get("project_id") != Some(id) {
            return Err(Reply::error(403, "Forbidden", "the service account has no role in this project"));
        }
    } else if authorization != basic(token, "") {
        return Err(Reply::error(401, "Unauthorized", "Invalid credentials"));
    }
    if query.get("strict").map(String::as_str) != Some("1") {
        return Err(Reply::error(400, "Bad Request", "`strict` is not 1, so nobody sees what is refused"));
    }
    Ok(())
}

/// The records of a request, at least one.
pub(super) fn records(request: &HttpRequest, body: &[u8], state: &State) -> Result<Vec<Value>, Reply> {
    let bad = |error: String| Reply::error(400, "Bad Request", error);
    if header(request, CONTENT_TYPE) != "application/json" {
        return Err(bad(format!("the content type is `{}`", header(request, CONTENT_TYPE))));
    }
    let mut unpacked = Vec::new();
    match header(request, CONTENT_ENCODING) {
        "" => unpacked.extend_from_slice(body),
        "gzip" => {
            let mut limited = GzDecoder::new(body).take(REQUEST_BYTES_MAX as u64 + 1);
            limited.read_to_end(&mut unpacked).map_err(|error| bad(error.to_string()))?;
        }
        other => return Err(bad(format!("the content encoding is `{other}`"))),
    }
    let too_large = |what: &str| {
        Reply::error(413, "Request Entity Too Large", format!("request exceeds max limit of {what}"))
    };
    if unpacked.len() > REQUEST_BYTES_MAX {
        return Err(too_large("10485760 bytes"));
    }
    let records: Vec<Value> = serde_json::from_slice(&unpacked).map_err(|error| bad(error.to_string()))?;
    if records.is_empty() {
        return Err(bad("there are no records".to_owned()));
    }
    if records.len() > RECORDS_MAX {
        return Err(too_large("2000 records"));
    }
    if let Some(packs) = &state.packs {
        packs.check(request.path(), &records).map_err(bad)?;
    }
    Ok(records)
}

pub(super) fn header(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}
