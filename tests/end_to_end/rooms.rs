//! The arrows between the rooms, read from the manifests, one version of what must be one, and
//! where a vendor's name may stand.

use crate::harness::project;
use pipeline::control::Secret;
use pipeline::vendor::{Rule, State, Vendor};
use serde_json::Value;
use sinks::engine::Account;
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

/// Where `segment` is a word like any other: the log's WAL and the delivery journal consist of them,
/// and IPv6 has routing by them.
const SEGMENTS: [&str; 5] = ["log.rs", "log", "delivery.rs", "delivery", "egress/address.rs"];

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
    let pipeline = project().join("pipeline/src");
    let names: Vec<_> = pipeline::vendor::all().iter().map(|vendor| vendor.name.replace('_', " ")).collect();
    let mut searched = 0;
    for file in rust_files(&pipeline) {
        let inside = file.strip_prefix(&pipeline).unwrap();
        // The facts of a vendor are data; one file lists them. Tests have examples.
        let is_test = file.file_stem().is_some_and(|stem| stem == "tests" || stem == "conformance");
        if is_test || inside == Path::new("vendor/facts.rs") || inside == Path::new("delivery/testing.rs") {
            continue;
        }
        let has_segments = SEGMENTS.iter().any(|at| inside.starts_with(at));
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let lower = line.to_lowercase();
            let words: Vec<_> =
                lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
            let words = format!(" {} ", words.join(" "));
            let named = names.iter().filter(|name| !(has_segments && *name == "segment"));
            let named: Vec<_> = named.filter(|name| words.contains(&format!(" {name} "))).collect();
            assert!(named.is_empty(), "{} names {named:?}: {line}", file.display());
        }
        searched += 1;
    }
    assert!(searched > 100, "only {searched} files were found");
}

/// What a user meets as "works" is there: the code, the page about it, and the way to the code.
#[test]
fn a_vendor_that_works_has_code_and_a_page_and_no_other_has() {
    let folder = project().join("sinks/src/vendors");
    for vendor in pipeline::vendor::all() {
        let works = vendor.outbound.state == State::Works;
        for ending in ["rs", "md"] {
            let file = folder.join(&vendor.name).with_extension(ending);
            assert_eq!(file.is_file(), works, "{}", file.display());
        }
        let made = sinks::vendors::sink(&vendor.name, &example(vendor));
        assert_eq!(made.is_ok(), works, "{}: {:?}", vendor.name, made.err());
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

/// An account made of the examples in the facts; of fields that exclude each other, the first.
fn example(vendor: &Vendor) -> Account {
    let excluded = |path: &str| {
        let mut others = vendor.rules.iter().filter_map(|rule| match rule {
            Rule::ExactlyOneOf { fields, .. } => fields.get(1..),
            Rule::Requires { .. } => None,
        });
        others.any(|others| others.iter().any(|other| other == path))
    };
    let settings = vendor.settings.iter().filter(|field| !excluded(&format!("settings.{}", field.name)));
    let credentials =
        vendor.credentials.iter().filter(|field| !excluded(&format!("credentials.{}", field.name)));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Account {
        settings: settings.map(|field| (field.name.clone(), field.example.clone())).collect(),
        credentials: credentials
            .map(|field| (field.name.clone(), Secret::credential(text(&field.example))))
            .collect(),
    }
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
