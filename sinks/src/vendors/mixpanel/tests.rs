//! The sink against the fake vendor, over HTTP, in both identity models.

use super::*;
use crate::engine::{Scope, StepState};
use crate::vendors::conformance::{self, Loopback, NOW, Subject, conformance, stored};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use pipeline::control::Secret;
use pipeline::delivery::Class;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use vendors::Failure;
use vendors::mixpanel::{FakeMixpanel, Identity, RulePacks};

const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const ACCOUNT: &str = "flowstate.a1b2c3.mp-service-account";
const SECRET: &str = "s3cr3t-of-the-account-9d8c";

/// A project with simplified identities and a service account.
struct Fake(FakeMixpanel);

fn start(identity: Identity) -> FakeMixpanel {
    start_with(identity, None)
}

fn start_with(identity: Identity, packs: Option<RulePacks>) -> FakeMixpanel {
    let project = vendors::mixpanel::Project {
        token: TOKEN.to_owned(),
        id: "2195193".to_owned(),
        service_account: (ACCOUNT.to_owned(), SECRET.to_owned()),
        identity,
        group_keys: vec!["company_id".to_owned()],
    };
    FakeMixpanel::start(project, packs, || NOW).expect("a fake")
}

fn packs() -> Option<RulePacks> {
    let specs = conformance::specs()?;
    Some(RulePacks::read(&specs.join("mixpanel")).expect("the packs"))
}

fn hosts(fake: &FakeMixpanel) -> Vec<(&'static str, SocketAddr)> {
    vec![("api-eu.mixpanel.com", fake.address()), ("eu.mixpanel.com", fake.address())]
}

fn kept(fake: &FakeMixpanel) -> usize {
    fake.events().len() + fake.profiles().len() + fake.groups().len()
}

fn with_service_account(mut account: Account, user_and_secret: &str) -> Account {
    account.settings.insert("project_id".to_owned(), "2195193".into());
    let credential = Secret::credential(user_and_secret.to_owned());
    account.credentials.insert("service_account".to_owned(), credential);
    account
}

impl Subject for Fake {
    type Sink = Mixpanel;

    const VENDOR: &'static str = "mixpanel";

    fn start() -> Self {
        Self(start_with(Identity::Simplified, packs()))
    }

    fn account() -> Account {
        let settings = json!({"region": "eu", "group_keys": ["company_id"]});
        let account = conformance::account(settings, &[("project_token", TOKEN)]);
        with_service_account(account, &format!("{ACCOUNT}:{SECRET}"))
    }

    fn wrong_account() -> Option<Account> {
        Some(with_service_account(Self::account(), &format!("{ACCOUNT}:another-secret-1a2b3c4d")))
    }

    fn sink(account: &Account) -> Mixpanel {
        Mixpanel::new(account).expect("a sink")
    }

    fn hosts(&self) -> Vec<(&'static str, SocketAddr)> {
        hosts(&self.0)
    }

    fn kept(&self) -> usize {
        kept(&self.0)
    }

