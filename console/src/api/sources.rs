//! `/sources`.

use crate::Console;
use crate::fields::Fields;
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use bytes::Bytes;
use pipeline::control::{Control, Secret, Source, SourceKind};
use pipeline::event::format_timestamp;
use serde_json::{Value, json};

/// A name of a source.
const EXAMPLE: &str = "web-shop";

/// Lists the sources. Changes made by other processes are taken over by then.
pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, Problem> {
    console.keys.refresh().await?;
    let sources = console.control.sources().await?;
    let sources: Vec<_> = sources.iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(json!({ "sources": sources })))
}

/// Adds a source; its write key stands in this answer and nowhere else.
pub(super) async fn add(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let name = fields.text("name", EXAMPLE)?;
    Source::check_name(&name).map_err(|_| {
        let rule = format!("must be 1 to {} of a-z, 0-9, `-` and `_`", Source::NAME_MAX);
        Problem::wrong("name", rule, EXAMPLE)
    })?;
    let kinds = SourceKind::ALL.map(|kind| (kind.as_str(), kind));
    let kind = fields.word("kind", &kinds, None)?;
    let test = fields.flag("test")?;
    fields.end("`name`, `kind`, `test`")?;

    let key = Secret::write_key().map_err(|error| {
        tracing::error!(%error, "no randomness for a write key");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no key could be made")
    })?;
    let source = Source {
        name,
        kind,
        test,
        enabled: true,
        write_key_hash: key.hash(),
        write_key_prefix: key.prefix(),
        created_at: console.clock.now(),
    };
    console.control.add_source(source.clone()).await?;
    console.keys.refresh().await?;
    let mut answer = shown(&source);
    answer["write_key"] = key.reveal().into();
    Ok(HttpResponse::Created().json(answer))
}

pub(super) async fn disable(console: Data<Console>, name: Path<String>) -> Result<HttpResponse, Problem> {
    set_enabled(&console, &name, false).await
}

pub(super) async fn enable(console: Data<Console>, name: Path<String>) -> Result<HttpResponse, Problem> {
    set_enabled(&console, &name, true).await
}

async fn set_enabled(console: &Console, name: &str, enabled: bool) -> Result<HttpResponse, Problem> {
    let control: &dyn Control = &*console.control;
    control.set_source_enabled(name, enabled).await?;
    console.keys.refresh().await?;
    let source = control.sources().await?.into_iter().find(|source| source.name == name);
    Ok(HttpResponse::Ok().json(source.as_ref().map(shown)))
}

fn shown(source: &Source) -> Value {
    json!({
        "name": source.name,
        "kind": source.kind.as_str(),
        "test": source.test,
        "enabled": source.enabled,
        "write_key_prefix": source.write_key_prefix,
        "created_at": format_timestamp(source.created_at),
    })
}
