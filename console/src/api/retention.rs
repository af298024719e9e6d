//! `/retention`: how long the tables keep their rows, what is due, what that waits for, and what was
//! removed.

use crate::Console;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Data;

pub(super) async fn show(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    Parameters::new(pairs).end("none")?;
    Ok(HttpResponse::Ok().json(console.reads.retention().await?))
}
