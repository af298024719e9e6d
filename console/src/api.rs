//! The routes of the management API.

mod accounting;
mod columns;
mod commits;
mod connections;
mod dead_letters;
mod events;
mod follow;
mod imports;
mod integrations;
mod keys;
mod partitions;
mod rejected;
mod replays;
mod retention;
mod search;
mod sources;
mod sql;
mod suppressions;
#[cfg(test)]
mod tests;

use crate::Console;
use crate::auth::{require_api_key, require_scope};
use crate::fields::BODY_BYTES_MAX;
use crate::problem::Problem;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::web::{Data, PayloadConfig, QueryConfig, ServiceConfig, resource, route, scope};
use actix_web::{HttpResponse, ResponseError, Route};
use pipeline::control::Scope;

/// Where the API lies.
const ROOT: &str = "/api/v1";
const OPENAPI: &str = include_str!("../openapi.json");
const OPENAPI_PATH: &str = "/openapi.json";

/// One method of one path below [`ROOT`], in the words of OpenAPI, and what a key needs for it.
struct Endpoint {
    path: &'static str,
    method: Method,
    scope: Scope,
    answer: fn(Route) -> Route,
}

/// All endpoints that need a key; those of one path stand together.
fn endpoints() -> Vec<Endpoint> {
    use Scope::{Admin, ConnectionsWrite, EventsRead, EventsWrite, Read, SourcesWrite};
    let get = |path, scope, answer| Endpoint { path, method: Method::GET, scope, answer };
    let post = |path, scope, answer| Endpoint { path, method: Method::POST, scope, answer };
    let patch = |path, scope, answer| Endpoint { path, method: Method::PATCH, scope, answer };
    let delete = |path, scope, answer| Endpoint { path, method: Method::DELETE, scope, answer };
    vec![
        get("/keys", Admin, |route| route.to(keys::list)),
        post("/keys", Admin, |route| route.to(keys::add)),
        delete("/keys/{name}", Admin, |route| route.to(keys::revoke)),
        get("/sources", Read, |route| route.to(sources::list)),
        post("/sources", SourcesWrite, |route| route.to(sources::add)),
        post("/sources/{name}/disable", SourcesWrite, |route| route.to(sources::disable)),
        post("/sources/{name}/enable", SourcesWrite, |route| route.to(sources::enable)),
        post("/sources/{name}/import", EventsWrite, |route| route.to(imports::run)),
        post("/sql", EventsRead, |route| route.to(sql::run)),
        get("/events", EventsRead, |route| route.to(events::list)),
        get("/events/stream", EventsRead, |route| route.to(events::stream)),
        get("/events/{messageId}", EventsRead, |route| route.to(events::find)),
        get("/rejected", EventsRead, |route| route.to(rejected::list)),
        post("/rejected/admit", EventsWrite, |route| route.to(rejected::admit_many)),
        post("/rejected/{partition}/{offset}/admit", EventsWrite, |route| route.to(rejected::admit)),
        get("/accounting", Read, |route| route.to(accounting::list)),
        get("/columns", Read, |route| route.to(columns::list)),
        post("/columns", Admin, |route| route.to(columns::pin)),
        delete("/columns", Admin, |route| route.to(columns::unpin)),
        get("/commits", Read, |route| route.to(commits::list)),
        post("/commits", Admin, |route| route.to(partitions::commit)),
        get("/compactions", Read, |route| route.to(commits::compactions)),
        get("/partitions", Read, |route| route.to(partitions::list)),
        post("/partitions/{id}/adopt", Admin, |route| route.to(partitions::adopt)),
        get("/retention", Read, |route| route.to(retention::show)),
        get("/integrations", Read, |route| route.to(integrations::list)),
        get("/integrations/{vendor}", Read, |route| route.to(integrations::show)),
        get("/connections", Read, |route| route.to(connections::list)),
        post("/connections", ConnectionsWrite, |route| route.to(connections::add)),
        get("/connections/{id}", Read, |route| route.to(connections::show)),
        patch("/connections/{id}", ConnectionsWrite, |route| route.to(connections::change)),
        delete("/connections/{id}", ConnectionsWrite, |route| route.to(connections::erase)),
        post("/connections/{id}/enable", ConnectionsWrite, |route| route.to(connections::enable)),
        post("/connections/{id}/pause", ConnectionsWrite, |route| route.to(connections::pause)),
        post("/connections/{id}/resume", ConnectionsWrite, |route| route.to(connections::resume)),
        post("/connections/{id}/test", ConnectionsWrite, |route| route.to(connections::test)),
        post("/connections/{id}/preview", EventsRead, |route| route.to(connections::preview)),
        post("/connections/{id}/replays", ConnectionsWrite, |route| route.to(replays::begin)),
        get("/replays", Read, |route| route.to(replays::list)),
        get("/replays/{id}", Read, |route| route.to(replays::show)),
        post("/replays/{id}/pause", ConnectionsWrite, |route| route.to(replays::pause)),
        post("/replays/{id}/resume", ConnectionsWrite, |route| route.to(replays::resume)),
        post("/replays/{id}/cancel", ConnectionsWrite, |route| route.to(replays::cancel)),
        get("/dead-letters", EventsRead, |route| route.to(dead_letters::list)),
        post("/dead-letters/retry", ConnectionsWrite, |route| route.to(dead_letters::retry)),
        get("/suppressions", EventsRead, |route| route.to(suppressions::list)),
        post("/suppressions", ConnectionsWrite, |route| route.to(suppressions::add)),
        delete("/suppressions", ConnectionsWrite, |route| route.to(suppressions::lift)),
    ]
}

