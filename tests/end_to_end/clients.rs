//! Clients of Segment, RudderStack and Jitsu, unmodified.

use crate::crashes::check_accounts;
use crate::harness::{Server, Start, WRITE_KEY, has, project, skip, variable};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

const EVENTS: usize = 300;

#[test]
fn segments_node_client_is_taken_in_without_a_retry() {
    node_client("segments_node_client_is_taken_in_without_a_retry", "segment.mjs");
}

#[test]
fn rudderstacks_node_client_is_taken_in_without_a_retry() {
    node_client("rudderstacks_node_client_is_taken_in_without_a_retry", "rudderstack.mjs");
}

#[test]
fn jitsus_client_is_taken_in_without_a_retry() {
    node_client("jitsus_client_is_taken_in_without_a_retry", "jitsu.mjs");
}

#[test]
fn segments_browser_client_is_taken_in_without_a_retry() {
    browser_client("segments_browser_client_is_taken_in_without_a_retry", "standard");
}

#[test]
fn segments_browser_client_with_batches_is_taken_in_without_a_retry() {
    browser_client("segments_browser_client_with_batches_is_taken_in_without_a_retry", "batching");
}

#[test]
fn jitsus_browser_client_is_taken_in_without_a_retry() {
    browser_client("jitsus_browser_client_is_taken_in_without_a_retry", "jitsu");
}

#[test]
fn segments_python_client_is_taken_in_without_a_retry() {
    python_client("segments_python_client_is_taken_in_without_a_retry", &["segment", "plain"]);
}

#[test]
fn segments_python_client_with_gzip_is_taken_in_without_a_retry() {
    python_client("segments_python_client_with_gzip_is_taken_in_without_a_retry", &["segment", "gzip"]);
}

#[test]
fn rudderstacks_python_client_is_taken_in_without_a_retry() {
    python_client("rudderstacks_python_client_is_taken_in_without_a_retry", &["rudderstack", "default"]);
}

