//! Rejected events, and as what they were admitted later.

use super::{logged, objects, read_error};
use console::{Admission, Place, ReadError, RejectedEvent};
use pipeline::log::{Offset, PartitionId};
use queries::{Engine, PageOf};
use serde::Deserialize;

/// The rejected event at an address.
pub(super) async fn rejected_at(
    engine: &Engine,
    partition: &PartitionId,
    offset: Offset,
) -> Result<Option<RejectedEvent>, ReadError> {
    let equal = vec![("log_partition", partition.to_string())];
    let mut of = PageOf { equal, offset: Some(offset), limit: 1, ..PageOf::default() };
    loop {
        let page = engine.rejected_page(&of).await.map_err(read_error)?;
        let mut found: Vec<_> = page.rows.into_iter().map(logged::rejected).collect();
        if found.is_empty() && page.next.is_some() {
            of.after = page.next;
            continue;
        }
        fill(engine, &mut found).await?;
        return Ok(found.pop());
    }
}

#[derive(Deserialize)]
struct Row {
    admitted_from: Option<String>,
    message_id: String,
    #[serde(rename = "log_partition")]
    partition: String,
    #[serde(rename = "log_offset")]
    offset: Offset,
    received_at: String,
}

/// Fills in as what each was admitted. An admitted event keeps the message id of the record, or has one
/// that is made of its address, so the filters of the files lead to it.
pub(super) async fn fill(engine: &Engine, rejected: &mut [RejectedEvent]) -> Result<(), ReadError> {
    if rejected.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = rejected.iter().map(|one| literal(&kept_message_id(one))).collect();
    let sql = format!(
        "SELECT extra->>'admitted_from' AS admitted_from, message_id, log_partition, log_offset, received_at
         FROM events WHERE message_id IN ({}) AND flags LIKE '%admitted%'",
        ids.join(", ")
    );
    let found = objects::<Row>(engine.query(&sql).await.map_err(read_error)?).await?;
    for one in rejected {
        let address = format!("{}:{}", one.partition, one.offset);
        let row = found.rows.iter().find(|row| row.admitted_from.as_deref() == Some(&address));
        one.admitted = row.map(|row| Admission {
            message_id: row.message_id.clone(),
            place: Some(Place {
                received_at: row.received_at.clone(),
                partition: row.partition.clone(),
                offset: row.offset,
            }),
        });
    }
    Ok(())
}

fn kept_message_id(of: &RejectedEvent) -> String {
    let made = || ingest::made_message_id(&PartitionId(of.partition.as_str().into()), of.offset);
    of.message_id.clone().unwrap_or_else(made)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
