//! What every store of connections must do, whatever it is kept in. Each function takes fresh, empty
//! stores.

use super::{Change, ConnectionStore};
use crate::connection::{
    Connection, Credential, IdentifierKind, Only, Reason, Replay, ReplayCounts, ReplaySpec, ReplayState,
    Routing, Start, StartFrom, State, Summary, Suppression,
};
use crate::control::ControlError;
use serde_json::json;
use std::collections::BTreeMap;

/// The bytes of a credential that were sealed by nobody.
pub(crate) fn sealed(bytes: &str) -> Credential {
    Credential { sealed: bytes.as_bytes().to_vec(), summary: Summary::of(bytes, 4) }
}

/// A connection that uses every field.
pub(crate) fn connection(id: &str, name: &str) -> Connection {
    let routing = json!({"kinds": ["track"], "rate_cap": 2.5, "mapping": [{"drop": {"path": "traits.a"}}]});
    Connection {
        id: id.into(),
        name: name.to_owned(),
        vendor: "mixpanel".to_owned(),
        settings: [("region".to_owned(), json!("eu"))].into_iter().collect(),
        hosts: BTreeMap::from([("api.example.com".to_owned(), "http://127.0.0.1:8900".to_owned())]),
        routing: serde_json::from_value(routing).unwrap(),
        credentials: BTreeMap::from([
            ("secret".to_owned(), sealed("ciphertext of a long secret")),
            ("token".to_owned(), sealed("short")),
        ]),
        state: State::Draft,
        reason: None,
        version: 1,
        start: None,
        last_check: None,
        created_at: 1_700_000_000_000_000,
        updated_at: 1_700_000_000_000_000,
    }
}

pub(crate) fn replay(id: &str, connection: &str, created_at: i64) -> Replay {
    Replay {
        id: id.into(),
        connection: connection.into(),
        spec: ReplaySpec {
            condition: Some("event = 'a'".to_owned()),
            from: Some(5),
            to: None,
            only: Only::Failed,
            rate: Some(0.5),
        },
        state: ReplayState::Running,
        error: None,
        counts: ReplayCounts { total: 100, ..ReplayCounts::default() },
        created_at,
        updated_at: created_at,
    }
}

fn reason(text: &str) -> Option<Reason> {
    Some(Reason {
        class: "auth_revoked".into(),
        text: text.into(),
        remedy: "enter a new key".into(),
        since: 9,
    })
}

fn is_unknown<T>(outcome: Result<T, ControlError>) -> bool {
    matches!(outcome, Err(ControlError::Unknown(_)))
}

/// All promises that one handle can be held to.
pub(crate) async fn one_handle(store: &dyn ConnectionStore) {
    connections(store).await;
    states(store).await;
    erasing(store).await;
    suppressions(store).await;
    replays(store).await;
}

