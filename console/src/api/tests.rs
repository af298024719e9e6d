//! The promises of the API, over the real control store and fakes of the other rooms.

mod fakes;

use super::*;
use crate::columns::{Column, ColumnList, Columns, ColumnsError};
use crate::logged::{Commits, CommitsOf, LoggedEvent, News, Page, RejectedEvent, Search};
use crate::reads::{
    AccountPlace, Accounts, AccountsOf, Format, InSource, Life, Place, ReadError, Reads, Rows, StoredAt,
    Totals,
};
use crate::retention::Retention;
use actix_web::App;
use actix_web::test::{TestRequest, call_service, init_service, read_body, read_body_json};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use pipeline::Clock;
use pipeline::connection::{ConnectionStore, Connections};
use pipeline::control::sqlite::Sqlite;
use pipeline::control::{ApiKey, Control, Keys, Secret};
use pipeline::log::table::promoted::PromotedType;
use pipeline::log::{Offset, PartitionId};
use pipeline::seal::Keyring;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fakes::{Conditions, FakeDeliveries, FakeImports};

const API_KEY: &str = "fs_api_0123456789";
const PROCESS_KEY: &str = "fs_api_of_this_process";

/// Answers from memory, and remembers what was asked.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    dropped: Arc<Mutex<bool>>,
}

struct Dropped(Arc<Mutex<bool>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = true;
    }
}

impl Reads for Fake {
    fn sql(&self, sql: String, format: Format) -> BoxFuture<'static, Result<Rows, ReadError>> {
        self.asked.lock().unwrap().push(format!("{} {sql}", format.as_str()));
        let dropped = Dropped(Arc::clone(&self.dropped));
        async move {
            let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
            match sql.as_str() {
                "wrong" => Err(ReadError::Query("line 1: `wrong` is no query".into())),
                "one too many" => Err(ReadError::Busy("4 queries are running".into())),
                "big" => Ok(stream::iter([Err(ReadError::Limit("over 5 rows".into()))]).boxed()),
                "late" => Ok(stream::iter([piece("[1"), Err(ReadError::Failed("disk".into()))]).boxed()),
                "endless" => Ok(stream::iter(std::iter::repeat_with(move || {
                    let _held = &dropped;
                    piece("1,")
                }))
                .boxed()),
                _ => Ok(stream::iter([piece("[1"), piece(",2]")]).boxed()),
            }
        }
        .boxed()
    }

    fn events(&self, search: Search) -> BoxFuture<'static, Result<Page<LoggedEvent>, ReadError>> {
        self.asked.lock().unwrap().push(format!("{search:?}"));
        page(vec![events::logged(7)])
    }

    fn rejected(&self, search: Search) -> BoxFuture<'static, Result<Page<RejectedEvent>, ReadError>> {
        self.asked.lock().unwrap().push(format!("{search:?}"));
        page(vec![events::refused(8)])
    }

    fn rejected_at(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> BoxFuture<'static, Result<Option<RejectedEvent>, ReadError>> {
        self.asked.lock().unwrap().push(format!("{partition} {offset}"));
        async move { Ok((offset < 10).then(|| events::refused(offset))) }.boxed()
    }

    fn commits(&self, of: CommitsOf) -> BoxFuture<'static, Result<Commits, ReadError>> {
        self.asked.lock().unwrap().push(format!("{of:?}"));
        async move { Ok(Commits { commits: Vec::new(), next: Some(7) }) }.boxed()
    }

    fn retention(&self) -> BoxFuture<'static, Result<Retention, ReadError>> {
        let kept = tables::kept();
        async move { Ok(kept) }.boxed()
    }

    fn follow(
        &self,
        equal: Vec<(&'static str, String)>,
        after: Option<(PartitionId, Offset)>,
    ) -> BoxStream<'static, Result<News, ReadError>> {
        self.asked.lock().unwrap().push(format!("{equal:?} {after:?}"));
        events::news()
    }

    fn event(&self, message_id: String) -> BoxFuture<'static, Result<Life, ReadError>> {
        self.asked.lock().unwrap().push(message_id.clone());
        let place = |offset| Place {
            received_at: "2026-01-15T12:00:00.000000Z".into(),
            partition: "aa".into(),
            offset,
        };
        let stored = StoredAt {
            place: place(7),
            committed: true,
            r#type: "track".into(),
            event: Some("Paid".into()),
            deliveries: Vec::new(),
        };
        let web = InSource {
            source: "web".into(),
            test: false,
            stored: vec![stored],
            duplicates: vec![place(9)],
            rejected: Vec::new(),
        };
        let life = Life { message_id, sources: vec![web], truncated: false };
        async move { Ok(life) }.boxed()
    }

    fn accounts(&self, of: AccountsOf) -> BoxFuture<'static, Result<Accounts, ReadError>> {
        self.asked.lock().unwrap().push(format!("{of:?}"));
        let next = Some(AccountPlace { hour: 1_768_478_400_000_000, source: "web".into() });
        let totals = of.after.is_none().then_some(Totals { received: 3, accepted: 3, ..Totals::default() });
        async move { Ok(Accounts { accounts: Vec::new(), next, totals }) }.boxed()
    }
}

