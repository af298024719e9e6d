//! The past of the log, by SQL.

use async_trait::async_trait;
use futures::TryStreamExt;
use pipeline::Micros;
use pipeline::connection::ReplaySpec;
use pipeline::event::{format_timestamp, parse_timestamp};
use pipeline::log::{Offset, PartitionId};
use queries::Engine;
use serde_json::Value;
use sinks::service::{Counted, History};
use std::sync::Arc;

/// Answers from the query engine.
pub(super) struct SqlHistory(pub(super) Arc<Engine>);

#[async_trait]
impl History for SqlHistory {
    async fn first_at(&self, partition: &PartitionId, time: Micros) -> Result<Option<Offset>, String> {
        let sql = format!(
            "SELECT min(log_offset) AS first FROM events
             WHERE log_partition = '{partition}' AND received_at >= '{}'",
            format_timestamp(time)
        );
        Ok(self.row(&sql).await?["first"].as_u64())
    }

    async fn failing(&self, destination: &str) -> Result<Option<(Micros, Micros)>, String> {
        let sql = format!(
            "WITH attempts AS (
               SELECT at, outcome FROM delivery_records
               WHERE destination = '{}' AND outcome IN ('delivered', 'retry', 'ambiguous', 'dead') AND attempt > 0
             ), taken AS (SELECT max(at) AS at FROM attempts WHERE outcome = 'delivered')
             SELECT min(attempts.at) AS first, max(attempts.at) AS last FROM attempts, taken
             WHERE attempts.outcome <> 'delivered' AND (taken.at IS NULL OR attempts.at > taken.at)",
            destination.replace('\'', "''")
        );
        let row = self.row(&sql).await?;
        let time = |name: &str| parse_timestamp(row[name].as_str()?);
        Ok(time("first").zip(time("last")))
    }

    async fn count(&self, spec: &ReplaySpec, oldest: Option<Micros>) -> Result<Counted, String> {
        let row = self.row(&count_sql(spec, oldest)).await?;
        let number = |name: &str| row[name].as_u64().unwrap_or(0);
        Ok(Counted { scanned: number("scanned"), matched: number("matched"), too_old: number("too_old") })
    }
}

impl SqlHistory {
    async fn row(&self, sql: &str) -> Result<Value, String> {
        let answer = self.0.query(sql).await.map_err(|error| error.to_string())?;
        let document: Vec<_> =
            queries::format::json(answer).try_collect().await.map_err(|error| error.to_string())?;
        let document: Value =
            serde_json::from_slice(&document.concat()).map_err(|error| error.to_string())?;
        Ok(document["rows"][0].clone())
    }
}

fn count_sql(spec: &ReplaySpec, oldest: Option<Micros>) -> String {
    let time = |comparison: &str, time: Option<Micros>| {
        time.map(|time| format!("received_at {comparison} '{}'", format_timestamp(time)))
    };
    let range: Vec<_> = [time(">=", spec.from), time("<", spec.to)].into_iter().flatten().collect();
    let range = if range.is_empty() { "true".to_owned() } else { range.join(" AND ") };
    let condition = spec.condition.as_deref().unwrap_or("true");
    let too_old = oldest.map_or("false".to_owned(), |oldest| {
        format!("least(\"timestamp\", received_at) < '{}'", format_timestamp(oldest))
    });
    // The condition was compiled by itself before, so that it cannot reach out of its parentheses.
    format!(
        "SELECT count(*) AS scanned, count(*) FILTER (WHERE ({condition}\n)) AS matched,
         count(*) FILTER (WHERE ({condition}\n) AND {too_old}) AS too_old FROM events WHERE {range}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_bounded_by_the_times_of_the_replay() {
        let spec = ReplaySpec {
            condition: Some("event = 'a' -- all".into()),
            from: Some(0),
            to: Some(3_600_000_000),
            ..ReplaySpec::default()
        };
        let sql = count_sql(&spec, Some(0));
        assert!(sql.contains("(event = 'a' -- all\n)"), "{sql}");
        assert!(sql.contains("received_at >= '1970-01-01T00:00:00.000000Z'"), "{sql}");
        assert!(sql.contains("received_at < '1970-01-01T01:00:00.000000Z'"), "{sql}");
        assert!(sql.contains("received_at) < '1970-01-01T00:00:00.000000Z')"), "{sql}");
        assert!(count_sql(&ReplaySpec::default(), None).ends_with("WHERE true"));
    }
}
