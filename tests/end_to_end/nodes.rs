//! Several nodes, each with its own data directory, on the same tables in a bucket.

use crate::buckets::verify;
use crate::crashes::check_accounts;
use crate::harness::{Server, Start, until};
use crate::load::{Sender, seed};

const NODES: usize = 3;

#[test]
fn one_of_three_nodes_compacts_and_all_see_whole_requests() {
    let bucket = s3::Server::start().unwrap();
    let dirs: [_; NODES] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut senders = Sender::team(seed(), NODES);
    let start = |dir: &tempfile::TempDir| {
        Start::on(dir.path()).in_bucket(&bucket, "compacted").set("COMMIT_AGE_S", "0.02").run()
    };
    let servers: Vec<Server> = dirs.iter().map(start).collect();
    let compactions = |server: &Server| server.metric("flowstate_log_compactions_total");
    let mut rounds = 0;
    until("a compaction", || {
        for (server, sender) in servers.iter().zip(&mut senders) {
            sender.send(server, 1);
        }
        rounds += 1;
        // A request of another node shows with its receipt and all of its events, or not at all. A file
        // that compaction made of several may show some of them a moment before their receipts.
        if rounds % 10 == 0 && !servers.iter().any(|server| compactions(server) > 0.0) {
            check_accounts(&servers[rounds / 10 % NODES]);
        }
        servers.iter().any(|server| compactions(server) > 0.0).then_some(())
    });
    let compacting: Vec<f64> = servers.iter().map(compactions).collect();
    assert_eq!(compacting.iter().filter(|&&count| count > 0.0).count(), 1, "{compacting:?}");
    let all: usize = senders.iter().map(|sender| sender.acknowledged.len()).sum();
    for server in &servers {
        let stored = || server.number("SELECT count(*) FROM events");
        until("the commits of all nodes", || (stored() == all as i64).then_some(()));
        check_accounts(server);
    }
    for server in servers {
        assert!(server.stop().success());
    }
    verify(dirs[0].path(), &bucket, "compacted");
}