/// One property has a column, and no other can have one.
struct FakeColumns;

fn price() -> Column {
    let (key, name) = ("price".to_owned(), "p_price".to_owned());
    Column { key, name, r#type: PromotedType::Double, pinned: true, rows_filled: 1, mismatches: 0 }
}

impl Columns for FakeColumns {
    fn list(&self) -> BoxFuture<'static, Result<ColumnList, ColumnsError>> {
        let list = ColumnList { columns: vec![price()], rows: 2, not_promoted: Vec::new() };
        async move { Ok(list) }.boxed()
    }

    fn pin(
        &self,
        key: String,
        kind: Option<PromotedType>,
    ) -> BoxFuture<'static, Result<Column, ColumnsError>> {
        async move {
            match (&*key, kind) {
                ("price", None | Some(PromotedType::Double)) => Ok(price()),
                ("price", _) => Err(ColumnsError::Wrong("type", "is another".into())),
                _ => Err(ColumnsError::Conflict("it is taken".into())),
            }
        }
        .boxed()
    }

    fn unpin(&self, key: String) -> BoxFuture<'static, Result<(), ColumnsError>> {
        let known = key == "price";
        async move { if known { Ok(()) } else { Err(ColumnsError::Unknown("it has none".into())) } }.boxed()
    }
}

/// The cursor `5.aa` of a page of events leads to the end.
fn page<T>(rows: Vec<T>) -> BoxFuture<'static, Result<Page<T>, ReadError>>
where
    T: Send + 'static,
{
    let next = Some(crate::PagePlace { received_at: 5, partition: "aa".into() });
    async move { Ok(Page { rows, next }) }.boxed()
}

struct Room {
    _dir: tempfile::TempDir,
    keys: Arc<Keys>,
    fake: Arc<Fake>,
    deliveries: Arc<FakeDeliveries>,
    store: Arc<Sqlite>,
    console: Data<Console>,
}

fn api_key(name: &str, key: &Secret, scopes: &[Scope], expires_at: Option<i64>) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        hash: key.hash(),
        prefix: key.prefix(),
        scopes: scopes.to_vec(),
        expires_at,
        last_used_at: None,
        created_at: 0,
    }
}

async fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&dir.path().join("control.db")).await.unwrap());
    let control: Arc<dyn Control> = Arc::clone(&store) as _;
    let key = Secret::given(API_KEY).unwrap();
    control.add_api_key(api_key("admin", &key, &[Scope::Admin], None)).await.unwrap();
    let keys = Keys::load(Arc::clone(&control)).await.unwrap();
    let fake = Arc::new(Fake::default());
    let reads: Arc<dyn Reads> = Arc::clone(&fake) as _;
    let process_key = Some(Secret::given(PROCESS_KEY).unwrap().hash());
    let clock = Clock::given(1_768_478_400_000_000);
    let kept: Arc<dyn ConnectionStore> = Arc::clone(&store) as _;
    let keyring = Arc::new(Keyring::random().unwrap());
    let connections = Arc::new(Connections::new(kept, keyring, Arc::new(Conditions), clock.clone()));
    let deliveries = Arc::new(FakeDeliveries::default());
    let asked: Arc<dyn crate::Deliveries> = Arc::clone(&deliveries) as _;
    let columns = Arc::new(FakeColumns);
    let keys_of = Arc::clone(&keys);
    let console = Console::new(control, keys_of, reads, connections, asked, columns, clock, process_key);
    let console = Data::new(console.with_imports(Arc::new(FakeImports(Arc::clone(&fake)))));
    Room { _dir: dir, keys, fake, deliveries, store, console }
}

macro_rules! app {
    ($room:expr) => {
        init_service(App::new().configure(|config| configure(config, $room.console.clone()))).await
    };
}

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path).insert_header(("Authorization", format!("Bearer {API_KEY}")))
}

fn post(path: &str, body: impl ToString) -> TestRequest {
    get(path).method(Method::POST).set_payload(body.to_string())
}

/// The status and the body of the answer to a request.
macro_rules! answer {
    ($app:expr, $request:expr) => {
        async {
            let response = call_service($app, $request.to_request()).await;
            let status = response.status().as_u16();
            let body: Value = read_body_json(response).await;
            (status, body)
        }
    };
}

mod columns;
mod connections;
mod deliveries;
mod events;
mod keys;
mod rejected;
mod routing;
mod tables;

#[actix_web::test]
async fn only_who_has_an_api_key_is_let_in() {
    let room = room().await;
    let app = app!(room);
    for endpoint in endpoints() {
        let path = format!("{ROOT}{}", endpoint.path.replace(['{', '}'], ""));
        for header in [None, Some("Bearer wrong"), Some("Basic abc"), Some(API_KEY)] {
            let mut request = TestRequest::default().method(endpoint.method.clone()).uri(&path);
            if let Some(header) = header {
                request = request.insert_header(("Authorization", header));
            }
            let (status, body) = answer!(&app, request).await;
            assert_eq!((status, &body["code"]), (401, &json!("unauthorized")), "{path} {header:?}");
            let told = if header == Some("Bearer wrong") { "not known here" } else { "Bearer" };
            assert!(body["message"].as_str().unwrap().contains(told), "{header:?}: {body}");
        }
    }
    for key in [API_KEY, PROCESS_KEY] {
        let request = TestRequest::get().uri("/api/v1/sources");
        let request = request.insert_header(("authorization", format!("bearer {key}")));
        assert_eq!(answer!(&app, request).await.0, 200);
    }
}

#[actix_web::test]
async fn the_document_and_the_routes_are_the_same() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let described = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    let described: BTreeSet<_> = described.collect();
    let mut routed: BTreeSet<_> =
        endpoints().iter().map(|one| (one.method.to_string(), one.path.to_owned())).collect();
    routed.insert(("GET".to_owned(), OPENAPI_PATH.to_owned()));
    assert_eq!(described, routed);

    let room = room().await;
    let app = app!(room);
    for (method, path) in routed {
        let uri = format!("{ROOT}{}", path.replace(['{', '}'], ""));
        let method: Method = method.parse().unwrap();
        let response = call_service(&app, get(&uri).method(method).to_request()).await;
        if path == "/events/stream" {
            assert_eq!(response.status(), 200, "its body has no end");
            continue;
        }
        let body = read_body(response).await;
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("unknown_path") && !text.contains("method_not_allowed"), "{uri}: {text}");
    }
}