/// Adds the management API to a server, under `/api/v1`.
pub fn configure(config: &mut ServiceConfig, console: Data<Console>) {
    let document = resource(OPENAPI_PATH)
        .route(actix_web::web::get().to(openapi))
        .default_service(refuse_other_methods("GET".to_owned()));
    let endpoints = endpoints();
    let mut api = scope("").wrap(from_fn(require_api_key));
    for of_one_path in endpoints.chunk_by(|one, next| one.path == next.path) {
        let mut at = resource(of_one_path[0].path);
        if at_takes_files(of_one_path[0].path) {
            at = at.app_data(PayloadConfig::new(imports::IMPORT_BYTES_MAX));
        }
        for endpoint in of_one_path {
            let scope = endpoint.scope;
            let allowed = from_fn(move |request, next| require_scope(scope, request, next));
            at = at.route((endpoint.answer)(route().method(endpoint.method.clone())).wrap(allowed));
        }
        let methods: Vec<_> = of_one_path.iter().map(|endpoint| endpoint.method.as_str()).collect();
        api = api.service(at.default_service(refuse_other_methods(methods.join(", "))));
    }
    config.service(
        scope(ROOT)
            .app_data(console)
            .app_data(PayloadConfig::new(BODY_BYTES_MAX))
            .app_data(QueryConfig::default().error_handler(|error, _| {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_query", error.to_string()).into()
            }))
            .service(document)
            .service(api.default_service(route().to(unknown_path))),
    );
}

/// Whether bodies at this path are pieces of files.
fn at_takes_files(path: &str) -> bool {
    path.ends_with("/import")
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(OPENAPI)
}

async fn unknown_path() -> Result<HttpResponse, Problem> {
    let message = format!("there is no such path; {ROOT}{OPENAPI_PATH} lists them");
    Err(Problem::new(StatusCode::NOT_FOUND, "unknown_path", message))
}

/// Answers methods other than those of `allowed`.
fn refuse_other_methods(allowed: String) -> Route {
    route().to(move || {
        let message = format!("this path takes {allowed} only; {ROOT}{OPENAPI_PATH} lists all");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        let mut response = problem.error_response();
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        async { response }
    })
}
