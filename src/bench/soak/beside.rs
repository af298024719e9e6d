//! What goes on beside the load: queries by the management API, and imports by the command.

use crate::bench::load::Template;
use crate::bench::server::{ADMIN_KEY, WRITE_KEY_BASE64, isolated};
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two queries, and between two imports.
const QUERY_EVERY: Duration = Duration::from_secs(1);
const IMPORT_EVERY: Duration = Duration::from_secs(20);
/// Events in one import.
const IMPORTED: usize = 5_000;
/// The runs of ids that imports use; the load's begin at 0.
const IMPORT_RUNS: u64 = 1 << 12;
const QUERY_US_MAX: u64 = 120_000_000;
/// A person has given up waiting by then, and the query is broken off.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a dashboard asks.
const QUERIES: [&str; 4] = [
    "SELECT event, count(*) AS events FROM events WHERE received_at > now() - INTERVAL '1 minute' GROUP BY event",
    "SELECT properties->>'currency' AS currency, sum(CAST(properties->>'price' AS DOUBLE)) AS revenue FROM events \
     WHERE received_at > now() - INTERVAL '10 seconds' GROUP BY 1",
    "SELECT anonymous_id, count(*) AS events FROM events WHERE received_at > now() - INTERVAL '1 minute' \
     GROUP BY anonymous_id ORDER BY events DESC LIMIT 10",
    "SELECT * FROM accounting",
];

/// Queries and imports under way.
pub(super) struct Beside {
    stop: Arc<AtomicBool>,
    queries: JoinHandle<anyhow::Result<Asked>>,
    imports: JoinHandle<anyhow::Result<u64>>,
}

/// What queries came to.
struct Asked {
    took_us: Histogram<u64>,
    given_up: u64,
}

/// What they came to.
pub(super) struct Figures {
    /// Queries that were answered.
    pub(super) queries: u64,
    /// Queries that took longer than [`PATIENCE`]; they are none of the others.
    pub(super) given_up: u64,
    /// Events that imports have brought.
    pub(super) imported: u64,
    query_us: Histogram<u64>,
}

impl Figures {
    /// The time that this share of the queries did not exceed, in milliseconds.
    pub(super) fn query_ms(&self, quantile: f64) -> f64 {
        self.query_us.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl Beside {
    pub(super) fn start(server: SocketAddr, data: &Path, dir: &Path) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, data, file) = (Arc::clone(&stop), data.to_owned(), dir.join("import.ndjson"));
        Ok(Self {
            queries: std::thread::spawn({
                let stop = Arc::clone(&stop);
                move || queries(server, &stop)
            }),
            imports: std::thread::spawn(move || imports(&data, &file, &asked)),
            stop,
        })
    }

    /// Ends both and says what they came to.
    pub(super) fn stop(self) -> anyhow::Result<Figures> {
        self.stop.store(true, SeqCst);
        let Asked { took_us: query_us, given_up } =
            self.queries.join().map_err(|_| anyhow::anyhow!("the queries panicked"))??;
        let imported = self.imports.join().map_err(|_| anyhow::anyhow!("the imports panicked"))??;
        Ok(Figures { queries: query_us.len(), given_up, imported, query_us })
    }
}

/// Asks one query after the other; none may be refused.
fn queries(server: SocketAddr, stop: &AtomicBool) -> anyhow::Result<Asked> {
    let mut asked = Asked { took_us: Histogram::new_with_bounds(1, QUERY_US_MAX, 3)?, given_up: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = pipeline::egress::local_client()?;
    for query in QUERIES.iter().cycle() {
        if stop.load(SeqCst) {
            break;
        }
        let begun = Instant::now();
        let request = client
            .post(format!("http://{server}/api/v1/sql"))
            .bearer_auth(ADMIN_KEY)
            .json(&json!({"sql": query, "format": "json"}));
        let answer = runtime.block_on(async {
            let answer = tokio::time::timeout(PATIENCE, async {
                let answer = request.send().await?;
                let status = answer.status();
                anyhow::Ok((status, answer.text().await?))
            });
            answer.await.ok().transpose()
        })?;
        match answer {
            None => asked.given_up += 1,
            Some((status, text)) if !status.is_success() => {
                bail!("`{query}` was answered with {status}: {text}");
            }
            Some(_) => asked.took_us.saturating_record(begun.elapsed().as_micros() as u64),
        }
        std::thread::sleep(QUERY_EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(asked)
}

/// Imports one file after the other, each with new events; returns how many events that were.
fn imports(data: &Path, file: &PathBuf, stop: &AtomicBool) -> anyhow::Result<u64> {
    let mut imported = 0;
    for run in IMPORT_RUNS.. {
        if stop.load(SeqCst) {
            break;
        }
        let mut template = Template::batch(WRITE_KEY_BASE64, IMPORTED).for_run(run);
        std::fs::write(file, template.lines()?)?;
        let begun = Instant::now();
        let output = isolated()?
            .arg("import")
            .arg(file)
            .args(["--source", "default", "--log-level", "warn", "--data"])
            .arg(data)
            .output()
            .context("starting an import")?;
        if !output.status.success() {
            bail!("an import failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        imported += IMPORTED as u64;
        while begun.elapsed() < IMPORT_EVERY && !stop.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(imported)
}
