use super::*;
use crate::delivery::Class;
use crate::egress::guard::Guard;
use reqwest::Method;
use reqwest::dns::Resolve;
use reqwest::header::{HeaderMap, LOCATION};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for anything on loopback, however busy the machine.
const AMPLE: Duration = Duration::from_secs(30);
/// For what must run out.
const SHORT: Duration = Duration::from_millis(50);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers each look-up with the next of these, and the last one for ever.
struct Scripted {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |addresses: &&[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(parse).collect()),
            asked: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Resolver for Scripted {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { Ok(answers.pop_front().unwrap()) } else { Ok(answers[0].clone()) }
    }
}

struct Broken;

#[async_trait]
impl Resolver for Broken {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other("no such host"))
    }
}

fn private() -> Egress {
    Egress::new(Policy::PrivateToo).unwrap()
}

fn get(url: &str) -> Request {
    let url = Url::parse(url).unwrap();
    Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), timeout: AMPLE }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads one request with its body; the whole text.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the request ended early: {text}");
    }
}

/// Takes one connection, reads one request and answers it with these bytes; then gives both back.
async fn answer_once(listener: TcpListener, answer: impl AsRef<[u8]> + Send) -> (String, TcpStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = read_request(&mut stream).await;
    stream.write_all(answer.as_ref()).await.unwrap();
    (request, stream)
}

#[tokio::test]
async fn a_request_arrives_as_it_is_and_its_answer_comes_back() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(answer_once(
        listener,
        "HTTP/1.1 418 I'm a teapot\r\nx-a: b\r\ncontent-length: 2\r\n\r\nok",
    ));
    let mut request = get(&format!("http://127.0.0.1:{port}/a%20b?c=d"));
    request.method = Method::POST;
    request.headers.insert("x-key", "value".parse().unwrap());
    request.headers.insert(CONTENT_LENGTH, "1".parse().unwrap());
    request.headers.insert(TRANSFER_ENCODING, "chunked".parse().unwrap());
    request.body = Bytes::from_static(b"{\"hello\":1}");
    let answer = private().send(request).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (418, &b"ok"[..]));
    assert_eq!(answer.headers["x-a"], "b");
    let (request, _) = server.await.unwrap();
    assert!(request.starts_with("POST /a%20b?c=d HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"hello\":1}"), "{request}");
    assert!(request.contains("x-key: value\r\n") && request.contains("user-agent: flowstate/"), "{request}");
    assert!(request.contains("content-length: 11\r\n") && !request.contains("chunked"), "{request}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    });
    let egress = private();
    for _ in 0..3 {
        egress.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    }
    server.await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nothing_follows_it() {
    let (listener, port) = listener().await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/next\r\ncontent-length: 0\r\n\r\n");
    let server = tokio::spawn(async move {
        let (request, mut stream) = answer_once(listener, redirect).await;
        // Whatever followed would come over this connection; it is closed without a byte.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (request, rest)
    });
    let egress = private();
    let answer = egress.send(get(&format!("http://127.0.0.1:{port}/first"))).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(answer.headers[LOCATION], format!("http://127.0.0.1:{port}/next"));
    drop(egress);
    let (request, rest) = server.await.unwrap();
    assert!(request.starts_with("GET /first "), "{request}");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_and_no_further() {
    for length in [0, 1, ANSWER_BYTES_MAX - 1, ANSWER_BYTES_MAX] {
        let (listener, port) = listener().await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
        let server = tokio::spawn(answer_once(listener, answer));
        let answer = private().send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
        assert_eq!(answer.body.len(), length);
        server.await.unwrap();
    }
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let (_, mut stream) = answer_once(listener, endless).await;
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        // It ends when the client closes the connection.
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let answer = private().send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(answer.body.len(), ANSWER_BYTES_MAX);
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_behind_the_answer_does_no_harm() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (_, stream) = answer_once(listener, OK).await;
        stream.set_zero_linger().unwrap();
    });
    let egress = private();
    let answer = egress.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(&answer.body[..], b"ok");
    server.await.unwrap();
}

async fn failure(egress: &Egress, url: &str, timeout: Duration) -> HttpError {
    let mut request = get(url);
    request.timeout = timeout;
    let error = egress.send(request).await.expect_err("no answer");
    assert!(!error.detail.contains('\n') && !error.detail.contains("canary"), "{error}");
    error
}

