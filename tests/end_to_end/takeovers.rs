//! Partitions that ended: their events reach destinations through the server that has claimed them.

use crate::harness::{ADMIN_KEY, Server, Start, flowstate_on_bucket, until};
use crate::http::{Reply, Request};
use crate::load::event;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use vendors::Failure;
use vendors::webhook::Receiver;

const SECRET: &str = "whsec_Y2FuYXJ5MGNhbmFyeTBjYW5hcnkwY2FuYXJ5MA==";

fn start(dir: &Path, bucket: &s3::Server) -> Server {
    let start = Start::on(dir).in_bucket(bucket, "log").set("DURABILITY", "object");
    start.set("ALLOW_PRIVATE_EGRESS", "true").set("COMMIT_AGE_S", "0.5").run()
}

fn adopt(dir: &Path, bucket: &s3::Server, words: &[&str]) -> Output {
    let words: Vec<&str> = ["adopt"].iter().chain(words).copied().collect();
    flowstate_on_bucket(dir, bucket, "log", &words)
}

fn receiver() -> Receiver {
    Receiver::start(SECRET, || pipeline::Clock::system().now()).unwrap()
}

fn post(server: &Server, path: &str, body: &Value) -> Reply {
    let reply = server.send(&Request::post(&format!("/api/v1{path}")).bearer(ADMIN_KEY).json(body));
    assert!((200..300).contains(&reply.status), "{path}: {}", reply.text());
    reply
}

/// Makes a webhook to the receiver that gets everything from the beginning.
fn connect(server: &Server, receiver: &Receiver) -> String {
    let body = json!({ "vendor": "webhook", "name": "Hook", "credentials": { "signing_secret": SECRET },
                       "settings": { "url": format!("http://{}/hook", receiver.address()) } });
    let id = post(server, "/connections", &body).json()["id"].as_str().unwrap().to_owned();
    post(server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    id
}

fn send(server: &Server, name: &str, events: usize) {
    let events: Vec<Value> = (1..=events).map(|n| event(&format!("{name}-{n}"))).collect();
    for batch in events.chunks(7) {
        assert_eq!(server.batch(batch).status, 200);
    }
}

/// How often each event whose id begins so was taken.
fn times(receiver: &Receiver, name: &str) -> BTreeMap<String, u32> {
    let id = |body: &Value| body["messageId"].as_str().unwrap_or_default().to_owned();
    let taken = receiver.deliveries().into_iter().map(|taken| (id(&taken.body), taken.times));
    taken.filter(|(id, _)| id.starts_with(name)).collect()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

#[test]
fn of_two_servers_one_delivers_what_a_lost_one_had_not() {
    let bucket = s3::Server::start().unwrap();
    let [lost_dir, one_dir, two_dir] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (receives_one, receives_two) = (receiver(), receiver());
    let (one, two) = (start(one_dir.path(), &bucket), start(two_dir.path(), &bucket));
    let id = connect(&one, &receives_one);
    connect(&two, &receives_two);
    let lost = start(lost_dir.path(), &bucket);
    let partition = lost.partition();
    send(&lost, "lost", 50);
    lost.kill();
    drop(lost_dir);

    // All of its events are refused at first, so that dead letters of its partition are sent again, too.
    receives_one.down(Some(Failure::status(413)));
    let words = [partition.as_str(), "--deliver", "--now"];
    let nowhere = tempfile::tempdir().unwrap();
    let output = adopt(nowhere.path(), &bucket, &words);
    assert!(!output.status.success() && said(&output).contains("--data"), "{}", said(&output));
    let output = adopt(one_dir.path(), &bucket, &words);
    assert!(output.status.success(), "{}", said(&output));
    let output = adopt(two_dir.path(), &bucket, &words);
    let by_one = format!("the server of partition {}", one.partition());
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&by_one) && said(&output).contains("was first"), "{}", said(&output));
    let delivered_here = |server: &Server| {
        let list = server.api("/api/v1/partitions");
        let found =
            list["partitions"].as_array().unwrap().iter().find(|found| found["partition"] == *partition);
        let found = found.unwrap_or_else(|| panic!("{list}"));
        assert_eq!((&found["state"], &found["own"]), (&json!("adopted"), &json!(false)), "{found}");
        assert_eq!(found["delivered_by"], one.partition(), "{found}");
        found["delivered_here"] == true
    };
    assert!(delivered_here(&one) && !delivered_here(&two));
    let list = said(&adopt(nowhere.path(), &bucket, &[]));
    let mut rows = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|words| words.starts_with(&[&*partition, "adopted"]));
    assert_eq!(row.unwrap_or_else(|| panic!("{list}"))[5], one.partition());

    let letters = |kept: u64| {
        until("dead letters", || {
            let page = one.api(&format!("/api/v1/dead-letters?connection={id}"));
            (page["kept"] == kept).then_some(page)
        })
    };
    let page = letters(50);
    let letter = &page["dead_letters"][0];
    assert_eq!(letter["partition"], *partition);
    assert!(letter["message_id"].as_str().unwrap().starts_with("lost-"), "{letter}");
    assert_eq!(times(&receives_one, "lost").len(), 0);
    receives_one.down(None);
    let at = json!([{ "partition": partition, "offset": letter["offset"] }]);
    let retried = post(&one, "/dead-letters/retry", &json!({ "connection": id, "offsets": at }));
    assert_eq!(retried.json()["revived"], 1, "{}", retried.text());
    letters(49);
    post(&one, "/dead-letters/retry", &json!({ "connection": id, "all": true }));
    letters(0);
    let once: BTreeMap<String, u32> = (1..=50).map(|n| (format!("lost-{n}"), 1)).collect();
    until("all events of the lost server", || (times(&receives_one, "lost").len() == 50).then_some(()));
    assert_eq!(times(&receives_one, "lost"), once);

    // After a restart nothing of it is sent again; a replay goes through both partitions.
    assert!(one.stop().success());
    let one = start(one_dir.path(), &bucket);
    send(&one, "own", 20);
    until("its own events", || (times(&receives_one, "own").len() == 20).then_some(()));
    assert_eq!(times(&receives_one, "lost"), once);
    let estimate = post(&one, &format!("/connections/{id}/replays"), &json!({ "dry_run": true })).json();
    assert_eq!(estimate["estimate"]["matched"], 70, "{estimate}");
    let replay = post(&one, &format!("/connections/{id}/replays"), &json!({})).json();
    let path = format!("/api/v1/replays/{}", replay["id"].as_str().unwrap());
    let done = until("the replay to end", || {
        let replay = one.api(&path);
        (replay["state"] == "done").then_some(replay)
    });
    assert_eq!((&done["counts"]["sent"], &done["counts"]["scanned"]), (&json!(70), &json!(70)), "{done}");
    let twice = |taken: BTreeMap<String, u32>| taken.values().all(|&times| times == 2);
    assert!(twice(times(&receives_one, "lost")) && twice(times(&receives_one, "own")));
    assert!(times(&receives_two, "lost").is_empty());
    assert_eq!(receives_one.violations(), Vec::<String>::new());
}

