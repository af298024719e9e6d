//! Admitting all rejected events that match, page by page.

use super::super::search;
use super::{COLUMNS, LIMIT, LIMIT_MAX, body_of, object, patched};
use crate::Console;
use crate::fields::Fields;
use crate::imports::{Imports, ImportsError, Repaired};
use crate::logged::{Place, RejectedEvent, Search};
use crate::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Data;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use pipeline::log::Offset;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// So many events are admitted at once: they share the disk's syncs.
const CONCURRENT: usize = 32;

/// What became of one page.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    dry_run: bool,
    /// Events that were looked at.
    matched: u64,
    /// Events that are in the log now, or with a dry run would be.
    accepted: u64,
    /// Events that had been admitted before.
    duplicate: u64,
    /// Events that break a rule still.
    refused: u64,
    /// What is wrong with those, by the code of the rule.
    reasons: BTreeMap<String, Reason>,
    /// The `after` of the next page; `None` when there is nothing more.
    next: Option<String>,
}

/// Events that break the same rule, and the first of them.
#[derive(Debug, Serialize)]
struct Reason {
    events: u64,
    partition: String,
    offset: Offset,
    field: Option<String>,
    message: String,
}

/// What became of one event.
enum Judged {
    Accepted,
    Duplicate,
    Refused { code: String, field: Option<String>, message: String, of: Box<RejectedEvent> },
}

/// Admits a page of the rejected events that match, the oldest first, each as it is or with the patch.
///
/// Doing so again stores nothing twice, so a page that failed may be repeated.
pub(in crate::api) async fn run(
    console: Data<Console>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::parse_optional(body)?;
    let patch = object(&mut fields, "patch")?;
    let dry_run = fields.flag("dry_run")?;
    let search = search(fields)?;
    let imports = super::imports(&console)?;
    let page = console.reads.rejected(search).await?;
    let next = page.next.as_ref().map(Place::cursor);
    let judged = stream::iter(page.rows)
        .map(|of| judge(imports, of, patch.as_ref(), dry_run))
        .buffered(CONCURRENT)
        .try_fold(Outcome { dry_run, next, ..Outcome::default() }, |mut outcome, judged| async move {
            outcome.count(judged);
            Ok(outcome)
        });
    Ok(HttpResponse::Ok().json(judged.await?))
}

fn search(mut fields: Fields) -> Result<Search, Problem> {
    let mut equal = Vec::new();
    for column in COLUMNS {
        if let Some(text) = fields.optional_text(column, "web")? {
            equal.push((column, search::checked(column, text)?));
        }
    }
    let (from, to) = (fields.time("from")?, fields.time("to")?);
    let after = fields.optional_text("after", search::CURSOR)?;
    let after = after.map(|cursor| search::place(&cursor)).transpose()?;
    let limit = match fields.number("limit")? {
        None => LIMIT as usize,
        Some(limit) if limit.fract() == 0.0 && (1.0..=f64::from(LIMIT_MAX)).contains(&limit) => {
            limit as usize
        }
        Some(_) => {
            let rule = format!("must be a whole number from 1 to {LIMIT_MAX}");
            return Err(Problem::wrong("limit", rule, LIMIT.to_string()));
        }
    };
    let columns: Vec<_> = COLUMNS.iter().map(|column| format!("`{column}`")).collect();
    fields.end(&format!("{}, `from`, `to`, `after`, `limit`, `patch`, `dry_run`", columns.join(", ")))?;
    Ok(Search { equal, from, to, after, oldest_first: true, limit })
}

async fn judge(
    imports: &dyn Imports,
    of: RejectedEvent,
    patch: Option<&Map<String, Value>>,
    dry_run: bool,
) -> Result<Judged, Problem> {
    if of.admitted.is_some() {
        return Ok(Judged::Duplicate);
    }
    let event = match patch {
        Some(patch) => patched(&of, patch.clone()),
        None => body_of(&of).map(ToOwned::to_owned),
    };
    let repaired = match event {
        Ok(event) => Repaired { of, event },
        Err(problem) => {
            let (field, message) = problem.told();
            return Ok(Judged::Refused {
                code: "not_kept_whole".to_owned(),
                field,
                message,
                of: Box::new(of),
            });
        }
    };
    let of = Box::new(repaired.of.clone());
    let outcome = if dry_run {
        imports.check(&repaired).map(|()| Judged::Accepted)
    } else {
        let admission = imports.admit(repaired).await;
        admission.map(|admission| match admission.place {
            Some(_) => Judged::Accepted,
            None => Judged::Duplicate,
        })
    };
    match outcome {
        Ok(judged) => Ok(judged),
        Err(ImportsError::Broken { code, field, message }) => {
            Ok(Judged::Refused { code: code.to_owned(), field, message, of })
        }
        Err(error @ (ImportsError::UnknownSource(_) | ImportsError::DisabledSource(_))) => {
            let (code, message) = ("source_takes_none".to_owned(), error.to_string());
            Ok(Judged::Refused { code, field: None, message, of })
        }
        Err(error) => Err(error.into()),
    }
}

impl Outcome {
    fn count(&mut self, judged: Judged) {
        self.matched += 1;
        match judged {
            Judged::Accepted => self.accepted += 1,
            Judged::Duplicate => self.duplicate += 1,
            Judged::Refused { code, field, message, of } => {
                self.refused += 1;
                let first = Reason { events: 0, partition: of.partition, offset: of.offset, field, message };
                self.reasons.entry(code).or_insert(first).events += 1;
            }
        }
    }
}
