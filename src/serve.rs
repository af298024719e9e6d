//! `flowstate serve`: opens the rooms, listens, and closes them in the reverse order.

mod announce;
mod columns;
pub(crate) mod delivery;
mod first_start;
mod http;
mod partitions;
mod stop;
mod tls;

pub(crate) use announce::Announcement;

use crate::cli::ServeArgs;
use crate::import::Intake;
use crate::reads::{self, EngineReads};
use crate::settings::Settings;
use actix_web::web::Data;
use anyhow::Context;
use columns::LogColumns;
use console::Console;
use delivery::{Answers, Delivery};
use ingest::Ingest;
use partitions::LogPartitions;
use pipeline::Clock;
use pipeline::control::sqlite::Sqlite;
use pipeline::control::{Control, Keys, Secret};
use pipeline::log::{Log, LogConfig};
use std::path::Path;
use std::sync::Arc;

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    arm_failpoint();
    serve(settings).await
}

/// Debug builds abort at the place that `FLOWSTATE_FAILPOINT` names; see [`pipeline::failpoint`].
fn arm_failpoint() {
    let armed = std::env::vars_os().find(|(name, _)| name == "FLOWSTATE_FAILPOINT");
    if let Some(name) = armed.and_then(|(_, name)| name.into_string().ok()) {
        pipeline::failpoint::arm(name);
    }
}

/// Serves until it is asked to end.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    // Whatever can be wrong with the settings comes first, before anything is made.
    let tls = tls::read(&settings)?;
    let clock = Clock::system();
    let tracking = ingest_config(&settings)?;
    let stop = stop::Stop::listen()?;
    let listening = http::listen(&settings, tls.as_ref().map(|tls| tls.config.clone()))?;
    make_data_directory(&settings.data)?;
    crate::restore::refuse_unfinished(&settings.data)?;

    let log = Arc::new(Log::open(log_config(&settings)?, clock.clone()).await?);
    // The log holds the directory now, so what lies there was left by a crash.
    reads::clear_spill(&settings.data)?;
    let sqlite = Arc::new(Sqlite::open(&settings.control_path()).await?);
    let control: Arc<dyn Control> = Arc::clone(&sqlite) as _;
    first_start::ensure_keys(&*control, &settings, &clock).await?.show(&listening.url, &settings.data);
    let keys = Keys::load(Arc::clone(&control)).await?;
    let following = tokio::spawn(Arc::clone(&keys).follow());

    let (end, ending) = tokio::sync::watch::channel(false);
    let process_key = Secret::api_key()?;
    let delivery = Delivery::open(&settings, &sqlite, &clock).await?;
    let engine = reads::engine(delivery.snapshots(&log), &settings, Some(reads::spill_dir(&settings.data)))?;
    delivery.retain(&log, settings.retention);
    let connections = Arc::clone(&delivery.connections);
    let delivering = delivery.start(&log, &engine);
    let answers = Answers { service: Arc::clone(&delivering.service), clock: clock.clone() };
    let ingest = Arc::new(Ingest::new(Arc::clone(&log), Arc::clone(&keys), tracking, clock.clone())?);
    let partitions = LogPartitions {
        log: Arc::clone(&log),
        service: Arc::clone(&delivering.service),
        clock: clock.clone(),
    };
    let columns = LogColumns { log: Arc::clone(&log), engine: Arc::clone(&engine) };
    let console = Console::new(
        Arc::clone(&control),
        Arc::clone(&keys),
        Arc::new(EngineReads { engine, log: Arc::clone(&log), ending }),
        connections,
        Arc::new(answers),
        Arc::new(columns),
        clock.clone(),
        Some(process_key.hash()),
    );
    let intake = Intake { ingest: Arc::clone(&ingest), partition: log.partition().clone() };
    let rooms = http::Rooms {
        console: Data::new(console.with_imports(Arc::new(intake)).with_partitions(Arc::new(partitions))),
        ingest: Data::from(ingest),
        log: Data::from(Arc::clone(&log)),
        wal_bytes_max: settings.wal_bytes_max - segment_bytes(&settings),
        metrics: Data::new(http::metrics_recorder()?),
    };
    let announced = announce::write(&settings.data, &listening.local_url, process_key.reveal())?;
    let url = listening.url.clone();
    let renewing = tls.map(|tls| tokio::spawn(tls.follow()));
    let server = http::serve(listening, rooms)?;
    eprintln!("listening on {url}");
    let ended = stop.wait(server, end).await;

    // Nothing new comes in from here on; what was accepted is committed before the end.
    let delivered = delivering.stop().await;
    following.abort();
    if let Some(renewing) = renewing {
        renewing.abort();
    }
    let closed = log.close().await;
    sqlite.close().await;
    announced.remove();
    delivered?;
    closed.context("the last events were not committed; they are safe, and the next start commits them")?;
    ended
}

/// Whether the certificate and the key of the settings serve.
///
/// # Errors
/// For the file that does not, with the reason.
pub(crate) fn check_tls(settings: &Settings) -> Result<(), crate::settings::WrongSetting> {
    tls::read(settings).map(drop)
}

/// Makes the data directory so that only its owner can read it.
pub(crate) fn make_data_directory(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the data directory `{}` cannot be made", path.display()))
}

/// Bytes of one segment of the write-ahead log.
fn segment_bytes(settings: &Settings) -> u64 {
    const SEGMENT_BYTES_MAX: u64 = 64 << 20;
    (settings.wal_bytes_max / 8).min(SEGMENT_BYTES_MAX)
}

/// How the settings want the log.
pub(crate) fn log_config(settings: &Settings) -> anyhow::Result<LogConfig> {
    Ok(LogConfig {
        dir: settings.data.clone(),
        store: settings.store()?,
        durability: settings.durability,
        wal_bytes_max: settings.wal_bytes_max,
        segment_bytes: segment_bytes(settings),
        commit_age: settings.commit_age,
        commit_bytes: settings.commit_bytes,
        dedup_window: std::time::Duration::from_secs(settings.dedup_window_h * 3600),
        dedup_memory_bytes_max: usize::try_from(settings.dedup_memory_bytes_max)?,
        promotion: settings.promote_columns,
    })
}

/// How the settings want ingest.
pub(crate) fn ingest_config(settings: &Settings) -> anyhow::Result<ingest::Config> {
    let request_bytes_max = usize::try_from(settings.request_bytes_max)?;
    let defaults = ingest::Config::default();
    let config = ingest::Config {
        request_bytes_max,
        bodies_bytes_max: defaults.bodies_bytes_max.max(4 * request_bytes_max),
        body_timeout: settings.body_timeout,
        source_events_per_s_max: settings.rate_limit_source,
        address_requests_per_s_max: settings.rate_limit_address,
        trusted_proxies: settings.trusted_proxies.clone(),
        ..defaults
    };
    config.check()?;
    Ok(config)
}
