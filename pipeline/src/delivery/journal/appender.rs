//! The task that owns the files: what many lanes append at about the same time is one group.

use super::JournalError;
use super::disk::Disk;
use tokio::sync::{mpsc, oneshot};

/// A group takes no more appends when it has this many bytes.
const GROUP_BYTES: usize = 4 << 20;

/// So many appends may wait; further ones wait for room.
pub(super) const WAITING_MAX: usize = 1_024;

pub(super) type Done<T> = oneshot::Sender<Result<T, JournalError>>;

pub(super) enum Command {
    Append { records: u32, bytes: Vec<u8>, done: Done<u64> },
    Release { below: u64, done: Done<()> },
    Close { done: Done<()> },
}

/// Appends that become one group.
#[derive(Default)]
struct Group {
    records: u32,
    bytes: Vec<u8>,
    /// Who waits, and how many records of the group come before the end of his.
    waiting: Vec<(u32, Done<u64>)>,
}

/// Runs until it is told to close or nobody can append any more.
///
/// Work on a real disk leaves the async threads; on one in memory it is done at once, so that a
/// simulation on one thread has one order of events.
pub(super) async fn run(mut disk: Disk, mut commands: mpsc::Receiver<Command>) {
    let mut next = commands.recv().await;
    while let Some(command) = next.take() {
        match command {
            Command::Append { records, bytes, done } => {
                let mut group = Group { records, bytes, waiting: vec![(records, done)] };
                next = group.fill(&mut commands);
                disk = group.append(disk).await;
            }
            Command::Release { below, done } => {
                let released;
                (disk, released) = on_disk(disk, move |disk| disk.release(below)).await;
                let _ = done.send(released);
            }
            Command::Close { done } => {
                let outcome = disk.shared.usable();
                drop(disk);
                let _ = done.send(outcome);
                return;
            }
        }
        if next.is_none() {
            next = commands.recv().await;
        }
    }
}

impl Group {
    /// Takes in the appends that wait; the command that is none.
    fn fill(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        while self.bytes.len() < GROUP_BYTES {
            match commands.try_recv().ok()? {
                Command::Append { records, bytes, done } => {
                    self.records += records;
                    self.bytes.extend_from_slice(&bytes);
                    self.waiting.push((self.records, done));
                }
                other => return Some(other),
            }
        }
        None
    }

    async fn append(self, disk: Disk) -> Disk {
        let Self { records, bytes, waiting } = self;
        let first = disk.next;
        let (disk, appended) = on_disk(disk, move |disk| disk.append(records, &bytes)).await;
        for (end, done) in waiting {
            let _ = done.send(appended.clone().map(|_| first + u64::from(end) - 1));
        }
        disk
    }
}

async fn on_disk<T: Send + 'static>(
    mut disk: Disk,
    work: impl FnOnce(&mut Disk) -> T + Send + 'static,
) -> (Disk, T) {
    if disk.fs.is_in_memory() {
        let outcome = work(&mut disk);
        return (disk, outcome);
    }
    let done = tokio::task::spawn_blocking(move || {
        let outcome = work(&mut disk);
        (disk, outcome)
    });
    match done.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down: this task is dropped at its next step.
            Err(_) => std::future::pending().await,
        },
    }
}
