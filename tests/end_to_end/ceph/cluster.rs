//! A Ceph cluster as small as it can be: a monitor, one storage daemon in memory, and gateways.

use crate::harness::{Bucket, has, until};
use crate::http::{Connection, Request};
use object_store::aws::AmazonS3Builder;
use object_store::signer::Signer;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The region that a gateway without zones has.
const REGION: &str = "default";

/// What is asked for in the shell; it comes with Debian's packages of `tests/run`.
const PROGRAMS: [&str; 6] = ["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"];

/// Runs the daemon that its arguments name until its standard input is closed: by the drop of
/// [`Daemon`], or by the end of the tests, in whatever way they end. A storage daemon without its
/// monitor heeds no other signal.
const KEEPER: &str = r#""$@" & daemon=$!; cat; kill -9 "$daemon"; wait "$daemon""#;

/// Whether Ceph is installed.
pub(super) fn is_installed() -> bool {
    PROGRAMS.into_iter().all(has)
}

/// A server of S3 of its own on the cluster that the tests share. What one gateway has stored, all serve.
pub(super) struct Gateway {
    address: SocketAddr,
    daemon: Mutex<Option<Daemon>>,
    cluster: Arc<Cluster>,
}

impl Gateway {
    /// Starts a gateway, and a cluster where there is none.
    pub(super) fn start() -> Self {
        let gateway = Self::of(Cluster::shared());
        gateway.restart();
        gateway
    }

    fn of(cluster: Arc<Cluster>) -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, free_port()).into(), daemon: Mutex::new(None), cluster }
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(&self) {
        *lock(&self.daemon) = None;
    }

    /// Starts it again, at the same address, and waits until it serves.
    pub(super) fn restart(&self) {
        let address = self.address;
        // The default answers late, for it waits for the client's delayed acknowledgements.
        let frontend = format!("--rgw-frontends=beast endpoint={address} tcp_nodelay=1");
        let words = ["radosgw", "-n", "client.admin", "-f", &frontend];
        *lock(&self.daemon) = Some(self.cluster.daemon(&words));
        until("the gateway to serve", || {
            let reply = Connection::open(address).and_then(|mut c| c.send(&Request::get("/")));
            reply.is_ok_and(|reply| reply.status == 200).then_some(())
        });
    }

    /// Makes the bucket.
    fn make_bucket(&self) {
        // Whoever holds a signed address may ask for what it says. The host is part of what is
        // signed, and `localhost` is what `Request` names.
        let signer = AmazonS3Builder::new()
            .with_endpoint("http://localhost")
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(s3::BUCKET)
            .with_access_key_id(s3::ACCESS_KEY)
            .with_secret_access_key(s3::SECRET_KEY)
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let path = object_store::path::Path::default();
        let url =
            runtime.block_on(signer.signed_url("PUT".parse().unwrap(), &path, Duration::from_secs(600)));
        let url = url.unwrap();
        let target = format!("{}?{}", url.path(), url.query().unwrap());
        let request = Request::new("PUT", &target).header("Content-Length", "0");
        let reply = Connection::open(self.address).and_then(|mut c| c.send(&request)).unwrap();
        assert_eq!(reply.status, 200, "the bucket is not made: {}", reply.text());
    }
}

impl Bucket for Gateway {
    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn region(&self) -> &str {
        REGION
    }
}

