use super::*;
use pipeline::connection::IdentifierKind;
use pipeline::log::PartitionId;
use proptest::prelude::*;
use std::borrow::Cow;
use std::sync::Mutex;

fn track(name: &'static str) -> Stored<Event<'static>> {
    let mut event = Event::new(Kind::Track, "m1");
    event.event = Some(Cow::Borrowed(name));
    event.user_id = Some(Cow::Borrowed("u1"));
    stored(event)
}

fn stored(record: Event<'static>) -> Stored<Event<'static>> {
    Stored {
        partition: PartitionId("p".into()),
        offset: 0,
        received_at: 0,
        source: "site".into(),
        test: false,
        record,
    }
}

fn known_as(explicit: bool) -> KnownAs {
    KnownAs { names: vec!["crm".to_owned(), "Salesforce".to_owned()], explicit }
}

fn selection(routing: &Routing) -> Selection {
    Selection::new(routing, known_as(false), Arc::default(), None).expect("the routing is right")
}

fn decide(selection: &Selection, event: Stored<Event<'static>>) -> Decision {
    selection.decide(&[event]).pop().expect("one decision for one event")
}

/// A condition that calls events named `keep` its own and cannot evaluate those named `broken`.
#[derive(Default)]
struct Named {
    asked: Mutex<Vec<usize>>,
    answers_too_few: bool,
}

impl Condition for Named {
    fn holds(&self, events: &[Stored<Event<'static>>]) -> Result<Vec<bool>, String> {
        self.asked.lock().expect("no panic").push(events.len());
        let name = |event: &Stored<Event<'static>>| event.record.event.clone().unwrap_or_default();
        if events.iter().any(|event| name(event) == "broken") {
            return Err("1 / 0".to_owned());
        }
        let few = usize::from(self.answers_too_few);
        Ok(events.iter().skip(few).map(|event| name(event) == "keep").collect())
    }
}

#[test]
fn without_a_routing_everything_is_sent() {
    let selection = selection(&Routing::default());
    for kind in Kind::ALL {
        assert_eq!(decide(&selection, stored(Event::new(kind, "m1"))), Decision::Send, "{kind:?}");
    }
}

#[test]
fn events_of_test_sources_are_never_sent() {
    let event = Stored { test: true, ..track("a") };
    assert_eq!(decide(&selection(&Routing::default()), event), Decision::Filtered("test_source"));
}

#[test]
fn imported_events_are_sent_by_a_replay_or_when_the_import_says_so() {
    let selection = selection(&Routing::default());
    let mut event = track("a");
    event.record.flags = Flags::IMPORTED;
    assert_eq!(decide(&selection, event.clone()), Decision::Filtered("imported"));
    assert_eq!(decide(&selection.clone().with_imported(), event.clone()), Decision::Send);
    event.record.flags.insert(Flags::FOR_DELIVERY);
    assert_eq!(decide(&selection, event), Decision::Send);
}

#[test]
fn kinds_and_names_choose() {
    let routing = Routing {
        kinds: vec!["track".to_owned(), "page".to_owned()],
        names: vec!["Order Completed".to_owned()],
        ..Routing::default()
    };
    let selection = selection(&routing);
    for (event, decision) in [
        (track("Order Completed"), Decision::Send),
        (track("order completed"), Decision::Filtered("name")),
        (stored(Event::new(Kind::Track, "m1")), Decision::Filtered("name")),
        (stored(Event::new(Kind::Page, "m1")), Decision::Send),
        (stored(Event::new(Kind::Identify, "m1")), Decision::Filtered("kind")),
    ] {
        let record = event.record.clone();
        assert_eq!(decide(&selection, event), decision, "{record:?}");
    }
}

#[test]
fn a_kind_that_there_is_not_is_refused() {
    let routing = Routing { kinds: vec!["Track".to_owned()], ..Routing::default() };
    let error = Selection::new(&routing, known_as(false), Arc::default(), None).err();
    assert_eq!(error, Some(SelectionError::Kind("Track".to_owned())));
}

#[test]
fn the_integrations_object_is_honoured() {
    let decided = |integrations: &'static str, explicit| {
        let mut event = track("a");
        event.record.integrations = Some(Cow::Borrowed(integrations));
        let selection = Selection::new(&Routing::default(), known_as(explicit), Arc::default(), None);
        decide(&selection.expect("the routing is right"), event)
    };
    let out = Decision::Filtered("integrations");
    assert_eq!(decided(r#"{"All":false}"#, false), out);
    assert_eq!(decided(r#"{"All":false,"crm":true}"#, false), Decision::Send);
    assert_eq!(decided(r#"{"Salesforce":false}"#, false), out);
    assert_eq!(decided(r#"{"All":true}"#, true), out);
    assert_eq!(decided(r#"{"Salesforce":true}"#, true), Decision::Send);
}

#[test]
fn suppressed_people_go_nowhere() {
    let suppressed = Suppressed::new([
        (IdentifierKind::UserId, "gone".into()),
        (IdentifierKind::AnonymousId, "ghost".into()),
        (IdentifierKind::Email, "gone@example.com".into()),
    ]);
    let selection = selection(&Routing::default()).with_suppressed(Arc::new(suppressed));
    type Change = fn(&mut Event<'static>);
    let cases: [(Change, Option<&str>); 12] = [
        (|_| {}, None),
        (|event| event.user_id = Some("gone".into()), Some("suppressed_user_id")),
        (|event| event.user_id = Some("ghost".into()), None),
        (|event| event.anonymous_id = Some("ghost".into()), Some("suppressed_anonymous_id")),
        (|event| event.previous_id = Some("gone".into()), Some("suppressed_previous_id")),
        (|event| event.previous_id = Some("ghost".into()), Some("suppressed_previous_id")),
        (|event| event.traits = Some(r#"{"email":"Gone@Example.com"}"#.into()), Some("suppressed_email")),
        (|event| event.properties = Some(r#"{"email":"gone@example.com"}"#.into()), Some("suppressed_email")),
        (
            |event| event.context = Some(r#"{"traits":{"\u0065mail":"gone\u0040example.com"}}"#.into()),
            Some("suppressed_email"),
        ),
        (|event| event.traits = Some(r#"{"email":["gone@example.com"]}"#.into()), None),
        (|event| event.traits = Some(r#"{"email":"other@example.com"}"#.into()), None),
        (|event| event.context = Some(r#"{"email":"gone@example.com"}"#.into()), None),
    ];
    for (change, reason) in cases {
        let mut event = track("a");
        change(&mut event.record);
        let expected = reason.map_or(Decision::Send, Decision::Suppressed);
        assert_eq!(decide(&selection, event.clone()), expected, "{:?}", event.record);
    }
}

#[test]
fn consent_is_kept_to() {
    let yes = Decision::Send;
    let no = Decision::Suppressed("consent");
    let unknown = Decision::Suppressed("consent_unknown");
    for (context, decision, required) in [
        (None, &yes, &unknown),
        (Some("{}"), &yes, &unknown),
        (Some(r#"{"consent":{}}"#), &yes, &unknown),
        (Some(r#"{"consent":{"categoryPreferences":null}}"#), &yes, &unknown),
        (Some(r#"{"consent":{"categoryPreferences":{}}}"#), &no, &no),
        (Some(r#"{"consent":{"categoryPreferences":"all"}}"#), &no, &no),
        (Some(r#"{"consent":{"categoryPreferences":{"ads":true}}}"#), &no, &no),
        (Some(r#"{"consent":{"categoryPreferences":{"ads":true,"crm":false}}}"#), &no, &no),
        (Some(r#"{"consent":{"categoryPreferences":{"ads":true,"crm":"true"}}}"#), &no, &no),
        (Some(r#"{"consent":{"categoryPreferences":{"ads":true,"crm":true,"x":false}}}"#), &yes, &yes),
    ] {
        for (is_required, decision) in [(false, decision), (true, required)] {
            let categories = vec!["ads".to_owned(), "crm".to_owned()];
            let consent = Consent { categories, required: is_required };
            let mut event = track("a");
            event.record.context = context.map(Cow::Borrowed);
            let selection = selection(&Routing { consent, ..Routing::default() });
            assert_eq!(decide(&selection, event), *decision, "{context:?}, required: {is_required}");
        }
    }
}

#[test]
fn a_destination_without_categories_asks_for_no_consent() {
    let consent = Consent { categories: Vec::new(), required: true };
    let selection = selection(&Routing { consent, ..Routing::default() });
    assert_eq!(decide(&selection, track("a")), Decision::Send);
}

#[test]
fn an_event_that_a_condition_cannot_evaluate_stops_no_other() {
    let selection =
        Selection { condition: Some(Arc::new(Named::default())), ..selection(&Routing::default()) };
    let decisions = selection.decide(&["keep", "broken", "other"].map(track));
    let refused = Decision::Refused { reason: "condition_failed", detail: "1 / 0".to_owned() };
    assert_eq!(decisions, [Decision::Send, refused, Decision::Filtered("condition")]);
}

#[test]
fn a_condition_that_answers_too_little_sends_nothing() {
    let few = Named { answers_too_few: true, ..Named::default() };
    let selection = Selection { condition: Some(Arc::new(few)), ..selection(&Routing::default()) };
    for decision in selection.decide(&["keep", "keep"].map(track)) {
        assert!(matches!(decision, Decision::Refused { reason: "condition_failed", .. }), "{decision:?}");
    }
}

#[test]
fn a_condition_is_asked_once_for_many_events_and_not_for_none() {
    let named = Arc::new(Named::default());
    let routing = Routing { names: vec!["keep".to_owned()], ..Routing::default() };
    let condition: Arc<dyn Condition> = Arc::<Named>::clone(&named);
    let selection = Selection { condition: Some(condition), ..selection(&routing) };
    selection.decide(&["other", "other"].map(track));
    selection.decide(&["keep", "keep", "other"].map(track));
    selection.decide(&["keep", "other", "other"].map(track));
    assert_eq!(*named.asked.lock().expect("no panic"), [3, 1], "all of them, or those that matter");
}

proptest! {
    /// Each event is decided as if it were alone, whatever stands beside it.
    #[test]
    fn neighbours_do_not_matter(events in prop::collection::vec((0..4_usize, any::<bool>()), 0..40)) {
        let routing = Routing { names: ["keep", "drop", "broken"].map(str::to_owned).into(), ..Routing::default() };
        let selection = Selection { condition: Some(Arc::new(Named::default())), ..selection(&routing) };
        let events: Vec<_> = events
            .into_iter()
            .map(|(name, test)| Stored { test, ..track(["keep", "drop", "broken", "unnamed"][name]) })
            .collect();
        let alone: Vec<_> = events.iter().map(|event| decide(&selection, event.clone())).collect();
        prop_assert_eq!(selection.decide(&events), alone);
    }
}