/// The client gives events no message ids, so what is stored is compared with what was sent.
#[test]
fn rudderstacks_rust_client_is_taken_in_without_a_retry() {
    let test = "rudderstacks_rust_client_is_taken_in_without_a_retry";
    let Some(client) = variable("FLOWSTATE_TEST_RUST_CLIENT") else {
        return skip(test, "it needs the crates of tests/clients/rust, which `tests/run` fetches and builds");
    };
    let run = Run::of(Command::new(client), &[]);
    let mut sent: HashMap<String, Value> = HashMap::new();
    for event in run.report["sent"].as_array().unwrap() {
        let twice = sent.insert(event["userId"].as_str().unwrap().to_owned(), event.clone());
        assert!(twice.is_none(), "each event has a user of its own: {twice:?}");
    }
    assert_eq!(sent.len(), EVENTS);

    let rows = run.server.sql(
        "SELECT type, event, message_id, user_id, anonymous_id, group_id, previous_id, name, category, \
         original_timestamp, properties, traits, context, integrations, extra, flags FROM events",
    );
    assert_eq!(rows.len(), EVENTS, "as many rows as events");
    let ids: HashSet<_> = rows.iter().map(|row| row["message_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), EVENTS, "each event got an id of its own");
    for mut row in rows {
        row.remove("message_id");
        let event = sent.remove(row["user_id"].as_str().unwrap());
        let event = event.unwrap_or_else(|| panic!("not sent, or stored twice: {row:?}"));
        for (column, stored) in row {
            let (stored, expected) = match column.as_str() {
                "original_timestamp" => (micros(&stored), micros(&event["originalTimestamp"])),
                "context" => {
                    let mut context = event["context"].clone();
                    context["library"] = json!({ "name": "RudderStack Rust SDK", "version": "2.0.1" });
                    (parsed(&stored), context)
                }
                "flags" => (stored, json!("made_message_id")),
                "extra" => (parsed(&stored), json!({ "channel": "server" })),
                "properties" | "traits" | "integrations" => (parsed(&stored), event[&column].clone()),
                "user_id" => (stored, event["userId"].clone()),
                "anonymous_id" => (stored, event["anonymousId"].clone()),
                "group_id" => (stored, event["groupId"].clone()),
                "previous_id" => (stored, event["previousId"].clone()),
                _ => (stored, event[&column].clone()),
            };
            assert_eq!(stored, expected, "`{column}` of {event}");
        }
    }
    // It has no header that counts retries, but counts the events and batches it was asked to send.
    let heads = run.check_requests();
    let requests = heads.iter().filter(|head| head.starts_with("POST /")).count();
    assert_eq!(run.report["requests"], requests, "one request for each");
}

/// The JSON that a column holds as text.
fn parsed(text: &Value) -> Value {
    text.as_str().map_or(Value::Null, |text| serde_json::from_str(text).expect("the column holds JSON"))
}

/// A time in microseconds since 1970.
fn micros(time: &Value) -> Value {
    let time = time.as_str().unwrap_or_else(|| panic!("no time: {time}"));
    let time = chrono::DateTime::parse_from_rfc3339(time).unwrap_or_else(|_| panic!("no time: {time}"));
    time.timestamp_micros().into()
}

fn node_client(test: &str, script: &str) {
    let Some(command) = node(script) else { return skip(test, "it needs node and `npm ci`") };
    each_event_is_stored_once(command, &[]);
}

/// A page that a browser shows, on another origin than the server's.
fn browser_client(test: &str, mode: &str) {
    let Some(command) = node("browser.mjs").filter(|_| has("chromium")) else {
        return skip(test, "it needs node, `npm ci` and Chromium");
    };
    let heads = each_event_is_stored_once(command, &[mode]);
    let is_asked = heads.iter().any(|head| head.starts_with("OPTIONS /"));
    assert!(is_asked, "the browser asked before it sent a key to another origin");
    let settings = heads.iter().filter(|head| head.starts_with("GET /v1/projects/")).count();
    assert_eq!(settings, usize::from(mode != "jitsu"), "analytics.js asks for its settings");
}

fn node(script: &str) -> Option<Command> {
    let folder = project().join("tests/clients/node");
    if !has("node") || !folder.join("node_modules").exists() {
        return None;
    }
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    Some(command)
}

fn python_client(test: &str, words: &[&str]) {
    let Some(python) = python() else { return skip(test, "it needs the Python packages of `tests/run`") };
    let mut command = Command::new(python);
    command.arg(project().join("tests/clients/python/send.py"));
    each_event_is_stored_once(command, words);
}

/// The Python that has the packages of `tests/clients/python/requirements.txt`.
pub(crate) fn python() -> Option<PathBuf> {
    variable("FLOWSTATE_TEST_PYTHON").map(PathBuf::from)
}

/// Lets a client send, and gives the heads of all its requests.
fn each_event_is_stored_once(client: Command, more: &[&str]) -> Vec<String> {
    let run = Run::of(client, more);
    let sent: HashMap<String, Value> = run.report["sent"].as_object().unwrap().clone().into_iter().collect();
    assert_eq!(sent.len(), EVENTS);

    let rows =
        run.server.sql("SELECT message_id, type, count(*) AS copies FROM events GROUP BY message_id, type");
    assert_eq!(rows.len(), sent.len(), "as many rows as events");
    for row in rows {
        assert_eq!(row["copies"], 1, "{row:?}");
        assert_eq!(sent.get(row["message_id"].as_str().unwrap()), Some(&row["type"]), "{row:?}");
    }
    run.check_requests()
}

/// A client that has sent its events to a server, and saw no error.
struct Run {
    server: Server,
    proxy: Proxy,
    /// What the client says that it sent.
    report: Value,
    _dir: tempfile::TempDir,
}

impl Run {
    fn of(mut client: Command, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Start::on(dir.path()).run();
        let proxy = Proxy::to(server.address);
        let output = client
            .args([&format!("http://{}", proxy.address), WRITE_KEY, &EVENTS.to_string()])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "the client failed: {}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("the client reports in JSON");
        assert_eq!(report["errors"], json!([]), "the client saw errors");
        Self { server, proxy, report, _dir: dir }
    }

    /// Demands that every request was taken in at once and in full, and gives their heads.
    fn check_requests(&self) -> Vec<String> {
        assert_eq!(self.server.number("SELECT count(*) FROM rejected"), 0);
        // Every request was answered with 200 at once: as many receipts as requests, and no retry.
        let heads = self.proxy.requests();
        let requests: Vec<_> = heads.iter().filter(|head| head.starts_with("POST /")).collect();
        assert!(requests.len() > 1, "the client sent {} requests", requests.len());
        let receipts = self.server.number("SELECT count(*) FROM receipts");
        assert_eq!(receipts, requests.len() as i64, "{requests:?}");
        let retried: Vec<_> = requests.iter().filter(|head| is_retry(head)).collect();
        assert!(retried.is_empty(), "{retried:?}");
        check_accounts(&self.server);
        heads
    }
}

fn is_retry(head: &str) -> bool {
    let count =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("x-retry-count:").map(str::to_owned));
    count.is_some_and(|count| count.trim() != "0")
}

/// What one connection has sent so far.
type Bytes = Arc<Mutex<Vec<u8>>>;

/// Passes bytes on in both directions and remembers what the client sent.
struct Proxy {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Bytes>>>,
}

impl Proxy {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = TcpStream::connect(server) else { break };
                let bytes = Bytes::default();
                all.lock().unwrap().push(Arc::clone(&bytes));
                let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || {
                    pass(from, to, |part| bytes.lock().unwrap().extend_from_slice(part))
                });
                std::thread::spawn(move || pass(upstream, client, |_| ()));
            }
        });
        Self { address, connections }
    }

    /// The heads of all requests.
    fn requests(&self) -> Vec<String> {
        let mut heads = Vec::new();
        for connection in self.connections.lock().unwrap().iter() {
            let text = String::from_utf8_lossy(&connection.lock().unwrap()).into_owned();
            // A request line starts a connection or follows a body, of which no event of the clients
            // holds such a line.
            for (at, _) in text.match_indices(" HTTP/1.1\r\n") {
                let start =
                    ["POST /", "OPTIONS /", "GET /"].iter().filter_map(|word| text[..at].rfind(word)).max();
                let head = text[start.unwrap_or(at)..].split("\r\n\r\n").next().unwrap_or_default();
                heads.push(head.to_owned());
            }
        }
        heads
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        look(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
