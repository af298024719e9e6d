//! A tracking request, from its headers to its answer.

use crate::answer::{Fault, Outcomes, success};
use crate::prepare::{Call, Prepared, Request, prepare};
use crate::{Ingest, auth, body, ip, meter};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use pipeline::control::Source;
use std::net::IpAddr;
use std::sync::Arc;

/// A larger body is taken apart off the async threads; this much takes less than half a millisecond.
const INLINE_BYTES_MAX: usize = 96 << 10;

/// Takes a request in and answers it; `path` is its name in the metrics.
pub(crate) async fn take(
    call: Call,
    path: &'static str,
    request: HttpRequest,
    mut payload: web::Payload,
    ingest: web::Data<Ingest>,
) -> HttpResponse {
    let response = match answer(call, &request, &mut payload, &ingest).await {
        Ok(response) => response,
        Err(fault) => {
            let close = !body::drain(request.headers(), &mut payload).await;
            fault.answer(close)
        }
    };
    meter::request(path, &response);
    response
}

async fn answer(
    call: Call,
    request: &HttpRequest,
    payload: &mut web::Payload,
    ingest: &Ingest,
) -> Result<HttpResponse, Fault> {
    let (now, ip) = (ingest.clock.now(), client_ip(request, ingest));
    ingest.rates.take_request(ip, now)?;
    let query = auth::query(request.query_string());
    let source = match auth::given_key(request.headers(), &query) {
        Some(key) => Some(auth::source(&ingest.tools.keys, Some(&key))?),
        None => None,
    };
    if let Some(source) = &source {
        ingest.rates.check_source(&source.name, now)?;
    }
    let body = body::read(request.headers(), payload, &ingest.tools.config, &ingest.memory).await?;
    meter::received(body.received);
    let (outcomes, duplicates) = record(ingest, call, source, ip, &body.bytes).await?;
    Ok(match call {
        Call::One(_) => outcomes.answer_one(),
        Call::Batch => outcomes.answer_batch(&duplicates, is_verbose(request, &query)),
    })
}

/// Appends what a body brings; when it returns, that is durable.
pub(crate) async fn record(
    ingest: &Ingest,
    call: Call,
    source: Option<Arc<Source>>,
    ip: Option<IpAddr>,
    body: &Bytes,
) -> Result<(Outcomes, Vec<u32>), Fault> {
    let start = ingest.clock.now();
    let request = Request { call, source, ip, now: start };
    let Prepared { source, batch, outcomes } = if body.len() <= INLINE_BYTES_MAX {
        prepare(&ingest.tools, &request, body)?
    } else {
        let (tools, body) = (ingest.tools.clone(), body.clone());
        let preparing = web::block(move || prepare(&tools, &request, &body)).await;
        preparing.map_err(|_| Fault::overloaded("the server could not take the request apart"))??
    };
    let start = ingest.clock.now();
    ingest.rates.take_events(&source, outcomes.len(), start)?;
    let appended = ingest.log.append(batch).await?;
    meter::appended(ingest.clock.now().saturating_sub(start));
    meter::items(&source, outcomes.counts(&appended.duplicates));
    Ok((outcomes, appended.duplicates))
}

/// The client's address, as far as it can be known.
pub(crate) fn client_ip(request: &HttpRequest, ingest: &Ingest) -> Option<IpAddr> {
    let lines: Vec<&str> =
        request.headers().get_all("x-forwarded-for").filter_map(|line| line.to_str().ok()).collect();
    let peer = request.peer_addr().map(|peer| peer.ip());
    ip::client(peer, lines.into_iter(), &ingest.tools.config.trusted_proxies)
}

fn is_verbose(request: &HttpRequest, query: &[(String, String)]) -> bool {
    let yes = |value: &str| matches!(value.trim(), "1" | "true");
    let header = request.headers().get("x-flowstate-verbose").and_then(|value| value.to_str().ok());
    header.is_some_and(yes) || query.iter().any(|(name, value)| name == "verbose" && yes(value))
}

/// Measurements of Segment's libraries about themselves: taken, so that they stop asking, and
/// dropped.
pub(crate) async fn drop_metrics(
    path: &'static str,
    request: HttpRequest,
    mut payload: web::Payload,
) -> HttpResponse {
    let mut response = success();
    if !body::drain(request.headers(), &mut payload).await {
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    meter::request(path, &response);
    response
}
