//! Removing the oldest backups, while others are taken.
//!
//! Nobody holds a lock: any number of backups and prunings may be at work at one place, on machines that do
//! not know each other. What keeps them from harm is that each announces what it is about to do before it
//! looks what the others do, so that of two at once at least one sees the other.
//!
//! A pruning, in this order:
//!
//! 1. announces itself: `pruning/<id>`.
//! 2. reads which files are named by pending backups (`pending/`), and then by those that stay (`backups/`).
//! 3. removes the manifests of the others, and only then files. A file goes if nothing that was read names it,
//!    and if it was written more than [`GRACE`] ago: a backup that is still copying names nothing yet. It begins
//!    no removal later than [`PRUNING_MAX`] after its first step.
//! 4. takes its announcement away.
//!
//! A backup, once all its files are there ([`Backups::complete`]):
//!
//! 1. writes its manifest to `pending/`.
//! 2. waits for the prunings that are announced, at most for [`PATIENCE`], after which they have ended or
//!    crashed.
//! 3. makes sure that every file it names is there; else it fails, and is no backup.
//! 4. writes its manifest to `backups/`, and takes it away from `pending/`.
//!
//! So no manifest names a file that is missing. For a pruning that removes a file has read `pending/` either
//! after the first step of the backup, and then it knew that the file is needed, or before: then it was
//! announced before that, too, the backup has waited for it, and has missed the file in its third step.
//! `pending/` is read before `backups/`, so that a backup which moves on meanwhile is seen in one of them.
//!
//! [`FRESH`] and [`GRACE`] only make it rare that a backup fails in its third step. It goes without a copy for
//! files that the newest backup names, and for those younger than [`FRESH`]; everything else it writes anew,
//! which renews the time of the file. So nothing that it counts on can go in its first twelve hours, [`GRACE`]
//! less [`FRESH`], unless so many others are complete before it that the newest backup it began with goes.
//!
//! The times leave room for clocks that differ. Only a process that is stopped for minutes between its look at
//! the clock and the request that follows it is not provided for.
//!
//! A crash between manifests and files, or before a backup is complete, leaves files that nobody names: the
//! next pruning removes them once they are old enough.

use super::{Backups, FILES, MANIFESTS, Manifest};
use crate::clock::{DAY, HOUR, SECOND};
use crate::log::LogError;
use crate::{Clock, Micros};
use bytes::Bytes;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Manifests of backups that wait for prunings to end.
const PENDING: &str = "pending";
/// An object for each pruning that is at work.
const PRUNING: &str = "pruning";

/// A file stays for so long after it was written, whether or not a backup names it. What is pending for longer
/// than that has crashed.
const GRACE: Micros = DAY;
/// A backup counts on a file without a copy of its own for so long after it was written.
pub(super) const FRESH: Micros = 12 * HOUR;
/// Later than this after its begin a pruning starts no removal.
const PRUNING_MAX: Micros = 300 * SECOND;
/// A backup waits for a pruning for so long: its time, and what the last request may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// A backup that waits looks so often.
const LOOK: Duration = Duration::from_millis(500);
/// So many files are removed between two looks at the clock.
const FILES_AT_ONCE: usize = 1_000;

/// What a pruning has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The backups that remain.
    pub kept: usize,
    /// The backups that went.
    pub backups: usize,
    /// The files that went, which no backup names any more.
    pub files: usize,
    /// Their sizes.
    pub bytes: u64,
}

/// What a pruning is about to do.
struct Plan {
    begun_at: Micros,
    /// How many backups remain.
    kept: usize,
    /// The manifests that go.
    oldest: Vec<String>,
    /// Those of backups that crashed before they were complete.
    stale: Vec<String>,
    /// The files that stay.
    named: HashSet<String>,
}

impl Backups {
    /// Removes all backups but the `keep` newest, and the files that none of these names, once they are a day
    /// old. Younger ones go with a later call, as does what is left after five minutes.
    ///
    /// Safe beside backups and other calls at the same place. A restore of a backup that goes fails.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when the manifest of a backup that remains is: nothing is removed then, for the
    /// older ones may be the better ones. [`LogError::Store`] when the place fails; call it again.
    pub async fn prune(&self, keep: NonZeroUsize, clock: &Clock) -> Result<Pruned, LogError> {
        let begun_at = clock.now();
        let id = uuid::Uuid::now_v7().to_string();
        self.put(&format!("{PRUNING}/{id}"), Bytes::from_static(b"pruning")).await?;
        let planned = self.plan(keep, begun_at).await;
        let pruned = match &planned {
            // When it fails, a request may be still on its way: the announcement stays, and is waited out.
            Ok(plan) => self.carry_out(plan, clock).await?,
            Err(_) => Pruned::default(),
        };
        let withdrawn = self.remove(PRUNING, &[id]).await;
        planned?;
        withdrawn?;
        Ok(pruned)
    }

