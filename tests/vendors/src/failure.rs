//! How a fake vendor fails when told to.

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is answered with this status and, where given, this `Retry-After`.
    Status {
        /// The status.
        status: u16,
        /// The text of the `Retry-After` header.
        retry_after: Option<String>,
    },
    /// It is never answered.
    Hang,
    /// Its connection is closed without an answer.
    Reset,
    /// It is taken, and then its connection is closed without an answer.
    TakeAndReset,
}

impl Failure {
    /// An answer with this status and no `Retry-After`.
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }

    /// 429 with this `Retry-After`: seconds, or an HTTP date.
    pub fn rate_limited(retry_after: &str) -> Self {
        Self::Status { status: 429, retry_after: Some(retry_after.to_owned()) }
    }

    pub(crate) async fn answer(&self) -> HttpResponse {
        match self {
            Self::Status { status, retry_after } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut answer = HttpResponse::build(status);
                if let Some(retry_after) = retry_after {
                    answer.insert_header(("Retry-After", retry_after.as_str()));
                }
                answer.body("told to fail")
            }
            Self::Hang => std::future::pending().await,
            Self::Reset | Self::TakeAndReset => HttpResponse::Ok().body(Broken),
        }
    }
}

/// A body that fails before its first byte, upon which the server drops the connection unanswered.
struct Broken;

impl MessageBody for Broken {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(1)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
