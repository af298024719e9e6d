//! `/sql`.

use crate::Console;
use crate::fields::Fields;
use crate::problem::Problem;
use crate::reads::{Format, ReadError};
use actix_web::HttpResponse;
use actix_web::web::Data;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// The longest query, in bytes.
const SQL_BYTES_MAX: usize = 256 << 10;

/// A query.
const EXAMPLE: &str = "SELECT event, count(*) FROM events GROUP BY event";

/// Answers a query in pieces, as they come. The query ends when the client goes.
pub(super) async fn run(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let sql = fields.text("sql", EXAMPLE)?;
    let formats = Format::ALL.map(|format| (format.as_str(), format));
    let format = fields.word("format", &formats, Some(Format::Json))?;
    fields.end("`sql`, `format`")?;
    if sql.len() > SQL_BYTES_MAX {
        let rule = format!("has {} bytes, allowed are {SQL_BYTES_MAX}", sql.len());
        return Err(Problem::wrong("sql", rule, EXAMPLE));
    }
    if sql.trim().is_empty() {
        return Err(Problem::wrong("sql", "is empty", EXAMPLE));
    }

    // Most of what can go wrong does so before the first rows, and can then be a proper answer.
    let mut rows = console.reads.sql(sql, format).await?;
    let first = rows.next().await.transpose()?;
    let all = stream::iter(first.map(Ok)).chain(rows).inspect_err(|error: &ReadError| {
        tracing::warn!(%error, "an answer to SQL broke off, its connection is closed");
    });
    Ok(HttpResponse::Ok().content_type(format.content_type()).streaming(all.map_err(Problem::from)))
}
