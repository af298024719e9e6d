//! The file with the master keys.
//!
//! A first start makes it under another name, fsyncs it, and links it to its name, so that it is
//! there whole or not at all, and two first starts at once agree on one key.

use super::key::wipe;
use super::{Keyring, KeyringError, random};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Stands above the keys.
const REMARK: &str = "\
# The master keys of Flowstate, the current one first. They open every secret that it keeps, so whoever
# reads this file can read the secrets, and nobody can without it: keep a copy, apart from the data.
";

pub(super) fn load(path: &Path) -> Result<Option<Keyring>, KeyringError> {
    let failed = |source| KeyringError::Io { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    // Of the open file, not of the name, which may come to mean another.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyringError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let ring = Keyring::parse(&text);
    wipe(&mut text.into_bytes());
    match ring {
        Ok(ring) => Ok(Some(ring)),
        Err(source) => Err(KeyringError::File { path: path.to_owned(), source: Box::new(source) }),
    }
}

pub(super) fn load_or_make(path: &Path) -> Result<Keyring, KeyringError> {
    if let Some(ring) = load(path)? {
        return Ok(ring);
    }
    let failed = |source| KeyringError::Io { path: path.to_owned(), source };
    let ring = Keyring::random()?;
    let new = write_new(&ring, path).map_err(failed)?;
    // Linking, unlike renaming, replaces no file that another process has made meanwhile.
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new).map_err(failed)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(failed)?,
    }
    sync_dir(path).map_err(failed)?;
    load(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

pub(super) fn save(ring: &Keyring, path: &Path) -> Result<(), KeyringError> {
    let replace = || {
        let new = write_new(ring, path)?;
        fs::rename(&new, path)?;
        sync_dir(path)
    };
    replace().map_err(|source| KeyringError::Io { path: path.to_owned(), source })
}

/// Writes the keys, durably, to a new file beside `path`.
fn write_new(ring: &Keyring, path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{:08x}.new", u32::from_be_bytes(random()?)));
    let new = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let mut text = String::from(REMARK);
    for key in &ring.keys {
        text.push_str(&key.to_hex());
        text.push('\n');
    }
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    wipe(&mut text.into_bytes());
    written.map(|()| new)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}