#[tokio::test]
async fn a_broken_connection_is_told_from_a_refused_one() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "no HTTP at all\r\n\r\n",
    ] {
        let (listener, port) = listener().await;
        // The connection ends with the task.
        let server = tokio::spawn(async move { drop(answer_once(listener, answer).await) });
        let error = failure(&private(), &format!("http://127.0.0.1:{port}/canary?canary"), AMPLE).await;
        assert_eq!(error.class, Class::NetworkReset, "{answer:?}: {error}");
        assert!(error.detail.contains("may have been taken"), "{error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let (listener, port) = listener().await;
    drop(listener);
    for scheme in ["http", "https"] {
        let error = failure(&private(), &format!("{scheme}://127.0.0.1:{port}/canary?canary"), AMPLE).await;
        assert_eq!(error.class, Class::NetworkConnect, "{error}");
        assert!(error.detail.contains("nothing was sent") && error.detail.contains("refused"), "{error}");
        assert!(error.detail.contains(&format!("`{scheme}://127.0.0.1:{port}`")), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_no_secured_connection() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Until the client gives up: to close earlier could break the connection first.
        while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
    });
    let error = failure(&private(), &format!("https://127.0.0.1:{port}/canary?canary"), AMPLE).await;
    assert_eq!(error.class, Class::NetworkTls, "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn time_that_runs_out_while_connecting_is_no_connection() {
    // It takes the connection and never answers the TLS handshake.
    let (_listener, port) = listener().await;
    let egress = Egress::build(Policy::PrivateToo, Arc::new(SystemResolver), SHORT).unwrap();
    let error = failure(&egress, &format!("https://127.0.0.1:{port}/canary?canary"), AMPLE).await;
    assert_eq!(error.class, Class::NetworkConnect, "{error}");
}

#[tokio::test]
async fn time_that_runs_out_later_is_a_timeout() {
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"] {
        let (listener, port) = listener().await;
        let server = tokio::spawn(answer_once(listener, answer));
        let error = failure(&private(), &format!("http://127.0.0.1:{port}/canary?canary"), 10 * SHORT).await;
        assert_eq!(error.class, Class::Timeout, "{answer:?}: {error}");
        assert!(error.detail.contains("may have been taken"), "{error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn names_without_an_address_are_told() {
    let empty = Scripted::new(&[&[]]);
    for resolver in [empty as Arc<dyn Resolver>, Arc::new(Broken)] {
        let egress = Egress::with_resolver(Policy::Public, resolver).unwrap();
        let error = failure(&egress, "https://example.com/canary?canary", AMPLE).await;
        assert_eq!(error.class, Class::NetworkDns, "{error}");
        assert!(
            error.detail.contains("`https://example.com`") && error.detail.contains("spelling"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn names_of_private_addresses_are_refused() {
    for addresses in [
        &["10.0.0.1"][..],
        &["8.8.8.8", "127.0.0.1"],
        &["2606:4700::1", "8.8.8.8", "::ffff:169.254.169.254"],
        &["fd00::1", "8.8.8.8"],
    ] {
        let egress = Egress::with_resolver(Policy::Public, Scripted::new(&[addresses])).unwrap();
        let error = failure(&egress, "https://example.com/canary?canary", AMPLE).await;
        assert_eq!(error.class, Class::BlockedEgress, "{error}");
        assert!(error.detail.starts_with("`https://example.com` is refused: `"), "{error}");
    }
}

#[tokio::test]
async fn refused_urls_are_not_even_looked_up() {
    let resolver = Scripted::new(&[&["8.8.8.8"]]);
    let egress = Egress::with_resolver(Policy::Public, Arc::clone(&resolver) as _).unwrap();
    for url in
        ["http://example.com/", "https://a:b@example.com/", "https://127.1/", "https://example.com:25/"]
    {
        assert_eq!(failure(&egress, url, AMPLE).await.class, Class::BlockedEgress, "{url}");
        assert!(egress.check_url(&Url::parse(url).unwrap()).is_err(), "{url}");
    }
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_a_name_means_is_checked_anew_for_each_connection() {
    let guard = Guard {
        policy: Policy::Public,
        resolver: Scripted::new(&[&["8.8.8.8", "2606:4700::1"], &["10.0.0.1"]]),
    };
    let name = || "example.com".parse().unwrap();
    let first: Vec<_> =
        guard.resolve(name()).await.unwrap().map(|address| address.ip().to_string()).collect();
    assert_eq!(first, ["8.8.8.8", "2606:4700::1"]);
    let Err(second) = guard.resolve(name()).await else { panic!("the private address was let through") };
    assert!(second.is::<Refused>(), "{second}");
}

#[tokio::test]
async fn the_checked_address_is_the_one_that_is_connected_to() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(answer_once(listener, "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"));
    let resolver = Scripted::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let egress = Egress::with_resolver(Policy::PrivateToo, Arc::clone(&resolver) as _).unwrap();
    let url = format!("http://rebind.example:{port}/");
    // One look-up for check and connection together: a second one would give the other address.
    assert_eq!(egress.send(get(&url)).await.unwrap().status, 204);
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);
    server.await.unwrap();
    assert_eq!(failure(&egress, &url, AMPLE).await.class, Class::BlockedEgress);
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn hosts_point_elsewhere_only_where_private_addresses_are_allowed() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(answer_once(listener, OK));
    let entry = ("*".to_owned(), format!("http://127.0.0.1:{port}/fake"));
    let hosts = HostMap::parse(&[entry].into()).unwrap();
    let error = Egress::new(Policy::Public).unwrap().for_hosts(hosts.clone()).err().expect("a refusal");
    assert!(error.to_string().contains("`--allow-private-egress`"), "{error}");
    assert!(Egress::new(Policy::Public).unwrap().for_hosts(HostMap::default()).is_ok());
    let http = private().for_hosts(hosts).unwrap();
    assert_eq!(http.send(get("https://api.example.com/v1?x=1")).await.unwrap().status, 200);
    let (request, _) = server.await.unwrap();
    assert!(request.starts_with("GET /fake/v1?x=1 HTTP/1.1\r\n"), "{request}");
}

#[test]
fn debug_shows_no_secret() {
    let mut request = get("https://example.com/canary?canary=canary");
    request.headers.insert("x-key", "canary".parse().unwrap());
    request.body = Bytes::from_static(b"canary");
    let answer = Answer { status: 200, headers: request.headers.clone(), body: request.body.clone() };
    let shown = format!("{request:?} {request:#?} {answer:?}");
    assert!(!shown.contains("canary") && shown.contains("https://example.com"), "{shown}");
}
