//! What all items of a request have in common: the envelope's `context`, `integrations` and
//! `sentAt`, and the address they came from.
//!
//! Merging is shallow, as it is at Segment: an item's own `context.page` replaces the envelope's
//! whole `context.page` (HTTP Tracking API, "Batch", read 2026-11).

use crate::object::{Object, put_entry};
use crate::rules::{Broken, DEPTH_MAX, shown};
use crate::text::is_deeper_than;
use std::borrow::Cow;
use std::net::IpAddr;

/// What each item of a request gets besides its own fields.
pub(crate) struct Shared<'a> {
    context: Part<'a>,
    integrations: Part<'a>,
    /// The envelope's, as JSON.
    pub(crate) sent_at: Option<&'a str>,
    /// Fills in `context.ip`; given only where the source's key is public.
    ip: Option<IpAddr>,
}

/// An object of the envelope, or the reason why no item can have it.
type Part<'a> = Result<Option<Whole<'a>>, Broken>;

struct Whole<'a> {
    json: &'a str,
    object: Object<'a>,
}

impl<'a> Shared<'a> {
    /// Reads the parts of an envelope, each of them JSON.
    pub(crate) fn new(
        context: Option<&'a str>,
        integrations: Option<&'a str>,
        sent_at: Option<&'a str>,
        ip: Option<IpAddr>,
    ) -> Self {
        Self {
            context: part("context", context),
            integrations: part("integrations", integrations),
            sent_at,
            ip,
        }
    }

    /// An item's `integrations` and the envelope's.
    pub(crate) fn integrations(&'a self, own: Option<&'a str>) -> Result<Option<Cow<'a, str>>, Broken> {
        let whole = self.integrations.as_ref().map_err(Clone::clone)?.as_ref();
        let Some(own) = own else { return Ok(whole.map(|whole| Cow::Borrowed(whole.json))) };
        let Some(whole) = whole else { return checked("integrations", own).map(Some) };
        merge(own, &parse("integrations", own)?, &whole.object).map(Some)
    }

    /// An item's `context` and the envelope's, with the address filled in where it may be.
    ///
    /// A context that names an `ip`, whatever it is, keeps it; `direct: true` says that the request
    /// does not come from the user's own device.
    pub(crate) fn context(&'a self, own: Option<&'a str>) -> Result<Option<Cow<'a, str>>, Broken> {
        let whole = self.context.as_ref().map_err(Clone::clone)?.as_ref();
        let (merged, own) = match (own, whole) {
            (Some(own), None) if self.ip.is_none() => return checked("context", own).map(Some),
            (None, None) => (None, None),
            (None, Some(whole)) => (Some(Cow::Borrowed(whole.json)), None),
            (Some(own), None) => (Some(Cow::Borrowed(own)), Some(parse("context", own)?)),
            (Some(own), Some(whole)) => {
                let object = parse("context", own)?;
                (Some(merge(own, &object, &whole.object)?), Some(object))
            }
        };
        let Some(ip) = self.ip else { return Ok(merged) };
        let value = |key: &str| {
            let own = own.as_ref().and_then(|own| own.get(key));
            own.or_else(|| whole.and_then(|whole| whole.object.get(key)))
        };
        if value("ip").is_some() || value("direct") == Some("true") {
            return Ok(merged);
        }
        let mut json = merged.map_or_else(|| String::from("{}"), Cow::into_owned);
        put_entry(&mut json, "ip", &format!("\"{ip}\""));
        Ok(Some(Cow::Owned(json)))
    }
}

fn part<'a>(field: &'static str, json: Option<&'a str>) -> Part<'a> {
    let Some(json) = json else { return Ok(None) };
    if is_deeper_than(DEPTH_MAX - 1, json) {
        let message = format!("the envelope's `{field}` is nested too deep; allowed are {DEPTH_MAX} levels");
        return Err(Broken::new("bad_request", field, message));
    }
    Ok(Some(Whole { json, object: parse(field, json)? }))
}

