//! Connections made through the API get what they are meant to get, and people can see and steer it.

use crate::harness::{ADMIN_KEY, Server, Start, flowstate, until, variable};
use crate::http::{Reply, Request};
use crate::replays::finished;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vendors::google_analytics::{FakeGoogleAnalytics, Stream};
use vendors::mixpanel::{FakeMixpanel, Identity, Project, RulePacks};
use vendors::segment::FakeSegment;
use vendors::webhook::Receiver;
use vendors::{Failure, Schema};

const SEGMENT_KEY: &str = "canary0segment0write0key";
const MIXPANEL_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const MIXPANEL_SECRET: &str = "canary0mixpanel0secret";
const GA_SECRET: &str = "canary0google0secret";
const WEBHOOK_SECRET: &str = "whsec_Y2FuYXJ5MGNhbmFyeTBjYW5hcnkwY2FuYXJ5MA==";
const OLD_SECRET: &str = "canary0mixpanel0revoked";
const USERS: usize = 10;

/// One of each vendor that works, on this machine.
pub(crate) struct Vendors {
    pub(crate) segment: FakeSegment,
    mixpanel: FakeMixpanel,
    google: FakeGoogleAnalytics,
    webhook: Receiver,
}

impl Vendors {
    pub(crate) fn start() -> Self {
        let project = Project {
            token: MIXPANEL_TOKEN.to_owned(),
            id: "42".to_owned(),
            service_account: ("robot".to_owned(), MIXPANEL_SECRET.to_owned()),
            identity: Identity::Simplified,
            group_keys: Vec::new(),
        };
        let stream = Stream::Web("G-ABCDE12345".to_owned());
        // Every request is held against what the vendors publish, where that is there.
        let specs = variable("FLOWSTATE_SPECS").map(PathBuf::from);
        let schema = |path: &str| specs.as_ref().map(|specs| Schema::read(&specs.join(path)).unwrap());
        let packs = specs.as_ref().map(|specs| RulePacks::read(&specs.join("mixpanel")).unwrap());
        Self {
            segment: FakeSegment::start(SEGMENT_KEY, schema("segment/segment-tracking.contract.schema.json"))
                .unwrap(),
            mixpanel: FakeMixpanel::start(project, packs, now).unwrap(),
            google: FakeGoogleAnalytics::start(GA_SECRET, stream, schema("ga4/ga4-mp.schema.json"), now)
                .unwrap(),
            webhook: Receiver::start(WEBHOOK_SECRET, now).unwrap(),
        }
    }

    pub(crate) fn bodies(&self) -> [Value; 4] {
        let hosts = |address| json!({ "*": format!("http://{address}") });
        [
            json!({ "vendor": "segment", "name": "Segment", "settings": { "region": "us" },
                    "credentials": { "write_key": SEGMENT_KEY }, "hosts": hosts(self.segment.address()) }),
            json!({ "vendor": "mixpanel", "name": "Mixpanel",
                    "settings": { "region": "us", "project_id": "42" },
                    "credentials": { "project_token": MIXPANEL_TOKEN,
                                     "service_account": format!("robot:{OLD_SECRET}") },
                    "hosts": hosts(self.mixpanel.address()) }),
            json!({ "vendor": "google_analytics", "name": "Google",
                    "settings": { "region": "global", "measurement_id": "G-ABCDE12345" },
                    "credentials": { "api_secret": GA_SECRET }, "hosts": hosts(self.google.address()) }),
            json!({ "vendor": "webhook", "name": "Hook",
                    "settings": { "url": format!("http://{}/hook", self.webhook.address()) },
                    "credentials": { "signing_secret": WEBHOOK_SECRET } }),
        ]
    }
}

