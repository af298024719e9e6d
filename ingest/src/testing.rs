//! What the tests of this room share: a log that remembers, sources, and requests.

use crate::prepare::{Call, Prepared, Request, Tools};
use crate::quota::Quota;
use crate::{Append, Config, Ingest};
use actix_web::dev::ServiceResponse;
use actix_web::test::TestRequest;
use actix_web::{App, test, web};
use futures::future::BoxFuture;
use pipeline::control::sqlite::Sqlite;
use pipeline::control::{Control, KeyHash, Keys, Source, SourceKind};
use pipeline::event::{Event, Record, Rejected};
use pipeline::log::{AppendError, Appended, Batch};
use pipeline::{Clock, Micros};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// 2026-01-15T12:00:00Z.
pub(crate) const NOW: Micros = 1_768_478_400_000_000;

/// The key of a source of kind `browser`, of one of kind `server`, and of one that is switched off.
pub(crate) const BROWSER: &str = "browser-key";
pub(crate) const SERVER: &str = "server-key";
pub(crate) const DISABLED: &str = "disabled-key";

/// The sources of the tests.
pub(crate) async fn keys() -> Arc<Keys> {
    let dir = tempfile::tempdir().unwrap();
    let control = Sqlite::open(&dir.path().join("control.db")).await.unwrap();
    for (key, kind) in
        [(BROWSER, SourceKind::Browser), (SERVER, SourceKind::Server), (DISABLED, SourceKind::Server)]
    {
        let source = Source {
            name: key.trim_end_matches("-key").to_owned(),
            kind,
            test: false,
            enabled: key != DISABLED,
            write_key_hash: KeyHash::of(key),
            write_key_prefix: key[..4].to_owned(),
            created_at: NOW,
        };
        control.add_source(source).await.unwrap();
    }
    Keys::load(Arc::new(control)).await.unwrap()
}

pub(crate) async fn tools(config: Config) -> Tools {
    let quota = Arc::new(Quota::new(config.rejected_bytes_per_hour));
    Tools { config: Arc::new(config), keys: keys().await, quota }
}

/// A request with the key of `source` in its head.
pub(crate) fn request(tools: &Tools, call: Call, key: &str) -> Request {
    Request { call, source: tools.keys.source(key), ip: Some([198, 51, 100, 7].into()), now: NOW }
}

pub(crate) fn records(prepared: &Prepared) -> Vec<Record<'_>> {
    prepared.batch.records().map(Result::unwrap).collect()
}

/// A log in memory that knows duplicates, or refuses everything.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) kept: Mutex<Kept>,
    pub(crate) refuse: Mutex<Option<fn() -> AppendError>>,
}

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) events: Vec<Event<'static>>,
    pub(crate) rejected: Vec<Rejected<'static>>,
    ids: HashSet<String>,
}

impl Append for Memory {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            if let Some(refuse) = *self.refuse.lock().unwrap() {
                return Err(refuse());
            }
            let mut kept = self.kept.lock().unwrap();
            let mut duplicates = Vec::new();
            for (index, record) in batch.records().enumerate() {
                match record.unwrap() {
                    Record::Event(event) if kept.ids.insert(event.message_id.to_string()) => {
                        kept.events.push(event.into_owned());
                    }
                    Record::Event(_) => duplicates.push(index as u32),
                    Record::Rejected(rejected) => kept.rejected.push(rejected.into_owned()),
                }
            }
            Ok(Appended { offset: 0, received_at: NOW, duplicates })
        })
    }
}

/// A server without a socket, and what it kept.
pub(crate) struct Server {
    pub(crate) log: Arc<Memory>,
    pub(crate) ingest: web::Data<Ingest>,
}

impl Server {
    pub(crate) async fn new(config: Config) -> Self {
        let log = Arc::new(Memory::default());
        let append: Arc<dyn Append> = Arc::<Memory>::clone(&log);
        let ingest = Ingest::over(append, keys().await, config, Clock::given(NOW)).unwrap();
        Self { log, ingest: web::Data::new(ingest) }
    }

    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        let ingest = self.ingest.clone();
        let app = App::new()
            .configure(|service| crate::configure(service, ingest))
            .default_service(web::to(crate::unknown_path));
        let app = test::init_service(app).await;
        let peer = "198.51.100.7:4321".parse().unwrap();
        Answer::read(test::call_service(&app, request.peer_addr(peer).to_request()).await).await
    }

    pub(crate) fn events(&self) -> Vec<Event<'static>> {
        self.log.kept.lock().unwrap().events.clone()
    }

    pub(crate) fn rejected(&self) -> Vec<Rejected<'static>> {
        self.log.kept.lock().unwrap().rejected.clone()
    }
}

/// What a client sees.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    async fn read(response: ServiceResponse) -> Self {
        let status = response.status().as_u16();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = response.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect();
        Self { status, headers, body: test::read_body(response).await.to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of an error, after a look at what every error has.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert_eq!(json["success"], false, "{json}");
        assert!(json["message"].as_str().unwrap().len() > 5, "{json}");
        assert_eq!(json.as_object().unwrap().len(), 3, "{json}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("access-control-allow-origin"), Some("*"));
        assert_eq!(self.header("retry-after").is_some(), matches!(self.status, 429 | 503), "{json}");
        json["code"].as_str().unwrap().to_owned()
    }
}

/// A POST of this text with the server's key.
pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> TestRequest {
    let body: Vec<u8> = body.into();
    TestRequest::post().uri(path).insert_header(("x-write-key", SERVER)).set_payload(body)
}
