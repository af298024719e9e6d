//! `/commits` and `/compactions`: how the tables came to be what they are.

use crate::Console;
use crate::logged::CommitsOf;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Data;
use pipeline::event::format_timestamp;
use pipeline::log::table::{CommitSummary, TableKind};
use serde_json::{Value, json};

const TABLES: [TableKind; 4] =
    [TableKind::Events, TableKind::Rejected, TableKind::Receipts, TableKind::Deliveries];
/// How many are listed when nothing is said, and at most.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 500;

/// All commits.
pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    page(&console, pairs, "commits", false).await
}

/// Commits that made fewer files of many.
pub(super) async fn compactions(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    page(&console, pairs, "compactions", true).await
}

async fn page(
    console: &Console,
    pairs: Pairs,
    name: &'static str,
    compactions: bool,
) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::new(pairs);
    let table = match parameters.text("table") {
        None => TableKind::Events,
        Some(name) => TABLES.into_iter().find(|table| table.name() == name).ok_or_else(|| {
            let names = TABLES.map(|table| format!("`{}`", table.name())).join(", ");
            Problem::wrong("table", format!("must be one of {names}"), TableKind::Events.name())
        })?,
    };
    let wrong = || Problem::wrong("before", "must be a version, the `next` of a page", "7");
    let before = parameters.text("before").map(|text| text.parse().map_err(|_| wrong())).transpose()?;
    let limit = parameters.number("limit", 1..=LIMIT_MAX, LIMIT)?.into();
    parameters.end("`table`, `before`, `limit`")?;
    let page = console.reads.commits(CommitsOf { table, before, compactions, limit }).await?;
    let commits: Vec<_> = page.commits.iter().map(|commit| shown(table, commit)).collect();
    Ok(HttpResponse::Ok().json(json!({ name: commits, "next": page.next })))
}

fn shown(table: TableKind, commit: &CommitSummary) -> Value {
    json!({
        "table": table.name(),
        "version": commit.version,
        "at": commit.at.map(format_timestamp),
        "operation": commit.operation,
        "files_added": commit.files_added,
        "files_removed": commit.files_removed,
        "rows": commit.rows,
        "bytes": commit.bytes,
    })
}
