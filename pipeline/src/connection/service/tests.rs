use super::*;
use crate::condition::{Condition, ConditionError};
use crate::connection::{ReplaySpec, ReplayState, StartFrom};
use crate::control::ControlError;
use crate::control::sqlite::Sqlite;
use crate::event::Event;
use crate::log::Stored;
use serde_json::json;

/// A secret that must not be seen anywhere.
const CANARY: &str = "canaryCANARYcanaryCANARY0000";

struct NoConditions;

impl Compiler for NoConditions {
    fn compile(&self, _: &str) -> Result<Arc<dyn Condition>, ConditionError> {
        struct Never;
        impl Condition for Never {
            fn holds(&self, events: &[Stored<Event<'static>>]) -> Result<Vec<bool>, String> {
                Ok(vec![false; events.len()])
            }
        }
        let _: Arc<dyn Condition> = Arc::new(Never);
        Err(ConditionError { message: "there is no column `x`".into(), at: Some(3) })
    }
}

struct Room {
    _dir: tempfile::TempDir,
    store: Arc<Sqlite>,
    keyring: Arc<Keyring>,
    clock: Clock,
    connections: Connections,
}

async fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&dir.path().join("control.db")).await.unwrap());
    let keyring = Arc::new(Keyring::random().unwrap());
    let clock = Clock::given(1_768_478_400_000_000);
    let kept: Arc<dyn ConnectionStore> = Arc::clone(&store) as _;
    let connections = Connections::new(kept, Arc::clone(&keyring), Arc::new(NoConditions), clock.clone());
    Room { _dir: dir, store, keyring, clock, connections }
}

fn segment(name: &str) -> Entered {
    Entered {
        vendor: "segment".into(),
        name: name.into(),
        settings: [("region".to_owned(), json!("eu"))].into_iter().collect(),
        credentials: BTreeMap::from([("write_key".to_owned(), CANARY.to_owned())]),
        hosts: BTreeMap::new(),
        routing: json!({"kinds": ["track"]}),
    }
}

fn edit_key(key: Option<&str>) -> Edit {
    let credentials = BTreeMap::from([("write_key".to_owned(), key.map(str::to_owned))]);
    Edit { credentials, ..Edit::default() }
}

