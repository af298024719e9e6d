//! Whatever is done and wherever it stops: what was acknowledged is there, once and in order, and
//! nothing that was not appended is.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// So many appends at once, each of so many records.
    Append(Vec<u64>),
    /// Releases up to this part, in percent, of what is held.
    Release(u64),
    /// Closes and opens again.
    Reopen,
    /// The process is killed and another one started.
    Kill,
    /// After so many operations on the disk the machine stops, or one of them fails. If `again`,
    /// then the machine also stops in the midst of the recovery.
    Fault { after: u32, fault: Fault, power: bool, again: Option<u32> },
}

fn step() -> impl Strategy<Value = Step> {
    let records = prop_oneof![4 => 1..4_u64, 1 => 1..200_u64];
    let fault = (0..20_u32, any::<bool>(), any::<bool>(), proptest::option::of(0..10_u32));
    prop_oneof![
        12 => vec(records, 1..4).prop_map(Step::Append),
        3 => (0..=110_u64).prop_map(Step::Release),
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

/// The journal and what it must hold.
struct Model {
    fs: CrashFs,
    journal: Option<Journal>,
    /// How many records are durable; they have the numbers from 0 on.
    durable: u64,
    /// The sizes of appends that failed: they are there or not, the first ones first.
    unsure: Vec<u64>,
    released: u64,
    power: bool,
    again: Option<u32>,
}

impl Model {
    async fn take(&mut self, step: &Step) {
        let journal = self.journal.take().expect("it is open between steps");
        let done = match step {
            Step::Append(appends) => {
                let mut first = self.durable;
                let appends: Vec<_> = appends
                    .iter()
                    .map(|&count| {
                        first += count;
                        (count, first, journal.append(records(first - count, count)))
                    })
                    .collect();
                let (expected, appends): (Vec<_>, Vec<_>) =
                    appends.into_iter().map(|(count, last, append)| ((count, last), append)).unzip();
                for ((count, last), appended) in expected.into_iter().zip(join_all(appends).await) {
                    match appended {
                        Ok(sequence) => {
                            assert!(self.unsure.is_empty(), "nothing is taken behind a failure");
                            assert_eq!(sequence, last);
                            self.durable = last;
                        }
                        Err(_) => self.unsure.push(count),
                    }
                }
                self.unsure.is_empty()
            }
            Step::Release(percent) => {
                let below = journal.first() + (journal.last() + 1 - journal.first()) * percent / 100;
                self.released = self.released.max(below);
                journal.release(below).await.is_ok()
            }
            Step::Reopen => {
                let _ = journal.close().await;
                return self.reopen().await;
            }
            Step::Kill => false,
            Step::Fault { after, fault, power, again } => {
                self.fs.inject(*after, *fault);
                (self.power, self.again) = (*power, *again);
                true
            }
        };
        if done {
            self.journal = Some(journal);
            return;
        }
        if !matches!(step, Step::Kill) {
            assert!(journal.append(records(0, 1)).await.is_err(), "it stopped for good");
        }
        drop(journal);
        self.reopen().await;
    }

    async fn reopen(&mut self) {
        self.stop();
        if let Some(after) = self.again.take() {
            self.fs.inject(after, Fault::Stop);
            drop(open(&self.fs, self.durable).await);
            self.fs.crash();
        }
        let journal = open(&self.fs, self.durable).await.expect("what is durable can be opened");
        let mut end = self.durable;
        for count in std::mem::take(&mut self.unsure) {
            if end == journal.last() {
                break;
            }
            end += count;
        }
        assert_eq!(journal.last(), end, "an append is there whole or not at all");
        self.durable = end;
        assert!(journal.first() <= self.released.max(1), "nothing is gone that was not released");
        let first = journal.first() - 1;
        assert_eq!(all(&journal), records(first, end - first), "what is held is what was appended");
        self.journal = Some(journal);
    }

    fn stop(&self) {
        if self.power { self.fs.crash() } else { self.fs.kill() }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}

proptest! {
    #[test]
    fn acknowledged_records_survive_any_crash(seed: u64, steps in vec(step(), 1..40)) {
        run(async {
            let fs = CrashFs::new(seed);
            let (journal, unsure) = (None, Vec::new());
            let mut model = Model { fs, journal, durable: 0, unsure, released: 0, power: true, again: None };
            if let Some(Step::Fault { after, fault, .. }) = steps.first() {
                model.fs.inject(*after, *fault);
                drop(open(&model.fs, 0).await);
            }
            model.reopen().await;
            for step in &steps {
                model.take(step).await;
            }
            model.power = true;
            model.journal = None;
            model.reopen().await;
        });
    }
}

#[test]
fn a_stop_at_any_operation_of_opening_is_survived() {
    for (case, seed) in (0..100_u32).flat_map(|case| (0..10).map(move |seed| (case, seed))) {
        run(async {
            let fs = CrashFs::new(seed);
            for after in [case / 10, case % 10] {
                fs.inject(after, Fault::Stop);
                if let Ok(journal) = open(&fs, 0).await {
                    let _ = journal.append(records(journal.last(), 1)).await;
                }
                fs.crash();
            }
            let opened = open(&fs, 0).await;
            assert!(opened.is_ok(), "stopped at {case}, seed {seed}: {:?}", opened.err());
        });
    }
}
