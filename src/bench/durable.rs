//! How long an acknowledgement takes with `durability = "object"`, as a multiple of one put.

use super::load::{Pace, Template, run};
use super::server::{Server, WRITE_KEY_BASE64};
use super::sheet::{Bound, Sheet};
use super::{BenchArgs, Place, measure};
use anyhow::bail;
use std::time::Duration;

/// Puts that are timed alone.
const PUTS: usize = 200;

/// Connections of the load that shares its puts.
const CONNECTIONS: usize = 64;

/// Measures puts alone, then a server whose every acknowledgement waits for one.
pub(crate) fn measure(args: &BenchArgs, repeat: u32, sheet: &mut Sheet) -> anyhow::Result<()> {
    let place = Place::new(args, "durable", repeat);
    let config = place.log_config()?;
    let single = Template::single(WRITE_KEY_BASE64);
    let mut puts = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let store = pipeline::log::store::Store::open(&config.store).await?;
        anyhow::Ok(store.time_puts(single.event_bytes(), PUTS).await?)
    })?;
    puts.sort_unstable();
    let put_ms = puts[PUTS / 2].as_secs_f64() * 1_000.0;

    let arguments = [place.arguments().as_slice(), &["--durability", "object"]].concat();
    let log = args.data.join("servers.log");
    let server = Server::flowstate(&place.data, &log, u64::from(repeat) << 8, &arguments)?;
    let duration = Duration::from_secs(args.single_seconds);
    sheet.note("one put of an event's size: p50", "ms", Bound::None, put_ms);
    for (nth, connections) in [1, CONNECTIONS].into_iter().enumerate() {
        let template = single.for_run((u64::from(repeat) << 8) + 1 + nth as u64);
        let figures = run(server.address, &template, connections, Pace::Closed, duration)?;
        if !figures.failures.is_empty() {
            bail!("requests were not answered 200, by status: {:?}", figures.failures);
        }
        let name = |what: &str| format!("acknowledged as an object, {connections} connections: {what}");
        sheet.note(&name("events/s"), "", Bound::None, figures.events_per_second());
        sheet.note(&name("p50"), "ms", Bound::None, figures.latency_ms(0.5));
        sheet.note(&name("p99"), "ms", Bound::None, figures.latency_ms(0.99));
        sheet.note(&name("p50 in puts"), "", Bound::None, figures.latency_ms(0.5) / put_ms);
    }
    let batch = Template::batch(WRITE_KEY_BASE64, measure::BATCH).for_run((u64::from(repeat) << 8) + 3);
    let figures = run(server.address, &batch, CONNECTIONS, Pace::Closed, duration)?;
    if !figures.failures.is_empty() {
        bail!("requests were not answered 200, by status: {:?}", figures.failures);
    }
    let rate = figures.events_per_second();
    sheet.note("acknowledged as an object, batches of 100: events/s", "", Bound::None, rate);
    server.stop()?;
    Ok(std::fs::remove_dir_all(&place.data)?)
}
