//! Whether a destination got exactly the stored events that it is to get, each user's in order.

use crate::demo::server::{Server, number};
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::HashMap;

/// Rows asked for at once; fewer than any query may answer by default.
const PAGE: usize = 20_000;

/// A stored event: its message id, and whose it is.
pub(super) struct Stored {
    message_id: String,
    /// The user id and the anonymous id, those it has.
    who: Vec<String>,
}

/// All stored events for which `condition` holds, in the order of the log, page by page.
pub(super) async fn stored(server: &Server, condition: &str) -> anyhow::Result<Vec<Stored>> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = server.rows(&page_sql(condition, after)).await?;
        for row in &page {
            let text = |key: &str| row[key].as_str().map(str::to_owned);
            let message_id = text("message_id").with_context(|| format!("no message id: {row}"))?;
            let who = ["user_id", "anonymous_id"].into_iter().filter_map(text).collect();
            all.push(Stored { message_id, who });
        }
        after = page.last().map(|row| number(&row["log_offset"]));
        if page.len() < PAGE {
            return Ok(all);
        }
    }
}

fn page_sql(condition: &str, after: Option<u64>) -> String {
    let after = after.map_or_else(String::new, |offset| format!(" AND log_offset > {offset}"));
    format!(
        "SELECT message_id, user_id, anonymous_id, log_offset FROM events \
         WHERE source <> 'flowstate' AND {condition}{after} ORDER BY log_offset LIMIT {PAGE}"
    )
}

/// An error unless `arrived`, messages in the order of their first arrival, are exactly `stored`, each
/// user's in the order of the log.
pub(super) fn check(name: &str, stored: &[Stored], arrived: &[Value]) -> anyhow::Result<()> {
    let ids = arrived.iter().filter_map(|message| message["messageId"].as_str());
    let places: HashMap<&str, usize> = ids.enumerate().map(|(place, id)| (id, place)).collect();
    if places.len() != stored.len() || arrived.len() != stored.len() {
        bail!("{name} is to have {} events and has {}", stored.len(), arrived.len());
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    for Stored { message_id, who } in stored {
        let Some(place) = places.get(message_id.as_str()) else { bail!("{name} has no `{message_id}`") };
        for id in who {
            if last.insert(id, *place).is_some_and(|before| before > *place) {
                bail!("{name} got `{message_id}` of `{id}` before an earlier event of theirs");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_each_users_own_order_counts_and_every_event_must_be_there() {
        let stored = [("1", "ada"), ("2", "ben"), ("3", "ada")]
            .map(|(id, who)| Stored { message_id: id.into(), who: vec![who.into()] });
        let messages = |ids: &[&str]| ids.iter().map(|id| json!({ "messageId": id })).collect::<Vec<_>>();
        assert!(check("it", &stored, &messages(&["2", "1", "3"])).is_ok());
        assert!(check("it", &stored, &messages(&["3", "2", "1"])).is_err());
        assert!(check("it", &stored, &messages(&["1", "2"])).is_err());
        assert!(check("it", &stored, &messages(&["1", "2", "4"])).is_err());
    }

    #[test]
    fn a_page_begins_behind_the_last_offset() {
        assert!(!page_sql("true", None).contains("log_offset >"));
        assert!(page_sql("true", Some(7)).contains(" AND true AND log_offset > 7 ORDER BY"));
    }
}
