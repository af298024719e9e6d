//! What is counted: `flowstate_ingest_*`.

use crate::answer::Counts;
use actix_web::HttpResponse;
use pipeline::Micros;

/// One answered request; `path` is a path of the table of routes, never one that a client made up.
pub(crate) fn request(path: &'static str, response: &HttpResponse) {
    let status = response.status().as_u16().to_string();
    metrics::counter!("flowstate_ingest_requests_total", "path" => path, "status" => status).increment(1);
}

/// The size of a body as it came.
pub(crate) fn received(bytes: usize) {
    metrics::histogram!("flowstate_ingest_request_bytes").record(bytes as f64);
}

/// How long a request waited until its events were durable.
pub(crate) fn appended(waited: Micros) {
    metrics::histogram!("flowstate_ingest_append_seconds").record(waited as f64 / 1e6);
}

/// What became of a request's items.
pub(crate) fn items(source: &str, counts: Counts) {
    let outcomes =
        [("accepted", counts.accepted), ("duplicate", counts.duplicate), ("rejected", counts.rejected)];
    for (outcome, count) in outcomes {
        if count > 0 {
            let labels = [("source", source.to_owned()), ("outcome", outcome.to_owned())];
            metrics::counter!("flowstate_ingest_items_total", &labels).increment(count as u64);
        }
    }
}
