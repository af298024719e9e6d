//! What `flowstate backup` and `flowstate restore` are told.

use super::Flags;
use clap::Args;
use std::num::NonZeroUsize;

/// `flowstate backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowstate backup /mnt/backup
  flowstate backup /mnt/backup --keep 7
  flowstate backup s3://company-backup/flowstate --with-master-key
  flowstate backup /mnt/backup --store s3://company-log/flowstate --tables

A bucket is reached by the AWS_… variables, the same as for the store.")]
pub(crate) struct BackupArgs {
    /// A directory or s3://BUCKET/PREFIX; it may hold earlier backups
    pub(crate) destination: String,
    /// Copy the tables even if they are in a bucket
    #[arg(long)]
    pub(crate) tables: bool,
    /// Copy the key too that seals the credentials of connections; who has the backup can then open them
    #[arg(long)]
    pub(crate) with_master_key: bool,
    /// Once this backup is complete, remove all but the N newest at the same place, whichever server they are
    /// of, and the files that only older ones used; files younger than a day go with a later backup
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) keep: Option<NonZeroUsize>,
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<false>,
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "give a whole number of at least 1: the newest backup always stays".to_owned())
}

/// `flowstate restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowstate restore /mnt/backup --data /var/lib/flowstate
  flowstate restore s3://company-backup/flowstate --data /var/lib/flowstate --store s3://company-log/flowstate

A backup without tables needs the --store that the server had, and that server must be gone for good.")]
pub(crate) struct RestoreArgs {
    /// A directory or s3://BUCKET/PREFIX that `flowstate backup` has written to
    pub(crate) source: String,
    /// Which backup, as `flowstate backup` named it; the newest when not given
    #[arg(long, value_name = "NAME")]
    pub(crate) at: Option<String>,
    /// Even if the old server wrote to its store within the last minute
    #[arg(long)]
    pub(crate) now: bool,
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<false>,
}
