//! The index against a list of what was appended, over random histories.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const WINDOW: Micros = 1_000;

#[derive(Clone, Debug)]
enum Step {
    /// One group of (source, id); `true` when its fsync holds, else the process crashes.
    Append(Vec<(usize, usize)>, bool),
    /// Offsets that hold no events.
    Other(u64),
    Wait(Micros),
    Spill,
    Settle,
    Close,
    /// The process ends; the disk keeps what it has just then.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (prop::collection::vec((0..2_usize, 0..60_usize), 1..12), prop::bool::weighted(0.95))
            .prop_map(|(ids, held)| Step::Append(ids, held)),
        2 => (0..5_u64).prop_map(Step::Other),
        4 => (0..WINDOW / 3).prop_map(Step::Wait),
        1 => Just(Step::Wait(2 * WINDOW)),
        2 => Just(Step::Spill),
        2 => Just(Step::Settle),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
    ]
}

/// What a log would do, and what the answers must be.
struct Model {
    dirs: TempDir,
    opened: usize,
    config: DedupConfig,
    /// Colliding hashes, or spread ones.
    hashes: Option<u64>,
    /// Offset, time, source and id of each event in the log.
    log: Vec<(Offset, Micros, usize, usize)>,
    latest: HashMap<(usize, usize), (Offset, Micros)>,
    end: Offset,
    durable: Offset,
    now: Micros,
}

const SOURCES: [&str; 2] = ["web", "app"];

impl Model {
    fn id(&self, source: usize, id: usize) -> (IdHash, &'static str, String) {
        let (source, id) = (SOURCES[source], format!("{}{id}", "-".repeat(id % 5)));
        let hash = IdHash::of(source, &id);
        let hash = self.hashes.map_or(hash, |of| IdHash((hash.0 % of).wrapping_mul(u64::MAX / 3)));
        (hash, source, id)
    }

    fn open(&mut self) -> Dedup {
        let mut dedup = Dedup::open(self.config.clone(), self.durable).unwrap();
        let covered = dedup.covered();
        assert!(covered <= self.durable);
        self.log.retain(|event| event.0 < self.durable);
        self.end = self.durable;
        self.latest.clear();
        for &(offset, received_at, source, id) in &self.log {
            self.latest.insert((source, id), (offset, received_at));
            // Every second event below `covered` is repeated as well, which must not matter.
            if offset >= covered || offset % 2 == 0 {
                let (hash, source, id) = self.id(source, id);
                dedup.insert(hash, source, &id, offset, received_at);
                dedup.durable(offset + 1).unwrap();
            }
        }
        dedup.durable(self.durable).unwrap();
        dedup
    }

    /// Goes on with a copy of the directory, taken while the threads may be at work.
    fn crash(&mut self, dedup: Dedup) -> Dedup {
        self.opened += 1;
        let copy = self.dirs.path().join(self.opened.to_string());
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&self.config.dir).unwrap() {
            let path = entry.unwrap().path();
            // A file that was deleted since it was listed is one that the crash found deleted.
            fs::copy(&path, copy.join(path.file_name().unwrap())).ok();
        }
        drop(dedup);
        self.config.dir = copy;
        self.open()
    }

    fn append(&mut self, dedup: &mut Dedup, ids: &[(usize, usize)]) {
        for &(source, id) in ids {
            self.now += 1;
            self.check(dedup, source, id);
            if self.seen(source, id).is_none() {
                self.log.push((self.end, self.now, source, id));
                self.latest.insert((source, id), (self.end, self.now));
                let (hash, source, id) = self.id(source, id);
                dedup.insert(hash, source, &id, self.end, self.now);
                self.end += 1;
            }
        }
    }

    fn seen(&self, source: usize, id: usize) -> Option<Offset> {
        let &(offset, received_at) = self.latest.get(&(source, id))?;
        (received_at >= self.now - WINDOW).then_some(offset)
    }

    fn check(&self, dedup: &Dedup, source: usize, id: usize) {
        let (hash, name, text) = self.id(source, id);
        let seen = dedup.find(hash, name, &text, self.now).unwrap().map(|seen| seen.offset);
        assert_eq!(seen, self.seen(source, id), "{name} {text} at {}", self.now);
    }

    fn take(&mut self, mut dedup: Dedup, step: Step) -> Dedup {
        match step {
            Step::Append(ids, held) => {
                self.append(&mut dedup, &ids);
                if !held {
                    return self.crash(dedup);
                }
                self.durable = self.end;
                dedup.durable(self.end).unwrap();
            }
            Step::Other(count) => {
                self.end += count;
                self.durable = self.end;
                dedup.durable(self.end).unwrap();
            }
            Step::Wait(time) => self.now += time,
            Step::Spill => dedup.spill().unwrap(),
            Step::Settle => dedup.settle().unwrap(),
            Step::Close => {
                dedup.close().unwrap();
                dedup = self.open();
                assert_eq!(dedup.covered(), self.durable);
            }
            Step::Crash => return self.crash(dedup),
        }
        dedup
    }
}

proptest! {
    // Each case syncs many files, so few are run unless PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 32, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_exact_over_any_history(
        steps in prop::collection::vec(step(), 1..80),
        memtable_ids in 1..24_usize,
        segment_ids in 1..12_u64,
        block_ids in 1..5_usize,
        fanout in 2..4_usize,
        hashes in prop_oneof![Just(None), Just(Some(1)), Just(Some(4))],
        memory_kb in prop_oneof![Just(8_usize), Just(64), Just(4096)],
    ) {
        let dirs = TempDir::new().unwrap();
        let dir = dirs.path().join("0");
        let mut config = DedupConfig::new(dir, Duration::from_micros(WINDOW as u64), memory_kb << 10);
        config.shape = Shape { memtable_ids, segment_ids, block_ids, fanout };
        let mut model = Model {
            dirs,
            opened: 0,
            config,
            hashes,
            log: Vec::new(),
            latest: HashMap::new(),
            end: 0,
            durable: 0,
            now: 0,
        };
        let mut dedup = model.open();
        for step in steps {
            dedup = model.take(dedup, step);
        }
        for id in 0..60 {
            model.check(&dedup, 0, id);
            model.check(&dedup, 1, id);
        }
    }
}
