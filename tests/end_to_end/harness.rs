//! Starts, ends and asks the real binary.

use crate::http::{Connection, Reply, Request};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

pub(crate) const ADMIN_KEY: &str = "admin-key-of-the-tests";
pub(crate) const WRITE_KEY: &str = "write-key-of-the-tests";

/// The longest that anything asked for here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server under test; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
    pub(crate) dir: PathBuf,
    said: Arc<Mutex<Vec<String>>>,
}

/// How to start a server.
pub(crate) struct Start {
    dir: PathBuf,
    env: Vec<(String, String)>,
    keys: &'static [(&'static str, &'static str)],
    under: Vec<String>,
}

impl Start {
    /// A server whose data lie in `dir`, with small WAL segments and commits at short intervals.
    pub(crate) fn on(dir: &Path) -> Self {
        let keys = &[("FLOWSTATE_ADMIN_KEY", ADMIN_KEY), ("FLOWSTATE_WRITE_KEY", WRITE_KEY)];
        let start = Self { dir: dir.to_owned(), env: Vec::new(), keys, under: Vec::new() };
        start.set("COMMIT_AGE_S", "0.2").set("WAL_BYTES_MAX", "128MiB")
    }

    /// Gives the setting `FLOWSTATE_<name>`.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.env.push((format!("FLOWSTATE_{name}"), value.to_owned()));
        self
    }

    /// Gives a variable of any name.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps the tables in a bucket, below a prefix.
    pub(crate) fn in_bucket(mut self, bucket: &dyn Bucket, prefix: &str) -> Self {
        self.env.extend(bucket_access(bucket));
        self.set("STORE", &bucket_url(prefix))
    }

    /// Gives no keys, so that it makes its own.
    pub(crate) fn without_keys(mut self) -> Self {
        self.keys = &[];
        self
    }

    /// Runs it under another program, such as `strace`.
    pub(crate) fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn run(self) -> Server {
        match self.try_run() {
            Ok(server) => server,
            Err((status, said)) => panic!("the server ended with {status} before it was ready:\n{said}"),
        }
    }

    /// Starts it; where it ends before it is ready, says how and with which words.
    pub(crate) fn try_run(self) -> Result<Server, (ExitStatus, String)> {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data"];
        let mut words: Vec<&OsStr> = self.under.iter().map(OsStr::new).collect();
        let binary = binary();
        words.push(binary.as_os_str());
        words.extend(serve.iter().map(OsStr::new));
        words.push(self.dir.as_os_str());
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .envs(self.keys.iter().copied())
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", words[0].display()));
        let said = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn({
            let said = Arc::clone(&said);
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    if let Some((_, url)) = line.split_once("listening on http") {
                        let _ = ready
                            .send(url.trim_start_matches("s").trim_start_matches("://").trim().to_owned());
                    }
                    said.lock().unwrap().push(line);
                }
            }
        });
        match is_ready.recv_timeout(PATIENCE) {
            Ok(url) => {
                let address =
                    url.trim_end_matches('/').parse().unwrap_or_else(|_| panic!("no address: `{url}`"));
                let file = std::fs::read(self.dir.join("server.json")).expect("server.json");
                let file: Value = serde_json::from_slice(&file).expect("server.json is JSON");
                let pid = file["pid"].as_u64().expect("server.json names the pid") as u32;
                Ok(Server { child, pid, address, dir: self.dir, said })
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().unwrap();
                Err((status, said.lock().unwrap().join("\n")))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                panic!("the server was not ready in {PATIENCE:?}:\n{}", said.lock().unwrap().join("\n"))
            }
        }
    }
}

impl Server {
    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Asks it to end, waits for it, and says how it ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the server to end", || child.try_wait().unwrap())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it has written to stderr.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address).expect("the server listens")
    }

    pub(crate) fn send(&self, request: &Request) -> Reply {
        self.connect().send(request).unwrap_or_else(|error| panic!("no answer: {error}\n{}", self.said()))
    }

    /// Sends events of the source `default` in one batch.
    pub(crate) fn batch(&self, events: &[Value]) -> Reply {
        self.send(&Request::post("/v1/batch").write_key(WRITE_KEY).json(&json!({ "batch": events })))
    }

    /// Adds a source for servers by the command, and gives its write key.
    pub(crate) fn add_source(&self, name: &str, options: &[&str]) -> String {
        let words = [&["source", "add", name, "--kind", "server"], options].concat();
        let added = flowstate(&self.dir, &words);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let said = String::from_utf8_lossy(&added.stdout).into_owned();
        said.split_whitespace().max_by_key(|word| word.len()).expect("the write key is printed").to_owned()
    }

    /// The rows that a query gives, each a map from column to value.
    pub(crate) fn sql(&self, query: &str) -> Vec<HashMap<String, Value>> {
        let body = json!({ "sql": query, "format": "json" });
        let reply = self.send(&Request::post("/api/v1/sql").bearer(ADMIN_KEY).json(&body));
        assert_eq!(reply.status, 200, "`{query}` answered {}\n{}", reply.text(), self.said());
        let answer = reply.json();
        assert_eq!(answer["truncated"], false, "`{query}` has more rows than `sql_rows_max` allows");
        rows(&answer)
    }

    /// The only number that a query gives.
    pub(crate) fn number(&self, query: &str) -> i64 {
        number(&self.sql(query), query)
    }

    /// The sum of a metric over its labels; 0 before its first count.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.send(&Request::get("/metrics")).text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// The partition it appends to.
    pub(crate) fn partition(&self) -> String {
        let file = std::fs::read_to_string(self.dir.join("wal/partition")).unwrap();
        file.lines().nth(1).expect("the second line names the partition").to_owned()
    }

    /// Gets a document of the management API.
    pub(crate) fn api(&self, path: &str) -> Value {
        let reply = self.send(&Request::get(path).bearer(ADMIN_KEY));
        assert_eq!(reply.status, 200, "{path} answered {}", reply.text());
        reply.json()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(rustix::process::Signal::KILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the server on {} said:\n{}\n---", self.dir.display(), self.said());
        }
    }
}

