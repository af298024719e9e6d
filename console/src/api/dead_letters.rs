//! `/dead-letters`: the events that a destination refused for good.

use crate::Console;
use crate::deliveries::{DeadLettersOf, DeadOnes};
use crate::fields::Fields;
use crate::parameters::{Pairs, Parameters};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Data;
use bytes::Bytes;
use pipeline::delivery::Class;
use pipeline::delivery::lane_store::DEAD_MAX;
use pipeline::log::{Offset, PartitionId};
use serde_json::{Value, json};

/// How many are listed when nothing is said.
const LIMIT: u32 = 100;
/// An id of a connection.
const CONNECTION: &str = "con_019bbf6de8007d4fa2f3c1b5e7a90d36";

pub(super) async fn list(console: Data<Console>, pairs: Pairs) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::new(pairs);
    let connection = parameters.needed("connection", CONNECTION)?;
    let class = parameters.text("class").map(|word| class(&word)).transpose()?;
    let after = parameters.text("after").map(|text| {
        text.parse().map_err(|_| Problem::wrong("after", "must be the `next` of a page", "4711"))
    });
    let after = after.transpose()?;
    let limit = parameters.number("limit", 1..=DEAD_MAX, LIMIT)?;
    parameters.end("`connection`, `class`, `after`, `limit`")?;
    console.connections.store().connection(&connection).await?;
    let of = DeadLettersOf { connection, class, after, limit };
    Ok(HttpResponse::Ok().json(console.deliveries.dead_letters(of).await?))
}

/// Sends dead letters again.
pub(super) async fn retry(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse(body)?;
    let connection = fields.text("connection", CONNECTION)?;
    let choices = [
        fields.optional("offsets").map(|value| at(&value)).transpose()?,
        fields.flag("all")?.then_some(DeadOnes::All),
        fields
            .optional_text("class", "validation")?
            .map(|word| class(&word))
            .transpose()?
            .map(DeadOnes::Class),
        fields.time("before")?.map(DeadOnes::Before),
    ];
    fields.end("`connection`, `offsets`, `all`, `class`, `before`")?;
    let mut chosen = choices.into_iter().flatten();
    let (Some(which), None) = (chosen.next(), chosen.next()) else {
        let rule = "must be given alone: one of `offsets`, `all` (true), `class` and `before`";
        return Err(Problem::wrong("all", rule, "true"));
    };
    console.connections.store().connection(&connection).await?;
    let revived = console.deliveries.retry_dead(connection, which).await?;
    Ok(HttpResponse::Ok().json(json!({ "revived": revived })))
}

fn class(word: &str) -> Result<Class, Problem> {
    Class::parse(word).ok_or_else(|| {
        let words: Vec<_> = Class::ALL.iter().map(|class| format!("`{}`", class.as_str())).collect();
        Problem::wrong("class", format!("must be one of {}", words.join(", ")), "validation")
    })
}

fn at(value: &Value) -> Result<DeadOnes, Problem> {
    const EXAMPLE: &str = r#"[{"partition": "6f0c2a91d3b847e5", "offset": 42}]"#;
    let wrong = |field: String, rule: &str| Problem::wrong(field, rule, EXAMPLE);
    let list = value.as_array().filter(|list| (1..=DEAD_MAX as usize).contains(&list.len()));
    let Some(list) = list else {
        let rule = format!("must be a list of 1 to {DEAD_MAX} objects");
        return Err(wrong("offsets".to_owned(), &rule));
    };
    let one = |(at, value): (usize, &Value)| -> Result<(PartitionId, Offset), Problem> {
        let place = value.as_object().filter(|place| place.len() == 2);
        let place = place.and_then(|place| {
            Some((place.get("partition")?.as_str()?.to_owned(), place.get("offset")?.as_u64()?))
        });
        let (partition, offset) = place.ok_or_else(|| {
            wrong(
                format!("offsets[{at}]"),
                "must be an object with `partition`, a text, and `offset`, a number",
            )
        })?;
        Ok((PartitionId(partition.into()), offset))
    };
    Ok(DeadOnes::At(list.iter().enumerate().map(one).collect::<Result<_, _>>()?))
}
