use crate::engine::base_state;
use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;

const TIMES: [&str; 9] = [
    "1899-12-31T23:59:59.999999Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "2024-02-29T12:30:45.123456Z",
    "2026-03-01T09:59:59.999999Z",
    "2026-03-01T10:00:00Z",
    "2026-03-01T10:59:59.999999Z",
    "2026-03-01T11:00:00.000001Z",
    "2026-03-02T00:00:00Z",
];

const KINDS: [&str; 4] = [
    r#"Timestamp(Microsecond, Some("UTC"))"#,
    r#"Timestamp(Millisecond, Some("+00:00"))"#,
    "Timestamp(Second, None)",
    r#"Timestamp(Microsecond, Some("Asia/Kathmandu"))"#,
];

/// A table `times` with the one column `t`, and in its last row no time.
fn times(kind: &str) -> String {
    let values = TIMES.map(|time| format!("('{time}'), ")).concat();
    format!("(SELECT arrow_cast(column1, '{kind}') AS t FROM (VALUES {values} (NULL))) AS times")
}

fn ours() -> SessionContext {
    SessionContext::new_with_state(base_state().unwrap())
}

async fn answer(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    frame.collect().await.unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

#[tokio::test]
async fn times_are_truncated_as_datafusion_does_it() {
    let (ours, plain) = (ours(), SessionContext::new());
    for kind in KINDS {
        for precision in
            ["millisecond", "second", "minute", "HOUR", "day", "week", "month", "quarter", "year"]
        {
            let sql = format!("SELECT date_trunc('{precision}', t) AS truncated FROM {}", times(kind));
            let found = answer(&ours, &sql).await;
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), TIMES.len() + 1, "{sql}");
            assert_eq!(found, answer(&plain, &sql).await, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_comparison_selects_what_it_selects_row_by_row() {
    let (ours, plain) = (ours(), SessionContext::new());
    let shifted = ["t", "t + INTERVAL '1 hour'", "t - INTERVAL '1 day 90 minutes'", "t + INTERVAL '1 month'"];
    let literals = ["2026-03-01T10:00:00Z", "2026-03-01T10:00:01Z", "1969-12-31T23:00:00Z"];
    let conditions = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"];
    for kind in [KINDS[0], KINDS[2]] {
        for (time, precision) in shifted.into_iter().zip(["hour", "day", "hour", "minute"]) {
            for (condition, literal) in
                conditions.into_iter().flat_map(|one| literals.map(|other| (one, other)))
            {
                let sql = format!(
                    "SELECT t FROM {} WHERE date_trunc('{precision}', {time}) {condition} \
                     arrow_cast('{literal}', '{kind}')",
                    times(kind)
                );
                assert_eq!(answer(&ours, &sql).await, answer(&plain, &sql).await, "{sql}");
            }
        }
    }
}

#[tokio::test]
async fn a_comparison_becomes_one_of_the_time_where_the_precision_has_a_length() {
    let context = ours();
    let table = times(KINDS[0]);
    for (condition, is_range) in [
        ("date_trunc('hour', t) = '2026-03-01T10:00:00Z'", true),
        ("date_trunc('hour', t) >= '2026-03-01T10:30:00Z'", true),
        ("'2026-03-01T10:00:00Z' < date_trunc('day', t)", true),
        ("date_trunc('hour', t - INTERVAL '1 hour') = '2026-03-01T10:00:00Z'", true),
        ("date_trunc('hour', t - INTERVAL '1 month') = '2026-03-01T10:00:00Z'", true),
        ("date_trunc('month', t) = '2026-03-01T00:00:00Z'", false),
    ] {
        let plan = answer(&context, &format!("EXPLAIN SELECT t FROM {table} WHERE {condition}")).await;
        assert_eq!(!format!("{plan:?}").contains("date_trunc"), is_range, "{condition}\n{plan:?}");
    }
}

#[test]
fn there_are_no_bounds_beyond_what_can_be_counted() {
    use super::{bounds, shifted};
    use arrow::datatypes::TimeUnit::{Microsecond, Second};
    assert_eq!(bounds("hour", Second, 7_200), Some((7_200, 10_800)));
    assert_eq!(bounds("hour", Second, 7_201), Some((10_800, 10_800)));
    assert_eq!(bounds("hour", Second, -1), Some((0, 0)));
    assert_eq!(bounds("day", Microsecond, i64::MAX), None);
    assert_eq!(shifted((10, 20), 5_000, Microsecond), Some((5, 15)));
    assert_eq!(shifted((10, 20), 500, Microsecond), None, "half a microsecond");
    assert_eq!(shifted((i64::MIN, 0), 1_000, Microsecond), None);
}
