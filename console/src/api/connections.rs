//! `/connections`: authorised links to accounts at vendors.

mod actions;
mod shown;

pub(super) use actions::{enable, pause, preview, resume, test};

use crate::Console;
use crate::fields::Fields;
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use bytes::Bytes;
use pipeline::connection::{ConnectionError, Edit, Entered, Mistake};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ALLOWED: &str = "`vendor`, `name`, `settings`, `credentials`, `hosts`, `routing`";
const CHANGEABLE: &str = "`name`, `settings`, `credentials`, `hosts`, `routing`";

pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, Problem> {
    let connections = console.connections.store().connections().await?;
    let connections: Vec<_> = connections.iter().map(|one| shown::connection(&console, one)).collect();
    Ok(HttpResponse::Ok().json(json!({ "connections": connections })))
}

pub(super) async fn show(console: Data<Console>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let connection = console.connections.store().connection(&id).await?;
    Ok(HttpResponse::Ok().json(shown::connection(&console, &connection)))
}

/// Adds a connection as a draft; credentials that the server made stand in this answer and nowhere
/// else.
pub(super) async fn add(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let entered = Entered {
        vendor: fields.text("vendor", "segment")?,
        name: fields.text("name", "Marketing")?,
        settings: fields.object("settings")?,
        credentials: credentials(&mut fields)?
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)))
            .collect(),
        hosts: hosts(&mut fields)?.unwrap_or_default(),
        routing: fields.optional("routing").unwrap_or_else(|| json!({})),
    };
    fields.end(ALLOWED)?;
    let made = console.connections.create(entered).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Created().json(shown::made(&console, &made)))
}

pub(super) async fn change(
    console: Data<Console>,
    id: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let edit = Edit {
        name: fields.optional_text("name", "Marketing")?,
        settings: fields.object("settings")?,
        credentials: credentials(&mut fields)?,
        hosts: hosts(&mut fields)?,
        routing: fields.optional("routing"),
    };
    fields.end(CHANGEABLE)?;
    let made = console.connections.update(&id, edit).await?;
    console.deliveries.changed();
    Ok(HttpResponse::Ok().json(shown::made(&console, &made)))
}

/// Disconnects: the credentials are erased, and the name is free again.
pub(super) async fn erase(console: Data<Console>, id: Path<String>) -> Result<HttpResponse, Problem> {
    console.connections.store().erase_connection(&id).await?;
    console.deliveries.changed();
    Ok(HttpResponse::NoContent().finish())
}

fn credentials(fields: &mut Fields) -> Result<BTreeMap<String, Option<String>>, Problem> {
    texts(fields, "credentials", "must be a text, or null to take it away", "")
}

fn hosts(fields: &mut Fields) -> Result<Option<BTreeMap<String, String>>, Problem> {
    if !fields.has("hosts") {
        return Ok(None);
    }
    let hosts = texts(fields, "hosts", "must be an address", "http://127.0.0.1:8900")?;
    Ok(Some(hosts.into_iter().filter_map(|(name, address)| Some((name, address?))).collect()))
}

/// An object of texts; what else stands there is named and not repeated.
fn texts(
    fields: &mut Fields,
    name: &str,
    rule: &str,
    example: &str,
) -> Result<BTreeMap<String, Option<String>>, Problem> {
    let mut mistakes = Vec::new();
    let mut texts = BTreeMap::new();
    for (key, value) in fields.object(name)? {
        match value {
            Value::String(text) => texts.insert(key, Some(text)),
            Value::Null => texts.insert(key, None),
            _ => {
                let key: String = key.chars().take(80).collect();
                mistakes.push(Mistake::new(format!("{name}.{key}"), rule, example));
                None
            }
        };
    }
    if mistakes.is_empty() { Ok(texts) } else { Err(ConnectionError::Wrong(mistakes).into()) }
}