#[test]
fn one_refused_key_holds_one_destination_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let ids = vendors.bodies().map(|body| connect(&server, &body));
    let [segment, mixpanel, _, _] = &ids;

    // Mixpanel's secret was revoked, and the check says so; a key of Segment can be proven.
    let steps = post(&server, &format!("/connections/{segment}/test"), &json!({})).json();
    assert_eq!(steps["steps"][0]["state"], "passed", "{steps}");
    let steps = post(&server, &format!("/connections/{mixpanel}/test"), &json!({})).json();
    assert!(steps["steps"].as_array().unwrap().iter().any(|step| step["state"] == "failed"), "{steps}");

    for id in &ids {
        let reply = post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    send(&server, "first", 200);
    until("Segment to have all", || (vendors.segment.received() >= 200).then_some(()));
    until("the webhook to have all", || (vendors.webhook.deliveries().len() >= 200).then_some(()));
    until("Google to have all", || (vendors.google.events().len() >= 200).then_some(()));
    assert_in_order(&vendors.segment.messages(), "first", 200);
    assert!(vendors.segment.repeats().is_empty());

    // Held, with the reason, and once in the log; its events wait.
    let held = until("Mixpanel to be held", || {
        let connection = server.api(&format!("/api/v1/connections/{mixpanel}"));
        (connection["state"] == "held").then_some(connection)
    });
    assert_eq!(held["reason"]["class"], "auth_revoked", "{held}");
    assert!(held["reason"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{held}");
    assert!(vendors.mixpanel.events().is_empty());
    until("the hold to be in the log", || {
        let held = "SELECT count(*) FROM events WHERE event = 'connection.held'";
        (server.number(held) == 1).then_some(())
    });

    // A new secret lets it go on by itself.
    let fresh = json!({ "credentials": { "service_account": format!("robot:{MIXPANEL_SECRET}") } });
    let reply = server.send(
        &Request::new("PATCH", &format!("/api/v1/connections/{mixpanel}")).bearer(ADMIN_KEY).json(&fresh),
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    until("Mixpanel to have all", || (vendors.mixpanel.events().len() >= 200).then_some(()));
    let broken = |violation: &String| !violation.ends_with("\"Invalid credentials\"");
    assert_eq!(vendors.mixpanel.violations().into_iter().filter(broken).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(vendors.webhook.violations(), Vec::<String>::new());
    assert_eq!(vendors.segment.violations(), Vec::<String>::new());
    assert_eq!(vendors.google.dropped(), Vec::new());

    // What became of one event, at every destination.
    let life = until("all outcomes of an event", || {
        let life = server.api("/api/v1/events/first-7");
        let deliveries = life["sources"][0]["stored"][0]["deliveries"].as_array()?.clone();
        let delivered = deliveries.iter().filter(|delivery| delivery["outcome"] == "delivered").count();
        (delivered == 4).then_some(deliveries)
    });
    assert!(
        life.iter().all(|delivery| delivery["trigger"] == "live" && delivery["attempt"] == 1),
        "{life:#?}"
    );
    let delivered = format!(
        "SELECT count(*) FROM deliveries d JOIN events e USING (log_partition, log_offset)
         WHERE d.destination = '{segment}' AND d.outcome = 'delivered' AND e.event = 'Order Completed'"
    );
    assert_eq!(server.number(&delivered), 200);

    // No secret stands anywhere but in the requests.
    let said = server.said();
    assert!(server.stop().success());
    let mut places = vec![("the server's own log".to_owned(), said.into_bytes())];
    collect(dir.path(), &mut places);
    for secret in [SEGMENT_KEY, MIXPANEL_SECRET, OLD_SECRET, GA_SECRET, &WEBHOOK_SECRET[6..]] {
        for (place, bytes) in &places {
            assert!(!contains(bytes, secret.as_bytes()), "`{secret}` stands in {place}");
        }
    }
}

#[test]
fn a_destination_gets_what_its_routing_suppressions_and_replays_say() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let mut body = vendors.bodies()[0].clone();
    body["routing"] = json!({
        "condition": "(properties->>'total')::int % 2 = 0",
        "mapping": [{ "rename": { "from": "properties.total", "to": "properties.revenue" } }],
    });
    let id = connect(&server, &body);
    let suppressed = post(&server, "/suppressions", &json!({ "kind": "user_id", "value": "user-4" }));
    assert!((200..300).contains(&suppressed.status), "{}", suppressed.text());
    send(&server, "event", 40);

    let preview = post(&server, &format!("/connections/{id}/preview"), &json!({ "count": 4 })).json();
    let outcomes: Vec<_> =
        preview["events"].as_array().unwrap().iter().map(|e| e["outcome"].clone()).collect();
    assert_eq!(outcomes, ["sent", "filtered", "sent", "filtered"], "{preview:#}");
    assert!(preview["requests"][0]["body"].as_str().unwrap().contains("revenue"), "{preview:#}");
    assert!(!preview.to_string().contains(SEGMENT_KEY));
    assert_eq!(vendors.segment.received(), 0, "a preview sends nothing");

    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    // Of 40 events 20 have an even total; those of user 4, who has four of them, are suppressed.
    until("what is wanted to arrive", || (vendors.segment.received() >= 16).then_some(()));
    let messages = vendors.segment.messages();
    assert!(messages.iter().all(|message| message["userId"] != "user-4"));
    assert!(
        messages.iter().all(|message| message["properties"]["revenue"].as_i64().is_some_and(|n| n % 2 == 0))
    );
    let outcomes = || {
        let rows =
            server.sql("SELECT outcome, reason, count(*) AS n FROM deliveries GROUP BY 1, 2 ORDER BY 1, 2");
        rows.iter()
            .map(|row| format!("{} {} {}", row["outcome"], row["reason"], row["n"]))
            .collect::<Vec<_>>()
    };
    let expected =
        [r#""delivered" null 16"#, r#""filtered" "condition" 20"#, r#""suppressed" "suppressed_user_id" 4"#];
    until("all to be accounted for", || (outcomes() == expected).then_some(()));

    // A replay sends part of it again, in a lane of its own.
    let spec = json!({ "condition": "user_id = 'user-2'" });
    let mut dry = spec.clone();
    dry["dry_run"] = json!(true);
    let estimate = post(&server, &format!("/connections/{id}/replays"), &dry).json();
    assert_eq!(estimate["estimate"]["matched"], 4, "{estimate}");
    assert_eq!(vendors.segment.repeats().len(), 0);
    let replay = post(&server, &format!("/connections/{id}/replays"), &spec).json();
    let done = finished(&server, &replay);
    assert_eq!((&done["counts"]["sent"], &done["counts"]["failed"]), (&json!(4), &json!(0)), "{done}");
    assert_eq!(vendors.segment.repeats().len(), 4);
    assert!(vendors.segment.repeats().iter().all(|(_, times)| *times == 2));

    // Disconnecting erases it.
    let path = format!("/api/v1/connections/{id}");
    let reply = server.send(&Request::new("DELETE", &path).bearer(ADMIN_KEY));
    assert!((200..300).contains(&reply.status), "{}", reply.text());
    assert_eq!(server.send(&Request::get(&path).bearer(ADMIN_KEY)).status, 404);
}

#[test]
fn kill_9_while_delivering_loses_nothing_and_keeps_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let id = connect(&server, &vendors.bodies()[0]);
    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    let mut server = server;
    let mut sent = 0;
    for round in 0..5 {
        send(&server, &format!("round-{round}"), 400);
        sent += 400;
        let before = vendors.segment.received();
        until("deliveries", || (vendors.segment.received() > before).then_some(()));
        server.kill();
        server = start(dir.path());
    }
    until("everything to arrive", || (vendors.segment.received() >= sent).then_some(()));
    assert_eq!(vendors.segment.received(), sent);
    for round in 0..5 {
        assert_in_order(&vendors.segment.messages(), &format!("round-{round}"), 400);
    }
    assert_eq!(vendors.segment.violations(), Vec::<String>::new());
}

#[test]
fn refused_events_are_kept_and_sent_again_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let id = connect(&server, &vendors.bodies()[0]);
    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    vendors.segment.down(Some(Failure::status(400)));
    send(&server, "refused", 6);
    let letters = |kept: u64| {
        until("dead letters", || {
            let page = server.api(&format!("/api/v1/dead-letters?connection={id}"));
            (page["kept"] == kept).then_some(page)
        })
    };
    let page = letters(6);
    let letter = &page["dead_letters"][0];
    assert_eq!((&letter["class"], &letter["status"]), (&json!("validation"), &json!(400)), "{letter}");
    assert!(letter["message_id"].as_str().unwrap().starts_with("refused-"), "{letter}");
    assert_eq!(vendors.segment.received(), 0);

    // One, then the rest of its class; a replay of what failed does the same.
    vendors.segment.down(None);
    let one = json!([{ "partition": letter["partition"], "offset": letter["offset"] }]);
    let retry = |body: Value| {
        let reply = post(&server, "/dead-letters/retry", &body);
        assert!((200..300).contains(&reply.status), "{}", reply.text());
    };
    retry(json!({ "connection": id, "offsets": one }));
    until("the one event", || (vendors.segment.received() == 1).then_some(()));
    letters(5);
    vendors.segment.down(Some(Failure::status(400)));
    send(&server, "late", 1);
    letters(6);
    vendors.segment.down(None);
    let replay = post(&server, &format!("/connections/{id}/replays"), &json!({ "only": "failed" })).json();
    let done = finished(&server, &replay);
    assert_eq!((&done["state"], &done["counts"]["sent"]), (&json!("done"), &json!(6)), "{done}");
    assert_eq!(vendors.segment.received(), 7);
    letters(0);
    retry(json!({ "connection": id, "all": true }));
    let triggers = server.sql(
        "SELECT \"trigger\", count(*) AS n FROM deliveries WHERE outcome = 'delivered' GROUP BY 1 ORDER BY 1",
    );
    let triggers: Vec<_> = triggers.iter().map(|row| format!("{} {}", row["trigger"], row["n"])).collect();
    assert_eq!(triggers, [r#""manual" 1"#, r#""replay" 6"#]);
}

#[test]
fn what_happened_too_long_ago_for_google_is_counted_shown_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let id = connect(&server, &vendors.bodies()[2]);
    send(&server, "fresh", 3);
    let old = json!([{ "type": "track", "messageId": "old-1", "event": "Signed Up", "userId": "user-1",
                       "timestamp": "2020-02-02T02:02:02Z" }]);
    assert_eq!(server.batch(old.as_array().unwrap()).status, 200);

    let estimate = post(&server, &format!("/connections/{id}/replays"), &json!({ "dry_run": true })).json();
    let figures = |name: &str| estimate["estimate"][name].as_u64();
    assert_eq!((figures("matched"), figures("too_old")), (Some(4), Some(1)), "{estimate}");
    let preview = post(&server, &format!("/connections/{id}/preview"), &json!({ "count": 2 })).json();
    let outcomes: Vec<_> = preview["events"].as_array().unwrap().iter().map(|e| &e["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "sent"], "{preview:#}");

    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    let letters = until("the dead letter", || {
        let page = server.api(&format!("/api/v1/dead-letters?connection={id}"));
        (page["kept"] == 1).then_some(page)
    });
    assert!(letters["dead_letters"][0]["reason"].as_str().unwrap().contains("happened"), "{letters}");
    until("Google to have the others", || (vendors.google.events().len() == 3).then_some(()));
    assert_eq!(vendors.google.dropped(), Vec::new());
}

#[test]
fn what_may_have_happened_waits_for_a_person_where_a_repeat_would_count() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let mut body = vendors.bodies()[2].clone();
    body["routing"] = json!({ "ambiguous": "hold" });
    let id = connect(&server, &body);
    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    vendors.google.fail([Failure::TakeAndReset]);
    send(&server, "unclear", 1);
    let letters = until("the event to wait for a person", || {
        let page = server.api(&format!("/api/v1/dead-letters?connection={id}"));
        (page["kept"] == 1).then_some(page)
    });
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["class"], &letter["message_id"]), (&json!("network_reset"), &json!("unclear-1")));
    assert!(letter["reason"].as_str().unwrap().contains("only if it is not"), "{letter}");
    assert_eq!(vendors.google.events().len(), 1, "it was taken, and not sent again");

    // Killed before any answer came: nobody knows.
    vendors.google.fail([Failure::Hang]);
    send(&server, "killed", 1);
    let intents = "SELECT count(*) FROM deliveries d JOIN events e USING (log_partition, log_offset)
                   WHERE d.outcome = 'intent' AND e.message_id = 'killed-1'";
    until("the request to be under way", || {
        (vendors.google.requests().len() == 2 && server.number(intents) == 1).then_some(())
    });
    server.kill();
    let server = start(dir.path());
    until("the second to wait as well", || {
        (server.api(&format!("/api/v1/dead-letters?connection={id}"))["kept"] == 2).then_some(())
    });
    let outcomes = server.sql("SELECT DISTINCT outcome FROM deliveries ORDER BY 1");
    let outcomes: Vec<_> = outcomes.iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ambiguous", "intent"]);
    let reply = post(&server, "/dead-letters/retry", &json!({ "connection": id, "all": true }));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let delivered = "SELECT count(*) FROM deliveries WHERE outcome = 'delivered' AND \"trigger\" = 'manual'";
    until("both to be sent again", || (server.number(delivered) == 2).then_some(()));
    assert_eq!(vendors.google.events().len(), 2, "a purchase is counted once");
    assert!(server.stop().success());
}

#[test]
fn keys_are_rotated_while_no_server_runs_and_deliveries_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let id = connect(&server, &vendors.bodies()[0]);
    let refused = flowstate(dir.path(), &["keys", "rotate"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it"), "{refused:?}");
    assert!(server.stop().success());

    let key = || std::fs::read(dir.path().join("master.key")).unwrap();
    let before = key();
    let rotated = flowstate(dir.path(), &["keys", "rotate"]);
    let said = String::from_utf8_lossy(&rotated.stdout).into_owned();
    assert!(rotated.status.success() && said.contains("1 credential is"), "{rotated:?}");
    assert_ne!(key(), before);

    let server = start(dir.path());
    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "now" }));
    until("the connection to be delivered to", || {
        let connection = server.api(&format!("/api/v1/connections/{id}"));
        (connection["state"] == "enabled").then_some(())
    });
    send(&server, "after", 5);
    until("events to arrive", || (vendors.segment.received() >= 5).then_some(()));
    assert!(server.stop().success());

    // Without the key nothing can be opened, and nobody makes another one in silence.
    std::fs::remove_file(dir.path().join("master.key")).unwrap();
    let (status, said) = Start::on(dir.path()).try_run().err().expect("it does not start");
    assert!(!status.success() && said.contains("master.key") && said.contains("restore"), "{said}");
}

pub(crate) fn start(dir: &Path) -> Server {
    Start::on(dir).set("ALLOW_PRIVATE_EGRESS", "true").run()
}

pub(crate) fn connect(server: &Server, body: &Value) -> String {
    let reply = post(server, "/connections", body);
    assert!((200..300).contains(&reply.status), "{}", reply.text());
    reply.json()["id"].as_str().expect("it has an id").to_owned()
}

pub(crate) fn post(server: &Server, path: &str, body: &Value) -> Reply {
    server.send(&Request::post(&format!("/api/v1{path}")).bearer(ADMIN_KEY).json(body))
}

/// Sends so many orders of ten users in small batches.
pub(crate) fn send(server: &Server, name: &str, events: usize) {
    let event = |n: usize| {
        json!({ "type": "track", "messageId": format!("{name}-{n}"), "event": "Order Completed",
                "userId": format!("user-{}", n % USERS),
                "properties": { "order_id": format!("{name}-{n}"), "total": n, "currency": "EUR",
                                "products": [{ "product_id": "p1", "name": "Beans", "price": 9.5, "quantity": 1 }] } })
    };
    let events: Vec<_> = (1..=events).map(event).collect();
    for batch in events.chunks(25) {
        let reply = server.batch(batch);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// Every user's events arrived, first arrivals in the order in which they were sent.
pub(crate) fn assert_in_order(messages: &[Value], name: &str, events: usize) {
    let mut of_user: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for message in messages {
        let number = message["messageId"].as_str().and_then(|id| id.strip_prefix(name)?.strip_prefix('-'));
        if let Some(number) = number {
            of_user.entry(message["userId"].as_str().unwrap()).or_default().push(number.parse().unwrap());
        }
    }
    assert_eq!(of_user.values().map(Vec::len).sum::<usize>(), events);
    for (user, numbers) in of_user {
        assert!(numbers.is_sorted(), "{user}: {numbers:?}");
    }
}

fn now() -> i64 {
    pipeline::Clock::system().now()
}

fn collect(dir: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, places);
        } else {
            places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
