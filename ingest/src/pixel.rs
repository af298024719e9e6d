//! The pixel: one event in the address of an image, for places that run no code, such as mail.

use crate::answer::{Fault, allow_any_origin};
use crate::prepare::Call;
use crate::tracking::{client_ip, record};
use crate::{Ingest, auth, meter};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use pipeline::event::Kind;
use serde_json::{Map, Value};

/// One transparent pixel.
const GIF: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\
    \x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// A dotted name with more parts is taken as it is.
const PARTS_MAX: usize = 16;

/// Answers with the picture whatever happens. An event that breaks a rule stands with the rejected
/// ones; a request without a key that is known, or without an event that can be read, is counted.
pub(crate) async fn take(
    path: &'static str,
    request: HttpRequest,
    ingest: web::Data<Ingest>,
) -> HttpResponse {
    if let Err(fault) = keep(&request, &ingest).await {
        metrics::counter!("flowstate_ingest_empty_pixels_total", "code" => fault.code).increment(1);
        tracing::debug!(code = fault.code, "a pixel brought no event");
    }
    let mut response = HttpResponse::Ok();
    allow_any_origin(&mut response);
    response.insert_header((header::CACHE_CONTROL, "no-store")).content_type("image/gif");
    let response = response.body(Bytes::from_static(GIF));
    meter::request(path, &response);
    response
}

async fn keep(request: &HttpRequest, ingest: &Ingest) -> Result<(), Fault> {
    let ip = client_ip(request, ingest);
    ingest.rates.take_request(ip, ingest.clock.now())?;
    let query = auth::query(request.query_string());
    let source = match auth::given_key(request.headers(), &query) {
        Some(key) => Some(auth::source(&ingest.tools.keys, Some(&key))?),
        None => None,
    };
    let data = query.iter().find(|(name, _)| name == "data");
    let body = match data {
        // A `+` that was not encoded has become a space.
        Some((_, data)) => auth::base64(data.trim().replace(' ', "+").as_str())
            .ok_or_else(|| Fault::bad("bad_request", "`data` is not base64"))?,
        None => event_of(&query).to_string().into_bytes(),
    };
    if body.len() > ingest.tools.config.request_bytes_max {
        return Err(Fault::too_large("the event is too large"));
    }
    let call = Call::One(request.match_info().get("type").and_then(kind));
    record(ingest, call, source, ip, &Bytes::from(body)).await?;
    Ok(())
}

fn kind(name: &str) -> Option<Kind> {
    Kind::parse(name).or_else(|| Kind::ALL.into_iter().find(|kind| kind.as_str().get(..1) == Some(name)))
}

/// The event that dotted names spell out: `properties.subject=Hello` is
/// `{"properties":{"subject":"Hello"}}`. All values are strings; of two that cannot both be, the
/// later one stands.
fn event_of(query: &[(String, String)]) -> Value {
    let mut event = Map::new();
    for (name, value) in query {
        if auth::is_key_name(name) {
            continue;
        }
        let parts: Vec<&str> = name.splitn(PARTS_MAX + 1, '.').collect();
        let parts = if parts.len() > PARTS_MAX { &[name.as_str()][..] } else { &parts[..] };
        put(&mut event, parts, value);
    }
    Value::Object(event)
}

fn put(object: &mut Map<String, Value>, parts: &[&str], value: &str) {
    match parts {
        [] => {}
        [name] => {
            object.insert((*name).to_owned(), Value::from(value));
        }
        [name, rest @ ..] => {
            let child = object.entry(*name).or_insert_with(|| Value::Object(Map::new()));
            if !child.is_object() {
                *child = Value::Object(Map::new());
            }
            if let Value::Object(child) = child {
                put(child, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dotted_names_spell_out_an_event() {
        let query = auth::query(
            "userId=u&event=Opened&properties.subject=A%20b&properties.mail.id=7&writeKey=k&x=1&x.y=2",
        );
        let expected = json!({
            "userId": "u", "event": "Opened", "x": { "y": "2" },
            "properties": { "subject": "A b", "mail": { "id": "7" } },
        });
        assert_eq!(event_of(&query), expected);
    }

    #[test]
    fn a_name_of_very_many_parts_stays_a_name() {
        let name = "a.".repeat(50_000);
        let event = event_of(&[(name.clone(), "v".to_owned())]);
        assert_eq!(event[&name], "v");
    }

    #[test]
    fn kinds_have_their_names_and_letters() {
        assert_eq!(kind("track"), Some(Kind::Track));
        assert_eq!(kind("p"), Some(Kind::Page));
        assert_eq!((kind("x"), kind("")), (None, None));
    }
}
