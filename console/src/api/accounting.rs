//! `/accounting`: received = accepted + duplicate + rejected, for every source and hour.

use crate::Console;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use crate::reads::AccountsOf;
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::new(pairs);
    let from = parameters.time("from")?;
    let to = parameters.time("to")?;
    let source = parameters.text("source");
    parameters.end("`from`, `to`, `source`")?;
    let accounts = console.reads.accounts(AccountsOf { from, to, source }).await?;
    Ok(HttpResponse::Ok().json(json!({ "accounts": accounts })))
}
