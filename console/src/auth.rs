//! Who may use the management API: whoever has an API key that has not expired, each key for what its
//! scopes say.

use crate::Console;
use crate::problem::Problem;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, ResponseError};
use pipeline::control::{ApiKey, KeyHash, Scope};
use pipeline::event::format_timestamp;
use std::sync::Arc;

/// Whose request it is, kept with it. Without this no route answers.
#[derive(Clone)]
enum Caller {
    /// A command on this machine, with the key of this process.
    Process,
    /// Who has this key.
    Key(Arc<ApiKey>),
}

/// Lets requests with an API key pass. Keys are compared as hashes, so time tells nothing of them.
pub(crate) async fn require_api_key<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let caller = match (request.app_data::<Data<Console>>(), header.and_then(bearer)) {
        (Some(console), Some(key)) => console.caller(key),
        _ => Err(Problem::unauthorized()),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(next.call(request).await?.map_into_left_body())
        }
        Err(problem) => Ok(request.into_response(problem.error_response()).map_into_right_body()),
    }
}

/// Lets requests pass whose key has the scope.
pub(crate) async fn require_scope<B: MessageBody>(
    scope: Scope,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let caller = request.extensions().get::<Caller>().cloned();
    let problem = match caller {
        Some(Caller::Process) => None,
        Some(Caller::Key(key)) if key.allows(scope) => None,
        Some(Caller::Key(key)) => Some(Problem::forbidden(&key.name, scope)),
        None => Some(Problem::unauthorized()),
    };
    match problem {
        None => Ok(next.call(request).await?.map_into_left_body()),
        Some(problem) => Ok(request.into_response(problem.error_response()).map_into_right_body()),
    }
}

impl Console {
    fn caller(&self, key: &str) -> Result<Caller, Problem> {
        if self.process_key == Some(KeyHash::of(key)) {
            return Ok(Caller::Process);
        }
        let known = self.keys.api_key(key).ok_or_else(Problem::unknown_key)?;
        let now = self.clock.now();
        if known.is_expired(now) {
            let at = known.expires_at.map(format_timestamp).unwrap_or_default();
            return Err(Problem::expired(&known.name, &at));
        }
        self.keys.used(known.hash, now);
        Ok(Caller::Key(known))
    }
}

/// The token of an `Authorization` header (RFC 6750, section 2.1; the scheme in any case).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
