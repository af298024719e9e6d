//! Delivery, put together: keys, connections, journal, lanes, and what the console asks of them.

mod answers;
mod forward;
mod history;

use crate::settings::{Settings, WrongSetting};
use anyhow::Context;
use pipeline::Clock;
use pipeline::condition::Compiler;
use pipeline::connection::{ConnectionStore, Connections};
use pipeline::control::sqlite::Sqlite;
use pipeline::delivery::journal::JournalConfig;
use pipeline::delivery::lane_store::LaneStore;
use pipeline::delivery::needs::DestinationNeeds;
use pipeline::delivery::table::{Deliveries, DeliveriesConfig};
use pipeline::egress::{Egress, Policy};
use pipeline::log::retention::Limits;
use pipeline::log::{Log, Snapshot};
use pipeline::seal::Keyring;
use queries::{Conditions, Engine};
use sinks::service::{Parts, Service};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) use answers::Answers;

/// What delivery needs before the queries can be opened.
pub(super) struct Delivery {
    deliveries: Arc<Deliveries>,
    pub(super) connections: Arc<Connections>,
    store: Arc<dyn ConnectionStore>,
    lanes: Arc<dyn LaneStore>,
    compiler: Arc<dyn Compiler>,
    egress: Egress,
    clock: Clock,
}

/// Delivery while it runs.
pub(super) struct Running {
    pub(super) service: Arc<Service>,
    deliveries: Arc<Deliveries>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Where the journal of deliveries lies.
pub(crate) fn journal_dir(settings: &Settings) -> PathBuf {
    settings.data.join("deliveries")
}

/// The journal of deliveries and its table.
pub(crate) async fn deliveries(
    settings: &Settings,
    lanes: Arc<dyn LaneStore>,
    clock: &Clock,
) -> anyhow::Result<Arc<Deliveries>> {
    let config = DeliveriesConfig {
        dir: journal_dir(settings),
        store: settings.store()?,
        segment_bytes: JournalConfig::SEGMENT_BYTES,
    };
    Ok(Deliveries::open(config, lanes, clock.clone()).await?)
}

/// Where the master key is kept unless the settings give it.
pub(crate) fn master_key_path(settings: &Settings) -> PathBuf {
    settings.data.join("master.key")
}

/// The master keys: given by the settings, or kept in the data directory.
pub(crate) async fn keyring(settings: &Settings, sqlite: &Sqlite) -> anyhow::Result<Keyring> {
    if let Some(given) = &settings.master_key {
        return Keyring::parse(given.reveal())
            .map_err(|error| WrongSetting::new(format!("setting `master_key` is wrong: {error}")).into());
    }
    let path = master_key_path(settings);
    // A key that was lost must not be replaced in silence: nothing sealed under it could be opened.
    if sqlite.connections().await?.is_empty() {
        return Ok(Keyring::load_or_make(&path)?);
    }
    Keyring::load(&path)?.with_context(|| {
        format!(
            "the master key `{}` is gone, and the credentials of connections are sealed under it: restore it, \
             or give it as FLOWSTATE_MASTER_KEY",
            path.display()
        )
    })
}

impl Delivery {
    /// Opens what the last process left.
    pub(super) async fn open(
        settings: &Settings,
        sqlite: &Arc<Sqlite>,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let keyring = Arc::new(keyring(settings, sqlite).await?);
        let policy = if settings.allow_private_egress { Policy::PrivateToo } else { Policy::Public };
        let egress = Egress::new(policy)?;
        let compiler: Arc<dyn Compiler> = Arc::new(Conditions::new()?);
        let store: Arc<dyn ConnectionStore> = Arc::clone(sqlite) as _;
        let connections = Connections::new(Arc::clone(&store), keyring, Arc::clone(&compiler), clock.clone());
        forward::ensure(&connections, settings).await?;
        let lanes: Arc<dyn LaneStore> = Arc::clone(sqlite) as _;
        let deliveries = deliveries(settings, Arc::clone(&lanes), clock).await?;
        Ok(Self {
            deliveries,
            connections: Arc::new(connections),
            store,
            lanes,
            compiler,
            egress,
            clock: clock.clone(),
        })
    }

    /// The log and the deliveries as they are now, for queries.
    pub(super) fn snapshots(&self, log: &Arc<Log>) -> impl Fn() -> Snapshot + Send + Sync + 'static + use<> {
        let (log, deliveries) = (Arc::clone(log), Arc::clone(&self.deliveries));
        move || {
            let mut snapshot = log.snapshot();
            snapshot.tables.push(deliveries.snapshot());
            snapshot
        }
    }

    /// Has rows removed that are older than their table keeps them, when destinations need them no more.
    pub(super) fn retain(&self, log: &Log, limits: Limits) {
        let (connections, lanes) = (Arc::clone(&self.store), Arc::clone(&self.lanes));
        log.retain(limits, Arc::new(DestinationNeeds { connections, lanes }));
        self.deliveries.retain(limits);
    }

    /// Starts to deliver.
    pub(super) fn start(self, log: &Arc<Log>, engine: &Arc<Engine>) -> Running {
        let service = Service::new(Parts {
            log: Arc::clone(log),
            connections: self.connections,
            deliveries: Arc::clone(&self.deliveries),
            lanes: self.lanes,
            egress: self.egress,
            compiler: self.compiler,
            history: Arc::new(history::SqlHistory(Arc::clone(engine))),
            clock: self.clock,
        });
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(Arc::clone(&service).run(stop.clone())),
            tokio::spawn(Arc::clone(&self.deliveries).run()),
        ];
        Running { service, deliveries: self.deliveries, stop, tasks }
    }
}

impl Running {
    /// Stops, and waits for requests under way, so that their outcomes are kept.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let mut tasks = self.tasks.into_iter();
        self.stop.cancel();
        if let Some(lanes) = tasks.next() {
            lanes.await.context("delivery broke down")?;
        }
        self.deliveries.close().await.context("the last deliveries were not flushed; the next start does")?;
        for task in tasks {
            task.await.context("flushing deliveries broke down")?;
        }
        Ok(())
    }
}