async fn connections(store: &dyn ConnectionStore) {
    assert_eq!(store.connections().await.unwrap(), []);
    let (a, b) = (connection("con_a", "web"), connection("con_b", "app"));
    store.add_connection(&a).await.unwrap();
    store.add_connection(&b).await.unwrap();
    assert_eq!(store.connections().await.unwrap(), [b.clone(), a.clone()], "by name");
    assert_eq!(store.connection("con_a").await.unwrap(), a);

    let before = store.changes().await.unwrap();
    let taken = store.add_connection(&connection("con_c", "web")).await;
    assert!(matches!(taken, Err(ControlError::Exists(name)) if name == "web"));
    assert!(matches!(store.add_connection(&connection("con_a", "new")).await, Err(ControlError::Exists(_))));
    let rename = |name: &str| Change { name: Some(name.into()), ..Change::default() };
    let taken = store.change_connection("con_a", rename("app"), 6).await;
    assert!(matches!(taken, Err(ControlError::Exists(name)) if name == "app"));
    assert!(is_unknown(store.change_connection("con_x", rename("x"), 6).await));
    assert!(is_unknown(store.connection("con_x").await));
    assert_eq!(store.changes().await.unwrap(), before, "nothing was changed");
    assert_eq!(store.connection("con_a").await.unwrap(), a);

    let change = Change {
        credentials: BTreeMap::from([("token".to_owned(), sealed("another token, longer"))]),
        routing: Some(Routing::default()),
        ..rename("site")
    };
    let mut expected = Connection {
        name: "site".into(),
        routing: Routing::default(),
        version: 2,
        updated_at: 7,
        ..a.clone()
    };
    expected.credentials.insert("token".to_owned(), sealed("another token, longer"));
    assert_eq!(store.change_connection("con_a", change, 7).await.unwrap(), expected);
    assert_eq!(store.connection("con_a").await.unwrap(), expected);
    assert_ne!(store.changes().await.unwrap(), before);

    let change = Change {
        settings: Some(Default::default()),
        hosts: Some(BTreeMap::new()),
        forget: vec!["secret".to_owned(), "never there".to_owned()],
        ..Change::default()
    };
    expected.settings.clear();
    expected.hosts.clear();
    expected.credentials.remove("secret");
    (expected.version, expected.updated_at) = (3, 8);
    assert_eq!(store.change_connection("con_a", change, 8).await.unwrap(), expected);

    store.reseal("con_a", "token", b"not the old one", b"new").await.unwrap();
    assert_eq!(store.connection("con_a").await.unwrap(), expected, "another was faster");
    store.reseal("con_a", "token", b"another token, longer", b"sealed anew").await.unwrap();
    let resealed = store.connection("con_a").await.unwrap();
    assert_eq!(resealed.credentials["token"].sealed, b"sealed anew");
    assert_eq!(resealed.credentials["token"].summary, expected.credentials["token"].summary);
    assert_eq!(resealed.version, 3);

    store.keep_check("con_b", &json!({"steps": []})).await.unwrap();
    assert_eq!(store.connection("con_b").await.unwrap().last_check, Some(json!({"steps": []})));
    assert!(is_unknown(store.keep_check("con_x", &json!(1)).await));
    store.erase_connection("con_a").await.unwrap();
    store.erase_connection("con_b").await.unwrap();
}

async fn states(store: &dyn ConnectionStore) {
    let draft = connection("con_s", "states");
    store.add_connection(&draft).await.unwrap();
    let before = store.changes().await.unwrap();
    let still = store.set_state("con_s", &[State::Enabled], None, State::Paused, None, 2).await.unwrap();
    assert_eq!(still, draft, "only from the states that are named");
    let still = store.set_state("con_s", &[State::Draft], Some(9), State::Paused, None, 2).await.unwrap();
    assert_eq!(still, draft, "only in the version that is named");
    assert_eq!(store.changes().await.unwrap(), before);
    assert!(is_unknown(store.set_state("con_x", &State::ALL, None, State::Paused, None, 2).await));

    let start = Start { from: StartFrom::Time(77), asked_at: 3 };
    let enabled = store.start_connection("con_s", start).await.unwrap();
    let expected = Connection { state: State::Enabled, start: Some(start), updated_at: 3, ..draft };
    assert_eq!(enabled, expected);
    let again = Start { from: StartFrom::Beginning, asked_at: 4 };
    assert_eq!(store.start_connection("con_s", again).await.unwrap(), expected, "it goes on as it is");
    assert!(is_unknown(store.start_connection("con_x", again).await));

    let held =
        store.set_state("con_s", &[State::Enabled], Some(1), State::Held, reason("401"), 5).await.unwrap();
    assert_eq!((held.state, &held.reason, held.version), (State::Held, &reason("401"), 1));
    assert_eq!(store.connection("con_s").await.unwrap(), held);

    let rename = Change { name: Some("renamed".into()), ..Change::default() };
    let renamed = store.change_connection("con_s", rename, 6).await.unwrap();
    assert_eq!((renamed.state, &renamed.reason), (State::Held, &reason("401")), "a name is no credential");
    let replace =
        Change { credentials: BTreeMap::from([("token".to_owned(), sealed("new"))]), ..Change::default() };
    let resumed = store.change_connection("con_s", replace.clone(), 7).await.unwrap();
    assert_eq!((resumed.state, &resumed.reason, resumed.version), (State::Enabled, &None, 3));
    let late = store
        .set_state("con_s", &[State::Enabled], Some(1), State::Held, reason("late news"), 8)
        .await
        .unwrap();
    assert_eq!(late, resumed, "news about the old credential does not hold the new one");

    store.set_state("con_s", &[State::Enabled], None, State::Paused, None, 9).await.unwrap();
    let paused = store.change_connection("con_s", replace, 10).await.unwrap();
    assert_eq!(paused.state, State::Paused, "what a person paused stays so");
    let restarted = store.start_connection("con_s", again).await.unwrap();
    assert_eq!((restarted.state, restarted.start), (State::Enabled, Some(again)));
    store.erase_connection("con_s").await.unwrap();
}

