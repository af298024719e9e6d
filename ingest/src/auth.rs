//! Which source a request speaks for.
//!
//! The first write key that is found decides, in the order: `Authorization: Basic`, `X-Write-Key`,
//! `?writeKey=`, the body. Wherever it stands, a colon and what follows it are no part of it: Basic
//! ends the user name with one, and Jitsu's libraries send nothing but `key:secret`. A key is never
//! logged and never kept.

use crate::answer::Fault;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pipeline::control::{Keys, Source};
use pipeline::json::string;
use std::sync::Arc;

const FORGIVING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, FORGIVING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);

/// Decodes base64 of either alphabet, padded or not.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// The parts of a query; where a name stands twice, both.
pub(crate) fn query(query: &str) -> Vec<(String, String)> {
    web::Query::<Vec<(String, String)>>::from_query(query).map(web::Query::into_inner).unwrap_or_default()
}

/// The write key in the headers or the query.
pub(crate) fn given_key(headers: &HeaderMap, query: &[(String, String)]) -> Option<String> {
    let header_key = || without_secret(headers.get("x-write-key")?.to_str().ok()?);
    let query_key = || {
        let mut keys = query.iter().filter(|(name, _)| is_key_name(name));
        keys.find_map(|(_, value)| without_secret(value))
    };
    basic_key(headers).or_else(header_key).or_else(query_key)
}

/// Whether a parameter of this name holds a write key: `writeKey`, at Jitsu `writekey`.
pub(crate) fn is_key_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("writekey")
}

/// The user name of Basic, which is the key; some clients leave out the colon behind it.
fn basic_key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    without_secret(&String::from_utf8(base64(credentials.trim())?).ok()?)
}

/// The key in front of a colon, or the whole text.
fn without_secret(text: &str) -> Option<String> {
    let key = text.split_once(':').map_or(text, |(key, _)| key).trim();
    (!key.is_empty()).then(|| key.to_owned())
}

/// The write key in a body, which is JSON.
pub(crate) fn body_key(json: Option<&str>) -> Option<String> {
    without_secret(&string(json?)?)
}

/// The source with this key.
pub(crate) fn source(keys: &Keys, key: Option<&str>) -> Result<Arc<Source>, Fault> {
    let Some(key) = key else {
        return Err(Fault::unknown_source(
            "there is no write key; give it as user name of Basic, as `X-Write-Key`, or as `writeKey` in query or body",
        ));
    };
    let Some(source) = keys.source(key) else {
        return Err(Fault::unknown_source("no source has this write key; check it against the source's own"));
    };
    if !source.enabled {
        let message = format!("the source `{}` is switched off", source.name);
        return Err(Fault::new(StatusCode::FORBIDDEN, "source_disabled", message));
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn key(headers: &[(&'static str, &str)], text: &str) -> Option<String> {
        let request = headers
            .iter()
            .fold(TestRequest::default(), |request, header| request.insert_header((header.0, header.1)));
        given_key(request.to_http_request().headers(), &query(text))
    }

    #[test]
    fn basic_is_read_with_and_without_a_colon() {
        for encoded in ["a2V5Og==", "a2V5Og", "a2V5", "a2V5OnNlY3JldA==", "IGtleSA6"] {
            assert_eq!(key(&[("authorization", &format!("Basic {encoded}"))], "").as_deref(), Some("key"));
            assert_eq!(key(&[("authorization", &format!("basic  {encoded}"))], "").as_deref(), Some("key"));
        }
        for value in ["Bearer a2V5Og==", "Basic", "Basic !!!", "Basic Og==", "Basic /w=="] {
            assert_eq!(key(&[("authorization", value)], ""), None, "{value}");
        }
    }

    #[test]
    fn the_first_key_found_decides() {
        let basic = ("authorization", "Basic YmFzaWM6");
        let header = ("x-write-key", "header");
        assert_eq!(key(&[basic, header], "writeKey=query").as_deref(), Some("basic"));
        assert_eq!(key(&[header], "writeKey=query").as_deref(), Some("header"));
        assert_eq!(key(&[("x-write-key", " ")], "a=b&writeKey=qu%65ry").as_deref(), Some("query"));
        assert_eq!(key(&[], "writekey=query").as_deref(), Some("query"));
        assert_eq!(key(&[("authorization", "Bearer token")], "writeKey="), None);
        assert_eq!(body_key(Some("\" k\\u0065y \"")).as_deref(), Some("key"));
        assert_eq!(body_key(Some("7")), None);
    }

    #[test]
    fn what_follows_a_colon_is_no_part_of_a_key() {
        assert_eq!(key(&[("x-write-key", "key:secret")], "").as_deref(), Some("key"));
        assert_eq!(key(&[], "writekey=:secret&writeKey=key:secret").as_deref(), Some("key"));
        assert_eq!(body_key(Some("\"key:***\"")).as_deref(), Some("key"));
    }
}