/// A server of S3 that has the bucket [`s3::BUCKET`] for [`s3::ACCESS_KEY`].
pub(crate) trait Bucket: Sync {
    /// The URL to reach it at.
    fn endpoint(&self) -> String;
    /// The region to sign requests for.
    fn region(&self) -> &str;
}

impl Bucket for s3::Server {
    fn endpoint(&self) -> String {
        self.endpoint()
    }

    fn region(&self) -> &str {
        s3::REGION
    }
}

/// Where the tables of a bucket lie below a prefix.
pub(crate) fn bucket_url(prefix: &str) -> String {
    format!("s3://{}/{prefix}", s3::BUCKET)
}

/// The variables that say how a bucket is reached.
pub(crate) fn bucket_access(bucket: &dyn Bucket) -> [(String, String); 4] {
    [
        ("AWS_ENDPOINT_URL", bucket.endpoint()),
        ("AWS_REGION", bucket.region().to_owned()),
        ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Runs `flowstate` with these words on a data directory whose tables lie in a bucket.
pub(crate) fn flowstate_on_bucket(dir: &Path, bucket: &dyn Bucket, prefix: &str, words: &[&str]) -> Output {
    flowstate_on(dir, &bucket_url(prefix), &bucket_access(bucket), words)
}

/// Runs `flowstate` with these words on a data directory and a store.
pub(crate) fn flowstate_on(dir: &Path, store: &str, env: &[(String, String)], words: &[&str]) -> Output {
    Command::new(binary())
        .args(words)
        .arg("--data")
        .arg(dir)
        .args(["--store", store])
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs `flowstate` with these words on a data directory.
pub(crate) fn flowstate(dir: &Path, words: &[&str]) -> Output {
    flowstate_command(dir, words).output().unwrap()
}

/// The same, to be run.
pub(crate) fn flowstate_command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).arg("--data").arg(dir).stdin(Stdio::null());
    command
}

/// The rows of `flowstate sql` on a data directory.
pub(crate) fn sql(dir: &Path, query: &str) -> Vec<HashMap<String, Value>> {
    let output = flowstate(dir, &["sql", query, "--format", "json"]);
    assert!(output.status.success(), "`{query}`: {}", String::from_utf8_lossy(&output.stderr));
    rows(&serde_json::from_slice(&output.stdout).expect("`flowstate sql --format json` prints JSON"))
}

/// Runs `flowstate verify` and demands that it finds nothing wrong.
pub(crate) fn verify(dir: &Path) {
    let output = flowstate(dir, &["verify"]);
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.code(), Some(0), "`flowstate verify` found:\n{said}");
}

/// The only number in the only row.
pub(crate) fn number(rows: &[HashMap<String, Value>], query: &str) -> i64 {
    let number = match rows {
        [row] => row.values().next().and_then(|v| v.as_i64().or_else(|| v.as_str()?.parse().ok())),
        _ => None,
    };
    number.unwrap_or_else(|| panic!("`{query}` gave no number: {rows:?}"))
}

/// Rows as maps, whether they come as arrays beside the names of the columns or as objects.
pub(crate) fn rows(answer: &Value) -> Vec<HashMap<String, Value>> {
    let columns: Vec<String> = answer["columns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| {
            column.as_str().or_else(|| column["name"].as_str()).expect("a column has a name").to_owned()
        })
        .collect();
    let rows = answer["rows"].as_array().or_else(|| answer.as_array()).expect("an answer has rows");
    let row = |row: &Value| match row {
        Value::Array(values) => columns.iter().cloned().zip(values.iter().cloned()).collect(),
        Value::Object(fields) => fields.clone().into_iter().collect(),
        other => panic!("a row is neither an array nor an object: {other}"),
    };
    rows.iter().map(row).collect()
}

/// Looks again and again until there is something, for a minute at most.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The value of an environment variable.
#[expect(clippy::disallowed_methods, reason = "tests are told by `tests/run` what there is")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A number from the environment.
pub(crate) fn count(name: &str, default: usize) -> usize {
    variable(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Says that this test cannot run here, so that `tests/run` counts it as skipped and not as passed.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    if let Some(path) = variable("FLOWSTATE_TEST_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}

/// Whether this process may mount file systems.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this program can be run.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    found.is_ok_and(|output| output.status.success())
}

/// The top of the project.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test: `FLOWSTATE_BIN`, or the one built with this test.
fn binary() -> PathBuf {
    variable("FLOWSTATE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_flowstate").into(), PathBuf::from)
}