#[actix_web::test]
async fn the_document_needs_no_key_and_points_at_what_is_there() {
    let room = room().await;
    let (status, document) = answer!(&app!(room), TestRequest::get().uri("/api/v1/openapi.json")).await;
    assert_eq!(status, 200);
    for reference in OPENAPI.split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

#[actix_web::test]
async fn unknown_paths_and_methods_are_answered_in_json() {
    let room = room().await;
    let app = app!(room);
    let (status, body) = answer!(&app, get("/api/v1/nothing")).await;
    assert_eq!((status, &body["code"]), (404, &json!("unknown_path")));
    let refused = call_service(&app, get("/api/v1/sources").method(Method::PATCH).to_request()).await;
    assert_eq!(refused.headers().get("allow").unwrap(), "GET, POST");
    let (status, body) = answer!(&app, get("/api/v1/sql")).await;
    assert_eq!((status, &body["code"]), (405, &json!("method_not_allowed")));
    let (status, body) = answer!(&app, post("/api/v1/openapi.json", "")).await;
    assert_eq!((status, &body["code"]), (405, &json!("method_not_allowed")));
}

#[actix_web::test]
async fn a_source_is_added_and_its_key_is_shown_once_and_holds_at_once() {
    let room = room().await;
    let app = app!(room);
    let body = json!({"name": "web", "kind": "browser", "test": true});
    let (status, added) = answer!(&app, post("/api/v1/sources", body)).await;
    assert_eq!((status, &added["created_at"]), (201, &json!("2026-01-15T12:00:00.000000Z")));
    let key = added["write_key"].as_str().unwrap();
    assert_eq!(room.keys.source(key).unwrap().name, "web");

    let (_, listed) = answer!(&app, get("/api/v1/sources")).await;
    assert_eq!(listed["sources"][0]["name"], "web");
    assert!(listed["sources"][0]["test"].as_bool().unwrap());
    assert!(!listed.to_string().contains(key));

    let (status, again) =
        answer!(&app, post("/api/v1/sources", json!({"name": "web", "kind": "server"}))).await;
    assert_eq!((status, &again["code"]), (409, &json!("exists")));

    let (status, disabled) = answer!(&app, post("/api/v1/sources/web/disable", "")).await;
    assert_eq!((status, &disabled["enabled"]), (200, &json!(false)));
    assert!(!room.keys.source(key).unwrap().enabled);
    let (_, enabled) = answer!(&app, post("/api/v1/sources/web/enable", "")).await;
    assert_eq!(enabled["enabled"], true);
    let (status, unknown) = answer!(&app, post("/api/v1/sources/nobody/enable", "")).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("unknown")));
}

