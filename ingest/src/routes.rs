//! The paths of the tracking API: Segment's long ones, the one-letter ones of analytics.js, the
//! pixel, RudderStack's beacon, and Jitsu's.

use crate::answer::Fault;
use crate::prepare::Call;
use crate::{Ingest, body, meter, pixel, settings, tracking};
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, Resource, web};
use pipeline::event::Kind;

/// The paths that take one event or a batch.
const CALLS: [(&str, Call); 32] = [
    ("/v1/track", Call::One(Some(Kind::Track))),
    ("/v1/identify", Call::One(Some(Kind::Identify))),
    ("/v1/page", Call::One(Some(Kind::Page))),
    ("/v1/screen", Call::One(Some(Kind::Screen))),
    ("/v1/group", Call::One(Some(Kind::Group))),
    ("/v1/alias", Call::One(Some(Kind::Alias))),
    ("/v1/t", Call::One(Some(Kind::Track))),
    ("/v1/i", Call::One(Some(Kind::Identify))),
    ("/v1/p", Call::One(Some(Kind::Page))),
    ("/v1/s", Call::One(Some(Kind::Screen))),
    ("/v1/g", Call::One(Some(Kind::Group))),
    ("/v1/a", Call::One(Some(Kind::Alias))),
    ("/v1/batch", Call::Batch),
    ("/v1/import", Call::Batch),
    ("/v1/b", Call::Batch),
    ("/beacon/v1/batch", Call::Batch),
    ("/api/s/track", Call::One(Some(Kind::Track))),
    ("/api/s/identify", Call::One(Some(Kind::Identify))),
    ("/api/s/page", Call::One(Some(Kind::Page))),
    ("/api/s/screen", Call::One(Some(Kind::Screen))),
    ("/api/s/group", Call::One(Some(Kind::Group))),
    ("/api/s/alias", Call::One(Some(Kind::Alias))),
    ("/api/s/event", Call::One(None)),
    ("/api/s/batch", Call::Batch),
    ("/api/s/s2s/track", Call::One(Some(Kind::Track))),
    ("/api/s/s2s/identify", Call::One(Some(Kind::Identify))),
    ("/api/s/s2s/page", Call::One(Some(Kind::Page))),
    ("/api/s/s2s/screen", Call::One(Some(Kind::Screen))),
    ("/api/s/s2s/group", Call::One(Some(Kind::Group))),
    ("/api/s/s2s/alias", Call::One(Some(Kind::Alias))),
    ("/api/s/s2s/event", Call::One(None)),
    ("/api/s/s2s/batch", Call::Batch),
];

const METRICS: &str = "/v1/m";
const PIXEL: &str = "/v1/pixel/{type}";
const SETTINGS: &str = "/v1/projects/{write_key}/settings";

/// Headers that a page may send: ours, Segment's and, behind them, those that Jitsu's library knows.
const ALLOWED_HEADERS: &str = "authorization, content-type, x-write-key, x-flowstate-verbose, \
    content-encoding, x-retry-count, cache-control, x-enable-debug, x-ip-policy, x-jitsu-custom";

/// Mounts the tracking API. Paths that it does not have are left to the server's default, for which
/// there is [`unknown_path`].
pub fn configure(service: &mut web::ServiceConfig, ingest: web::Data<Ingest>) {
    service.app_data(ingest);
    for (path, call) in CALLS {
        let take = move |request, payload, ingest| tracking::take(call, path, request, payload, ingest);
        service.service(resource(path, "POST, OPTIONS").route(web::post().to(take)));
    }
    let drop_metrics = |request, payload| tracking::drop_metrics(METRICS, request, payload);
    service.service(resource(METRICS, "POST, OPTIONS").route(web::post().to(drop_metrics)));
    let pixel = |request, ingest| pixel::take(PIXEL, request, ingest);
    service.service(resource(PIXEL, "GET, OPTIONS").route(web::get().to(pixel)));
    let settings = |request, key, ingest| settings::show(SETTINGS, request, key, ingest);
    service.service(resource(SETTINGS, "GET, OPTIONS").route(web::get().to(settings)));
}

fn resource(path: &'static str, methods: &'static str) -> Resource {
    let preflight = move |request| async move { preflight(path, methods, &request) };
    let refuse = move |request, payload| method_not_allowed(path, methods, request, payload);
    web::resource(path).route(web::method(Method::OPTIONS).to(preflight)).default_service(web::to(refuse))
}

/// Any page may send, with whatever headers its library has (RudderStack's sends `AnonymousId`);
/// whether its key is good, the request itself will find out. No header means anything to a server
/// without cookies but those it reads, so all that are asked for are allowed.
fn preflight(path: &'static str, methods: &'static str, request: &HttpRequest) -> HttpResponse {
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let allowed = asked.cloned().unwrap_or(header::HeaderValue::from_static(ALLOWED_HEADERS));
    let response = HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, allowed))
        .insert_header((header::VARY, "Access-Control-Request-Headers"))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "86400"))
        .finish();
    meter::request(path, &response);
    response
}

async fn method_not_allowed(
    path: &'static str,
    methods: &'static str,
    request: HttpRequest,
    mut payload: web::Payload,
) -> HttpResponse {
    let message = format!("this path does not know {}; allowed are {methods}", request.method());
    let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    let close = !body::drain(request.headers(), &mut payload).await;
    let mut response = fault.answer(close);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
    meter::request(path, &response);
    response
}

/// Answers a request for a path that nothing is mounted on: 404 `unknown_path`. It is meant as the
/// `default_service` of the server.
pub async fn unknown_path(request: HttpRequest, mut payload: web::Payload) -> HttpResponse {
    let fault = Fault::new(StatusCode::NOT_FOUND, "unknown_path", "there is nothing at this path");
    let close = !body::drain(request.headers(), &mut payload).await;
    let response = fault.answer(close);
    meter::request("other", &response);
    response
}
