use super::*;
use tempfile::TempDir;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

#[test]
fn ids_are_found_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let config = DedupConfig::new(dir.path().join("dedup"), WEEK, 1 << 20);
    let mut dedup = Dedup::open(config.clone(), 0).unwrap();
    dedup.fill("web", 20_000).unwrap();
    let end = dedup.covered();
    assert_eq!(end, 20_000);
    dedup.close().unwrap();
    let dedup = Dedup::open(config, end).unwrap();
    assert_eq!(dedup.covered(), end);
    for n in 0..end {
        let id = format!("fill-{n:031x}");
        let seen = dedup.find(IdHash::of("web", &id), "web", &id, 0).unwrap();
        assert_eq!(seen.map(|seen| seen.offset), Some(n));
    }
}
