//! `/accounting`: received = accepted + duplicate + rejected + what retention removed, for every source and
//! hour.

use crate::Console;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use crate::reads::{AccountPlace, AccountsOf};
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

/// How many are listed when nothing is said, and at most.
const LIMIT: u32 = 1_000;
const LIMIT_MAX: u32 = 10_000;

pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::new(pairs);
    let from = parameters.time("from")?;
    let to = parameters.time("to")?;
    let source = parameters.text("source");
    let wrong = || Problem::wrong("after", "must be the `next` of a page", "1768478400000000.web");
    let after =
        parameters.text("after").map(|cursor| AccountPlace::parse(&cursor).ok_or_else(wrong)).transpose()?;
    let limit = parameters.number("limit", 1..=LIMIT_MAX, LIMIT)? as usize;
    parameters.end("`from`, `to`, `source`, `after`, `limit`")?;
    let page = console.reads.accounts(AccountsOf { from, to, source, after, limit }).await?;
    let next = page.next.as_ref().map(AccountPlace::cursor);
    Ok(HttpResponse::Ok().json(json!({ "accounts": page.accounts, "next": next, "totals": page.totals })))
}
