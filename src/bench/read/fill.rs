//! A log with many events of a day that is over, compacted.

use crate::bench::log_config;
use futures::{TryStreamExt, stream};
use pipeline::Clock;
use pipeline::clock::DAY;
use pipeline::event::{Event, Kind};
use pipeline::log::store::Store;
use pipeline::log::table::{CompactionPolicy, Table, TableKind};
use pipeline::log::{AppendError, Batch, Log, Origin};
use std::path::Path;

/// Events in one append, and appends under way at once.
const BATCH: u64 = 1_000;
const APPENDS: usize = 8;

/// One event in so many has the rare property.
pub(super) const RARE: u64 = 10_000;
pub(super) const RARE_KEY: &str = "giftValue";

/// The message id of an event: they look random and never collide.
pub(super) fn message_id(number: u64) -> String {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("ajs-next-{:016x}", x ^ (x >> 31))
}

/// Fills a new log, and opens it anew once its files are compacted.
pub(super) async fn fill(data: &Path, events: u64) -> anyhow::Result<Log> {
    let then = Clock::given(Clock::system().now() - 2 * DAY);
    let log = Log::open(log_config(data)?, then).await?;
    let appends = stream::iter((0..events.div_ceil(BATCH)).map(Ok::<_, anyhow::Error>));
    appends
        .try_for_each_concurrent(APPENDS, |nth| {
            let numbers = nth * BATCH..events.min((nth + 1) * BATCH);
            append(&log, numbers)
        })
        .await?;
    log.close().await?;
    for kind in TableKind::ALL {
        compact(data, kind, false).await?;
    }
    Ok(Log::open(log_config(data)?, Clock::system()).await?)
}

/// Compacts a table wholly, and with `backfill` gives older files the promoted columns.
pub(super) async fn compact(data: &Path, kind: TableKind, backfill: bool) -> anyhow::Result<()> {
    let store = Store::open(&log_config(data)?.store).await?;
    let table = Table::open_or_create(&store, kind, Clock::system(), None).await?;
    let policy = CompactionPolicy::default();
    while table.compact_once(policy, None).await?.is_some() {}
    while backfill && table.backfill_once(policy).await?.is_some() {}
    Ok(())
}

async fn append(log: &Log, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    loop {
        match log.append(batch(numbers.clone())).await {
            Ok(_) => return Ok(()),
            // Too fast for the tables: what waits goes first.
            Err(AppendError::Overloaded { .. } | AppendError::StorageFull { .. }) => log.flush().await?,
            Err(error) => return Err(error.into()),
        }
    }
}

fn batch(numbers: std::ops::Range<u64>) -> Batch {
    let count = u32::try_from(numbers.end - numbers.start).expect("a batch has a thousand events");
    let mut batch = Batch::new(Origin { source: "bench".into(), test: false }, count);
    for number in numbers {
        let mut event = Event::new(Kind::Track, message_id(number));
        let (path, cents) = (number % 97, number.wrapping_mul(7_919) % 10_000);
        event.event = Some(if number % 3 == 0 { "Order Completed" } else { "Product Added" }.into());
        event.anonymous_id = Some(format!("visitor-{}", number % 100_003).into());
        event.user_id = number.is_multiple_of(2).then(|| format!("user-{}", number % 50_021).into());
        let rare = if number.is_multiple_of(RARE) {
            format!(r#","{RARE_KEY}":{}.5"#, number % 50)
        } else {
            String::new()
        };
        let properties = format!(
            r#"{{"order_id":"order-{number:012}","product_id":"sku-{}","quantity":{},"name":"House blend no. {path}","price":{}.{:02},"currency":"EUR","position":{},"coupon":null,"category":"Coffee and tea","url":"https://shop.example.com/coffee/{path}"{rare}}}"#,
            number % 4_099,
            1 + number % 4,
            cents / 100,
            cents % 100,
            number % 12,
        );
        let context = format!(
            r#"{{"ip":"203.0.113.{}","locale":"en-GB","timezone":"Europe/Berlin","userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/19.1 Safari","library":{{"name":"analytics.js","version":"2.11.1"}},"page":{{"path":"/coffee/{path}","title":"House blend no. {path}","url":"https://shop.example.com/coffee/{path}"}},"screen":{{"width":1512,"height":982}}}}"#,
            number % 250,
        );
        event.properties = Some(properties.into());
        event.context = Some(context.into());
        batch.push_event(&event);
    }
    batch
}
