//! `/dead-letters`: the events that a destination refused for good.

use super::Parameters;
use crate::Console;
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Data;
use pipeline::control::{DEAD_LETTERS_MAX, DeadLetter};
use pipeline::event::format_timestamp;
use serde_json::{Value, json};

/// How many are listed when nothing is said.
const LIMIT: u32 = 100;

pub(super) async fn list(console: Data<Console>, parameters: Parameters) -> Result<HttpResponse, Problem> {
    let (mut destination, mut limit) = (None, LIMIT);
    for (name, text) in parameters.into_inner() {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        match name.as_str() {
            "destination" => destination = Some(text),
            "limit" => {
                let number = text.parse().ok().filter(|number| (1..=DEAD_LETTERS_MAX).contains(number));
                limit = number.ok_or_else(|| {
                    let message =
                        format!("`limit` is `{}`: allowed is 1 to {DEAD_LETTERS_MAX}", shown(&text));
                    Problem::field("limit", message)
                })?;
            }
            _ => {
                let shown = shown(&name);
                let message = format!("`{shown}` is unknown: allowed are `destination`, `limit`");
                return Err(Problem::field(&shown, message));
            }
        }
    }
    let Some(destination) = destination else {
        return Err(Problem::field("destination", "`destination` is missing"));
    };
    let letters = console.control.dead_letters(&destination, limit).await?;
    let letters: Vec<_> = letters.into_iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(json!({ "dead_letters": letters })))
}

fn shown(letter: DeadLetter) -> Value {
    json!({
        "message_id": letter.message_id,
        "partition": letter.partition.to_string(),
        "offset": letter.offset,
        "status": letter.status,
        "reason": letter.reason,
        "at": format_timestamp(letter.at),
    })
}