async fn erasing(store: &dyn ConnectionStore) {
    store.add_connection(&connection("con_e", "erased")).await.unwrap();
    store.add_connection(&connection("con_f", "kept")).await.unwrap();
    store.add_replay(&replay("rep_e", "con_e", 1)).await.unwrap();
    store.add_replay(&replay("rep_f", "con_f", 1)).await.unwrap();
    let before = store.changes().await.unwrap();
    store.erase_connection("con_e").await.unwrap();
    assert_ne!(store.changes().await.unwrap(), before);
    assert!(is_unknown(store.connection("con_e").await));
    assert!(is_unknown(store.replay("rep_e").await));
    assert!(is_unknown(store.erase_connection("con_e").await));
    assert_eq!(store.connections().await.unwrap(), [connection("con_f", "kept")]);
    assert_eq!(store.replay("rep_f").await.unwrap(), replay("rep_f", "con_f", 1));
    store.add_connection(&connection("con_g", "erased")).await.unwrap();
    assert_eq!(store.connection("con_g").await.unwrap().credentials.len(), 2);
    store.erase_connection("con_f").await.unwrap();
    store.erase_connection("con_g").await.unwrap();
}

async fn suppressions(store: &dyn ConnectionStore) {
    let of = |kind, value: &str, reason: Option<&str>, created_at| Suppression {
        kind,
        value: value.to_owned(),
        reason: reason.map(str::to_owned),
        created_at,
    };
    assert!(store.suppressed().await.unwrap().is_empty());
    let before = store.changes().await.unwrap();
    store.suppress(&of(IdentifierKind::Email, " Ines@Example.COM ", None, 1)).await.unwrap();
    assert_ne!(store.changes().await.unwrap(), before);
    store.suppress(&of(IdentifierKind::UserId, "U1", Some("asked by mail"), 2)).await.unwrap();
    store.suppress(&of(IdentifierKind::UserId, "u1", None, 3)).await.unwrap();
    store.suppress(&of(IdentifierKind::AnonymousId, "U1", None, 4)).await.unwrap();
    store.suppress(&of(IdentifierKind::Email, "ines@example.com", Some("again"), 5)).await.unwrap();

    let anonymous = of(IdentifierKind::AnonymousId, "U1", None, 4);
    let email = of(IdentifierKind::Email, "ines@example.com", Some("again"), 1);
    let user = of(IdentifierKind::UserId, "U1", Some("asked by mail"), 2);
    let other = of(IdentifierKind::UserId, "u1", None, 3);
    let all = [anonymous.clone(), email.clone(), user.clone(), other.clone()];
    assert_eq!(
        store.suppressions(None, 100).await.unwrap(),
        all,
        "since the first time, with the last reason"
    );
    assert_eq!(store.suppressions(None, 2).await.unwrap(), [anonymous, email.clone()]);
    let after = Some((email.kind, email.value.as_str()));
    assert_eq!(store.suppressions(after, 2).await.unwrap(), [user.clone(), other.clone()]);
    assert_eq!(store.suppressions(Some((IdentifierKind::UserId, "U1")), 2).await.unwrap(), [other]);

    let suppressed = store.suppressed().await.unwrap();
    assert!(suppressed.contains(IdentifierKind::Email, "ines@example.com"));
    assert!(suppressed.contains(IdentifierKind::UserId, "U1"));
    assert!(!suppressed.contains(IdentifierKind::AnonymousId, "u1"));

    let before = store.changes().await.unwrap();
    assert!(is_unknown(store.lift(IdentifierKind::AnonymousId, "u1").await));
    assert_eq!(store.changes().await.unwrap(), before);
    store.lift(IdentifierKind::Email, "INES@example.com").await.unwrap();
    assert_ne!(store.changes().await.unwrap(), before);
    assert!(!store.suppressed().await.unwrap().contains(IdentifierKind::Email, "ines@example.com"));
}

