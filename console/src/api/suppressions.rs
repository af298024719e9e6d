//! `/suppressions`: people whose events go nowhere.

use crate::Console;
use crate::fields::Fields;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Data;
use bytes::Bytes;
use pipeline::connection::{IdentifierKind, Suppression};
use pipeline::event::format_timestamp;
use serde_json::{Value, json};

/// How many are listed when nothing is said, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// A reason.
const REASON: &str = "asked by mail on 3 November";

/// One page. `next` is the `after` of the page that follows; null on the last.
pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::new(pairs);
    let after = parameters.text("after");
    let limit = parameters.number("limit", 1..=LIMIT_MAX, LIMIT)?;
    parameters.end("`after`, `limit`")?;
    let after = after.as_deref().map(|after| {
        let (kind, value) = after.split_once(':')?;
        Some((IdentifierKind::parse(kind)?, value))
    });
    if after == Some(None) {
        return Err(Problem::wrong("after", "must be the `next` of a page", "email:anna@example.com"));
    }
    let store = console.connections.store();
    // One more than asked for tells whether there is another page.
    let mut page = store.suppressions(after.flatten(), limit + 1).await?;
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next = page.last().filter(|_| more).map(|last| format!("{}:{}", last.kind.as_str(), last.value));
    let page: Vec<_> = page.iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(json!({ "suppressions": page, "next": next })))
}

pub(super) async fn add(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let (kind, value) = identifier(&mut fields)?;
    let reason = fields.optional_text("reason", REASON)?;
    fields.end("`kind`, `value`, `reason`")?;
    let max = Suppression::REASON_BYTES_MAX;
    if reason.as_ref().is_some_and(|reason| reason.len() > max) {
        let rule = format!("must have at most {max} bytes");
        return Err(Problem::wrong("reason", rule, REASON));
    }
    let suppression = Suppression { kind, value, reason, created_at: console.clock.now() };
    console.connections.store().suppress(&suppression).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Created().json(shown(&suppression)))
}

pub(super) async fn lift(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let (kind, value) = identifier(&mut fields)?;
    fields.end("`kind`, `value`")?;
    console.connections.store().lift(kind, &value).await?;
    console.deliveries.changed();
    Ok(HttpResponse::NoContent().finish())
}

/// The identifier, as it is kept.
fn identifier(fields: &mut Fields) -> Result<(IdentifierKind, String), Problem> {
    let kinds = IdentifierKind::ALL.map(|kind| (kind.as_str(), kind));
    let kind = fields.word("kind", &kinds, None)?;
    let value = kind.normal(&fields.text("value", "user-4711")?);
    let max = Suppression::VALUE_BYTES_MAX;
    let (right, rule, example) = match kind {
        IdentifierKind::Email => {
            let parts = value.split_once('@');
            let is_address = parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
            (is_address, format!("must be an e-mail address of at most {max} bytes"), "anna@example.com")
        }
        _ => (!value.is_empty(), format!("must be an id of 1 to {max} bytes"), "user-4711"),
    };
    if !right || value.len() > max {
        return Err(Problem::wrong("value", rule, example));
    }
    Ok((kind, value))
}

fn shown(suppression: &Suppression) -> Value {
    json!({
        "kind": suppression.kind.as_str(),
        "value": suppression.value,
        "reason": suppression.reason,
        "created_at": format_timestamp(suppression.created_at),
    })
}
