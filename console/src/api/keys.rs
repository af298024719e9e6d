//! `/keys`: who may use this API, and for what.

use crate::Console;
use crate::fields::{Fields, TIME};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use bytes::Bytes;
use pipeline::control::{ApiKey, Scope, Secret};
use pipeline::event::format_timestamp;
use serde_json::{Value, json};

/// A name of a key.
const EXAMPLE: &str = "analyst";

/// Lists the keys. Changes made by other processes are taken over by then.
pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, Problem> {
    console.keys.write_uses().await?;
    console.keys.refresh().await?;
    let keys = console.control.api_keys().await?;
    let keys: Vec<_> = keys.iter().map(|key| shown(key, &console)).collect();
    Ok(HttpResponse::Ok().json(json!({ "keys": keys })))
}

/// Adds a key; it stands in this answer and nowhere else.
pub(super) async fn add(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let name = fields.text("name", EXAMPLE)?;
    ApiKey::check_name(&name).map_err(|_| {
        let rule = format!("must be 1 to {} of a-z, 0-9, `-` and `_`", ApiKey::NAME_MAX);
        Problem::wrong("name", rule, EXAMPLE)
    })?;
    let scopes = scopes(fields.optional("scopes"))?;
    let expires_at = fields.time("expires_at")?;
    fields.end("`name`, `scopes`, `expires_at`")?;
    let now = console.clock.now();
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::wrong("expires_at", "must be a time to come, or null for never", TIME));
    }

    let secret = Secret::api_key().map_err(|error| {
        tracing::error!(%error, "no randomness for an API key");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no key could be made")
    })?;
    let key = ApiKey {
        name,
        hash: secret.hash(),
        prefix: secret.prefix(),
        scopes,
        expires_at,
        last_used_at: None,
        created_at: now,
    };
    console.control.add_api_key(key.clone()).await?;
    console.keys.refresh().await?;
    let mut answer = shown(&key, &console);
    answer["key"] = secret.reveal().into();
    Ok(HttpResponse::Created().json(answer))
}

/// Takes a key back, for requests from here on.
pub(super) async fn revoke(console: Data<Console>, name: Path<String>) -> Result<HttpResponse, Problem> {
    console.control.revoke_api_key(&name).await?;
    console.keys.refresh().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A list of scopes, each once.
fn scopes(given: Option<Value>) -> Result<Vec<Scope>, Problem> {
    let known = Scope::ALL.map(|scope| format!("`{}`", scope.as_str())).join(", ");
    let wrong = |field: String| {
        Problem::wrong(field, format!("must be a list of at least one of {known}"), "[\"events:read\"]")
    };
    let Some(Value::Array(words)) = given else { return Err(wrong("scopes".into())) };
    let mut scopes = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let scope = word.as_str().and_then(Scope::parse);
        scopes.push(scope.ok_or_else(|| wrong(format!("scopes[{at}]")))?);
    }
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() { Err(wrong("scopes".into())) } else { Ok(scopes) }
}

fn shown(key: &ApiKey, console: &Console) -> Value {
    json!({
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "expires_at": key.expires_at.map(format_timestamp),
        "expired": key.is_expired(console.clock.now()),
        "last_used_at": key.last_used_at.map(format_timestamp),
        "created_at": format_timestamp(key.created_at),
    })
}
