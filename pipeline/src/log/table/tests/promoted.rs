use super::*;
use crate::log::table::promoted::{ColumnChange, PromotedType};
use arrow::datatypes::Float64Type;

const POLICY: CompactionPolicy =
    CompactionPolicy { files_min: 4, bytes_max: 128_000_000, copied_rows_min: 0 };

fn pin() -> ColumnChange {
    ColumnChange::Pin { key: "price".into(), kind: Some(PromotedType::Double) }
}

/// The promoted prices of each file; `None` where it has no such column.
async fn prices(table: &TableSnapshot) -> Vec<Option<Vec<Option<f64>>>> {
    let mut prices = Vec::new();
    for file in table.files.iter() {
        let bytes = table.store.get(&Path::from(file.path.as_str())).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let mut column = None;
        for batch in reader {
            let batch = batch.unwrap();
            if let Some(values) = batch.column_by_name("p_price") {
                let values = values.as_primitive::<Float64Type>();
                column.get_or_insert_with(Vec::new).extend(values.iter());
            }
        }
        prices.push(column);
    }
    prices
}

fn ten() -> Option<Vec<Option<f64>>> {
    Some((0..10).map(|price| Some(f64::from(price))).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_is_filled_from_its_pin_on_and_backfilled_by_compaction() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 2).await;
    let other = setup.open().await;
    let columns = table.change_columns(&pin()).await.unwrap();
    assert_eq!(columns.columns()[0].name, "p_price");
    assert_eq!(table.change_columns(&pin()).await.unwrap(), columns);
    append_frames(&table, 22, 1).await;
    assert_eq!(prices(&table.snapshot()).await, [None, None, ten()]);

    // Another node takes the change in with its next commit.
    append_frames(&other, 33, 1).await;
    append_frames(&other, 44, 1).await;
    assert_eq!(other.snapshot().promoted, columns);
    assert_eq!(prices(&other.snapshot()).await, [None, None, ten(), ten(), ten()]);

    other.compact_once(POLICY, None).await.unwrap().unwrap();
    let snapshot = other.snapshot();
    assert_eq!(rows(&snapshot).await, expected(0, 5));
    let all: Vec<_> = std::iter::repeat_n(ten().unwrap(), 5).flatten().collect();
    assert_eq!(prices(&snapshot).await, [Some(all)]);
    let facts = snapshot.files[0].promoted["p_price"];
    assert!(facts.exact && facts.cast && facts.mismatches == 0);
    assert_eq!(as_the_library_sees_it(&other).await, (snapshot.version, paths(&snapshot), Some(54)));

    append_frames(&other, 55, 30).await;
    assert!(other.checkpoint().await.unwrap());
    let reopened = setup.open().await.snapshot();
    assert_eq!((&reopened.files, &reopened.promoted), (&other.snapshot().files, &columns));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_is_over_is_backfilled_file_by_file() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 3).await;
    setup.clock.advance(DAY);
    table.compact_once(POLICY, None).await.unwrap().unwrap();
    assert_eq!(table.backfill_once(POLICY).await.unwrap(), None);

    table.change_columns(&pin()).await.unwrap();
    let done = table.backfill_once(POLICY).await.unwrap().unwrap();
    assert_eq!((done.files_in, done.rows), (1, 30));
    assert_eq!(table.backfill_once(POLICY).await.unwrap(), None);
    assert_eq!(rows(&table.snapshot()).await, expected(0, 3));
    assert_eq!(prices(&table.snapshot()).await[0].as_ref().unwrap().len(), 30);

    let unpin = ColumnChange::Unpin { key: "price".into() };
    assert!(table.change_columns(&unpin).await.unwrap().is_empty());
    assert_eq!(setup.open().await.snapshot().promoted.unpinned().len(), 1);
    table.backfill_once(POLICY).await.unwrap().unwrap();
    assert_eq!(prices(&table.snapshot()).await, [None]);
    assert_eq!(rows(&table.snapshot()).await, expected(0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_pin_at_once_both_have_their_columns() {
    let setup = Setup::new().await;
    let (one, two) = (setup.open().await, setup.open().await);
    let other = ColumnChange::Pin { key: "currency".into(), kind: Some(PromotedType::Text) };
    let (first, second) = (pin(), other);
    let (first, second) = tokio::join!(one.change_columns(&first), two.change_columns(&second));
    assert!(first.is_ok() && second.is_ok());
    one.refresh().await.unwrap();
    let names: Vec<_> = one.snapshot().promoted.columns().iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["p_currency", "p_price"]);
}
