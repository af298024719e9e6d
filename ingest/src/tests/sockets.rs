//! What only a connection shows: bodies that stall, and answers that come before the body's end.

use super::EVENT;
use crate::Config;
use crate::testing::{SERVER, Server};
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Listening {
    address: SocketAddr,
    handle: ServerHandle,
}

/// Serves on the loopback until the handle stops it.
fn listen(server: &Server) -> Listening {
    let ingest = server.ingest.clone();
    let http = HttpServer::new(move || {
        let ingest = ingest.clone();
        App::new()
            .configure(|service| crate::configure(service, ingest))
            .default_service(web::to(crate::unknown_path))
    });
    let http = http.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = http.addrs()[0];
    let running = http.run();
    let handle = running.handle();
    actix_web::rt::spawn(running);
    Listening { address, handle }
}

fn head(path: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-write-key: {SERVER}\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// Reads one answer: its status, whether the server goes on, and its body.
async fn read_answer(stream: &mut TcpStream) -> (u16, bool, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                head.lines().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned))
            };
            let length: usize = header("content-length: ").unwrap().trim().parse().unwrap();
            if body.len() >= length {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let closes = header("connection: ").is_some_and(|value| value.contains("close"));
                return (status, !closes, body.to_owned());
            }
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "the connection ended before the answer: {text}");
        bytes.extend_from_slice(&chunk[..read]);
    }
}

#[actix_web::test]
async fn a_stalled_body_is_answered_and_its_connection_closed() {
    let config = Config { body_timeout: Duration::from_millis(100), ..Config::default() };
    let server = Server::new(config).await;
    let listening = listen(&server);
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream.write_all(&head("/v1/track", 100)).await.unwrap();
    stream.write_all(b"{\"event\":").await.unwrap();
    let (status, goes_on, body) = read_answer(&mut stream).await;
    assert_eq!((status, goes_on), (408, false));
    assert!(body.contains("\"body_timeout\""), "{body}");
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "the connection is closed");
    listening.handle.stop(false).await;
}

#[actix_web::test]
async fn an_early_answer_leaves_nothing_of_the_body_behind() {
    let config = Config { request_bytes_max: 64 << 10, ..Config::default() };
    let server = Server::new(config).await;
    let listening = listen(&server);
    for (path, length, expected) in [
        ("/v1/track?writeKey=x", 100_000, 413),
        ("/v1/nothing", 200_000, 404),
        ("/v1/track", 3_000_000, 413),
        ("/v1/nothing", 3_000_000, 404),
        ("/v1/m", 3_000_000, 200),
        ("/v1/m", 200_000, 200),
    ] {
        let mut stream = TcpStream::connect(listening.address).await.unwrap();
        let mut request = head(path, length);
        request.resize(request.len() + length, b'{');
        stream.write_all(&request).await.unwrap();
        let (status, goes_on, _) = read_answer(&mut stream).await;
        assert_eq!((status, goes_on), (expected, length < 256 << 10), "{path} {length}");
        if goes_on {
            let next = [head("/v1/track", EVENT.len()), EVENT.as_bytes().to_vec()].concat();
            stream.write_all(&next).await.unwrap();
            assert_eq!(read_answer(&mut stream).await.0, 200, "{path} {length}");
        }
    }
    listening.handle.stop(false).await;
}

#[actix_web::test]
async fn a_body_without_a_length_is_counted_as_it_comes() {
    let config = Config { request_bytes_max: 64 << 10, ..Config::default() };
    let server = Server::new(config).await;
    let listening = listen(&server);
    let chunk = [b"4000\r\n".to_vec(), vec![b' '; 0x4000], b"\r\n".to_vec()].concat();
    for (chunks, expected) in [(1, 200), (3, 200), (5, 413), (15, 413)] {
        let mut stream = TcpStream::connect(listening.address).await.unwrap();
        let head = format!(
            "POST /v1/track HTTP/1.1\r\nhost: localhost\r\nx-write-key: {SERVER}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..chunks {
            stream.write_all(&chunk).await.unwrap();
        }
        let last = format!("{:x}\r\n{EVENT}\r\n0\r\n\r\n", EVENT.len());
        stream.write_all(last.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.0, expected, "{chunks} chunks");
    }
    listening.handle.stop(false).await;
}
