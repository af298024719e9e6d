//! Bytes that change on the disk: they are told, and never passed over.

use crate::harness::{Server, Start, flowstate, verify};
use crate::load::event;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

#[test]
fn verify_names_a_damaged_and_a_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    send(&server);
    assert!(server.stop().success());
    verify(dir.path());
    let is_parquet = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    let file = files(&dir.path().join("tables/events")).into_iter().find(is_parquet).expect("a Parquet file");
    let whole = std::fs::read(&file).unwrap();

    let mut damaged = whole.clone();
    damaged[whole.len() / 3] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    finds(dir.path(), &file);

    std::fs::remove_file(&file).unwrap();
    finds(dir.path(), &file);

    std::fs::write(&file, whole).unwrap();
    verify(dir.path());
}

#[test]
fn damage_to_acknowledged_records_in_the_wal_is_an_error_and_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("COMMIT_AGE_S", "3600").run();
    send(&server);
    server.kill();
    let id = b"damage-3";
    let position = |bytes: &[u8]| bytes.windows(id.len()).position(|window| window == id);
    let (file, bytes, at) = files(&dir.path().join("wal"))
        .into_iter()
        .find_map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let at = position(&bytes)?;
            Some((path, bytes, at))
        })
        .expect("the WAL holds the event");
    let mut damaged = bytes.clone();
    damaged[at] ^= 1;
    std::fs::write(&file, damaged).unwrap();

    let output = flowstate(dir.path(), &["verify"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
    let (status, said): (ExitStatus, String) =
        Start::on(dir.path()).try_run().err().expect("a server on a damaged WAL is refused");
    assert!(!status.success());
    assert!(said.contains("damaged"), "it says so: {said}");

    std::fs::write(&file, bytes).unwrap();
    let server = Start::on(dir.path()).run();
    assert_eq!(server.number("SELECT count(*) FROM events"), 10);
}

fn send(server: &Server) {
    for number in 1..=10 {
        assert_eq!(server.batch(&[event(&format!("damage-{number}"))]).status, 200);
    }
}

/// `flowstate verify` ends with code 3 and names the file.
fn finds(dir: &Path, file: &Path) {
    let output = flowstate(dir, &["verify"]);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let name = file.file_name().unwrap().to_string_lossy();
    assert!(said.contains(name.as_ref()), "it names {name}: {said}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