    /// Reads what stays; removes nothing.
    async fn plan(&self, keep: NonZeroUsize, begun_at: Micros) -> Result<Plan, LogError> {
        let (mut named, mut stale) = (HashSet::new(), Vec::new());
        let mut stays = |manifest: Option<Manifest>| {
            named.extend(manifest.into_iter().flat_map(|manifest| manifest.files).map(|entry| entry.sha256));
        };
        for (file, object) in self.list(PENDING).await? {
            if object.modified_at < begun_at - GRACE {
                stale.push(file);
                continue;
            }
            stays(self.described(PENDING, file.trim_end_matches(".json")).await?);
        }
        let mut names = self.names().await?;
        let kept = names.split_off(names.len().saturating_sub(keep.get()));
        for name in &kept {
            stays(self.described(MANIFESTS, name).await?);
        }
        let oldest = names.into_iter().map(|name| format!("{name}.json")).collect();
        Ok(Plan { begun_at, kept: kept.len(), oldest, stale, named })
    }

    /// Removes manifests, and then files.
    async fn carry_out(&self, plan: &Plan, clock: &Clock) -> Result<Pruned, LogError> {
        let Plan { begun_at, kept, oldest, stale, named } = plan;
        self.remove(MANIFESTS, oldest).await?;
        if !oldest.is_empty() {
            // After a loss of power, too, no manifest is there whose files are not.
            self.store.settle(MANIFESTS).await?;
        }
        self.remove(PENDING, stale).await?;
        let mut pruned = Pruned { kept: *kept, backups: oldest.len(), ..Pruned::default() };
        let written_before = begun_at - GRACE;
        let mut files = self.list(FILES).await?;
        files.retain(|name, object| !named.contains(name) && object.modified_at < written_before);
        let files: Vec<_> = files.into_iter().collect();
        for some in files.chunks(FILES_AT_ONCE) {
            if clock.now() - begun_at > PRUNING_MAX {
                tracing::info!("removing files of old backups takes long; the next pruning goes on");
                return Ok(pruned);
            }
            let names: Vec<String> = some.iter().map(|(name, _)| name.clone()).collect();
            self.remove(FILES, &names).await?;
            pruned.files += some.len();
            pruned.bytes += some.iter().map(|(_, object)| object.bytes).sum::<u64>();
        }
        self.store.sweep(FILES, written_before / 1_000).await?;
        Ok(pruned)
    }

    /// Makes a backup of a manifest, all files of which are there: see the module's documentation.
    ///
    /// # Errors
    /// [`LogError::Store`] when it cannot be written, or when a file of it was removed meanwhile.
    pub(super) async fn complete(
        &self,
        name: &str,
        manifest: &Manifest,
        text: Bytes,
        clock: &Clock,
    ) -> Result<(), LogError> {
        let (file, pending_since) = (format!("{name}.json"), clock.now());
        self.put(&format!("{PENDING}/{file}"), text.clone()).await?;
        self.outlast_prunings().await?;
        // Where it fails it stays pending, which keeps its files for the next run.
        self.check(manifest).await.map_err(|error| match error {
            LogError::Damaged(why) => {
                LogError::store("older backups were removed while this one was taken; run it again", why)
            }
            error => error,
        })?;
        if clock.now() - pending_since > FRESH {
            let why = "it stood still for hours, and its files may be gone";
            return Err(LogError::store("the backup cannot be completed; run it again", why));
        }
        self.put(&format!("{MANIFESTS}/{file}"), text).await?;
        if let Err(error) = self.remove(PENDING, &[file]).await {
            tracing::warn!(%error, "the backup is complete, but stays announced for a day");
        }
        Ok(())
    }

    /// Waits until the prunings that are announced have ended. Those announced later look at what is pending.
    async fn outlast_prunings(&self) -> Result<(), LogError> {
        let mut running: Vec<String> = self.list(PRUNING).await?.into_keys().collect();
        let mut waited = Duration::ZERO;
        while !running.is_empty() && waited < PATIENCE {
            if waited.is_zero() {
                tracing::info!("old backups are being removed at the same place: waiting for the end of it");
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
            let listed = self.list(PRUNING).await?;
            running.retain(|id| listed.contains_key(id));
        }
        // They have crashed, and nobody else shall wait for them.
        self.remove(PRUNING, &running).await
    }
}

#[cfg(test)]
mod tests;
