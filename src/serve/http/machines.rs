//! `/health`, `/ready` and `/metrics`, for machines.

use actix_web::HttpResponse;
use actix_web::web::{Data, ServiceConfig, get};
use metrics_exporter_prometheus::PrometheusHandle;
use pipeline::log::Log;
use serde_json::json;

pub(super) fn configure(config: &mut ServiceConfig, log: Data<Log>, metrics: Data<PrometheusHandle>) {
    config
        .app_data(log)
        .app_data(metrics)
        .route("/health", get().to(health))
        .route("/ready", get().to(ready))
        .route("/metrics", get().to(metrics_text));
}

/// The process lives.
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// Whether the log can take appends.
async fn ready(_: Data<Log>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ready" }))
}

/// All metrics in the text format of Prometheus, version 0.0.4.
async fn metrics_text(metrics: Data<PrometheusHandle>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

/// Whatever no room answers.
pub(super) async fn unknown_path() -> HttpResponse {
    let message = "there is no such path; /api/v1/openapi.json lists those of the management API";
    HttpResponse::NotFound().json(json!({ "success": false, "code": "unknown_path", "message": message }))
}