    fn violations(&self) -> Vec<String> {
        self.0.violations()
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

conformance!(Fake);

#[test]
fn operations_go_to_the_endpoint_that_the_facts_have_at_their_place() {
    let facts = pipeline::vendor::named("mixpanel").expect("facts");
    let name = |endpoint: usize| facts.outbound.endpoints[endpoint].name.as_str();
    assert_eq!([name(IMPORT), name(ENGAGE), name(GROUPS)], ["import", "engage", "groups"]);
}

/// A project with the original identities and nothing but its token.
struct Original(FakeMixpanel);

impl Subject for Original {
    type Sink = Mixpanel;

    const VENDOR: &'static str = "mixpanel/original";

    fn start() -> Self {
        Self(start_with(Identity::Original, packs()))
    }

    fn account() -> Account {
        let settings = json!({"region": "eu", "identity_mode": "original", "group_keys": ["company_id"]});
        conformance::account(settings, &[("project_token", TOKEN)])
    }

    fn wrong_account() -> Option<Account> {
        let credential = Secret::credential(TOKEN.replace('0', "1"));
        Some(Account { credentials: [("project_token".to_owned(), credential)].into(), ..Self::account() })
    }

    fn sink(account: &Account) -> Mixpanel {
        Mixpanel::new(account).expect("a sink")
    }

    fn hosts(&self) -> Vec<(&'static str, SocketAddr)> {
        hosts(&self.0)
    }

    fn kept(&self) -> usize {
        kept(&self.0)
    }

    fn violations(&self) -> Vec<String> {
        self.0.violations()
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

mod original {
    use super::{Original, conformance};

    #[test]
    fn events_become_what_the_fixtures_say() {
        conformance::events_become_what_the_fixtures_say::<Original>();
    }

    #[test]
    fn mapping_is_a_pure_function() {
        conformance::mapping_is_a_pure_function::<Original>();
    }

    #[tokio::test]
    async fn fixtures_are_delivered() {
        conformance::fixtures_are_delivered::<Original>().await;
    }

    #[tokio::test]
    async fn a_repeat_does_what_the_sink_declares() {
        conformance::a_repeat_does_what_the_sink_declares::<Original>().await;
    }

    #[test]
    fn requests_keep_the_limits() {
        conformance::requests_keep_the_limits::<Original>();
    }

    #[tokio::test]
    async fn documented_events_are_taken_or_refused_with_a_reason() {
        conformance::documented_events_are_taken_or_refused_with_a_reason::<Original>().await;
    }

    #[tokio::test]
    async fn a_check_names_the_step_that_failed() {
        conformance::a_check_names_the_step_that_failed::<Original>().await;
    }

    #[tokio::test]
    async fn secrets_are_never_shown() {
        conformance::secrets_are_never_shown::<Original>().await;
    }
}

fn operations(sink: &Mixpanel, message: &Value) -> Vec<Operation> {
    match sink.map(&stored(message)) {
        Mapped::Operations(operations) => operations,
        other => panic!("{other:?}"),
    }
}

/// Sends each operation in a request of its own.
async fn deliver(sink: &Mixpanel, http: &Loopback, message: &Value) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for operation in operations(sink, message) {
        let answer = http.send(sink.request(&[&operation], NOW)).await.expect("an answer");
        verdicts.extend(sink.verdicts(&[&operation], &answer, NOW));
    }
    verdicts
}

fn track(id: &str, anonymous: &str) -> Value {
    json!({"type": "track", "messageId": id, "anonymousId": anonymous, "event": "Clicked"})
}

fn unpacked(request: &Request) -> String {
    let mut text = String::new();
    GzDecoder::new(request.body.as_ref()).read_to_string(&mut text).expect("gzip");
    text
}

#[test]
fn events_go_packed_to_the_host_of_the_region_with_the_account() {
    let sink = Fake::sink(&Fake::account());
    let operations = operations(&sink, &track("m-1", "a-1"));
    let request = sink.request(&[&operations[0], &operations[0]], NOW);
    assert_eq!(request.url.as_str(), "https://api-eu.mixpanel.com/import?strict=1&project_id=2195193");
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{ACCOUNT}:{SECRET}")));
    assert_eq!(request.headers[AUTHORIZATION], basic);
    assert!(request.headers[AUTHORIZATION].is_sensitive());
    assert_eq!(request.headers[CONTENT_ENCODING], "gzip");
    let event = r#"{"event":"Clicked","properties":{"$device_id":"a-1","$insert_id":"m-1","distinct_id":"$device:a-1","ip":"0","time":1768478400000}}"#;
    assert_eq!(unpacked(&request), format!("[{event},{event}]"));
    assert_eq!(request.body, sink.request(&[&operations[0], &operations[0]], NOW + 1).body);
}

#[test]
fn profiles_and_groups_carry_the_token_that_operations_do_not_show() {
    let sink = Original::sink(&Original::account());
    let group =
        json!({"type": "group", "messageId": "m-1", "userId": "u-1", "groupId": "g-1", "traits": {"a": 1}});
    let operations = operations(&sink, &group);
    assert!(!format!("{operations:?}").contains(TOKEN));
    let requests = [&operations[0], &operations[1]].map(|operation| sink.request(&[operation], NOW));
    let expected = [
        (
            "https://api-eu.mixpanel.com/groups?verbose=1",
            format!(
                r#"[{{"$token":"{TOKEN}","$group_key":"company_id","$group_id":"g-1","$set":{{"a":1}}}}]"#
            ),
        ),
        (
            "https://api-eu.mixpanel.com/engage?verbose=1",
            format!(
                r#"[{{"$token":"{TOKEN}","$distinct_id":"u-1","$ip":"0","$union":{{"company_id":["g-1"]}}}}]"#
            ),
        ),
    ];
    for (request, (url, body)) in requests.iter().zip(expected) {
        assert_eq!((request.url.as_str(), &request.body[..]), (url, body.as_bytes()));
        assert!(!request.headers.contains_key(CONTENT_ENCODING));
    }
}

#[test]
fn events_that_join_ids_carry_the_token() {
    let sink = Original::sink(&Original::account());
    let alias = json!({"type": "alias", "messageId": "m-1", "userId": "u-1", "previousId": "u-0"});
    let operations = operations(&sink, &alias);
    let request = sink.request(&[&operations[0]], NOW);
    let start = format!(r#"[{{"event":"$create_alias","properties":{{"token":"{TOKEN}","$insert_id":""#);
    assert!(unpacked(&request).starts_with(&start), "{}", unpacked(&request));
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{TOKEN}:")));
    assert_eq!(request.headers[AUTHORIZATION], basic);
}

#[tokio::test]
async fn a_visitor_who_signs_up_is_one_person_with_their_past() {
    let device = "6f1c2b9e-0d3a-4b62-9a57-3f4f4f3a1c11";
    let identify = json!({"type": "identify", "messageId": "m-2", "userId": "u-1", "anonymousId": device,
        "traits": {"email": "ada@example.com"}});
    for (identity, sink) in [
        (Identity::Simplified, Fake::sink(&Fake::account())),
        (Identity::Original, Original::sink(&Original::account())),
    ] {
        let fake = start(identity);
        let http = Loopback::new(hosts(&fake));
        for message in [track("m-1", device), identify.clone(), identify.clone()] {
            for verdict in deliver(&sink, &http, &message).await {
                assert_eq!(verdict, Verdict::Delivered);
            }
        }
        assert_eq!(fake.violations(), [""; 0]);
        assert_eq!(fake.people()["u-1"], BTreeSet::from([device.to_owned()]));
        assert_eq!(fake.events().len(), 2, "the joining event counts once: {:?}", fake.events());
        assert_eq!(fake.profiles()["u-1"], json!({"$email": "ada@example.com"}));
    }
}

#[tokio::test]
async fn a_refused_event_does_not_spoil_the_others_of_its_batch() {
    let fake = start(Identity::Simplified);
    let (sink, http) = (Fake::sink(&Fake::account()), Loopback::new(hosts(&fake)));
    let mut operations: Vec<_> =
        ["m-1", "m-2", "m-3"].iter().flat_map(|id| operations(&sink, &track(id, "a-1"))).collect();
    let broken = String::from_utf8_lossy(&operations[1].body).replace("m-2", "m 2").into();
    operations[1].body = broken;
    let operations: Vec<_> = operations.iter().collect();
    let answer = http.send(sink.request(&operations, NOW)).await.expect("an answer");
    let verdicts = sink.verdicts(&operations, &answer, NOW);
    assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Delivered, &Verdict::Delivered));
    let Verdict::Failed(failure) = &verdicts[1] else { panic!("{verdicts:?}") };
    assert_eq!((failure.class, failure.scope, failure.status), (Class::Validation, Scope::Item, Some(400)));
    assert_eq!(failure.detail, "properties.$insert_id: `m 2` is no id");
    assert_eq!(fake.events().len(), 2);
}

#[tokio::test]
async fn an_event_taken_before_the_connection_broke_counts_once() {
    let fake = start(Identity::Simplified);
    let (sink, http) = (Fake::sink(&Fake::account()), Loopback::new(hosts(&fake)));
    let operations = operations(&sink, &track("m-1", "a-1"));
    fake.fail([Failure::TakeAndReset]);
    let error = http.send(sink.request(&[&operations[0]], NOW)).await.expect_err("no answer");
    assert_eq!(error.class, Class::NetworkReset);
    assert_eq!(deliver(&sink, &http, &track("m-1", "a-1")).await, [Verdict::Delivered]);
    assert_eq!((fake.events().len(), fake.repeats()["m-1"]), (1, 2));
}

#[tokio::test]
async fn a_full_minute_is_told_without_a_hint() {
    let fake = start(Identity::Simplified);
    let (sink, http) = (Fake::sink(&Fake::account()), Loopback::new(hosts(&fake)));
    fake.limit(Some(1));
    assert_eq!(deliver(&sink, &http, &track("m-1", "a-1")).await, [Verdict::Delivered]);
    let verdicts = deliver(&sink, &http, &track("m-2", "a-1")).await;
    let [Verdict::Failed(failure)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((failure.class, failure.retry_after), (Class::RateLimited, None));
    assert_eq!(fake.events().len(), 1);
}

#[tokio::test]
async fn a_check_tells_what_is_wrong_and_what_cannot_be_proven() {
    let fake = start(Identity::Simplified);
    let http = Loopback::new(hosts(&fake));
    let states = async |account: &Account, sample| {
        let check = Mixpanel::new(account).expect("a sink").check(&http, NOW, sample).await;
        check.steps.into_iter().map(|step| (step.name, step.state)).collect::<Vec<_>>()
    };
    use StepState::{Failed, Passed, Skipped, Unprovable};
    let account = Fake::account();
    let proven = [("reachable", Passed), ("authenticated", Passed), ("object_exists", Passed)];
    assert_eq!(states(&account, true).await, [&proven[..], &[("sample_event", Passed)]].concat());
    assert_eq!(states(&account, false).await, [&proven[..], &[("sample_event", Skipped)]].concat());
    let mut other_project = account.clone();
    other_project.settings.insert("project_id".to_owned(), "21951930".into());
    let unknown = [&proven[..2], &[("object_exists", Failed)]].concat();
    assert_eq!(states(&other_project, true).await, unknown);
    let token = conformance::account(json!({"region": "eu"}), &[("project_token", TOKEN)]);
    assert_eq!(states(&token, false).await, [("authenticated", Unprovable), ("sample_event", Skipped)]);
    assert_eq!(states(&token, true).await, [&proven[..2], &[("sample_event", Passed)]].concat());
    let wrong = conformance::account(json!({"region": "eu"}), &[("project_token", &TOKEN.replace('0', "1"))]);
    assert_eq!(states(&wrong, true).await, [("reachable", Passed), ("authenticated", Failed)]);
}

#[test]
fn settings_are_refused_with_what_is_allowed() {
    let token = || vec![("project_token".to_owned(), Secret::credential(TOKEN.to_owned()))];
    let with = |credential: &str| {
        let mut all = token();
        all.push(("service_account".to_owned(), Secret::credential(credential.to_owned())));
        all
    };
    for (settings, credentials, message) in [
        (json!({}), token(), "`region`: it must be `us`, `eu` or `in`"),
        (
            json!({"region": "us", "identity_mode": "both"}),
            token(),
            "`identity_mode`: it must be `simplified` or",
        ),
        (json!({"region": "us"}), vec![], "`project_token`: it is missing"),
        (
            json!({"region": "us"}),
            vec![("project_token".to_owned(), Secret::credential("abc".to_owned()))],
            "`project_token`: it must be 32 hexadecimal digits",
        ),
        (
            json!({"region": "us"}),
            with("user-alone"),
            "`service_account`: it must be a user name and a secret",
        ),
        (json!({"region": "us"}), with("user:secret-of-it"), "`project_id`: a service account needs it"),
        (
            json!({"region": "us", "project_id": "1&x=2"}),
            with("user:secret-of-it"),
            "`project_id`: it must be a number",
        ),
    ] {
        let Value::Object(settings) = settings else { panic!("an object") };
        let account = Account { settings, credentials: credentials.into_iter().collect() };
        let error = Mixpanel::new(&account).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
        assert!(!error.contains("user-alone") && !error.contains("secret-of-it"), "{error}");
    }
}

#[test]
fn a_secret_that_the_vendor_repeats_is_not_shown() {
    let sink = Fake::sink(&Fake::account());
    let operations = operations(&sink, &track("m-1", "a-1"));
    for body in [
        json!({"error": format!("{TOKEN} {ACCOUNT}:{SECRET} {SECRET}")}),
        json!({"failed_records": [{"index": 0, "field": "x", "message": format!("{TOKEN} and {SECRET}")}]}),
    ] {
        let answer = Answer { status: 400, headers: HeaderMap::new(), body: body.to_string().into() };
        let shown = format!("{:?}", sink.verdicts(&[&operations[0]], &answer, NOW));
        assert!(!shown.contains(TOKEN) && !shown.contains(SECRET), "{shown}");
    }
}

#[test]
fn limits_are_within_those_of_the_contract() {
    let Some(specs) = conformance::specs() else {
        return conformance::skip("limits_are_within_those_of_the_contract");
    };
    let text = std::fs::read_to_string(specs.join("contracts/mixpanel.json")).expect("a contract");
    let contract: Value = serde_json::from_str(&text).expect("JSON");
    let manners = crate::vendors::manners::of("mixpanel");
    for (endpoint, name) in ["import", "engage", "groups"].into_iter().enumerate() {
        let (limits, told) = (manners.endpoints[endpoint], &contract["ops"][name]);
        let within = |ours: usize, key: &str| told[key].as_u64().is_none_or(|theirs| ours as u64 <= theirs);
        assert!(within(limits.operations_max, "max_items"), "{name}: {told}");
        assert!(within(limits.operation_bytes_max, "max_item_bytes"), "{name}: {told}");
        let tokens = limits.operations_max * 50;
        assert!(within(limits.batch_bytes_max + tokens, "max_bytes"), "{name}: {told}");
        let operation = Operation { endpoint, group: String::new(), body: "{}".into() };
        let request = Original::sink(&Original::account()).request(&[&operation], NOW);
        let path = told["path"].as_str().and_then(|path| path.split('#').next()).expect("a path");
        assert!(request.url.as_str().ends_with(path), "{} is not {path}", request.url);
    }
    for (region, host) in contract["hosts"].as_object().expect("hosts") {
        let account = conformance::account(json!({"region": region}), &[("project_token", TOKEN)]);
        let project = Mixpanel::new(&account).expect("a sink").project;
        assert_eq!(*host, format!("https://{}", project.region.ingestion_host()));
        assert_eq!(contract["app_hosts"][region], format!("https://{}", project.region.app_host()));
    }
}

#[tokio::test]
async fn profiles_that_are_refused_are_halved_by_the_engine() {
    let fake = start(Identity::Simplified);
    let (sink, http) = (Fake::sink(&Fake::account()), Loopback::new(hosts(&fake)));
    let identify =
        json!({"type": "identify", "messageId": "m-1", "userId": "u-1", "traits": {"plan": "pro"}});
    let mut operations = [operations(&sink, &identify), operations(&sink, &identify)].concat();
    operations[1].body = String::from_utf8_lossy(&operations[1].body).replace("u-1", "null").into();
    let operations: Vec<_> = operations.iter().collect();
    let answer = http.send(sink.request(&operations, NOW)).await.expect("an answer");
    for verdict in sink.verdicts(&operations, &answer, NOW) {
        let Verdict::Failed(failure) = verdict else { panic!("{verdict:?}") };
        assert_eq!((failure.class, failure.scope), (Class::Validation, Scope::Batch));
        assert!(failure.detail.contains("record 1: `$distinct_id`"), "{}", failure.detail);
    }
    assert_eq!(fake.profiles().len(), 0, "it is refused as a whole");
}
