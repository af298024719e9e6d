//! `/accounting`: received = accepted + duplicate + rejected, for every source and hour.

use super::Parameters;
use crate::Console;
use crate::problem::Problem;
use crate::reads::AccountsOf;
use actix_web::HttpResponse;
use actix_web::web::Data;
use pipeline::event::parse_timestamp;
use serde_json::json;

pub(super) async fn list(console: Data<Console>, parameters: Parameters) -> Result<HttpResponse, Problem> {
    let mut of = AccountsOf::default();
    for (name, text) in parameters.into_inner() {
        let time = || {
            parse_timestamp(&text).map(Some).ok_or_else(|| {
                let shown: String = text.chars().take(80).collect();
                let message =
                    format!("`{name}` is `{shown}`: allowed is a time such as 2026-11-23T18:00:00Z");
                Problem::field(&name, message)
            })
        };
        match name.as_str() {
            "from" => of.from = time()?,
            "to" => of.to = time()?,
            "source" => of.source = Some(text),
            _ => {
                let shown: String = name.chars().take(80).collect();
                let message = format!("`{shown}` is unknown: allowed are `from`, `to`, `source`");
                return Err(Problem::field(&shown, message));
            }
        }
    }
    let accounts = console.reads.accounts(of).await?;
    Ok(HttpResponse::Ok().json(json!({ "accounts": accounts })))
}