fn mistakes<T>(outcome: Result<T, ConnectionError>) -> Vec<(String, Option<usize>)> {
    let Err(error) = outcome else { panic!("it was taken") };
    assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
    match error {
        ConnectionError::Wrong(all) => all.into_iter().map(|one| (one.field, one.at)).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_is_made_as_a_draft_with_its_credentials_sealed() {
    let room = room().await;
    let made = room.connections.create(segment(" web ")).await.unwrap();
    let connection = &made.connection;
    assert!(made.generated.is_empty());
    assert_eq!((connection.name.as_str(), connection.state, connection.version), ("web", State::Draft, 1));
    assert_eq!((connection.created_at, connection.id.len()), (1_768_478_400_000_000, 36));
    let kept = room.store.connection(&connection.id).await.unwrap();
    assert_eq!(&kept, connection);
    let credential = &kept.credentials["write_key"];
    assert!(!credential.sealed.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    assert_eq!(credential.summary.prefix.as_deref(), Some("cana"));
    assert!(!format!("{kept:?}").contains("CANARY"));

    let opened = room.connections.open_credentials(&kept).unwrap();
    assert_eq!(opened["write_key"].reveal(), CANARY);
    assert!(!format!("{opened:?}").contains("CANARY"));
    let mut moved = kept.clone();
    moved.id = "con_other".into();
    assert!(room.connections.open_credentials(&moved).is_err(), "it opens in its own place only");
    let other = Connections::new(
        Arc::clone(&room.store) as Arc<dyn ConnectionStore>,
        Arc::new(Keyring::random().unwrap()),
        Arc::new(NoConditions),
        room.clock.clone(),
    );
    assert!(matches!(other.open_credentials(&kept), Err(ConnectionError::Sealed(_))));

    let taken = room.connections.create(segment("web")).await;
    assert!(matches!(taken, Err(ConnectionError::Store(ControlError::Exists(name))) if name == "web"));
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let room = room().await;
    let entered = Entered {
        name: " ".into(),
        settings: [("region".to_owned(), json!("moon")), ("x".to_owned(), json!(CANARY))]
            .into_iter()
            .collect(),
        credentials: BTreeMap::from([("write_key".to_owned(), format!("{CANARY}:"))]),
        hosts: BTreeMap::from([
            ("api.segment.io".to_owned(), "127.0.0.1:80".to_owned()),
            ("example.com".to_owned(), "http://127.0.0.1:80".to_owned()),
        ]),
        routing: json!({"rate_cap": 0, "condition": "a = x"}),
        ..segment("")
    };
    let fields: Vec<_> = mistakes(room.connections.create(entered).await);
    let expected = [
        ("name", None),
        ("settings.region", None),
        ("settings.x", None),
        ("credentials.write_key", None),
        ("hosts.api.segment.io", None),
        ("hosts.example.com", None),
        ("routing.rate_cap", None),
        ("routing.condition", Some(3)),
    ];
    assert_eq!(fields, expected.map(|(field, at)| (field.to_owned(), at)));
    assert_eq!(room.store.connections().await.unwrap(), []);

    let unknown = room.connections.create(Entered { vendor: "nobody".into(), ..segment("a") }).await;
    assert_eq!(mistakes(unknown), [("vendor".to_owned(), None)]);
    for address in ["ftp://a", "http://u@a", "http://a?b", "a"] {
        let hosts = BTreeMap::from([("api.segment.io".to_owned(), address.to_owned())]);
        let refused = room.connections.create(Entered { hosts, ..segment("a") }).await;
        assert_eq!(mistakes(refused), [("hosts.api.segment.io".to_owned(), None)], "{address}");
    }
    let hosts = ["*", "api.segment.io"].map(|host| (host.to_owned(), "http://127.0.0.1:80/path".to_owned()));
    let taken = Entered { hosts: BTreeMap::from(hosts.clone()), ..segment("a") };
    assert_eq!(room.connections.create(taken).await.unwrap().connection.hosts, BTreeMap::from(hosts));
}

#[tokio::test]
async fn a_vendor_that_does_not_work_yet_is_refused_with_those_that_do() {
    let room = room().await;
    for planned in vendor::all().iter().filter(|vendor| vendor.outbound.state == vendor::State::Planned) {
        let refused = room.connections.create(Entered { vendor: planned.name.clone(), ..segment("a") }).await;
        let Err(ConnectionError::NotAvailable { vendor, works }) = refused else {
            panic!("{}", planned.name)
        };
        assert_eq!(vendor, planned.label);
        assert!(works.contains(&"segment") && !works.contains(&planned.name.as_str()));
    }
}

#[tokio::test]
async fn a_secret_to_sign_with_is_made_where_none_is_given() {
    let room = room().await;
    let webhook = |name: &str, secret: Option<&str>| Entered {
        vendor: "webhook".into(),
        settings: [("url".to_owned(), json!("https://hooks.example.com/a"))].into_iter().collect(),
        credentials: secret.map(|text| ("signing_secret".to_owned(), text.to_owned())).into_iter().collect(),
        routing: json!({}),
        ..segment(name)
    };
    let made = room.connections.create(webhook("a", None)).await.unwrap();
    let secret = &made.generated["signing_secret"];
    let opened = room.connections.open_credentials(&made.connection).unwrap();
    assert_eq!(opened["signing_secret"].reveal(), secret);
    let blank = room.connections.create(webhook("b", Some(" "))).await.unwrap();
    let take_away =
        || Edit { credentials: BTreeMap::from([("signing_secret".to_owned(), None)]), ..Edit::default() };
    let another = room.connections.update(&blank.connection.id, take_away()).await.unwrap();
    assert_ne!(another.generated["signing_secret"], blank.generated["signing_secret"]);
    let opened = room.connections.open_credentials(&another.connection).unwrap();
    assert_eq!(opened["signing_secret"].reveal(), another.generated["signing_secret"]);
    let settings = [("url".to_owned(), json!("https://hooks.example.com/b"))].into_iter().collect();
    let kept =
        room.connections.update(&blank.connection.id, Edit { settings, ..Edit::default() }).await.unwrap();
    assert!(kept.generated.is_empty(), "another setting leaves it alone");
    assert_ne!(&blank.generated["signing_secret"], secret);

    let own = "whsec_Zmxvd3N0YXRlLWV4YW1wbGUtc2VjcmV0";
    let given = room.connections.create(webhook("c", Some(own))).await.unwrap();
    assert!(given.generated.is_empty());
    let opened = room.connections.open_credentials(&given.connection).unwrap();
    assert_eq!(opened["signing_secret"].reveal(), own);
}

#[tokio::test]
async fn a_change_is_checked_together_with_what_stays() {
    let room = room().await;
    let id = room.connections.create(segment("web")).await.unwrap().connection.id;
    room.clock.advance(5);
    let settings = [("region".to_owned(), json!("us"))].into_iter().collect();
    let edit = Edit { settings, name: Some("site".into()), ..Edit::default() };
    let changed = room.connections.update(&id, edit).await.unwrap().connection;
    assert_eq!(
        (changed.name.as_str(), &changed.settings["region"], changed.version),
        ("site", &json!("us"), 2)
    );
    assert_eq!(changed.updated_at, changed.created_at + 5);
    assert_eq!(room.connections.open_credentials(&changed).unwrap()["write_key"].reveal(), CANARY);

    let nothing_left = room.connections.update(&id, edit_key(None)).await;
    assert_eq!(mistakes(nothing_left), [("credentials.write_key".to_owned(), None)]);
    let settings = [("region".to_owned(), Value::Null)].into_iter().collect();
    let nothing_left = room.connections.update(&id, Edit { settings, ..Edit::default() }).await;
    assert_eq!(mistakes(nothing_left), [("settings.region".to_owned(), None)]);
    let edit = Edit { routing: Some(json!({"kinds": ["x"]})), name: Some(String::new()), ..Edit::default() };
    let wrong = [("name".to_owned(), None), ("routing.kinds[0]".to_owned(), None)];
    assert_eq!(mistakes(room.connections.update(&id, edit).await), wrong);
    assert_eq!(room.store.connection(&id).await.unwrap(), changed, "a refused change changes nothing");

    let edit =
        Edit { routing: Some(json!({})), hosts: Some(BTreeMap::new()), ..edit_key(Some("anotherKEY0")) };
    let changed = room.connections.update(&id, edit).await.unwrap().connection;
    assert_eq!((&changed.routing, changed.version), (&Routing::default(), 3));
    assert_eq!(room.connections.open_credentials(&changed).unwrap()["write_key"].reveal(), "anotherKEY0");
    assert_eq!(changed.credentials["write_key"].summary.last_four, None, "too short to show any");
    let same = room.connections.update(&id, Edit::default()).await.unwrap().connection;
    assert_eq!(same, changed, "no change is no new version");
    let unknown = room.connections.update("con_x", Edit::default()).await;
    assert!(matches!(unknown, Err(ConnectionError::Store(ControlError::Unknown(_)))));
}

#[tokio::test]
async fn a_credential_can_be_entered_again_when_its_key_is_lost() {
    let room = room().await;
    let id = room.connections.create(segment("web")).await.unwrap().connection.id;
    let other = Connections::new(
        Arc::clone(&room.store) as Arc<dyn ConnectionStore>,
        Arc::new(Keyring::random().unwrap()),
        Arc::new(NoConditions),
        room.clock.clone(),
    );
    let settings = [("region".to_owned(), json!("us"))].into_iter().collect();
    let closed = other.update(&id, Edit { settings, ..Edit::default() }).await;
    assert!(matches!(closed, Err(ConnectionError::Sealed(_))));
    let changed = other.update(&id, edit_key(Some(CANARY))).await.unwrap().connection;
    assert_eq!(other.open_credentials(&changed).unwrap()["write_key"].reveal(), CANARY);
}

#[tokio::test]
async fn credentials_are_sealed_anew_under_a_new_key() {
    let room = room().await;
    let made = room.connections.create(segment("web")).await.unwrap().connection;
    let mut ring = (*room.keyring).clone();
    ring.add_key().unwrap();
    let rotating = Connections::new(
        Arc::clone(&room.store) as Arc<dyn ConnectionStore>,
        Arc::new(ring.clone()),
        Arc::new(NoConditions),
        room.clock.clone(),
    );
    assert_eq!(rotating.rewrap().await.unwrap(), 1);
    assert_eq!(rotating.rewrap().await.unwrap(), 0);
    ring.keep_current();
    let rotated = Connections::new(
        Arc::clone(&room.store) as Arc<dyn ConnectionStore>,
        Arc::new(ring),
        Arc::new(NoConditions),
        room.clock.clone(),
    );
    let kept = room.store.connection(&made.id).await.unwrap();
    assert_eq!(rotated.open_credentials(&kept).unwrap()["write_key"].reveal(), CANARY);
    assert_eq!(kept.version, made.version);
}

#[tokio::test]
async fn a_person_moves_a_connection_from_state_to_state() {
    let room = room().await;
    let connections = &room.connections;
    let id = connections.create(segment("web")).await.unwrap().connection.id;
    for refused in [connections.pause(&id).await, connections.resume(&id).await] {
        assert!(matches!(refused, Err(ConnectionError::State(_))), "it was never enabled");
    }
    let enabled = connections.enable(&id, StartFrom::Now).await.unwrap();
    let start = Some(crate::connection::Start { from: StartFrom::Now, asked_at: room.clock.now() });
    assert_eq!((enabled.state, enabled.start), (State::Enabled, start));
    assert!(matches!(connections.enable(&id, StartFrom::Beginning).await, Err(ConnectionError::State(_))));
    assert_eq!(connections.pause(&id).await.unwrap().state, State::Paused);
    assert_eq!(connections.pause(&id).await.unwrap().state, State::Paused);
    let resumed = connections.resume(&id).await.unwrap();
    assert_eq!((resumed.state, resumed.start), (State::Enabled, start), "where it stopped");
    let hold = |state| room.store.set_state(&id, &[State::Enabled], None, state, None, 1);
    hold(State::Held).await.unwrap();
    assert_eq!(
        connections.update(&id, edit_key(Some(CANARY))).await.unwrap().connection.state,
        State::Enabled
    );
    hold(State::Disabled).await.unwrap();
    assert_eq!(connections.resume(&id).await.unwrap().state, State::Enabled);
    connections.pause(&id).await.unwrap();
    let skipped = connections.enable(&id, StartFrom::Beginning).await.unwrap();
    assert_eq!(skipped.start.unwrap().from, StartFrom::Beginning);
}

#[tokio::test]
async fn a_replay_is_checked_and_ends_once() {
    let room = room().await;
    let connections = &room.connections;
    let id = connections.create(segment("web")).await.unwrap().connection.id;
    let spec = ReplaySpec {
        condition: Some("x".into()),
        from: Some(2),
        to: Some(2),
        rate: Some(0.0),
        ..Default::default()
    };
    let wrong =
        [("condition", Some(3)), ("to", None), ("rate", None)].map(|(field, at)| (field.to_owned(), at));
    assert_eq!(mistakes(connections.begin_replay(&id, spec).await), wrong);
    let draft = connections.begin_replay(&id, ReplaySpec::default()).await;
    assert!(matches!(draft, Err(ConnectionError::State(_))));

    connections.enable(&id, StartFrom::Now).await.unwrap();
    let replay = connections.begin_replay(&id, ReplaySpec::default()).await.unwrap();
    assert_eq!((replay.state, replay.counts.total), (ReplayState::Running, 0));
    assert!(replay.id.starts_with("rep_"));
    assert_eq!(room.store.replay(&replay.id).await.unwrap(), replay);
    for to in [ReplayState::Paused, ReplayState::Running, ReplayState::Cancelled, ReplayState::Cancelled] {
        assert_eq!(connections.move_replay(&replay.id, to).await.unwrap().state, to);
    }
    let over = connections.move_replay(&replay.id, ReplayState::Running).await;
    assert!(matches!(over, Err(ConnectionError::State(message)) if message.contains("cancelled")));
}
