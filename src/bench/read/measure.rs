//! The measurements of one filled log.

use super::ReadArgs;
use super::fill::{RARE, RARE_KEY, compact, message_id};
use crate::bench::sheet::{Bound, Sheet};
use anyhow::bail;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use hdrhistogram::Histogram;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::log::table::promoted::{ColumnChange, PromotedType};
use pipeline::log::table::{TableKind, TableSnapshot};
use pipeline::log::{EVENT_COLUMNS, Log};
use queries::{Engine, EngineConfig};
use std::sync::Arc;
use std::time::Instant;

/// Events taken from the reader at once.
const TAKEN: usize = 1_024;

/// Look-ups before those that count.
const WARM_UP: u32 = 10;

/// Queries over the rare property in one repeat.
const QUERIES: u32 = 3;

/// Measures everything, and says how many files of events there are, and their bytes.
pub(super) async fn all(args: &ReadArgs, log: Log, sheet: &mut Sheet) -> anyhow::Result<(usize, u64)> {
    let log = Arc::new(log);
    let snapshots = Arc::clone(&log);
    let engine = Engine::new(Arc::new(move || snapshots.snapshot()), EngineConfig::default())?;
    let events = Arc::clone(&log.snapshot().tables[0].table);
    scan(&events).await?;
    for repeat in 1..=args.repeats {
        eprintln!("repeat {repeat} of {}", args.repeats);
        read(args, &log, &events, sheet).await?;
        look_up(args, &engine, sheet).await?;
        rare(args, &engine, "rare property, JSON text", sheet).await?;
    }
    let pin = ColumnChange::Pin { key: RARE_KEY.into(), kind: Some(PromotedType::Double) };
    log.change_columns(&pin).await?;
    compact(&args.data, TableKind::Events, true).await?;
    log.refresh().await?;
    for _ in 0..args.repeats {
        rare(args, &engine, "rare property, promoted", sheet).await?;
    }
    let faster = sheet.median("rare property, JSON text") / sheet.median("rare property, promoted");
    sheet.note("rare property, times faster promoted", "", Bound::None, faster);
    let done = (events.files.len(), events.files.iter().map(|file| file.bytes).sum());
    drop(engine);
    log.close().await?;
    Ok(done)
}

/// The whole log in order by one cursor, and a plain scan of the same columns.
async fn read(
    args: &ReadArgs,
    log: &Log,
    events: &Arc<TableSnapshot>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let plain = args.events as f64 / scan(events).await?;
    let began = Instant::now();
    let mut reader = log.reader(0);
    let mut count = 0;
    while count < args.events {
        let (events, _) = reader.next(TAKEN).await?;
        count += std::hint::black_box(events).len() as u64;
    }
    let cursor = count as f64 / began.elapsed().as_secs_f64();
    sheet.note("log from the beginning, one cursor: events/s", "", Bound::None, cursor);
    sheet.note("plain Parquet scan of the same columns: rows/s", "", Bound::None, plain);
    sheet.note("share of the plain scan", "", Bound::AtLeast(0.5), cursor / plain);
    Ok(())
}

/// Decodes the columns that events are read from, and returns the seconds that it took.
async fn scan(events: &Arc<TableSnapshot>) -> anyhow::Result<f64> {
    let events = Arc::clone(events);
    let scanned = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let mut rows = 0;
        for file in events.files.iter() {
            let path = events.root.join(&file.path)?.to_file_path();
            let path = path.map_err(|()| anyhow::anyhow!("the tables are not on this disk"))?;
            let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?;
            let mask = ProjectionMask::columns(builder.parquet_schema(), EVENT_COLUMNS);
            for batch in builder.with_projection(mask).with_batch_size(TAKEN).build()? {
                rows += std::hint::black_box(batch?).num_rows() as u64;
            }
        }
        let expected: u64 = events.files.iter().map(|file| file.rows).sum();
        if rows != expected {
            bail!("the files hold {rows} rows, and {expected} were expected");
        }
        anyhow::Ok(began.elapsed().as_secs_f64())
    });
    scanned.await?
}

/// Events by their ids, as `GET /api/v1/events/{id}` finds them.
async fn look_up(args: &ReadArgs, engine: &Engine, sheet: &mut Sheet) -> anyhow::Result<()> {
    let mut times = Histogram::<u64>::new(3)?;
    for nth in 0..args.lookups + WARM_UP {
        let id = message_id(u64::from(nth).wrapping_mul(104_729) % args.events);
        let began = Instant::now();
        let found = engine.event(&id).await?;
        if nth >= WARM_UP {
            times.record(u64::try_from(began.elapsed().as_micros())?)?;
        }
        let stored = found.sources.first().map(|source| source.stored.len());
        if stored != Some(1) {
            bail!("`{id}` was stored once and found {stored:?} times");
        }
    }
    let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    sheet.note("look-up of a message id, warm: p50", "ms", Bound::Below(50.0), ms(0.5));
    sheet.note("look-up of a message id, warm: p99", "ms", Bound::None, ms(0.99));
    Ok(())
}

/// A sum over a property that one event in ten thousand has.
async fn rare(args: &ReadArgs, engine: &Engine, name: &str, sheet: &mut Sheet) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT count(*) AS n, sum(CAST(properties->>'{RARE_KEY}' AS DOUBLE)) AS s FROM events \
         WHERE properties->>'{RARE_KEY}' IS NOT NULL"
    );
    for _ in 0..QUERIES {
        let began = Instant::now();
        let (batches, _) = engine.query(&sql).await?.collect().await?;
        sheet.note(name, "ms", Bound::None, began.elapsed().as_secs_f64() * 1e3);
        let expected = i64::try_from(args.events.div_ceil(RARE))?;
        let count = batches.first().and_then(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
        let count = count.map(|count| count.value(0));
        if count != Some(expected) {
            bail!("{expected} events have the rare property, and {count:?} were found");
        }
    }
    Ok(())
}
