//! Backups are taken while a server runs, and what is restored from them goes on.

use crate::crashes::{HOLES, check_accounts};
use crate::harness::{
    ADMIN_KEY, Server, Start, bucket_access, bucket_url, flowstate, flowstate_command, flowstate_on,
    flowstate_on_bucket, until, verify,
};
use crate::http::Request;
use crate::load::{Sender, check_stored_once, event, seed};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use vendors::Failure;
use vendors::google_analytics::{FakeGoogleAnalytics, Stream};
use vendors::webhook::Receiver;

const SECRET: &str = "whsec_Y2FuYXJ5MGNhbmFyeTBjYW5hcnkwY2FuYXJ5MA==";

fn start(dir: &Path) -> Start {
    Start::on(dir).set("ALLOW_PRIVATE_EGRESS", "true")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

/// Runs a command that must succeed.
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn backup(dir: &Path, to: &Path) -> String {
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    done(&flowstate(dir, &["backup", to.to_str().unwrap(), "--with-master-key"]))
}

fn restore(dir: &Path, from: &Path) -> Output {
    flowstate(dir, &["restore", from.to_str().unwrap()])
}

/// The numbers of files that a backup says it has, and that were new.
fn files(said: &str) -> (u64, u64) {
    let words: Vec<&str> = said.split_whitespace().collect();
    let before = |word: &str, nth: usize| {
        let at = words.iter().enumerate().filter(|(_, found)| **found == word).nth(nth).unwrap().0;
        words[at - 1].parse().unwrap()
    };
    (before("files", 0), before("files", 1))
}

fn post(server: &Server, path: &str, body: &Value) -> Value {
    let reply = server.send(&Request::post(&format!("/api/v1{path}")).bearer(ADMIN_KEY).json(body));
    assert!((200..300).contains(&reply.status), "{path}: {}", reply.text());
    reply.json()
}

fn receiver() -> Receiver {
    Receiver::start(SECRET, || pipeline::Clock::system().now()).unwrap()
}

fn connect(server: &Server, receiver: &Receiver) -> String {
    let body = json!({ "vendor": "webhook", "name": "Hook", "credentials": { "signing_secret": SECRET },
                       "settings": { "url": format!("http://{}/hook", receiver.address()) } });
    let id = post(server, "/connections", &body)["id"].as_str().unwrap().to_owned();
    post(server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    id
}

fn taken(receiver: &Receiver) -> BTreeMap<String, u32> {
    let id = |body: &Value| body["messageId"].as_str().unwrap_or_default().to_owned();
    receiver.deliveries().into_iter().map(|taken| (id(&taken.body), taken.times)).collect()
}

/// The first events of a partition.
fn rows(server: &Server, partition: &str) -> Vec<String> {
    let query = format!(
        "SELECT log_offset, received_at, source, message_id, user_id, event, properties, context FROM events
         WHERE log_partition = '{partition}' ORDER BY log_offset LIMIT 5000"
    );
    server
        .sql(&query)
        .iter()
        .map(|row| row.iter().collect::<BTreeMap<_, _>>())
        .map(|row| format!("{row:?}"))
        .collect()
}

#[test]
fn a_server_that_was_backed_up_under_load_is_restored_and_goes_on() {
    let [dir, to, restored] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (new_dir, receives) = (restored.path().join("data"), receiver());
    let server = start(dir.path()).set("COMMIT_AGE_S", "0.05").run();
    let old = server.partition();
    let id = connect(&server, &receives);
    let mut senders = Sender::team(seed(), 3);
    senders[0].send(&server, 20);
    until("some deliveries", || (taken(&receives).len() > 50).then_some(()));
    // From here on nothing leaves, so that there are events that wait.
    post(&server, &format!("/connections/{id}/pause"), &json!({}));
    let key = post(&server, "/keys", &json!({ "name": "restored", "scopes": ["read"] }));
    let source = post(&server, "/sources", &json!({ "name": "shop", "kind": "server" }));
    for sender in &mut senders {
        sender.send(&server, 30);
    }
    let before: HashSet<String> =
        senders.iter().flat_map(|sender| sender.acknowledged.iter().cloned()).collect();
    let told = std::thread::scope(|scope| {
        for sender in &mut senders {
            let server = &server;
            scope.spawn(move || sender.send(server, 100));
        }
        backup(dir.path(), to.path())
    });
    let all_rows = rows(&server, &old);
    server.kill();
    assert!(told.starts_with("backup ") && files(&told).0 == files(&told).1, "{told}");
    drop(dir);

    let report = done(&restore(&new_dir, to.path()));
    assert!(
        report.contains("checks passed") && report.contains(&format!("partition {old} ends")),
        "{report}"
    );
    verify(&new_dir);
    let server = start(&new_dir).run();
    assert_ne!(server.partition(), old);
    let restored_rows = rows(&server, &old);
    assert!(restored_rows.len() >= before.len());
    assert_eq!(restored_rows, all_rows[..restored_rows.len()], "the same rows, up to the backup");
    let ids = "SELECT message_id, count(*) AS copies FROM events GROUP BY message_id";
    let stored: BTreeMap<String, i64> = server
        .sql(ids)
        .iter()
        .map(|row| (row["message_id"].as_str().unwrap().to_owned(), row["copies"].as_i64().unwrap()))
        .collect();
    assert!(
        before.iter().all(|id| stored.get(id) == Some(&1)),
        "what was acknowledged before is there, once"
    );
    assert_eq!(server.number(HOLES), 0);
    check_accounts(&server);

    // Keys, sources and the memory of ids are those of before.
    let listed = server.send(&Request::get("/api/v1/sources").bearer(key["key"].as_str().unwrap()));
    assert!(listed.status == 200 && listed.text().contains("shop"), "{}", listed.text());
    let write_key = source["write_key"].as_str().unwrap();
    let sent = server.send(&Request::post("/v1/track").write_key(write_key).json(&event("from-shop-1")));
    assert_eq!(sent.status, 200, "{}", sent.text());
    let again: Vec<Value> = before.iter().take(50).map(|id| event(id)).collect();
    let request = Request::post("/v1/batch?verbose=1").write_key(crate::harness::WRITE_KEY);
    let reply = server.send(&request.json(&json!({ "batch": again }))).json();
    let outcomes: BTreeSet<&str> =
        reply["results"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(outcomes, BTreeSet::from(["duplicate"]), "{reply}");

    // Every event arrives that the destination had not got.
    let had = taken(&receives);
    post(&server, &format!("/connections/{id}/resume"), &json!({}));
    until("all events to arrive", || {
        let taken = taken(&receives);
        (stored.keys().all(|id| taken.contains_key(id)) && taken.contains_key("from-shop-1")).then_some(())
    });
    let repeated: Vec<_> =
        taken(&receives).into_iter().filter(|(id, times)| *times > 1 && had.contains_key(id)).collect();
    assert_eq!(repeated, [], "what the table says is delivered is not sent again");
    assert!(server.stop().success());
    verify(&new_dir);
}

#[test]
fn a_further_backup_copies_what_is_new_and_a_server_need_not_run() {
    let [dir, to, restored] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let server = start(dir.path()).set("COMMIT_AGE_S", "3600").run();
    let mut senders = Sender::team(seed(), 1);
    for _ in 0..12 {
        senders[0].send(&server, 3);
        post(&server, "/commits", &json!({}));
    }
    let (all, new) = files(&backup(dir.path(), to.path()));
    assert!(all == new && all > 36, "{all} files, {new} new");
    // Broken off just before its end, it is none, and the next run goes on.
    std::fs::remove_file(only_file(&to.path().join("backups"))).unwrap();
    let refused = restore(&restored.path().join("none"), to.path());
    assert!(said(&refused).contains("no complete backup"), "{}", said(&refused));
    let (again, new) = files(&backup(dir.path(), to.path()));
    assert!(again >= all && new < 5, "{again} files, {new} new");
    senders[0].send(&server, 3);
    let (more, new) = files(&backup(dir.path(), to.path()));
    assert!(more > all && new < 15, "{more} files, {new} new");
    // What was acknowledged and is in no table yet is in it, too, whether the server runs or was killed.
    senders[0].send(&server, 3);
    server.kill();
    let said = backup(dir.path(), to.path());
    assert!(files(&said).1 < 15, "{said}");
    let new_dir = restored.path().join("data");
    done(&restore(&new_dir, to.path()));
    let server = start(&new_dir).run();
    let stored = server.number("SELECT count(DISTINCT message_id) FROM events");
    assert_eq!(stored as usize, senders[0].acknowledged.len());
    server.kill();
    // An older backup is still one.
    let names: BTreeSet<String> = std::fs::read_dir(to.path().join("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 3);
    let older = restored.path().join("older");
    let words = ["restore", to.path().to_str().unwrap(), "--at", names.first().unwrap()];
    done(&flowstate(&older, &words));
    let stored_then = crate::harness::sql(&older, "SELECT count(DISTINCT message_id) AS n FROM events");
    assert!(stored_then[0]["n"].as_i64().unwrap() < stored);
}

#[test]
fn with_keep_the_oldest_backups_go_and_the_newest_are_whole() {
    let [dir, to, restored] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let place = to.path().to_str().unwrap();
    let server = start(dir.path()).run();
    let mut senders = Sender::team(seed(), 1);
    let mut change = |name: &str| {
        senders[0].send(&server, 3);
        // The control store of each backup is one of its own then.
        post(&server, "/sources", &json!({ "name": name, "kind": "server" }));
    };
    for name in ["first", "second", "third"] {
        change(name);
        backup(dir.path(), to.path());
    }
    let names = || names_in(&to.path().join("backups"));
    let before = names();
    let wrong = flowstate(dir.path(), &["backup", place, "--keep", "0"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    assert!(said(&wrong).contains("at least 1"), "{}", said(&wrong));
    assert_eq!(names(), before, "nothing was begun");

    // The files are too young to go with their backup.
    change("fourth");
    let told = done(&flowstate(dir.path(), &["backup", place, "--keep", "3"]));
    assert!(told.contains("removed 1 older backups and 0 files") && told.contains("3 remain"), "{told}");
    assert!(names().len() == 3 && !names().contains(before.first().unwrap()));
    let files = || names_in(&to.path().join("files"));
    for name in files() {
        make_older(&to.path().join("files").join(name), Duration::from_secs(2 * 86_400));
    }
    change("fifth");
    let told = done(&flowstate(dir.path(), &["backup", place, "--keep", "2"]));
    assert!(told.contains("removed 2 older backups and ") && told.contains("2 remain"), "{told}");
    assert!(!told.contains(" and 0 files"), "{told}");
    assert_eq!(names().len(), 2);
    let needed: BTreeSet<String> =
        names().iter().flat_map(|name| contents(&to.path().join("backups").join(name))).collect();
    assert_eq!(files(), needed, "the files of those that remain are there, and no others");

    server.kill();
    for (at, name) in names().iter().enumerate() {
        let new_dir = restored.path().join(at.to_string());
        let words = ["restore", place, "--at", name.trim_end_matches(".json")];
        done(&flowstate(&new_dir, &words));
        verify(&new_dir);
    }
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The checksums of the files that a manifest names.
fn contents(manifest: &Path) -> Vec<String> {
    let described: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let files = described["files"].as_array().unwrap();
    files.iter().map(|file| file["sha256"].as_str().unwrap().to_owned()).collect()
}

fn make_older(path: &Path, by: Duration) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - by).unwrap();
}

#[test]
fn a_damaged_backup_is_named_and_nothing_is_overwritten() {
    let [dir, to, elsewhere] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let new_dir = elsewhere.path().join("data");
    let refused = restore(&new_dir, to.path());
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("no complete backup"), "{}", said(&refused));
    let server = start(dir.path()).run();
    let open = elsewhere.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = flowstate(dir.path(), &["backup", open.to_str().unwrap(), "--with-master-key"]);
    assert!(!refused.status.success() && said(&refused).contains("others can read"), "{}", said(&refused));
    Sender::team(seed(), 1)[0].send(&server, 20);
    backup(dir.path(), to.path());
    assert!(server.stop().success());

    let manifest = only_file(&to.path().join("backups"));
    let described: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let entry = described["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["path"].as_str().unwrap().starts_with("tables/events/received_date"));
    let entry = entry.expect("a data file");
    let (path, content) = (entry["path"].as_str().unwrap(), entry["sha256"].as_str().unwrap());
    let content = to.path().join("files").join(content);
    let whole = std::fs::read(&content).unwrap();
    let mut broken = whole.clone();
    broken[whole.len() / 2] ^= 1;
    let check = |place: &Path, bytes: Option<&[u8]>, named: &str| {
        let before = std::fs::read(place).unwrap();
        match bytes {
            Some(bytes) => std::fs::write(place, bytes).unwrap(),
            None => std::fs::remove_file(place).unwrap(),
        }
        let refused = restore(&new_dir, to.path());
        assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
        assert!(said(&refused).contains(named), "{}", said(&refused));
        std::fs::write(place, before).unwrap();
    };
    check(&content, Some(&broken), path);
    // A server does not start on what was begun.
    let (status, words) = start(&new_dir).try_run().err().expect("it does not start");
    assert!(!status.success() && words.contains("flowstate restore"), "{words}");
    check(&content, Some(&whole[1..]), path);
    check(&content, None, path);
    let text = std::fs::read(&manifest).unwrap();
    check(&manifest, Some(&text[..text.len() - 2]), "backups/");

    done(&restore(&new_dir, to.path()));
    let again = restore(&new_dir, to.path());
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("not empty"), "{}", said(&again));
    verify(&new_dir);
}

fn only_file(dir: &Path) -> PathBuf {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
}

#[test]
fn a_backup_that_is_killed_is_none_and_the_next_one_goes_on() {
    let [dir, to, restored] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let new_dir = restored.path().join("data");
    let server = start(dir.path()).run();
    let mut senders = Sender::team(seed(), 1);
    for _ in 0..40 {
        senders[0].send(&server, 1);
        post(&server, "/commits", &json!({}));
    }
    let copied = || std::fs::read_dir(to.path().join("files")).map_or(0, Iterator::count);
    for least in [1, 5, 10] {
        let mut command = flowstate_command(dir.path(), &["backup", to.path().to_str().unwrap()]);
        let mut backup = command.stdout(Stdio::null()).spawn().unwrap();
        while copied() < least && backup.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        backup.kill().unwrap();
        assert!(!backup.wait().unwrap().success(), "it was done before it could be killed");
        let manifests = std::fs::read_dir(to.path().join("backups")).map_or(0, Iterator::count);
        assert_eq!(manifests, 0, "a manifest comes last");
        let refused = done_or_said(&restore(&new_dir, to.path()));
        assert!(refused.contains("no complete backup"), "{refused}");
    }
    let (all, new) = files(&done(&flowstate(dir.path(), &["backup", to.path().to_str().unwrap()])));
    assert!(new < all, "what was copied before is not copied again: {new} of {all}");
    server.kill();
    done(&restore(&new_dir, to.path()));
    verify(&new_dir);
    let server = start(&new_dir).run();
    check_stored_once(&server, &mut senders);
}

#[test]
fn a_server_on_a_bucket_is_restored_beside_its_tables() {
    let bucket = s3::Server::start().unwrap();
    let [dir, elsewhere] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (new_dir, receives) = (elsewhere.path().join("data"), receiver());
    let run = |dir: &Path| start(dir).in_bucket(&bucket, "log").set("COMMIT_AGE_S", "3600").run();
    let server = run(dir.path());
    let old = server.partition();
    let id = connect(&server, &receives);
    let send = |server: &Server, name: &str| {
        let events: Vec<Value> = (1..=10).map(|n| event(&format!("{name}-{n}"))).collect();
        assert_eq!(server.batch(&events).status, 200);
    };
    send(&server, "delivered");
    until("the first events", || (taken(&receives).len() == 10).then_some(()));
    let words = ["backup", &bucket_url("backups"), "--with-master-key"];
    let told = done(&flowstate_on_bucket(dir.path(), &bucket, "log", &words));
    assert!(files(&told).0 < 10, "the tables are left out: {told}");
    // What came later is in the tables, and what the table of deliveries says counts.
    send(&server, "later");
    until("the later events", || (taken(&receives).len() == 20).then_some(()));
    let delivered = "SELECT count(*) FROM deliveries WHERE outcome = 'delivered'";
    until("their records", || (server.number(delivered) == 20).then_some(()));
    post(&server, &format!("/connections/{id}/pause"), &json!({}));
    until("the pause", || {
        server.api(&format!("/api/v1/connections/{id}"))["delivery"].is_null().then_some(())
    });
    send(&server, "waiting");
    post(&server, "/commits", &json!({}));
    send(&server, "tail");
    server.kill();

    let from = bucket_url("backups");
    let refused = done_or_said(&flowstate_on(
        &new_dir,
        elsewhere.path().join("no").to_str().unwrap(),
        &bucket_access(&bucket),
        &["restore", &from],
    ));
    assert!(refused.contains("no such directory") || refused.contains("does not hold"), "{refused}");
    let report = done(&flowstate_on_bucket(&new_dir, &bucket, "log", &["restore", &from]));
    assert!(report.contains("checks passed"), "{report}");
    let server = run(&new_dir);
    until("what waited", || (taken(&receives).len() == 30).then_some(()));
    assert!(taken(&receives).values().all(|&times| times == 1), "{:?}", taken(&receives));

    // The old disk turns up after all, with events that no table had: they are not lost.
    let back = run(dir.path());
    assert_ne!(back.partition(), old);
    until("what was on the old disk alone", || (taken(&receives).len() == 40).then_some(()));
    assert!(taken(&receives).values().all(|&times| times == 1), "{:?}", taken(&receives));
    assert!(back.stop().success());
    assert!(server.stop().success());
    let output = flowstate_on_bucket(&new_dir, &bucket, "log", &["verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

fn done_or_said(output: &Output) -> String {
    assert!(!output.status.success(), "it is refused");
    said(output)
}

#[test]
fn what_was_under_way_is_not_sent_again_in_silence_by_a_restored_server() {
    let [dir, to, restored] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let new_dir = restored.path().join("data");
    let stream = Stream::Web("G-ABCDE12345".to_owned());
    let google =
        FakeGoogleAnalytics::start("the-secret", stream, None, || pipeline::Clock::system().now()).unwrap();
    let server = start(dir.path()).run();
    let body = json!({ "vendor": "google_analytics", "name": "Google", "routing": { "ambiguous": "hold" },
                       "settings": { "region": "global", "measurement_id": "G-ABCDE12345" },
                       "credentials": { "api_secret": "the-secret" },
                       "hosts": { "*": format!("http://{}", google.address()) } });
    let id = post(&server, "/connections", &body)["id"].as_str().unwrap().to_owned();
    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    google.fail([Failure::Hang]);
    let order = json!({ "type": "track", "messageId": "unclear-1", "event": "Order Completed", "userId": "ada",
                        "properties": { "order_id": "1", "total": 1, "currency": "EUR",
                                        "products": [{ "product_id": "p1", "price": 1, "quantity": 1 }] } });
    assert_eq!(server.batch(&[order]).status, 200);
    let intents = "SELECT count(*) FROM deliveries WHERE outcome = 'intent'";
    until("the request to be under way", || {
        (google.requests().len() == 1 && server.number(intents) == 1).then_some(())
    });
    backup(dir.path(), to.path());
    server.kill();
    done(&restore(&new_dir, to.path()));
    let server = start(&new_dir).run();
    let letters = until("the event to wait for a person", || {
        let page = server.api(&format!("/api/v1/dead-letters?connection={id}"));
        (page["kept"] == 1).then_some(page)
    });
    assert_eq!(letters["dead_letters"][0]["message_id"], "unclear-1", "{letters}");
    let preview = post(&server, &format!("/connections/{id}/preview"), &json!({ "count": 1 }));
    assert_eq!(preview["events"][0]["message_id"], "unclear-1", "of the partition before, too: {preview}");
    assert_eq!(google.requests().len(), 1, "it was not sent again");
    post(&server, "/dead-letters/retry", &json!({ "connection": id, "all": true }));
    until("the event to be sent when asked", || (google.events().len() == 1).then_some(()));
}
