//! Whatever is done and wherever it stops: what was acknowledged is there, once and in order, and
//! nothing that was not appended is.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: u64,
        bytes: usize,
    },
    Confirm,
    /// Releases up to this part, in percent, of what is held.
    Release(u64),
    /// Closes and opens again.
    Reopen,
    /// The process is killed and another one started.
    Kill,
    /// After so many operations on the disk the machine stops, or one of them fails. If `again`,
    /// then the machine also stops in the midst of the recovery.
    Fault {
        after: u32,
        fault: Fault,
        power: bool,
        again: Option<u32>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![4 => 0..3_000_usize, 2 => 3_900..4_200_usize, 2 => 3_000..40_000_usize];
    let fault = (0..25_u32, any::<bool>(), any::<bool>(), proptest::option::of(0..12_u32));
    prop_oneof![
        12 => (1..5_u64, bytes).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        2 => Just(Step::Confirm),
        3 => (0..=100_u64).prop_map(Step::Release),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        3 => fault.prop_map(|(after, stop, power, again)| Step::Fault {
            after,
            fault: if stop { Fault::Stop } else { Fault::Error },
            power,
            again,
        }),
    ]
}

/// The WAL and what it must hold.
struct Model {
    fs: CrashFs,
    wal: Option<Wal>,
    partition: Option<PartitionId>,
    durable: Vec<GroupData>,
    /// A group whose append failed: it is there whole or not at all.
    unsure: Option<GroupData>,
    released: Offset,
    appended: u64,
    power: bool,
    again: Option<u32>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let fs = CrashFs::new(seed);
        let (durable, unsure) = (Vec::new(), None);
        let (released, appended, power, again) = (0, 0, true, None);
        Self { fs, wal: None, partition: None, durable, unsure, released, appended, power, again }
    }

    fn take(&mut self, step: &Step) {
        let mut wal = self.wal.take().expect("it is open between steps");
        let done = match *step {
            Step::Append { records, bytes } => {
                self.appended += 1;
                let bytes = payload(self.appended, bytes.min(wal.group_bytes_max() as usize));
                let (first_offset, end_offset) = (wal.end(), wal.end() + records);
                let appended = append(&mut wal, records, &bytes);
                match appended {
                    Ok(group) => self.durable.push(group),
                    Err(WalError::Failed(_)) => {
                        let last_received_at = 1_000 + end_offset as Micros;
                        let payload = bytes.into();
                        self.unsure = Some(GroupData { first_offset, end_offset, last_received_at, payload });
                    }
                    Err(_) => {}
                }
                !matches!(wal.usable(), Err(WalError::Failed(_)))
            }
            Step::Confirm => wal.confirm().is_ok(),
            Step::Release(percent) => {
                let (first, end) = (wal.first_offset(), wal.end());
                let below = first + (end - first) * percent / 100;
                self.released = self.released.max(below);
                wal.release(below).is_ok()
            }
            Step::Reopen => {
                drop(wal.close());
                return self.reopen();
            }
            Step::Kill => false,
            Step::Fault { after, fault, power, again } => {
                self.fs.inject(after, fault);
                (self.power, self.again) = (power, again);
                true
            }
        };
        if done {
            self.wal = Some(wal);
            return;
        }
        assert!(matches!(step, Step::Kill) || append(&mut wal, 1, b"more").is_err(), "it stopped for good");
        drop(wal);
        self.stop();
        self.reopen();
    }

    fn stop(&self) {
        if self.power { self.fs.crash() } else { self.fs.kill() }
    }

    fn reopen(&mut self) {
        self.stop();
        if let Some(after) = self.again.take() {
            self.fs.inject(after, Fault::Stop);
            drop(Wal::open(self.fs.clone(), config(Path::new("wal"))));
            self.fs.crash();
        }
        let (wal, recovered) = open(&self.fs);
        let partition = self.partition.get_or_insert_with(|| recovered.partition.clone());
        assert_eq!(*partition, recovered.partition);
        let unsure = self.unsure.take();
        self.durable.extend(unsure.filter(|group| group.end_offset == recovered.end));
        self.check(&wal, &recovered);
        self.wal = Some(wal);
    }

    fn check(&self, wal: &Wal, recovered: &Recovered) {
        assert_eq!(recovered.end, self.durable.last().map_or(0, |group| group.end_offset));
        assert_eq!(recovered.last_received_at, self.durable.last().map_or(0, |group| group.last_received_at));
        assert!(recovered.first_offset <= self.released, "nothing is gone that was not released");
        let held = self.durable.iter().filter(|group| group.first_offset >= recovered.first_offset);
        let read = all(&wal.reader());
        assert!(read.iter().eq(held), "what is held is what was appended");
    }
}

proptest! {
    #[test]
    fn acknowledged_groups_survive_any_crash(seed: u64, steps in vec(step(), 1..40)) {
        let mut model = Model::new(seed);
        if let Some(Step::Fault { after, fault, .. }) = steps.first() {
            // Nothing is promised of a directory before it was opened for the first time.
            model.fs.inject(*after, *fault);
            drop(Wal::open(model.fs.clone(), config(Path::new("wal"))));
        }
        model.reopen();
        for step in &steps {
            model.take(step);
        }
        model.power = true;
        model.wal = None;
        model.reopen();
    }
}

#[test]
fn a_new_directory_survives_a_stop_at_any_operation() {
    for (case, seed) in (0..14 * 14).flat_map(|case| (0..20).map(move |seed| (case, seed))) {
        let (after, again) = (case / 14, case % 14);
        let fs = CrashFs::new(seed);
        fs.inject(after, Fault::Stop);
        drop(Wal::open(fs.clone(), config(Path::new("wal"))));
        fs.kill();
        fs.inject(again, Fault::Stop);
        drop(Wal::open(fs.clone(), config(Path::new("wal"))));
        fs.crash();
        let opened = Wal::open(fs, config(Path::new("wal")));
        assert!(opened.is_ok(), "stopped at {after}, then at {again}, seed {seed}: {:?}", opened.err());
    }
}

#[test]
fn recovery_survives_a_stop_at_any_operation() {
    for (again, seed) in (0..6).flat_map(|again| (0..40).map(move |seed| (again, seed))) {
        let fs = CrashFs::new(seed);
        let (mut wal, _) = open(&fs);
        let first = append(&mut wal, 1, &payload(0, 5_000)).unwrap();
        // Killed before its fdatasync, the group is whole in memory only.
        fs.inject(1, Fault::Stop);
        append(&mut wal, 1, &payload(1, 5_000)).unwrap_err();
        fs.kill();
        fs.inject(again, Fault::Stop);
        drop(Wal::open(fs.clone(), config(Path::new("wal"))));
        fs.crash();
        let opened = Wal::open(fs, config(Path::new("wal")));
        let (wal, _) = opened.unwrap_or_else(|error| panic!("stopped at {again}, seed {seed}: {error}"));
        assert_eq!(all(&wal.reader())[0], first);
    }
}
