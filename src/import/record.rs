//! How far an import has come, kept in the data directory: `imports/<id>.json`.
//!
//! A message id is forgotten after a while, this is not: so an import that is run again, however much
//! later, does not store anything twice.

use super::content::{Piece, Skip};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The record is written no more often.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// How far the import of one file into one source has come.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Record {
    /// The source.
    pub(super) source: String,
    /// What the file is known by.
    pub(super) file: String,
    /// The file's name, for people.
    pub(super) name: String,
    /// Lines that are stored, blank ones included.
    pub(super) lines: u64,
    bytes: u64,
    sha256: String,
    #[serde(skip)]
    saved: Option<Instant>,
}

impl Record {
    /// The record of an import that has not begun.
    pub(super) fn new(source: &str, file: &str, name: &str) -> Self {
        Self {
            source: source.to_owned(),
            file: file.to_owned(),
            name: name.to_owned(),
            lines: 0,
            bytes: 0,
            sha256: String::new(),
            saved: None,
        }
    }

    /// The record of an earlier import of this file into this source.
    pub(super) fn load(data: &Path, source: &str, file: &str) -> anyhow::Result<Option<Self>> {
        let path = path(data, source, file);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
        };
        let read = serde_json::from_slice(&text)
            .with_context(|| format!("`{}` is no record of an import: remove it", path.display()))?;
        Ok(Some(read))
    }

    /// What need not be sent again.
    pub(super) fn skip(&self) -> Skip {
        Skip { lines: self.lines, bytes: self.bytes, sha256: self.sha256.clone() }
    }

    /// A piece was acknowledged.
    pub(super) fn reached(&mut self, piece: &Piece) {
        (self.lines, self.bytes) = (piece.end.lines, piece.end.bytes);
        self.sha256.clone_from(&piece.end.sha256);
    }

    /// Writes the record when the last time is a while ago.
    pub(super) fn save_now_and_then(&mut self, data: &Path) -> anyhow::Result<()> {
        if self.saved.is_some_and(|saved| saved.elapsed() < SAVE_EVERY) {
            return Ok(());
        }
        self.saved = Some(Instant::now());
        self.save(data)
    }

    /// Writes the record, durably; it appears whole or not at all.
    pub(super) fn save(&self, data: &Path) -> anyhow::Result<()> {
        let path = path(data, &self.source, &self.file);
        let draft = path.with_extension("new");
        let written = || -> std::io::Result<()> {
            let dir = path.parent().unwrap_or(data);
            std::fs::create_dir_all(dir)?;
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(dir)?.sync_all()
        };
        written().with_context(|| format!("`{}` cannot be written", path.display()))
    }
}

fn path(data: &Path, source: &str, file: &str) -> PathBuf {
    data.join("imports").join(format!("{source}-{file}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_again_for_its_file_and_source_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::new("web", "f1", "a.ndjson");
        let end = Skip { lines: 7, bytes: 70, sha256: "ab".into() };
        record.reached(&Piece { first_line: 1, text: bytes::Bytes::new(), end: end.clone() });
        record.save(dir.path()).unwrap();
        record.save(dir.path()).unwrap();
        let found = Record::load(dir.path(), "web", "f1").unwrap().unwrap();
        assert_eq!((found.skip(), found.name.as_str()), (end, "a.ndjson"));
        assert!(Record::load(dir.path(), "web", "f2").unwrap().is_none());
        assert!(Record::load(dir.path(), "app", "f1").unwrap().is_none());
        std::fs::write(path(dir.path(), "web", "f1"), "{").unwrap();
        let error = Record::load(dir.path(), "web", "f1").unwrap_err();
        assert!(format!("{error:#}").contains("remove it"), "{error:#}");
    }
}
