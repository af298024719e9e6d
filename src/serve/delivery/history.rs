//! The past of the log, by SQL.

use async_trait::async_trait;
use futures::TryStreamExt;
use pipeline::Micros;
use pipeline::connection::ReplaySpec;
use pipeline::event::{format_timestamp, parse_timestamp};
use pipeline::log::{Offset, PartitionId};
use queries::Engine;
use serde_json::Value;
use sinks::service::{Counted, History, SETTLED_MAX, Settled};
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

    async fn settled(
        &self,
        destination: &str,
        partition: &PartitionId,
        from: Offset,
        since: Micros,
    ) -> Result<Settled, String> {
        let row = self.row(&settled_sql(destination, partition, from, since)).await?;
        // Where there are none, there is no list.
        let list = |name: &str| {
            let numbers = row[name].as_array().into_iter().flatten().map(Value::as_u64);
            numbers.collect::<Option<Vec<_>>>().ok_or_else(|| format!("`{name}` holds what is no number"))
        };
        let attempts =
            list("attempts")?.into_iter().map(|attempt| u32::try_from(attempt).unwrap_or(u32::MAX));
        Ok(Settled { done: list("done")?, unclear: list("unclear")?.into_iter().zip(attempts).collect() })
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

/// Dead events are none of it: they are tried once more. An intent is unclear while no record follows it.
fn settled_sql(destination: &str, partition: &PartitionId, from: Offset, since: Micros) -> String {
    let destination = destination.replace('\'', "''");
    let since = format_timestamp(since);
    format!(
        "WITH decided AS (
           SELECT unnest(offsets) AS log_offset, at, attempt,
             outcome IN ('delivered', 'filtered', 'suppressed')
               OR outcome = 'ambiguous' AND next_at IS NULL AS is_done,
             outcome = 'intent' AND attempt > 0 AS is_intent
           FROM delivery_records
           WHERE destination = '{destination}' AND log_partition = '{partition}' AND replay IS NULL
             AND last_offset >= {from} AND at >= '{since}' AND outcome NOT IN ('waiting', 'released')
         ), by_event AS (
           SELECT log_offset, bool_or(is_done) AS is_done, max(attempt) AS attempt,
             max(at) FILTER (WHERE is_intent) AS intended, max(at) FILTER (WHERE NOT is_intent) AS other
           FROM decided WHERE log_offset >= {from} GROUP BY log_offset
         ), done AS (
           SELECT log_offset FROM by_event WHERE is_done ORDER BY log_offset LIMIT {SETTLED_MAX}
         ), unclear AS (
           SELECT log_offset, attempt FROM by_event
           WHERE NOT is_done AND intended IS NOT NULL AND (other IS NULL OR intended > other)
         )
         SELECT (SELECT array_agg(log_offset ORDER BY log_offset) FROM done) AS done,
           (SELECT array_agg(log_offset ORDER BY log_offset) FROM unclear) AS unclear,
           (SELECT array_agg(attempt ORDER BY log_offset) FROM unclear) AS attempts"
    )
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
