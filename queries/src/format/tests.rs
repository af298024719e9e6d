use super::{arrow as ipc, csv, parquet, table};
use crate::Answer;
use crate::testing::{Lake, json as read, text};
use arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use futures::TryStreamExt;
use serde_json::json;

const EVERYTHING: &str = r#"SELECT * FROM (VALUES
    (1, 'plain', 1.5::double, true, TIMESTAMP '2026-03-01T10:00:00.123456Z', DATE '2026-03-01', [1, 2]),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (-9223372036854775808, 'a "quoted", text' || chr(10) || 'é', 'NaN'::double, false,
        TIMESTAMP '1969-12-31T23:59:59Z', DATE '0001-01-01', []),
    (9223372036854775807, '', 'inf'::double, false, TIMESTAMP '2026-03-01', DATE '9999-12-31', [NULL, 3])
) AS t(i, s, d, b, t, day, l)"#;

#[tokio::test]
async fn json_names_columns_and_types_and_keeps_values() {
    let lake = Lake::new().await;
    let answer = read(lake.engine().query(EVERYTHING).await.unwrap()).await.unwrap();
    let types: Vec<_> =
        answer["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["integer", "string", "double", "boolean", "timestamp", "date", "list"]);
    assert_eq!(answer["columns"][0], json!({"name": "i", "type": "integer"}));
    assert_eq!(answer["truncated"], json!(false));
    assert_eq!(
        answer["rows"],
        json!([
            {"i": 1, "s": "plain", "d": 1.5, "b": true, "t": "2026-03-01T10:00:00.123456Z", "day": "2026-03-01", "l": [1, 2]},
            {"i": null, "s": null, "d": null, "b": null, "t": null, "day": null, "l": null},
            {"i": i64::MIN, "s": "a \"quoted\", text\né", "d": null, "b": false,
                "t": "1969-12-31T23:59:59.000000Z", "day": "0001-01-01", "l": []},
            {"i": i64::MAX, "s": "", "d": null, "b": false,
                "t": "2026-03-01T00:00:00.000000Z", "day": "9999-12-31", "l": [null, 3]},
        ])
    );
}

#[tokio::test]
async fn an_answer_without_rows_is_a_whole_document() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    let sql = "SELECT 1 AS one WHERE false";
    let answer = read(engine.query(sql).await.unwrap()).await.unwrap();
    assert_eq!(
        answer,
        json!({"columns": [{"name": "one", "type": "integer"}], "rows": [], "truncated": false})
    );
    assert_eq!(text(csv(engine.query(sql).await.unwrap())).await, "one\r\n");
    assert_eq!(text(table(engine.query(sql).await.unwrap(), 20)).await, "one\n───\n(0 rows)\n");
}

#[tokio::test]
async fn columns_of_the_same_name_are_told_apart() {
    let lake = Lake::new().await;
    let sql = "SELECT a.x, b.x FROM (SELECT 1 AS x) a, (SELECT 2 AS x) b";
    let answer = read(lake.engine().query(sql).await.unwrap()).await.unwrap();
    assert_eq!(answer["rows"], json!([{"x": 1, "x_2": 2}]));
}

#[tokio::test]
async fn csv_quotes_what_must_be_and_tells_null_from_empty() {
    let lake = Lake::new().await;
    let written = text(csv(lake.engine().query(EVERYTHING).await.unwrap())).await;
    assert_eq!(
        written,
        "i,s,d,b,t,day,l\r\n\
         1,plain,1.5,true,2026-03-01T10:00:00.123456Z,2026-03-01,\"[1,2]\"\r\n\
         ,,,,,,\r\n\
         -9223372036854775808,\"a \"\"quoted\"\", text\né\",NaN,false,1969-12-31T23:59:59.000000Z,0001-01-01,[]\r\n\
         9223372036854775807,\"\",inf,false,2026-03-01T00:00:00.000000Z,9999-12-31,\"[null,3]\"\r\n"
    );
}

#[tokio::test]
async fn a_table_is_aligned_shows_null_and_cuts_wide_text() {
    let lake = Lake::new().await;
    let sql = "SELECT * FROM (VALUES (7, 'a long text here'), (NULL, NULL), (12345, 'tab' || chr(9) || chr(27))) AS t(n, s)";
    let written = text(table(lake.engine().query(sql).await.unwrap(), 10)).await;
    assert_eq!(
        written,
        "    n  s\n\
         ─────  ──────────\n\
         \x20   7  a long te…\n\
         \x20   ∅  ∅\n\
         12345  tab\\t\u{fffd}\n\
         (3 rows)\n"
    );
}

#[tokio::test]
async fn a_large_answer_comes_in_small_chunks_that_join_to_one_document() {
    use futures::StreamExt;
    let lake = Lake::new().await;
    let engine = lake.engine();
    let answer =
        engine.query("SELECT value, repeat('x', 50) AS s FROM generate_series(1, 20000)").await.unwrap();
    let chunks: Vec<_> = super::json(answer).map(Result::unwrap).collect().await;
    assert!(chunks.len() > 10 && chunks.iter().all(|chunk| chunk.len() < 2 * super::CHUNK_BYTES));
    let whole: serde_json::Value = serde_json::from_slice(&chunks.concat()).unwrap();
    let rows = whole["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 20_000);
    assert_eq!(rows[19_999]["value"], json!(20_000));
}

/// The answer in Arrow's stream and in Parquet, read back, and what the Parquet file says of itself.
async fn binary(lake: &Lake, sql: &str) -> (Vec<RecordBatch>, Vec<RecordBatch>, bool) {
    let engine = lake.engine();
    let answer = || async { engine.query(sql).await.unwrap() };
    let whole = |pieces: Vec<bytes::Bytes>| pieces.concat();
    let of: Answer = answer().await;
    let stream = whole(ipc(of).try_collect().await.unwrap());
    let stream = arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap();
    let file = bytes::Bytes::from(whole(parquet(answer().await).try_collect().await.unwrap()));
    let file = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let marks = file.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let mark = marks.into_iter().find(|mark| mark.key == "flowstate.truncated").unwrap();
    let rows = file.build().unwrap().map(Result::unwrap).collect();
    (stream.map(Result::unwrap).collect(), rows, mark.value.as_deref() == Some("true"))
}

#[tokio::test]
async fn parquet_and_arrow_hold_the_same_rows_with_their_types() {
    let lake = Lake::new().await;
    let (stream, file, truncated) = binary(&lake, EVERYTHING).await;
    assert!(!truncated);
    assert_eq!(stream.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
    assert_eq!(stream, file);
    let types: Vec<_> = stream[0].schema().fields().iter().map(|f| super::type_name(f.data_type())).collect();
    assert_eq!(types, ["integer", "string", "double", "boolean", "timestamp", "date", "list"]);
}

#[tokio::test]
async fn binary_answers_without_rows_or_with_odd_columns_are_whole() {
    let lake = Lake::new().await;
    let (stream, file, _) = binary(&lake, "SELECT 1 AS one WHERE false").await;
    assert_eq!((stream.len(), file.len()), (0, 0));
    let sql =
        r#"SELECT a.x, b.x, json_get('{"k":[1,"a"]}', 'k') AS j FROM (SELECT 1 AS x) a, (SELECT 2 AS x) b"#;
    let (stream, file, _) = binary(&lake, sql).await;
    let schema = stream[0].schema();
    assert_eq!(
        schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["x", "x_2", "j"]
    );
    let text = arrow::util::display::array_value_to_string(stream[0].column(2), 0).unwrap();
    assert_eq!(text, r#"[1,"a"]"#);
    assert_eq!(stream, file);
}
