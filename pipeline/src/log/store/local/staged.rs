//! Files that are being written, before they get their name.

use super::{broken, generic};
use object_store::Result;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A new file beside `path`, named so that `LocalFileSystem` passes over it in listings.
pub(super) fn create(path: &Path) -> Result<(File, PathBuf)> {
    for number in 1_u32.. {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        let staged = PathBuf::from(staged);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let Some(dir) = path.parent() else { return Err(broken("creating", path, error)) };
                fs::create_dir_all(dir).map_err(|error| broken("creating", dir, error))?;
            }
            Err(error) => return Err(broken("creating", &staged, error)),
        }
    }
    Err(generic("no name is free for a new file"))
}

/// Takes away those below a directory that were last written before a time in milliseconds.
pub(super) fn sweep(dir: &Path, before_ms: i64) -> io::Result<()> {
    let before = UNIX_EPOCH + Duration::from_millis(u64::try_from(before_ms).unwrap_or(0));
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() && is_staged(&entry.file_name()) {
                match entry.metadata().and_then(|metadata| metadata.modified()) {
                    Ok(modified) if modified <= before => remove(&entry.path())?,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_staged(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
