//! What a server looked like at the end of one stretch of the load.

use crate::bench::load::Figures;
use crate::bench::machine;
use crate::bench::server::Server;
use std::path::Path;

/// A mebibyte, in bytes.
pub(super) const MIB: f64 = 1_048_576.0;

/// One stretch of the load.
pub(super) struct Window {
    /// Its end, in seconds from the start.
    pub(super) at_s: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The CPU time that the machine's host gave to others; nothing here is to blame for what it delayed.
    pub(super) stolen_percent: f64,
    /// Resident at its end.
    pub(super) memory_mib: f64,
    /// The most that was resident since the window before.
    pub(super) peak_mib: f64,
    /// Active files of the table that has most.
    pub(super) files: f64,
    /// Compactions since the start.
    pub(super) compactions: f64,
    pub(super) wal_mib: f64,
}

impl Window {
    /// Looks at the server now.
    pub(super) fn seen(
        server: &Server,
        data: &Path,
        figures: &Figures,
        at_s: u64,
        stolen_percent: f64,
    ) -> anyhow::Result<Self> {
        let metrics = server.metrics()?;
        Ok(Self {
            at_s,
            p50_ms: figures.latency_ms(0.5),
            p99_ms: figures.latency_ms(0.99),
            stolen_percent,
            memory_mib: server.memory()? as f64 / MIB,
            peak_mib: server.take_peak_memory()? as f64 / MIB,
            files: metrics.most("flowstate_log_files"),
            compactions: metrics.sum("flowstate_log_compactions_total"),
            wal_mib: machine::disk_usage(&data.join("wal"))? as f64 / MIB,
        })
    }

    /// A line of progress.
    pub(super) fn line(&self, of_s: u64) -> String {
        format!(
            "{:>5} of {of_s} s: p99 {:.1} ms, {:.1} % of CPU stolen, {:.0} MiB resident, {:.0} at most, {:.0} files, \
             {:.0} compactions",
            self.at_s,
            self.p99_ms,
            self.stolen_percent,
            self.memory_mib,
            self.peak_mib,
            self.files,
            self.compactions
        )
    }
}
