//! The arrows between the rooms, read from the manifests, and one version of what must be one.

use crate::harness::project;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::Table;

/// What a room may use of the project, and which crates belong to other rooms alone.
const ROOMS: [(&str, &[&str], &[&str]); 5] = [
    ("pipeline", &[], &["actix-web"]),
    (
        "ingest",
        &["pipeline"],
        &["arrow", "parquet", "object_store", "deltalake-core", "datafusion", "reqwest"],
    ),
    (
        "sinks",
        &["pipeline"],
        &["actix-web", "arrow", "parquet", "object_store", "deltalake-core", "datafusion"],
    ),
    ("queries", &["pipeline"], &["actix-web", "reqwest"]),
    ("console", &["pipeline"], &["reqwest", "parquet", "object_store", "deltalake-core", "datafusion"]),
];

/// Crates whose types cross the rooms; with a second version in the tree they would not fit.
const ONE_VERSION: [&str; 6] = ["arrow", "parquet", "object_store", "tokio", "datafusion", "deltalake-core"];

#[test]
fn no_arrow_is_added_between_the_rooms() {
    let names: BTreeSet<&str> = ROOMS.iter().map(|(room, ..)| *room).collect();
    for (room, allowed, foreign) in ROOMS {
        let used = dependencies(&manifest(&project().join(room)));
        let arrows: Vec<_> = used.iter().filter(|name| names.contains(name.as_str())).collect();
        assert_eq!(arrows, allowed.to_vec(), "the arrows from `{room}`; a new one is a conversation first");
        let taken: Vec<_> = used.iter().filter(|name| foreign.contains(&name.as_str())).collect();
        assert!(taken.is_empty(), "`{room}` uses {taken:?}, which belong to other rooms");
    }
}

#[test]
fn the_fake_vendors_use_no_room() {
    let rooms = ROOMS.map(|(room, ..)| room);
    let used = dependencies(&manifest(&project().join("tests/vendors")));
    let taken: Vec<_> = used.iter().filter(|name| rooms.contains(&name.as_str())).collect();
    assert!(taken.is_empty(), "`tests/vendors` uses {taken:?}; a fake shares no code with what it tests");
}

#[test]
fn every_dependency_is_declared_once_for_the_workspace() {
    for (room, ..) in ROOMS {
        let manifest = manifest(&project().join(room));
        for kind in ["dependencies", "dev-dependencies"] {
            for (name, value) in manifest.get(kind).and_then(|t| t.as_table()).into_iter().flatten() {
                let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherits, "`{name}` of `{room}` has a version of its own; name it in the workspace");
            }
        }
    }
}

#[test]
fn no_vendor_is_named_in_the_pipelines_code() {
    let vendors = vendors();
    assert!(!vendors.is_empty(), "there is at least one vendor");
    let pipeline = project().join("pipeline/src");
    for file in rust_files(&pipeline) {
        // The facts of a vendor are data and bear its name.
        if file.components().any(|part| part.as_os_str() == "vendors") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        // A WAL consists of segments.
        let is_log = file.starts_with(pipeline.join("log")) || file == pipeline.join("log.rs");
        let vendors: Vec<_> = vendors.iter().filter(|vendor| !(is_log && *vendor == "segment")).collect();
        for line in code.map(str::to_lowercase) {
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            let named = words.find(|word| vendors.iter().any(|vendor| vendor == word));
            assert!(named.is_none(), "{} names a vendor: {line}", file.display());
        }
    }
}

#[test]
fn what_crosses_the_rooms_has_one_version() {
    let lock: Table = read(&project().join("Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    for name in ONE_VERSION {
        let versions: Vec<_> =
            packages.iter().filter(|p| p["name"].as_str() == Some(name)).map(|p| &p["version"]).collect();
        assert_eq!(versions.len(), 1, "`{name}` stands in Cargo.lock as {versions:?}");
    }
}

fn manifest(folder: &Path) -> Table {
    read(&folder.join("Cargo.toml"))
}

fn read(path: &Path) -> Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Dependencies of every kind and for every target, by the name of their crate.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let own = manifest.get(kind).and_then(|t| t.as_table());
        let targets = manifest.get("target").and_then(|t| t.as_table()).into_iter().flatten();
        let of_targets = targets.filter_map(|(_, target)| target.get(kind)?.as_table());
        for (name, value) in own.into_iter().chain(of_targets).flatten() {
            let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(name);
            names.insert(package.to_owned());
        }
    }
    names
}

/// The vendors there is code for: one file each, with what belongs to it in a folder beside.
fn vendors() -> BTreeSet<String> {
    let folders = ["sinks", "ingest"].map(|room| project().join(room).join("src/vendors"));
    let files = folders.iter().flat_map(|folder| {
        rust_files(folder).into_iter().filter(move |file| file.parent() == Some(folder.as_path()))
    });
    files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