fn parse<'a>(field: &'static str, json: &'a str) -> Result<Object<'a>, Broken> {
    Object::parse(json).ok_or_else(|| no_object(field, json))
}

fn checked<'a>(field: &'static str, json: &'a str) -> Result<Cow<'a, str>, Broken> {
    if json.starts_with('{') { Ok(Cow::Borrowed(json)) } else { Err(no_object(field, json)) }
}

fn no_object(field: &'static str, json: &str) -> Broken {
    let message = format!("`{field}` is `{}`; it must be an object", shown(json));
    Broken::new("bad_request", field, message)
}

/// `own`, and behind it the entries of `whole` that it does not have.
fn merge<'a>(own: &'a str, object: &Object<'a>, whole: &Object<'_>) -> Result<Cow<'a, str>, Broken> {
    let mut merged = Cow::Borrowed(own);
    for (key, value) in whole.without(object) {
        put_entry(merged.to_mut(), key, value);
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(own: Option<&str>, envelope: Option<&str>, ip: Option<IpAddr>) -> Option<String> {
        Shared::new(envelope, None, None, ip).context(own).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn an_items_own_values_win_over_the_envelopes() {
        let envelope = r#"{"page":{"url":"e","path":"/"},"locale":"de"}"#;
        for (own, merged) in [
            (None, envelope),
            (Some("{}"), envelope),
            (Some(r#"{"page":{"url":"i"}}"#), r#"{"page":{"url":"i"},"locale":"de"}"#),
            (Some(r#"{"page":null,"locale":1}"#), r#"{"page":null,"locale":1}"#),
        ] {
            assert_eq!(context(own, Some(envelope), None).as_deref(), Some(merged));
            let shared = Shared::new(None, Some(envelope), None, None);
            assert_eq!(shared.integrations(own).unwrap().as_deref(), Some(merged));
        }
        assert_eq!(context(Some(r#"{"a":1}"#), None, None).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(context(None, None, None), None);
    }

    #[test]
    fn the_address_is_filled_in_unless_the_client_spoke_of_it() {
        let ip = Some(IpAddr::from([198, 51, 100, 7]));
        for (own, envelope, expected) in [
            (None, None, Some(r#"{"ip":"198.51.100.7"}"#)),
            (Some(r#"{"a":1}"#), None, Some(r#"{"a":1,"ip":"198.51.100.7"}"#)),
            (Some("{}"), Some(r#"{"b":2}"#), Some(r#"{"b":2,"ip":"198.51.100.7"}"#)),
            (Some(r#"{"ip":"0.0.0.0"}"#), None, Some(r#"{"ip":"0.0.0.0"}"#)),
            (Some(r#"{"ip":null}"#), None, Some(r#"{"ip":null}"#)),
            (None, Some(r#"{"ip":"1.2.3.4"}"#), Some(r#"{"ip":"1.2.3.4"}"#)),
            (Some(r#"{"direct":true}"#), None, Some(r#"{"direct":true}"#)),
            (None, Some(r#"{"direct":true}"#), Some(r#"{"direct":true}"#)),
            (
                Some(r#"{"direct":false}"#),
                Some(r#"{"direct":true}"#),
                Some(r#"{"direct":false,"ip":"198.51.100.7"}"#),
            ),
        ] {
            assert_eq!(context(own, envelope, ip).as_deref(), expected, "{own:?} {envelope:?}");
        }
    }

    #[test]
    fn an_envelope_that_breaks_a_rule_breaks_it_for_each_item() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
        for envelope in ["[]", "1", "\"x\"", &deep] {
            let shared = Shared::new(Some(envelope), Some(envelope), None, None);
            let broken = shared.context(None).unwrap_err();
            assert_eq!((broken.code, broken.field.as_deref()), ("bad_request", Some("context")));
            let broken = shared.integrations(Some("{}")).unwrap_err();
            assert_eq!((broken.code, broken.field.as_deref()), ("bad_request", Some("integrations")));
        }
    }
}
