//! What `/metrics` shows: every metric with its help, times and sizes as histograms, and the process.
//!
//! The rooms count; here is what the counts mean. Names follow Prometheus: base units, `_total` on
//! counters.

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// How often what was recorded is drained, so that it takes no more and more memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper ends of the times that are told apart, in seconds.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper ends of the sizes that are told apart.
const BYTES: [f64; 8] = [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

/// All metrics.
const METRICS: &[(Kind, &str, &str)] = &[
    (
        Counter,
        "flowstate_ingest_requests_total",
        "Requests of the tracking API, by path and status of the answer",
    ),
    (
        Counter,
        "flowstate_ingest_items_total",
        "Events received, by source and outcome: accepted, duplicate or rejected",
    ),
    (
        Counter,
        "flowstate_ingest_rate_limited_total",
        "Requests refused with 429, by the limit that was met: source or address",
    ),
    (Counter, "flowstate_ingest_empty_pixels_total", "Requests of the pixel that brought no event, by code"),
    (Histogram, "flowstate_ingest_request_bytes", "Size of a request's body as it came"),
    (Histogram, "flowstate_ingest_append_seconds", "Time until a request's events were durable"),
    (Counter, "flowstate_log_fsyncs_total", "Groups written to the write-ahead log and synced"),
    (Histogram, "flowstate_log_fsync_seconds", "Time to write one group to the write-ahead log and sync it"),
    (
        Gauge,
        "flowstate_log_queue_bytes",
        "Bytes of events that waited for the next group when the last one was synced",
    ),
    (Counter, "flowstate_log_refused_appends_total", "Appends refused because the log was full or failed"),
    (Gauge, "flowstate_log_wal_bytes", "Bytes the write-ahead log takes on disk"),
    (Gauge, "flowstate_log_end_offset", "The first offset behind the log"),
    (Gauge, "flowstate_log_committed_offset", "The first offset that is not in the tables yet"),
    (Histogram, "flowstate_log_commit_seconds", "Time of one commit to all tables"),
    (Counter, "flowstate_log_object_puts_total", "Groups of the write-ahead log stored as objects"),
    (Counter, "flowstate_log_object_put_errors_total", "Tries to store a group as an object that failed"),
    (Histogram, "flowstate_log_object_put_seconds", "Time to store one group as an object"),
    (Gauge, "flowstate_log_objects", "Objects of the write-ahead log that the tables do not hold yet"),
    (Counter, "flowstate_log_backfills_total", "Older files rewritten with the promoted columns they lacked"),
    (
        Counter,
        "flowstate_promoted_mismatches_total",
        "Values that did not fit their promoted column and are kept in the JSON only",
    ),
    (Counter, "flowstate_log_commit_errors_total", "Commits that failed and are tried again"),
    (Counter, "flowstate_log_compactions_total", "Compactions, by table"),
    (
        Counter,
        "flowstate_log_retention_rows_total",
        "Rows removed because they were older than their table keeps them, by table",
    ),
    (
        Gauge,
        "flowstate_log_retention_waiting_rows",
        "Rows older than their table keeps them that wait for a destination or another table, by table",
    ),
    (Gauge, "flowstate_log_files", "Active Parquet files, by table"),
    (Gauge, "flowstate_log_dedup_memory_bytes", "Memory of the index that finds repeated message ids"),
    (
        Counter,
        "flowstate_delivery_events_total",
        "Outcomes of events at destinations, by connection, vendor, outcome and class of error",
    ),
    (
        Counter,
        "flowstate_delivery_holes_passed_total",
        "Times that a destination went on behind events removed before it got them, by connection",
    ),
    (Gauge, "flowstate_delivery_lag_offsets", "Records of the log that a destination has not read yet"),
    (Gauge, "flowstate_delivery_lag_seconds", "Age of the oldest event that a destination has not settled"),
    (Gauge, "flowstate_delivery_parked_events", "Events of a destination that wait for another attempt"),
    (Gauge, "flowstate_delivery_requests_in_flight", "Requests to a destination that are under way"),
    (Gauge, "flowstate_delivery_breaker_open", "1 while a destination is left alone because it fails"),
    (Gauge, "flowstate_delivery_held", "1 while a destination waits for a person"),
    (
        Gauge,
        "flowstate_deliveries_unflushed_records",
        "Records of deliveries that are in the journal and not in the table yet",
    ),
    (
        Counter,
        "flowstate_deliveries_flush_errors_total",
        "Writes of the table of deliveries that failed and are tried again",
    ),
    (
        Counter,
        "flowstate_egress_requests_total",
        "Requests that left for vendors, by status (2xx to 5xx) or class of error",
    ),
    (Histogram, "flowstate_egress_request_seconds", "Time of a request to a vendor, answer included"),
    (Counter, "flowstate_sql_queries_total", "Queries of the management API, by outcome"),
    (Histogram, "flowstate_sql_query_seconds", "Time until the first rows of a query could be read"),
    (Gauge, "process_resident_memory_bytes", "Resident memory"),
    (Gauge, "process_open_fds", "Open file descriptors"),
    (Gauge, "process_max_fds", "File descriptors that may be open"),
    (Counter, "process_cpu_seconds_total", "Whole seconds of processor time, in user and system mode"),
    (Gauge, "process_threads", "Threads"),
];

/// Metrics are recorded from here on.
pub(crate) fn recorder() -> anyhow::Result<PrometheusHandle> {
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), &BYTES)?
        .install_recorder()
        .context("the metrics cannot be recorded")?;
    for &(kind, name, help) in METRICS {
        match kind {
            Counter => metrics::describe_counter!(name, help),
            Gauge => metrics::describe_gauge!(name, help),
            Histogram => metrics::describe_histogram!(name, help),
        }
    }
    let recorded = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            recorded.run_upkeep();
        }
    });
    Ok(metrics)
}

/// Looks at the process, where the system has `/proc`. The names are those of every client library
/// of Prometheus.
pub(super) fn process() {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let status = read("status");
    let line = |text: &str, name: &str| text.lines().find_map(|line| number(line.strip_prefix(name)?));
    if let Some(kib) = line(&status, "VmRSS:") {
        metrics::gauge!("process_resident_memory_bytes").set(kib as f64 * 1024.0);
    }
    if let Some(threads) = line(&status, "Threads:") {
        metrics::gauge!("process_threads").set(threads as f64);
    }
    if let Some(files) = line(&read("limits"), "Max open files") {
        metrics::gauge!("process_max_fds").set(files as f64);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(open.count() as f64);
    }
    if let Some(seconds) = cpu_seconds(&read("stat")) {
        metrics::counter!("process_cpu_seconds_total").absolute(seconds);
    }
}

/// The first number of a line.
fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Processor time of `/proc/self/stat`, whose unit is a hundredth of a second on Linux.
fn cpu_seconds(stat: &str) -> Option<u64> {
    // The name, in brackets, may hold anything; `utime` and `stime` are the twelfth and thirteenth behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for (index, &(kind, name, help)) in METRICS.iter().enumerate() {
            assert_eq!(kind == Counter, name.ends_with("_total"), "{name}");
            assert!(kind != Histogram || name.ends_with("_seconds") || name.ends_with("_bytes"), "{name}");
            assert!(!help.ends_with('.') && help.len() > 5, "{name}: {help}");
            assert!(!METRICS[..index].iter().any(|(_, other, _)| *other == name), "{name} stands twice");
        }
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(4));
        assert_eq!(cpu_seconds(""), None);
    }
}
