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

/// Whether the log takes appends.
async fn ready(log: Data<Log>) -> HttpResponse {
    match log.status().failed {
        None => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Some(reason) => {
            HttpResponse::ServiceUnavailable().json(json!({ "status": "failed", "message": reason }))
        }
    }
}

/// All metrics in the text format of Prometheus, version 0.0.4.
async fn metrics_text(metrics: Data<PrometheusHandle>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}
