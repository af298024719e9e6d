//! `flowstate doctor`: each line says what it found and what to do.

use crate::harness::{Start, flowstate};
use crate::load::event;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_healthy_server_gets_a_clean_bill_and_trouble_is_named_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let free = ["--listen", "127.0.0.1:0"];
    let (code, checks) = doctor(&data, &free);
    assert_eq!(code, Some(0), "{checks:?}");
    assert!(!data.exists(), "it makes nothing");

    let server = Start::on(&data).run();
    let events: Vec<_> = (0..10).map(|number| event(&format!("seen-{number}"))).collect();
    assert_eq!(server.batch(&events).status, 200);
    let address = server.address.to_string();
    let (code, checks) = doctor(&data, &["--listen", &address]);
    assert_eq!(code, Some(0), "{checks:?}");
    for check in [
        "data directory",
        "master key",
        "open files",
        "server",
        "port",
        "disk space",
        "fsync",
        "outage",
        "store",
        "clock",
    ] {
        assert_ne!(state(&checks, check)["state"], "fail", "{check}: {checks:?}");
    }
    assert!(state(&checks, "server")["found"].as_str().unwrap().contains("is ready"), "{checks:?}");
    assert!(
        state(&checks, "port")["found"].as_str().unwrap().contains("held by the running server"),
        "{checks:?}"
    );
    assert!(
        state(&checks, "setting listen")["found"].as_str().unwrap().contains("by `--listen`"),
        "{checks:?}"
    );

    // Another's port, a key that everybody can read, a store that is no directory.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = held.local_addr().unwrap().to_string();
    std::fs::set_permissions(data.join("master.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, checks) = doctor(&data, &["--listen", &listen, "--store", &file.display().to_string()]);
    assert_eq!(code, Some(1), "{checks:?}");
    for check in ["port", "master key", "store"] {
        let found = state(&checks, check);
        assert_eq!(found["state"], "fail", "{check}: {checks:?}");
        assert!(!found["remedy"].as_str().unwrap().is_empty(), "{check}");
    }
    let pid = format!("process {}", std::process::id());
    assert!(state(&checks, "port")["found"].as_str().unwrap().contains(&pid), "{checks:?}");
    let left = std::fs::read_dir(data.join("tables")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with("measure") && !name.starts_with("probe")), "{left:?}");
    drop(held);
}

fn doctor(data: &Path, flags: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut words = vec!["doctor", "--format", "json"];
    words.extend(flags);
    let output = flowstate(data, &words);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["healthy"], output.status.success());
    (output.status.code(), report["checks"].as_array().unwrap().clone())
}

fn state<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks
        .iter()
        .find(|check| check["check"] == name)
        .unwrap_or_else(|| panic!("no check `{name}`: {checks:?}"))
}