async fn replays(store: &dyn ConnectionStore) {
    store.add_connection(&connection("con_1", "one")).await.unwrap();
    store.add_connection(&connection("con_2", "two")).await.unwrap();
    let [first, second, third] =
        [replay("rep_1", "con_1", 10), replay("rep_2", "con_2", 20), replay("rep_3", "con_1", 30)];
    let before = store.changes().await.unwrap();
    assert!(is_unknown(store.add_replay(&replay("rep_9", "con_x", 1)).await));
    assert_eq!(store.changes().await.unwrap(), before);
    for one in [&second, &third, &first] {
        store.add_replay(one).await.unwrap();
    }
    assert!(matches!(store.add_replay(&first).await, Err(ControlError::Exists(_))));
    assert_ne!(store.changes().await.unwrap(), before);
    assert_eq!(store.replays(None, 2).await.unwrap(), [third.clone(), second.clone()]);
    assert_eq!(store.replays(Some("con_1"), 10).await.unwrap(), [third.clone(), first.clone()]);
    assert_eq!(store.open_replays().await.unwrap(), [first.clone(), second, third]);

    let before = store.changes().await.unwrap();
    let counts = ReplayCounts { scanned: 5, matched: 4, sent: 3, failed: 1, total: 6 };
    store.count_replay("rep_1", counts, 40).await.unwrap();
    assert!(is_unknown(store.count_replay("rep_x", counts, 40).await));
    let counted = Replay { counts, updated_at: 40, ..first };
    assert_eq!(store.replay("rep_1").await.unwrap(), counted);
    assert_eq!(store.changes().await.unwrap(), before, "counts are no news to delivery");

    let paused = store.set_replay_state("rep_1", ReplayState::Paused, None, 50).await.unwrap();
    assert_eq!(paused, Replay { state: ReplayState::Paused, updated_at: 50, ..counted });
    assert_ne!(store.changes().await.unwrap(), before);
    assert_eq!(store.open_replays().await.unwrap().len(), 3);
    let failed =
        store.set_replay_state("rep_1", ReplayState::Failed, Some("no such column"), 60).await.unwrap();
    assert_eq!((failed.state, failed.error.as_deref()), (ReplayState::Failed, Some("no such column")));
    let still = store.set_replay_state("rep_1", ReplayState::Running, None, 70).await.unwrap();
    assert_eq!(still, failed, "what is over stays so");
    assert_eq!(store.open_replays().await.unwrap().len(), 2);
    assert!(is_unknown(store.set_replay_state("rep_x", ReplayState::Done, None, 70).await));
    assert!(is_unknown(store.replay("rep_x").await));
}

/// What holds between two handles to one store, which may be two processes.
pub(crate) async fn two_handles(one: &dyn ConnectionStore, other: &dyn ConnectionStore) {
    let before = other.changes().await.unwrap();
    one.add_connection(&connection("con_a", "shared")).await.unwrap();
    assert_ne!(other.changes().await.unwrap(), before);
    assert_eq!(other.connections().await.unwrap(), [connection("con_a", "shared")]);
    let renames = futures::future::join_all((0..20).map(|number| async move {
        let store = if number % 2 == 0 { one } else { other };
        let change = Change { name: Some(format!("name {number}")), ..Change::default() };
        store.change_connection("con_a", change, number).await
    }));
    let renamed = renames.await;
    assert!(renamed.into_iter().all(|outcome| outcome.is_ok()), "writers wait for each other");
    assert_eq!(one.connection("con_a").await.unwrap().version, 21, "no change is lost");
    assert_eq!(one.changes().await.unwrap(), other.changes().await.unwrap());
    other.erase_connection("con_a").await.unwrap();
    assert_eq!(one.connections().await.unwrap(), []);
}
