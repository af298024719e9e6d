//! The yardstick: an actix handler that does the least any server must do with the same requests.
//!
//! A single event's body is only read; a batch's envelope is parsed as well, borrowed.

use actix_web::web::Bytes;
use actix_web::{App, HttpResponse, HttpServer, rt, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::net::TcpListener;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
    #[serde(borrow, rename = "sentAt")]
    sent_at: Option<&'a RawValue>,
}

/// Serves until the process is killed.
pub(crate) fn serve(listener: TcpListener, workers: usize) -> std::io::Result<()> {
    rt::System::new().block_on(
        HttpServer::new(|| {
            App::new()
                .app_data(web::PayloadConfig::new(4 << 20))
                .route("/v1/track", web::post().to(single))
                .route("/v1/batch", web::post().to(batch))
        })
        .workers(workers)
        .listen(listener)?
        .run(),
    )
}

async fn single(body: Bytes) -> HttpResponse {
    std::hint::black_box(&body);
    HttpResponse::Ok().content_type("application/json").body(r#"{"success":true}"#)
}

async fn batch(body: Bytes) -> HttpResponse {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    std::hint::black_box(envelope.sent_at);
    let events = envelope.batch.len();
    HttpResponse::Ok()
        .content_type("application/json")
        .body(format!(r#"{{"success":true,"received":{events},"accepted":{events}}}"#))
}
