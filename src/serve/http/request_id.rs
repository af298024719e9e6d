//! An id for each request, so that its answer and the lines of the program's log about it can be put
//! together.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tracing::Instrument;

/// The header of requests and answers, as most proxies and servers name it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client, in bytes.
const BYTES_MAX: usize = 128;

/// Has the request handled under its id: the client's, where that is a valid one, or one that is made.
///
/// The id stands in the answer's header, and as `request.id` in every line that the handling logs.
pub(super) async fn identify<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let id = given(request.headers()).unwrap_or_else(made);
    // Of the highest level, so that it is there whatever is logged.
    let span = tracing::error_span!("request", request.id = id.to_str().unwrap_or_default());
    let answered = async move {
        let method = request.method().clone();
        let mut response = next.call(request).await?;
        tracing::debug!(%method, status = response.status().as_u16(), "a request was answered");
        response.headers_mut().insert(REQUEST_ID, id);
        Ok(response)
    };
    answered.instrument(span).await
}

/// The id that the client gave: 1 to 128 letters, digits and `-_.:+/=`. Any other is passed over, as it
/// would stand in the log.
fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    ((1..=BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_plain)).then(|| id.clone())
}

/// An id that no other request of any process has: a random number of this process, and a count.
fn made() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(rand::random);
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let id = format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Relaxed));
    HeaderValue::try_from(id).expect("hexadecimal digits are a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};

    #[actix_web::test]
    async fn a_plain_id_is_kept_and_any_other_replaced() {
        let route = web::to(|| async { HttpResponse::NotFound().finish() });
        let app = init_service(App::new().wrap(from_fn(identify)).default_service(route)).await;
        let long = "x".repeat(BYTES_MAX + 1);
        for (given, kept) in [
            (Some("4f2a-90c1.D3:e+/="), true),
            (None, false),
            (Some(""), false),
            (Some("a b"), false),
            (Some("{\"a\":1}"), false),
            (Some(long.as_str()), false),
        ] {
            let request = TestRequest::get();
            let request =
                given.into_iter().fold(request, |request, id| request.insert_header((REQUEST_ID, id)));
            let response = call_service(&app, request.to_request()).await;
            let id = response.headers().get(REQUEST_ID).unwrap().to_str().unwrap();
            assert_eq!((response.status().as_u16(), given == Some(id)), (404, kept), "{given:?}");
            assert!(!id.is_empty() && id.len() <= BYTES_MAX, "{id}");
        }
    }

    #[test]
    fn no_two_requests_get_one_id() {
        assert_ne!(made(), made());
    }
}
