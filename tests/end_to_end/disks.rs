//! Disks that fail: power loss, an fsync error, no space.

use crate::crashes::check_accounts;
use crate::harness::{Start, WRITE_KEY, has, is_root, skip, until, verify};
use crate::http::Request;
use crate::load::{Sender, check_stored_once, event, seed};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// Drops all that was not synced, as if the power had gone: the ioctl `FS_IOC_SHUTDOWN` of ext4
/// and xfs with the flag `NOLOGFLUSH`. Python, because the workspace has no unsafe code.
const CUT_THE_POWER: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

#[test]
fn acknowledged_events_survive_power_loss() {
    let test = "acknowledged_events_survive_power_loss";
    if !may_mount() || !has("mkfs.ext4") || !has("python3") {
        return skip(test, "it needs root or sudo, mkfs.ext4 and python3");
    }
    let disk = Disk::ext4("1G");
    let mut senders = Sender::team(seed(), 4);
    for target in [300, 900, 1_500] {
        let server = Start::on(&disk.data()).set("COMMIT_BYTES", "30000").run();
        let address = server.address;
        let acks = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for sender in &mut senders {
                scope.spawn(|| sender.send_until_it_ends(address, &acks));
            }
            until("acknowledgements", || (acks.load(Ordering::Relaxed) >= target).then_some(()));
            as_root("python3", &["-c", CUT_THE_POWER, &disk.mount.display().to_string()]);
            server.kill();
        });
        disk.mount_again();
    }
    let server = Start::on(&disk.data()).run();
    check_stored_once(&server, &mut senders);
    check_accounts(&server);
    assert!(server.stop().success());
    verify(&disk.data());
}

#[test]
fn nothing_is_acknowledged_after_an_fsync_has_failed() {
    let test = "nothing_is_acknowledged_after_an_fsync_has_failed";
    if !has("strace")
        || !Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).status().unwrap().success()
    {
        return skip(test, "it needs strace and the right to trace");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut senders = Sender::team(seed(), 1);
    // Prepared without faults, so that the failing call is one that writes records.
    let server = Start::on(dir.path()).run();
    senders[0].send(&server, 5);
    assert!(server.stop().success());
    let trace = tempfile::NamedTempFile::new().unwrap();
    let log = trace.path().display().to_string();
    let inject = "inject=fdatasync:error=EIO:when=12+";
    let server = Start::on(dir.path())
        .under(&["strace", "-f", "-qq", "--seccomp-bpf", "-o", &log, "-e", "trace=fdatasync", "-e", inject])
        .set("COMMIT_AGE_S", "3600")
        .run();
    let acks = AtomicU64::new(0);
    senders[0].send_until_it_ends(server.address, &acks);
    let traced = std::fs::read_to_string(trace.path()).unwrap();
    assert!(traced.contains("INJECTED"), "no fdatasync has failed:\n{traced}");
    for round in 0..5 {
        let reply = server.batch(&[event(&format!("after-the-error-{round}"))]);
        assert_eq!(reply.status, 503, "after an fsync error: {}", reply.text());
        assert!(reply.header("retry-after").is_some(), "503 carries Retry-After");
        assert_eq!(reply.json()["success"], false);
    }
    server.kill();
    let server = Start::on(dir.path()).run();
    check_stored_once(&server, &mut senders);
    check_accounts(&server);
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_space_again() {
    let test = "a_full_disk_refuses_and_goes_on_when_there_is_space_again";
    if !may_mount() {
        return skip(test, "it needs root or sudo to mount a small disk");
    }
    let disk = Disk::tmpfs("400m");
    let server = Start::on(&disk.data()).set("COMMIT_AGE_S", "3600").run();
    let mut senders = Sender::team(seed(), 1);
    senders[0].send(&server, 10);
    let balloon = disk.mount.join("balloon");
    fill(&balloon);
    // What is pre-written can still be used; behind it the answer must be 503.
    let refused = until("the disk to be full", || {
        let reply = server.send(&large_batch());
        assert!([200, 503].contains(&reply.status), "{}: {}", reply.status, reply.text());
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(refused.json()["code"], "storage_full", "{}", refused.text());
    assert!(refused.header("retry-after").is_some(), "503 carries Retry-After");
    std::fs::remove_file(&balloon).unwrap();
    until("ingest to go on", || (server.send(&large_batch()).status == 200).then_some(()));
    senders[0].send(&server, 10);
    check_stored_once(&server, &mut senders);
    check_accounts(&server);
    assert!(server.stop().success());
    let server = Start::on(&disk.data()).run();
    check_stored_once(&server, &mut senders);
    check_accounts(&server);
}

/// Three megabytes in a hundred events without message ids.
fn large_batch() -> Request {
    let events: Vec<_> = (0..100)
        .map(|_| {
            serde_json::json!({ "type": "track", "event": "Large", "userId": "u",
            "properties": { "text": "x".repeat(30_000) } })
        })
        .collect();
    Request::post("/v1/batch").write_key(WRITE_KEY).json(&serde_json::json!({ "batch": events }))
}

/// Writes until there is no space.
fn fill(path: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![1; size]).is_err() {
            size /= 2;
        }
    }
}

/// A file system of its own, unmounted when dropped.
struct Disk {
    home: TempDir,
    mount: PathBuf,
}

impl Disk {
    fn ext4(size: &str) -> Self {
        let disk = Self::new();
        let image = disk.image();
        run("truncate", &["-s", size, &image]);
        run("mkfs.ext4", &["-q", "-E", &format!("root_owner={}", owner(":")), &image]);
        as_root("mount", &["-o", "loop", &image, &disk.mount.display().to_string()]);
        disk
    }

    fn tmpfs(size: &str) -> Self {
        let disk = Self::new();
        let options = format!("size={size},uid={}", owner(",gid="));
        as_root("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &disk.mount.display().to_string()]);
        disk
    }

    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mount = home.path().join("mount");
        std::fs::create_dir(&mount).unwrap();
        Self { home, mount }
    }

    fn image(&self) -> String {
        self.home.path().join("image").display().to_string()
    }

    /// Where the server keeps its data.
    fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    fn mount_again(&self) {
        let mount = self.mount.display().to_string();
        as_root("umount", &[&mount]);
        as_root("mount", &["-o", "loop", &self.image(), &mount]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, for a test that fails leaves a process behind for a moment.
        let _ = root_command("umount").arg("-l").arg(&self.mount).status();
    }
}

/// The user and the group of this process.
fn owner(between: &str) -> String {
    format!("{}{between}{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Whether this process is root or may act for it without a password.
fn may_mount() -> bool {
    is_root()
        || Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|output| output.status.success())
}

fn root_command(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

fn as_root(program: &str, words: &[&str]) {
    check(root_command(program), words);
}

fn run(program: &str, words: &[&str]) {
    check(Command::new(program), words);
}

fn check(mut command: Command, words: &[&str]) {
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
