use crate::Engine;
use crate::testing::{Lake, rows, value};
use pipeline::clock::DAY;
use pipeline::event::{Event, Kind};
use pipeline::log::table::promoted::{ColumnChange, PromotedType};
use pipeline::log::table::{CompactionPolicy, TableKind};
use proptest::prelude::*;
use serde_json::{Value, json};

const KEYS: [(&str, PromotedType); 4] = [
    ("price", PromotedType::Double),
    ("count", PromotedType::Bigint),
    ("brand", PromotedType::Text),
    ("isGift", PromotedType::Boolean),
];

/// What clients write: mostly of the key's type, and anything else.
fn json_value(kind: PromotedType, wild: bool) -> BoxedStrategy<String> {
    let fitting = match kind {
        PromotedType::Double => prop_oneof![
            (0..1_000_i32).prop_map(|cents| (f64::from(cents) / 100.0).to_string()),
            any::<f64>()
                .prop_filter("JSON", |number| number.is_finite())
                .prop_map(|number| number.to_string()),
            (0..100_i32).prop_map(|number| number.to_string()),
        ]
        .boxed(),
        PromotedType::Bigint => prop_oneof![
            (-5..5_i64).prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|n| n.to_string())
        ]
        .boxed(),
        PromotedType::Text => prop_oneof![
            "[a-c]{1,2}".prop_map(|text| json!(text).to_string()),
            Just(r#""\u00e4\"\n""#.to_owned()),
            Just(r#""12.5""#.to_owned()),
        ]
        .boxed(),
        PromotedType::Boolean => any::<bool>().prop_map(|value| value.to_string()).boxed(),
    };
    if !wild {
        return prop_oneof![9 => fitting, 1 => Just("null".to_owned())].boxed();
    }
    const OTHERS: [&str; 22] = [
        "1.0",
        "1.50",
        "1e0",
        "-0",
        "-0.0",
        "1e400",
        "0.1e-7",
        "99999999999999999999",
        "9007199254740993",
        "\"free\"",
        "\"7\"",
        "\" 7\"",
        "\"true\"",
        "\"t\"",
        "\"\"",
        "\"NaN\"",
        "\"inf\"",
        "true",
        "[1, 2]",
        r#"{"price":1}"#,
        r#""\ud800""#,
        "null",
    ];
    prop_oneof![2 => fitting, 3 => proptest::sample::select(&OTHERS[..]).prop_map(ToOwned::to_owned)].boxed()
}

/// The `properties` of one event.
fn properties(wild: bool) -> impl Strategy<Value = Option<String>> {
    let pairs = KEYS.map(|(key, kind)| {
        let value = proptest::option::weighted(0.8, json_value(kind, wild));
        value.prop_map(move |value| value.map(|value| format!("\"{key}\":{value}")))
    });
    let repeat = proptest::option::weighted(0.1, Just(r#""pr\u0069ce":"again""#.to_owned()))
        .prop_map(move |repeat| repeat.filter(|_| wild));
    (pairs, repeat, any::<bool>()).prop_map(|(pairs, repeat, first)| {
        let mut all: Vec<String> = pairs.into_iter().flatten().collect();
        let at = if first { 0 } else { all.len() };
        all.splice(at..at, repeat);
        (!all.is_empty()).then(|| format!("{{{}}}", all.join(",")))
    })
}

type Rows = Vec<Option<String>>;

fn file(wild: bool) -> impl Strategy<Value = Rows> {
    proptest::collection::vec(properties(wild), 1..12)
}

async fn append(lake: &Lake, number: &mut usize, rows: &Rows) {
    let ids: Vec<String> = (0..rows.len()).map(|at| format!("m{}", *number + at)).collect();
    *number += rows.len();
    let events: Vec<Event<'_>> = ids
        .iter()
        .zip(rows)
        .map(|(id, properties)| Event {
            properties: properties.as_deref().map(Into::into),
            event: Some("Order Completed".into()),
            ..Event::new(Kind::Track, id.as_str())
        })
        .collect();
    lake.append(&events).await;
}

async fn pin_all(lake: &Lake) {
    for (key, kind) in KEYS {
        let change = ColumnChange::Pin { key: key.into(), kind: Some(kind) };
        lake.log.change_columns(&change).await.unwrap();
    }
}

fn queries() -> Vec<String> {
    let mut queries = vec!["SELECT count(*) FROM events WHERE properties->>'missing' IS NULL".to_owned()];
    for (key, _) in KEYS {
        let text = format!("properties->>'{key}'");
        let mut values = vec![text.clone(), format!("json_as_text(properties, '{key}')")];
        values.extend(["DOUBLE", "BIGINT", "BOOLEAN", "INT"].map(|kind| format!("CAST({text} AS {kind})")));
        values.push(format!("TRY_CAST({text} AS DOUBLE)"));
        values.extend(
            ["str", "int", "float", "bool"].map(|get| format!("json_get_{get}(properties, '{key}')")),
        );
        values.push(format!("CAST(properties->'{key}' AS DOUBLE)"));
        queries.push(format!("SELECT log_offset, {} FROM events ORDER BY log_offset", values.join(", ")));
        for value in values {
            queries.push(format!("SELECT {value} AS v, count(*) AS n FROM events GROUP BY 1 ORDER BY 1, 2"));
        }
        for filter in [
            format!("CAST({text} AS DOUBLE) > 3.5"),
            format!("CAST({text} AS DOUBLE) BETWEEN -1 AND 7"),
            format!("CAST({text} AS BIGINT) IN (1, 2, 7)"),
            format!("CAST({text} AS BOOLEAN)"),
            format!("{text} = '7'"),
            format!("{text} > 'b' OR {text} IS NULL"),
            format!("NOT (json_get_int(properties, '{key}') < 2)"),
            format!("json_get_float(properties, '{key}') <> 1"),
            format!("{text} LIKE '%a%' AND test = false"),
        ] {
            queries.push(format!("SELECT log_offset FROM events WHERE {filter} ORDER BY 1"));
            queries.push(format!(
                "SELECT min(message_id), max({text}), sum(CAST({text} AS DOUBLE)) IS NULL FROM events WHERE {filter}"
            ));
        }
    }
    queries.push(
        "SELECT a.log_offset, b.log_offset FROM events a JOIN events b \
         ON CAST(a.properties->>'count' AS BIGINT) = CAST(b.properties->>'price' AS BIGINT) ORDER BY 1, 2"
            .to_owned(),
    );
    queries
}

/// What a query gives, or how it fails.
async fn outcome(engine: &Engine, sql: &str) -> Result<Value, String> {
    let answer = engine.query(sql).await.map_err(|error| error.to_string())?;
    crate::testing::json(answer)
        .await
        .map(|mut answer| answer["rows"].take())
        .map_err(|error| error.to_string())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn promotion_never_changes_an_answer(
        before in file(true), tidy in file(false), wild in file(true), fresh in file(true), backfill in any::<bool>(),
        queries in proptest::sample::subsequence(queries(), 12),
    ) {
        runtime().block_on(async {
            let lake = Lake::new().await;
            let mut number = 0;
            append(&lake, &mut number, &before).await;
            lake.log.flush().await.unwrap();
            lake.clock.advance(2 * DAY);
            pin_all(&lake).await;
            for rows in [&tidy, &wild] {
                append(&lake, &mut number, rows).await;
                lake.log.flush().await.unwrap();
            }
            if backfill {
                let table = lake.another_node(TableKind::Events).await;
                table.backfill_once(CompactionPolicy::default()).await.unwrap().unwrap();
                append(&lake, &mut number, &tidy).await;
                lake.log.flush().await.unwrap();
            }
            append(&lake, &mut number, &fresh).await;
            let (promoted, plain) = (lake.engine(), lake.engine().without_promotion());
            for sql in queries {
                assert_eq!(outcome(&promoted, &sql).await, outcome(&plain, &sql).await, "{sql}");
            }
        });
    }
}

/// A log with a file of ten thousand prices.
async fn priced() -> Lake {
    let lake = Lake::new().await;
    pin_all(&lake).await;
    // What does not compress, so that the JSON is what is large.
    let noise = |at: usize| {
        (0..20).fold(String::new(), |text, nth| {
            text + &(at * 7919 + nth).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()
        })
    };
    let row = |at: usize| Some(format!(r#"{{"pad":"{}","price":{at},"brand":"b{}"}}"#, noise(at), at % 10));
    append(&lake, &mut 0, &(0..10_000).map(row).collect()).await;
    lake.log.flush().await.unwrap();
    lake
}

/// The bytes that a query reads from files, by its plan.
async fn bytes_read(engine: &Engine, sql: &str) -> u64 {
    let plan = rows(engine, &format!("EXPLAIN ANALYZE {sql}")).await;
    let plan: String = plan.iter().map(|row| row["plan"].as_str().unwrap()).collect();
    let words = plan.split("bytes_scanned=").nth(1).unwrap_or_else(|| panic!("{plan}"));
    let number: f64 = words.split([' ', ',', ']']).next().unwrap().parse().unwrap();
    let unit = words.split([' ', ',', ']']).nth(1).unwrap();
    (number
        * match unit {
            "K" | "KB" => 1e3,
            "M" | "MB" => 1e6,
            _ => 1.0,
        }) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_column_is_read_in_place_of_the_json() {
    let lake = priced().await;
    let (promoted, plain) = (lake.engine(), lake.engine().without_promotion());
    for sql in [
        "SELECT sum(CAST(properties->>'price' AS DOUBLE)) FROM events",
        "SELECT properties->>'brand', sum((properties->>'price')::double) FROM events GROUP BY 1",
        "SELECT count(*) FROM events WHERE CAST(properties->>'price' AS DOUBLE) < 5",
        "SELECT properties->>'price' FROM events WHERE properties->>'brand' = 'b3'",
        "SELECT sum(json_get_float(properties, 'price')) FROM events",
        "SELECT max(json_get_str(properties, 'brand')) FROM events",
    ] {
        let (with, without) = (bytes_read(&promoted, sql).await, bytes_read(&plain, sql).await);
        assert!(2 * with < without, "{sql}: {with} of {without} bytes");
    }
    // Fresh rows beside the file change nothing about it.
    append(&lake, &mut 10_000, &vec![Some(r#"{"price":0.5}"#.into())]).await;
    let sql = "SELECT sum(CAST(properties->>'price' AS DOUBLE)) FROM events";
    let (with, without) = (bytes_read(&promoted, sql).await, bytes_read(&plain, sql).await);
    assert!(2 * with < without, "{with} of {without} bytes");
    assert_eq!(value(&promoted, sql).await, json!(49_995_000.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_groups_that_cannot_match_are_passed_over() {
    let lake = priced().await;
    let sql = "EXPLAIN ANALYZE SELECT message_id FROM events WHERE (properties->>'price')::double > 1e6";
    let plan = rows(&lake.engine(), sql).await;
    let plan: String = plan.iter().map(|row| row["plan"].as_str().unwrap()).collect();
    let pruned = plan.contains("row_groups_pruned_statistics=1 total → 0 matched");
    assert!(pruned, "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_can_be_asked_for_by_name() {
    let lake = Lake::new().await;
    let none = Some(r#"{"price":1}"#.to_owned());
    append(&lake, &mut 0, &vec![none]).await;
    lake.log.flush().await.unwrap();
    pin_all(&lake).await;
    append(&lake, &mut 1, &vec![Some(r#"{"price":2.5,"isGift":true}"#.into())]).await;
    lake.log.flush().await.unwrap();
    append(&lake, &mut 2, &vec![Some(r#"{"price":"free","count":3}"#.into())]).await;
    let sql = "SELECT p_price, p_is_gift, p_count FROM events ORDER BY log_offset";
    let expected = [
        json!({"p_price": null, "p_is_gift": null, "p_count": null}),
        json!({"p_price": 2.5, "p_is_gift": true, "p_count": null}),
        json!({"p_price": null, "p_is_gift": null, "p_count": 3}),
    ];
    assert_eq!(rows(&lake.engine(), sql).await, expected);
}
