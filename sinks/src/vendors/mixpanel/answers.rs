//! What Mixpanel's answers say about each operation.

use super::IMPORT;
use super::project::Project;
use crate::engine::{Failure, Operation, Scope, Verdict};
use crate::vendors::answer;
use pipeline::Micros;
use pipeline::delivery::Class;
use pipeline::egress::Answer;
use serde_json::Value;

pub(super) fn verdicts(
    project: &Project,
    operations: &[&Operation],
    answer: &Answer,
    now: Micros,
) -> Vec<Verdict> {
    let count = operations.len();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let is_import = operations.first().is_some_and(|operation| operation.endpoint == IMPORT);
    let same = |failure| vec![Verdict::Failed(failure); count];
    match (answer.status, is_import) {
        (200..=299 | 400, true) => match named(project, answer, &body, count) {
            Some(verdicts) => verdicts,
            None if answer.status == 400 => same(failure(project, answer, now)),
            None if body["code"] == 200 => vec![Verdict::Delivered; count],
            None => same(unexpected(project, answer, now)),
        },
        (200..=299, false) => match body.get("status").unwrap_or(&body).as_i64() {
            Some(1) => vec![Verdict::Delivered; count],
            Some(0) => same(refused_profiles(project, answer, &body, now)),
            _ => same(unexpected(project, answer, now)),
        },
        _ => same(failure(project, answer, now)),
    }
}

/// A verdict for each operation where the body names the refused ones: the others were stored.
/// `None` where it names nobody, or one that is not there, or is so long that it was cut. Halving finds
/// those then: what was stored already counts once.
fn named(project: &Project, answer: &Answer, body: &Value, count: usize) -> Option<Vec<Verdict>> {
    let records = body["failed_records"].as_array().filter(|records| !records.is_empty())?;
    let mut verdicts = vec![Verdict::Delivered; count];
    for record in records {
        let index = usize::try_from(record["index"].as_u64()?).ok()?;
        *verdicts.get_mut(index)? = Verdict::Failed(refused_event(project, answer, record));
    }
    Some(verdicts)
}

fn refused_event(project: &Project, answer: &Answer, record: &Value) -> Failure {
    let field = record["field"].as_str().unwrap_or("the event");
    let message = record["message"].as_str().unwrap_or("Mixpanel gave no reason");
    let detail = project.without_secrets(&answer::cut(format!("{field}: {message}")));
    let status = Some(answer.status);
    Failure { status, ..answer::refused(detail, format!("Change `{}` at the source.", short(field))) }
}

/// A field's name in a sentence.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}

/// `/engage` and `/groups` refuse in words, and only as a whole. A complaint about the token, which
/// is the same in all of them, is one about the connection.
fn refused_profiles(project: &Project, answer: &Answer, body: &Value, now: Micros) -> Failure {
    let error = body["error"].as_str().unwrap_or_default();
    let mut failure = failure(project, answer, now);
    if error.contains("token") {
        failure.class = Class::AuthRevoked;
        failure.scope = Scope::Destination;
        failure.remedy = "Replace the connection's project token.".to_owned();
    } else {
        failure.class = Class::Validation;
        failure.scope = Scope::Batch;
        failure.remedy = "Change the traits at the source.".to_owned();
    }
    failure
}

/// A success that does not say so. Sending it again does no harm.
fn unexpected(project: &Project, answer: &Answer, now: Micros) -> Failure {
    let failure = failure(project, answer, now);
    Failure { class: Class::Unknown, scope: Scope::Destination, ..failure }
}

/// What an answer means that is no success.
pub(super) fn failure(project: &Project, answer: &Answer, now: Micros) -> Failure {
    let mut failure = answer::failure(answer, now);
    failure.detail = project.without_secrets(&failure.detail);
    let has_account = project.service_account().is_some();
    let remedy = match failure.class {
        Class::AuthRevoked if has_account => {
            "Replace the connection's service account: its secret is wrong, or it has expired."
        }
        Class::AuthRevoked => "Replace the connection's project token.",
        Class::Permission if has_account => {
            "Give the service account the role Owner or Admin in the project, and check `project_id` and `region`."
        }
        Class::Permission => "Check that the project token belongs to the project and `region` is right.",
        // The addresses are Mixpanel's own and fixed: this was not Mixpanel, or not for long.
        Class::NotFound | Class::Gone => {
            failure.class = Class::Transient;
            failure.scope = Scope::Destination;
            "Check that nothing stands between this machine and Mixpanel."
        }
        _ => return failure,
    };
    failure.remedy = remedy.to_owned();
    failure
}
