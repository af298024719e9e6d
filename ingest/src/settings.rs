//! What analytics.js asks for when it starts.

use crate::answer::allow_any_origin;
use crate::{Ingest, auth, meter};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// Answers with the least that analytics.js 2 lives on: its one integration, with the key and with
/// this server as the host to send to (segmentio/analytics-next, `packages/browser/src/browser` and
/// `src/plugins/segmentio`, read 2026-11).
pub(crate) async fn show(
    path: &'static str,
    request: HttpRequest,
    write_key: web::Path<String>,
    ingest: web::Data<Ingest>,
) -> HttpResponse {
    let response = match auth::source(&ingest.tools.keys, Some(&write_key)) {
        Ok(_) => document(&request, &write_key),
        Err(fault) => fault.answer(false),
    };
    meter::request(path, &response);
    response
}

fn document(request: &HttpRequest, write_key: &str) -> HttpResponse {
    let mut segment = json!({
        "apiKey": write_key,
        "unbundledIntegrations": [],
        "addBundledMetadata": true,
        "maybeBundledConfigIds": {},
    });
    if let Some(host) = host(request) {
        segment["apiHost"] = json!(format!("{host}/v1"));
        segment["protocol"] = json!(scheme(request, host));
    }
    let mut response = HttpResponse::Ok();
    allow_any_origin(&mut response);
    response.insert_header((header::CACHE_CONTROL, "private, max-age=60"));
    response.json(json!({
        "integrations": { "Segment.io": segment },
        "plan": { "track": { "__default": { "enabled": true, "integrations": {} } } },
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": { "sampleRate": 0 },
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    }))
}

/// The host that the browser asked.
fn host(request: &HttpRequest) -> Option<&str> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_plain)).then_some(host)
}

/// How the page has to send: as it came here, by the word of the proxy in front or of our own
/// certificate. Where neither tells, an `https` page on another machine gets `https`, as its browser
/// would block anything else; nobody but the one who asks is affected by what it says of itself.
fn scheme(request: &HttpRequest, host: &str) -> &'static str {
    let said = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    match said("x-forwarded-proto") {
        Some("https") => return "https",
        Some("http") => return "http",
        _ if request.app_config().secure() => return "https",
        _ => {}
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let page = said(header::ORIGIN.as_str()).or_else(|| said(header::REFERER.as_str()));
    let is_secure = page.is_some_and(|page| page.starts_with("https:"));
    if is_secure && !is_local { "https" } else { "http" }
}
