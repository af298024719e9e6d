//! What `flowstate adopt` is told.

use super::Flags;
use clap::Args;

/// `flowstate adopt`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowstate adopt --store s3://company-log/flowstate
  flowstate adopt 4f2a90c1d3e85b67 --store s3://company-log/flowstate
  flowstate adopt 4f2a90c1d3e85b67 --deliver --data /var/lib/flowstate --store s3://company-log/flowstate")]
pub(crate) struct AdoptArgs {
    /// The partition to take over, as `flowstate adopt` lists it
    pub(crate) partition: Option<String>,
    /// The server of this data directory delivers its events to its connections, from when on these get
    /// events; what the `deliveries` table says of a connection's id is not sent again. One server has it,
    /// for good
    #[arg(long, requires = "partition")]
    pub(crate) deliver: bool,
    /// Even if it was written to within the last minute: its node, if it lives, takes no more events
    /// until it is restarted
    #[arg(long)]
    pub(crate) now: bool,
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<false>,
}
