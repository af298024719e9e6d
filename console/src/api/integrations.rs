//! `/integrations`: the vendors, and what a connection to each needs.

use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use pipeline::vendor;
use serde_json::json;

pub(super) async fn list() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "integrations": vendor::all() }))
}

pub(super) async fn show(name: Path<String>) -> Result<HttpResponse, Problem> {
    let vendor = vendor::named(&name).ok_or_else(|| {
        let shown: String = name.chars().take(80).collect();
        let message = format!("there is no vendor `{shown}`; /api/v1/integrations lists them");
        Problem::new(StatusCode::NOT_FOUND, "unknown", message)
    })?;
    Ok(HttpResponse::Ok().json(vendor))
}