#[test]
fn a_server_that_comes_back_delivers_the_rest_of_the_partition_it_lost() {
    let bucket = s3::Server::start().unwrap();
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let receives = receiver();
    let server = start(dir.path(), &bucket);
    let partition = server.partition();
    let id = connect(&server, &receives);
    send(&server, "before", 30);
    until("the first events", || (times(&receives, "before").len() == 30).then_some(()));
    post(&server, &format!("/connections/{id}/pause"), &json!({}));
    until("the pause", || {
        server.api(&format!("/api/v1/connections/{id}"))["delivery"].is_null().then_some(())
    });
    send(&server, "waiting", 30);
    server.kill();
    let output = adopt(elsewhere.path(), &bucket, &[&partition, "--now"]);
    assert!(output.status.success(), "{}", said(&output));
    let server = start(dir.path(), &bucket);
    assert_ne!(server.partition(), partition);
    send(&server, "after", 30);
    post(&server, &format!("/connections/{id}/resume"), &json!({}));
    for name in ["waiting", "after"] {
        until("events of both partitions", || (times(&receives, name).len() == 30).then_some(()));
    }
    for name in ["before", "waiting", "after"] {
        assert!(times(&receives, name).values().all(|&times| times == 1), "{name}");
    }
    let status = until("the end of the old partition", || {
        let connection = server.api(&format!("/api/v1/connections/{id}"));
        (connection["delivery"]["lag_events"] == 0).then_some(connection)
    });
    assert_eq!(status["delivery"]["retrying"], 0, "{status}");
}

#[test]
fn a_lost_server_is_adopted_by_api() {
    let bucket = s3::Server::start().unwrap();
    let [lost_dir, here_dir] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let receives = receiver();
    let (lost, here) = (start(lost_dir.path(), &bucket), start(here_dir.path(), &bucket));
    connect(&here, &receives);
    let partition = lost.partition();
    send(&lost, "lost", 10);
    lost.kill();
    let adopt = |partition: &str, body: Value| {
        let path = format!("/api/v1/partitions/{partition}/adopt");
        let reply = here.send(&Request::post(&path).bearer(ADMIN_KEY).json(&body));
        (reply.status, reply.json())
    };
    let (status, body) = adopt("0123456789abcdef", json!({}));
    assert_eq!((status, &body["code"]), (404, &json!("unknown")), "{body}");
    let (status, body) = adopt(&here.partition(), json!({ "now": true }));
    assert_eq!((status, &body["code"]), (409, &json!("wrong_state")), "{body}");
    let (status, body) = adopt(&partition, json!({ "deliver": true }));
    assert_eq!((status, &body["code"]), (409, &json!("wrong_state")), "it was written to just now: {body}");
    let (status, body) = adopt(&partition, json!({ "deliver": 1 }));
    assert_eq!((status, &body["fields"][0]["field"]), (400, &json!("deliver")), "{body}");
    // Adopted alone it reaches the tables and no destination, which is told.
    let delivered_by = || {
        let list = here.api("/api/v1/partitions");
        let mut all = list["partitions"].as_array().unwrap().iter();
        let found = all.find(|found| found["partition"] == *partition);
        found.unwrap_or_else(|| panic!("{list}"))["delivered_by"].clone()
    };
    let doctor = || said(&flowstate_on_bucket(here_dir.path(), &bucket, "log", &["doctor"]));
    let remedy = format!("flowstate adopt {partition} --deliver");
    let (status, body) = adopt(&partition, json!({ "now": true }));
    assert_eq!((status, &body["delivered_by"], delivered_by()), (200, &Value::Null, Value::Null), "{body}");
    let told = doctor();
    assert!(told.contains(&remedy), "{told}");
    let (status, body) = adopt(&partition, json!({ "deliver": true, "now": true }));
    assert_eq!((status, &body["delivered_by"]), (200, &json!(here.partition())), "{body}");
    assert_eq!(delivered_by(), json!(here.partition()));
    let told = doctor();
    assert!(told.contains("partitions") && !told.contains(&remedy), "{told}");
    until("its events", || (times(&receives, "lost").len() == 10).then_some(()));
}
