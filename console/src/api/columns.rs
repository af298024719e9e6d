//! `/columns`: properties with columns of their own.

use crate::Console;
use crate::fields::Fields;
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Data;
use bytes::Bytes;
use pipeline::log::table::promoted::PromotedType;

/// A key of `properties`.
const EXAMPLE: &str = "price";

pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(console.columns.list().await?))
}

pub(super) async fn pin(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let key = fields.text("key", EXAMPLE)?;
    let kinds = PromotedType::ALL.map(|kind| (kind.as_str(), Some(kind)));
    let kind = fields.word("type", &kinds, Some(None))?;
    fields.end("`key`, `type`")?;
    Ok(HttpResponse::Ok().json(console.columns.pin(key, kind).await?))
}

pub(super) async fn unpin(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let key = fields.text("key", EXAMPLE)?;
    fields.end("`key`")?;
    console.columns.unpin(key).await?;
    Ok(HttpResponse::NoContent().finish())
}
