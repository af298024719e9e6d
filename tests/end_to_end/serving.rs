//! A server's limits, its answers to machines, HTTPS, and its end.

use crate::crashes::check_accounts;
use crate::harness::{Server, Start, WRITE_KEY, has, project, skip, until};
use crate::http::Request;
use crate::load::{Sender, check_stored_once, event, seed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

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
fn a_renewed_certificate_is_taken_over_while_connections_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    let fixture = |name: &str| project().join("fixtures/tls").join(name);
    // As certbot does: written beside it, then renamed over it.
    let put = |name: &str, place: &Path| {
        std::fs::copy(fixture(name), place.with_extension("new")).unwrap();
        std::fs::rename(place.with_extension("new"), place).unwrap();
    };
    put("server-certificate.pem", &certificate);
    put("server-key.pem", &key);
    let start =
        Start::on(&dir.path().join("data")).set("TLS_CERTIFICATE", &certificate.display().to_string());
    let server = start.set("TLS_KEY", &key.display().to_string()).run();
    let first = fixture("server-certificate.pem");
    let renewed = fixture("renewed-certificate.pem");
    let mut open = tls(&server, &first).expect("the first certificate is served");
    assert!(is_alive(&mut open));
    assert!(tls(&server, &renewed).is_err(), "the certificate is really checked");

    // The new certificate with the old key is no pair: it is named, and nothing changes.
    put("renewed-certificate.pem", &certificate);
    until("the half of a pair to be refused", || {
        server.said().contains("does not go with the certificate").then_some(())
    });
    assert!(is_alive(&mut tls(&server, &first).expect("the old one stays")));

    put("other-key.pem", &key);
    let mut new = until("the renewed certificate", || tls(&server, &renewed).ok());
    assert!(is_alive(&mut new));
    assert!(tls(&server, &first).is_err(), "the old one is not served any more");
    assert!(is_alive(&mut open), "a connection that was open goes on");
    assert!(server.stop().success());
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A connection to `localhost` whose handshake is done, by a client that trusts one certificate.
fn tls(server: &Server, trusted: &Path) -> std::io::Result<Tls> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(client, TcpStream::connect(server.address)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn is_alive(stream: &mut Tls) -> bool {
    stream.write_all(&Request::get("/health").wire()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).unwrap();
        assert_ne!(length, 0, "the connection was closed");
        answer.extend_from_slice(&part[..length]);
    }
    answer.starts_with(b"HTTP/1.1 200")
}

#[test]
fn what_is_over_a_limit_is_refused_with_the_time_to_wait() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("RATE_LIMIT_SOURCE", "1").run();
    assert_eq!(server.batch(&vec![event("limited-1"); 100]).status, 200, "what was begun is not cut");
    let mut connection = server.connect();
    let request = Request::post("/v1/track").write_key(WRITE_KEY).json(&event("limited-2"));
    for _ in 0..2 {
        let reply = connection.send(&request).unwrap();
        assert_eq!((reply.status, &reply.json()["code"]), (429, &json!("rate_limited")), "{}", reply.text());
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((90..=100).contains(&wait), "100 events at 1 a second, and {wait} s to wait");
    }
    assert_eq!(server.metric("flowstate_ingest_rate_limited_total"), 2.0);
    assert_eq!(server.number("SELECT count(*) FROM events"), 1);
    check_accounts(&server);
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
