//! Who may use the management API: whoever has an API key.

use crate::Console;
use crate::problem::Problem;
use actix_web::ResponseError;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use pipeline::control::KeyHash;

/// Lets requests with an API key pass. Keys are compared as hashes, so time tells nothing of them.
pub(crate) async fn require_api_key<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let console = request.app_data::<Data<Console>>();
    match (console, header.and_then(bearer)) {
        (Some(console), Some(key)) if console.knows(key) => {
            Ok(next.call(request).await?.map_into_left_body())
        }
        _ => Ok(request.into_response(Problem::unauthorized().error_response()).map_into_right_body()),
    }
}

impl Console {
    fn knows(&self, key: &str) -> bool {
        self.process_key == Some(KeyHash::of(key)) || self.keys.api_key(key).is_some()
    }
}

/// The token of an `Authorization` header (RFC 6750, section 2.1; the scheme in any case).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