/// The daemons that store; they end, and what they stored is gone, with the last gateway.
struct Cluster {
    /// Monitor and storage.
    daemons: Vec<Daemon>,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// The cluster of all tests that run at this time.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = lock(&SHARED);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Self::start();
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// Starts monitor and storage, and makes the user, the bucket and the pools that a gateway needs.
    fn start() -> Arc<Self> {
        let mut cluster = Self { daemons: Vec::new(), dir: tempfile::tempdir().unwrap() };
        let (cluster_id, storage_id) = (uuid(), uuid());
        let port = free_port();
        std::fs::write(cluster.config(), config(cluster.dir.path(), &cluster_id, port)).unwrap();
        std::fs::create_dir(cluster.dir.path().join("storage")).unwrap();
        let map = cluster.dir.path().join("monitors");
        let map = map.to_str().expect("the path of a temporary directory is text");
        // Of the first version of the protocol only: the second wants keys.
        let address = format!("[v1:127.0.0.1:{port}]");
        cluster.run(&["monmaptool", "--create", "--fsid", &cluster_id, "--addv", "a", &address, map]);
        cluster.run(&["ceph-mon", "--mkfs", "-i", "a", "--monmap", map]);
        cluster.daemons.push(cluster.daemon(&["ceph-mon", "-i", "a", "-f"]));
        cluster.run(&["ceph", "osd", "new", &storage_id, "0"]);
        // Left to itself, the daemon asks for its place before it knows the cluster's id, and is now
        // and then refused ("wrong fsid").
        cluster.run(&["ceph", "osd", "crush", "add", "osd.0", "1", "root=default", "host=here"]);
        cluster.run(&["ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", &storage_id]);
        cluster.daemons.push(cluster.daemon(&["ceph-osd", "-i", "0", "-f"]));
        let gateway = Gateway::of(Arc::new(cluster));
        gateway.restart();
        let keys = ["--access-key", s3::ACCESS_KEY, "--secret-key", s3::SECRET_KEY];
        let user = ["radosgw-admin", "user", "create", "--uid", "flowstate", "--display-name", "Flowstate"];
        gateway.cluster.run(&[&user[..], &keys].concat());
        gateway.make_bucket();
        Arc::clone(&gateway.cluster)
    }

    fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("ceph.conf")
    }

    /// A command on this cluster, whose output goes to a file.
    fn command(&self, words: &[&str], program: &str) -> Command {
        let output = self.output();
        let mut command = Command::new(program);
        command.env_remove("CEPH_ARGS").env("CEPH_CONF", self.config());
        command.args(words).stdout(output.try_clone().unwrap()).stderr(output);
        command
    }

    /// Runs a command that must succeed.
    fn run(&self, words: &[&str]) {
        let words: Vec<&str> = ["60"].iter().chain(words).copied().collect();
        let status = self.command(&words, "timeout").stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "{status}: {words:?}");
    }

    fn daemon(&self, words: &[&str]) -> Daemon {
        let words: Vec<&str> = ["-c", KEEPER, "sh"].iter().chain(words).copied().collect();
        Daemon(self.command(&words, "sh").stdin(Stdio::piped()).spawn().unwrap())
    }

    fn output(&self) -> File {
        File::options().create(true).append(true).open(self.dir.path().join("output")).unwrap()
    }

    fn said(&self) -> String {
        std::fs::read(self.dir.path().join("output"))
            .map_or_else(|error| format!("{error}\n"), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- Ceph said:\n{}---", self.said());
        }
    }
}

/// A daemon that ends as by `kill -9` when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("the keeper of a daemon ends");
    }
}

fn config(dir: &Path, cluster_id: &str, port: u16) -> String {
    let dir = dir.display();
    format!(
        "[global]
fsid = {cluster_id}
mon host = v1:127.0.0.1:{port}
mon initial members = a
public network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = {dir}
admin socket =
log file = {dir}/$name.log
mon data = {dir}/monitor
mon data avail crit = 1
mon data avail warn = 2
mon allow pool size one = true
osd data = {dir}/storage
osd crush update on start = false
osd class update on start = false
osd objectstore = memstore
memstore device bytes = 4294967296
osd max object name len = 460
osd max object namespace len = 64
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw run sync thread = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw dynamic resharding = false
rgw thread pool size = 32
"
    )
}

fn uuid() -> String {
    let bytes: [u8; 16] = rand::random();
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A port that nothing listens on, below those that the system hands out.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..100).map(|_| rand::random_range(10_000..30_000)).find(is_free).expect("a port is free")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
