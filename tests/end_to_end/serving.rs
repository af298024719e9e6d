//! A server's limits, its answers to machines, HTTPS, and its end.

use crate::crashes::check_accounts;
use crate::harness::{Start, has, project, skip, until};
use crate::http::Request;
use crate::load::{Sender, check_stored_once, event, seed};
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn a_full_write_ahead_log_refuses_and_goes_on_once_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, away) = (dir.path().join("store"), dir.path().join("away"));
    let start = || {
        let start = Start::on(&dir.path().join("data")).set("STORE", &store.display().to_string());
        start.set("WAL_BYTES_MAX", "16MiB").set("COMMIT_BYTES", "8MiB").run()
    };
    let server = start();
    let mut senders = Sender::team(seed(), 1);
    senders[0].send(&server, 5);
    // Without its store nothing can be committed, so the log only grows.
    std::fs::rename(&store, &away).unwrap();
    std::fs::write(&store, "no directory").unwrap();
    let refused = until("the log to be full", || {
        let reply = server.batch(&large());
        assert!([200, 503].contains(&reply.status), "{}: {}", reply.status, reply.text());
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(refused.json()["code"], "storage_full", "{}", refused.text());
    assert!(refused.header("retry-after").is_some(), "503 carries Retry-After");
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    until("ingest to go on", || (server.batch(&large()).status == 200).then_some(()));
    // The end commits everything, so that the log has space for the check.
    assert!(server.stop().success());

    let server = start();
    check_stored_once(&server, &mut senders);
    check_accounts(&server);
    assert!(server.stop().success());
}

#[test]
fn machines_are_told_of_health_readiness_and_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    assert_eq!(server.batch(&[event("measured-1")]).status, 200);
    for (path, status) in [("/health", "alive"), ("/ready", "ready")] {
        let reply = server.send(&Request::get(path));
        assert_eq!((reply.status, &reply.json()["status"]), (200, &json!(status)));
    }
    let metrics = server.send(&Request::get("/metrics"));
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("# TYPE "), "{}", metrics.text());
}

#[test]
fn https_is_spoken_where_a_certificate_is_given() {
    if !has("curl") {
        return skip("https_is_spoken_where_a_certificate_is_given", "it needs curl");
    }
    let dir = tempfile::tempdir().unwrap();
    let pem = |name: &str| project().join("fixtures/tls").join(name).display().to_string();
    let certificate = pem("server-certificate.pem");
    let start = Start::on(dir.path()).set("TLS_CERTIFICATE", &certificate);
    let server = start.set("TLS_KEY", &pem("server-key.pem")).run();
    let port = server.address.port();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert", &certificate])
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
        .arg(format!("https://localhost:{port}/health"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("alive"));
    assert!(server.stop().success());
}

#[test]
fn an_idle_client_does_not_keep_the_server_from_ending() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let mut idle = server.connect();
    assert_eq!(idle.send(&Request::get("/health")).unwrap().status, 200);
    assert!(server.stop().success());
    drop(idle);
}

/// About two megabytes in a hundred events without message ids.
fn large() -> Vec<Value> {
    let text = "x".repeat(20_000);
    let event = json!({ "type": "track", "event": "Large", "userId": "u", "properties": { "text": text } });
    vec![event; 100]
}