#[actix_web::test]
async fn every_wrong_body_is_answered_with_the_name_of_the_field() {
    let room = room().await;
    let app = app!(room);
    for (path, body, code, field) in [
        ("/sources", "".to_owned(), "invalid_json", None),
        ("/sources", "[]".to_owned(), "invalid_json", None),
        ("/sources", "{}".to_owned(), "invalid_field", Some("name")),
        ("/sources", r#"{"name": 1}"#.to_owned(), "invalid_field", Some("name")),
        ("/sources", r#"{"name": "A B", "kind": "server"}"#.to_owned(), "invalid_field", Some("name")),
        ("/sources", r#"{"name": "a"}"#.to_owned(), "invalid_field", Some("kind")),
        ("/sources", r#"{"name": "a", "kind": "other"}"#.to_owned(), "invalid_field", Some("kind")),
        (
            "/sources",
            r#"{"name": "a", "kind": "server", "test": 1}"#.to_owned(),
            "invalid_field",
            Some("test"),
        ),
        ("/sources", r#"{"name": "a", "kind": "server", "x": 1}"#.to_owned(), "invalid_field", Some("x")),
        ("/sql", r#"{"query": "SELECT 1"}"#.to_owned(), "invalid_field", Some("sql")),
        ("/sql", r#"{"sql": " "}"#.to_owned(), "invalid_field", Some("sql")),
        ("/sql", r#"{"sql": "SELECT 1", "format": "xml"}"#.to_owned(), "invalid_field", Some("format")),
        ("/sql", json!({"sql": "x".repeat((256 << 10) + 1)}).to_string(), "invalid_field", Some("sql")),
        ("/sql", json!({"sql": "x".repeat(2 << 20)}).to_string(), "request_too_large", None),
    ] {
        let shown: String = body.chars().take(60).collect();
        let (status, answer) = answer!(&app, post(&format!("{ROOT}{path}"), &body)).await;
        assert_eq!(answer["code"], code, "{shown}: {answer}");
        assert_eq!(answer["field"].as_str(), field, "{shown}: {answer}");
        assert_eq!(answer["fields"][0]["field"].as_str(), field, "{shown}: {answer}");
        assert_eq!(field.is_some(), answer["fields"][0]["rule"].is_string(), "{shown}: {answer}");
        assert_eq!(status, if code == "request_too_large" { 413 } else { 400 }, "{shown}");
    }
}

#[actix_web::test]
async fn sql_is_answered_in_the_format_that_was_asked_for() {
    let room = room().await;
    let app = app!(room);
    for (format, content_type) in [
        ("json", "application/json"),
        ("csv", "text/csv; charset=utf-8"),
        ("table", "text/plain; charset=utf-8"),
        ("parquet", "application/vnd.apache.parquet"),
        ("arrow", "application/vnd.apache.arrow.stream"),
    ] {
        let body = json!({"sql": "SELECT", "format": format});
        let response = call_service(&app, post("/api/v1/sql", body).to_request()).await;
        assert_eq!(response.headers().get("content-type").unwrap(), content_type);
        assert_eq!(read_body(response).await, "[1,2]");
    }
    answer!(&app, post("/api/v1/sql", json!({"sql": "SELECT"}))).await;
    assert_eq!(
        *room.fake.asked.lock().unwrap(),
        ["json SELECT", "csv SELECT", "table SELECT", "parquet SELECT", "arrow SELECT", "json SELECT"]
    );
}

#[actix_web::test]
async fn what_is_wrong_with_a_query_is_an_answer_of_its_own() {
    let room = room().await;
    let app = app!(room);
    let (status, body) = answer!(&app, post("/api/v1/sql", json!({"sql": "wrong"}))).await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid_query")));
    assert_eq!(body["message"], "line 1: `wrong` is no query");
    let (status, body) = answer!(&app, post("/api/v1/sql", json!({"sql": "big"}))).await;
    assert_eq!((status, &body["code"]), (422, &json!("over_limit")));
    let request = post("/api/v1/sql", json!({"sql": "one too many"})).to_request();
    let busy = call_service(&app, request).await;
    assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(busy.headers().contains_key("retry-after"));
    let late = call_service(&app, post("/api/v1/sql", json!({"sql": "late"})).to_request()).await;
    let broken = actix_web::body::to_bytes(late.into_body()).await;
    assert!(broken.is_err(), "an answer that broke off is not taken for a whole one");
}

#[actix_web::test]
async fn a_query_ends_when_its_client_goes() {
    let room = room().await;
    let app = app!(room);
    let response = call_service(&app, post("/api/v1/sql", json!({"sql": "endless"})).to_request()).await;
    assert!(!*room.fake.dropped.lock().unwrap());
    drop(response);
    assert!(*room.fake.dropped.lock().unwrap());
}

#[actix_web::test]
async fn the_life_of_an_event_is_told() {
    let room = room().await;
    let app = app!(room);
    let (status, body) = answer!(&app, get("/api/v1/events/a%2Fb%20c")).await;
    assert_eq!(status, 200);
    let web = &body["sources"][0];
    assert_eq!((&body["message_id"], &web["stored"][0]["offset"]), (&json!("a/b c"), &json!(7)));
    assert_eq!((&web["stored"][0]["type"], &web["duplicates"][0]["offset"]), (&json!("track"), &json!(9)));
    assert_eq!(room.fake.asked.lock().unwrap()[0], "a/b c");
    let (status, long) = answer!(&app, get(&format!("/api/v1/events/{}", "x".repeat(1_001)))).await;
    assert_eq!((status, &long["field"]), (400, &json!("messageId")));
}
