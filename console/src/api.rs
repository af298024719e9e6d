//! The routes of the management API.

mod accounting;
mod columns;
mod connections;
mod dead_letters;
mod events;
mod imports;
mod integrations;
mod replays;
mod sources;
mod sql;
mod suppressions;
#[cfg(test)]
mod tests;

use crate::Console;
use crate::auth::require_api_key;
use crate::fields::BODY_BYTES_MAX;
use crate::problem::Problem;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::web::{Data, PayloadConfig, QueryConfig, ServiceConfig, resource, route, scope};
use actix_web::{HttpResponse, Route};

/// Where the API lies.
const ROOT: &str = "/api/v1";
const OPENAPI: &str = include_str!("../openapi.json");
const OPENAPI_PATH: &str = "/openapi.json";

/// One method of one path below [`ROOT`], in the words of OpenAPI.
struct Endpoint {
    path: &'static str,
    method: Method,
    answer: fn(Route) -> Route,
}

/// All endpoints that need a key; those of one path stand together.
fn endpoints() -> Vec<Endpoint> {
    let get = |path, answer| Endpoint { path, method: Method::GET, answer };
    let post = |path, answer| Endpoint { path, method: Method::POST, answer };
    let patch = |path, answer| Endpoint { path, method: Method::PATCH, answer };
    let delete = |path, answer| Endpoint { path, method: Method::DELETE, answer };
    vec![
        get("/sources", |route| route.to(sources::list)),
        post("/sources", |route| route.to(sources::add)),
        post("/sources/{name}/disable", |route| route.to(sources::disable)),
        post("/sources/{name}/enable", |route| route.to(sources::enable)),
        post("/sources/{name}/import", |route| route.to(imports::run)),
        post("/sql", |route| route.to(sql::run)),
        get("/events/{messageId}", |route| route.to(events::find)),
        get("/accounting", |route| route.to(accounting::list)),
        get("/columns", |route| route.to(columns::list)),
        post("/columns", |route| route.to(columns::pin)),
        delete("/columns", |route| route.to(columns::unpin)),
        get("/integrations", |route| route.to(integrations::list)),
        get("/integrations/{vendor}", |route| route.to(integrations::show)),
        get("/connections", |route| route.to(connections::list)),
        post("/connections", |route| route.to(connections::add)),
        get("/connections/{id}", |route| route.to(connections::show)),
        patch("/connections/{id}", |route| route.to(connections::change)),
        delete("/connections/{id}", |route| route.to(connections::erase)),
        post("/connections/{id}/enable", |route| route.to(connections::enable)),
        post("/connections/{id}/pause", |route| route.to(connections::pause)),
        post("/connections/{id}/resume", |route| route.to(connections::resume)),
        post("/connections/{id}/test", |route| route.to(connections::test)),
        post("/connections/{id}/preview", |route| route.to(connections::preview)),
        post("/connections/{id}/replays", |route| route.to(replays::begin)),
        get("/replays", |route| route.to(replays::list)),
        get("/replays/{id}", |route| route.to(replays::show)),
        post("/replays/{id}/pause", |route| route.to(replays::pause)),
        post("/replays/{id}/resume", |route| route.to(replays::resume)),
        post("/replays/{id}/cancel", |route| route.to(replays::cancel)),
        get("/dead-letters", |route| route.to(dead_letters::list)),
        post("/dead-letters/retry", |route| route.to(dead_letters::retry)),
        get("/suppressions", |route| route.to(suppressions::list)),
        post("/suppressions", |route| route.to(suppressions::add)),
        delete("/suppressions", |route| route.to(suppressions::lift)),
    ]
}

/// Adds the management API to a server, under `/api/v1`.
pub fn configure(config: &mut ServiceConfig, console: Data<Console>) {
    let document = resource(OPENAPI_PATH)
        .route(actix_web::web::get().to(openapi))
        .default_service(route().to(method_not_allowed));
    let endpoints = endpoints();
    let mut api = scope("").wrap(from_fn(require_api_key));
    for of_one_path in endpoints.chunk_by(|one, next| one.path == next.path) {
        let mut at = resource(of_one_path[0].path);
        if at_takes_files(of_one_path[0].path) {
            at = at.app_data(PayloadConfig::new(imports::IMPORT_BYTES_MAX));
        }
        for endpoint in of_one_path {
            at = at.route((endpoint.answer)(route().method(endpoint.method.clone())));
        }
        api = api.service(at.default_service(route().to(method_not_allowed)));
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

async fn method_not_allowed() -> Result<HttpResponse, Problem> {
    let message = format!("this path does not take this method; {ROOT}{OPENAPI_PATH} lists them");
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message))
}
