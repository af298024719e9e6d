//! `/health`, `/ready` and `/metrics`, for machines.

use super::metered;
use actix_web::HttpResponse;
use actix_web::web::{Data, ServiceConfig, get};
use metrics_exporter_prometheus::PrometheusHandle;
use pipeline::log::{Log, Status};
use serde_json::json;

/// Bytes the write-ahead log may take without its last segment. It grows by whole segments, so
/// beyond this there is no next one, and appends end in the one that is being written.
struct WalBytesMax(u64);

pub(super) fn configure(
    config: &mut ServiceConfig,
    log: Data<Log>,
    wal_bytes_max: u64,
    metrics: Data<PrometheusHandle>,
) {
    config
        .app_data(log)
        .app_data(metrics)
        .app_data(Data::new(WalBytesMax(wal_bytes_max)))
        .route("/health", get().to(health))
        .route("/ready", get().to(ready))
        .route("/metrics", get().to(metrics_text));
}

/// The process lives.
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// Whether the log takes appends. A commit that failed is named, and leaves the server ready: events
/// are taken in until the write-ahead log is full.
async fn ready(log: Data<Log>, wal: Data<WalBytesMax>) -> HttpResponse {
    answer(&log.status(), wal.0)
}

fn answer(status: &Status, wal_bytes_max: u64) -> HttpResponse {
    let commit_error = status.commit_error.as_deref();
    if let Some(reason) = &status.failed {
        let body = json!({ "status": "failed", "message": reason, "commit_error": commit_error });
        return HttpResponse::ServiceUnavailable().json(body);
    }
    if let Some(reason) = &status.waiting {
        let message = format!("the store does not take what is to be acknowledged: {reason}");
        let body = json!({ "status": "waiting", "message": message, "commit_error": commit_error });
        return HttpResponse::ServiceUnavailable().json(body);
    }
    if status.wal_bytes > wal_bytes_max {
        let message = format!(
            "the write-ahead log takes {} bytes, and no further segment fits into `wal_bytes_max`",
            status.wal_bytes
        );
        let body = json!({ "status": "full", "message": message, "commit_error": commit_error });
        return HttpResponse::ServiceUnavailable().json(body);
    }
    HttpResponse::Ok().json(json!({ "status": "ready", "commit_error": commit_error }))
}

/// All metrics in the text format of Prometheus, version 0.0.4.
async fn metrics_text(metrics: Data<PrometheusHandle>) -> HttpResponse {
    metered::process();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;
    use serde_json::Value;

    async fn answered(status: &Status) -> (u16, Value) {
        let response = answer(status, (1 << 30) - 1);
        let code = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        (code, serde_json::from_slice(&body).unwrap())
    }

    #[actix_web::test]
    async fn a_failed_or_full_log_is_not_ready_and_a_failed_commit_is_named() {
        let fine = Status {
            failed: None,
            waiting: None,
            commit_error: None,
            end: 0,
            committed: 0,
            wal_bytes: 1 << 20,
            files: [0; 3],
        };
        assert_eq!(answered(&fine).await, (200, json!({"status": "ready", "commit_error": null})));
        let late = Status { commit_error: Some("no space".into()), ..fine.clone() };
        assert_eq!(answered(&late).await, (200, json!({"status": "ready", "commit_error": "no space"})));
        let (code, body) = answered(&Status { wal_bytes: 1 << 30, ..late }).await;
        assert_eq!((code, &body["status"], &body["commit_error"]), (503, &json!("full"), &json!("no space")));
        let (code, body) = answered(&Status { waiting: Some("down".into()), ..fine.clone() }).await;
        assert_eq!((code, &body["status"]), (503, &json!("waiting")));
        let (code, body) = answered(&Status { failed: Some("the disk".into()), ..fine }).await;
        assert_eq!((code, &body["status"], &body["message"]), (503, &json!("failed"), &json!("the disk")));
    }
}
