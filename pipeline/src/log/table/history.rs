//! What was committed to a table, as its Delta log tells it.

use super::TableSnapshot;
use super::replay::commit_path;
use crate::Micros;
use crate::log::LogError;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use serde::Deserialize;

/// How many commits are read at once.
const READS_MAX: usize = 8;

/// One commit to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitSummary {
    /// The version that it made.
    pub version: u64,
    /// When, by the clock of the writer's machine.
    pub at: Option<Micros>,
    /// Delta's word for what was done: `WRITE`, `OPTIMIZE`, `CREATE TABLE` …
    pub operation: String,
    /// Files that it added.
    pub files_added: u64,
    /// Files that it replaced.
    pub files_removed: u64,
    /// Rows in the files that it added.
    pub rows: u64,
    /// Bytes of the files that it added.
    pub bytes: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    add: Option<Add>,
    remove: Option<serde::de::IgnoredAny>,
    commit_info: Option<CommitInfo>,
}

#[derive(Deserialize)]
struct Add {
    size: u64,
    stats: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: u64,
}

#[derive(Deserialize)]
struct CommitInfo {
    timestamp: Option<i64>,
    operation: Option<String>,
}

impl TableSnapshot {
    /// The commits from `newest` on backwards, at most `count`, newest first. They are fewer where the
    /// log has been cleaned.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails, [`LogError::Damaged`] when a commit cannot be read.
    pub async fn commits(&self, newest: u64, count: u64) -> Result<Vec<CommitSummary>, LogError> {
        let newest = newest.min(self.version);
        let versions = (newest.saturating_sub(count.saturating_sub(1))..=newest).rev();
        let read = futures::stream::iter(versions).map(|version| self.read(version)).buffered(READS_MAX);
        let mut read = std::pin::pin!(read);
        let mut commits = Vec::new();
        while let Some(Some((version, bytes))) = read.try_next().await? {
            let commit = summary(version, &bytes).ok_or_else(|| {
                LogError::Damaged(format!("`{}{}` cannot be read", self.root, commit_path(version)))
            })?;
            commits.push(commit);
        }
        Ok(commits)
    }

    async fn read(&self, version: u64) -> Result<Option<(u64, Bytes)>, LogError> {
        let path = commit_path(version);
        let failed = |error| LogError::store(format!("`{}{path}` cannot be read", self.root), error);
        match self.store.get(&path).await {
            Ok(found) => Ok(Some((version, found.bytes().await.map_err(failed)?))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

fn summary(version: u64, bytes: &[u8]) -> Option<CommitSummary> {
    let (at, operation) = (None, String::new());
    let mut commit =
        CommitSummary { version, at, operation, files_added: 0, files_removed: 0, rows: 0, bytes: 0 };
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let action: Action = serde_json::from_slice(line).ok()?;
        if let Some(add) = action.add {
            let stats = add.stats.and_then(|stats| serde_json::from_str::<Stats>(&stats).ok());
            commit.files_added += 1;
            commit.bytes += add.size;
            commit.rows += stats.map_or(0, |stats| stats.num_records);
        }
        commit.files_removed += u64::from(action.remove.is_some());
        if let Some(info) = action.commit_info {
            commit.at = info.timestamp.and_then(|ms| ms.checked_mul(1_000));
            commit.operation = info.operation.unwrap_or_default();
        }
    }
    Some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_told_by_its_actions() {
        let lines = [
            r#"{"commitInfo":{"timestamp":1768478400000,"operation":"OPTIMIZE"}}"#,
            r#"{"remove":{"path":"a"}}"#,
            r#"{"remove":{"path":"b"}}"#,
            r#"{"add":{"path":"c","size":70,"stats":"{\"numRecords\":7}"}}"#,
        ];
        let expected = CommitSummary {
            version: 4,
            at: Some(1_768_478_400_000_000),
            operation: "OPTIMIZE".into(),
            files_added: 1,
            files_removed: 2,
            rows: 7,
            bytes: 70,
        };
        assert_eq!(summary(4, lines.join("\n").as_bytes()), Some(expected));
        assert_eq!(summary(4, b"{"), None);
    }
}
