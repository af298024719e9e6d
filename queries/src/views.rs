//! The views, written in SQL over the log's tables.

/// Everything that can stand behind `FROM`.
pub(crate) const NAMES: [&str; 9] = [
    "events",
    "rejected",
    "receipts",
    "accounting",
    "profiles",
    "deliveries",
    "delivery_records",
    crate::holes::HOLES,
    crate::event_views::EVENT_VIEWS,
];

/// Each view's name and its query.
///
/// `accounting`: for every source and hour (by the time the request was received) the items
/// received, accepted, duplicate and rejected, and how many are `unaccounted` for. `received` and
/// `duplicate` come from the receipts; `accepted` and `rejected` are counted from the rows of the
/// tables, so that `unaccounted = 0` is a check. `accepted_expired` and `rejected_expired` are those
/// that retention has removed since: the receipts tell them, and `flowstate verify` checks that just as
/// many rows are gone as `holes` lists.
///
/// `profiles`: one row for each user id, from all sources but those made for tests.
/// `anonymous_ids` are those that an `identify` or an `alias` names together with the user. Each
/// trait has its latest value by `timestamp`, then by the order of the log; a JSON null deletes it.
/// Events of an anonymous id count as the user's where the id belongs to this user alone; those of
/// an id that several users share count only where they name the user themselves.
///
/// `deliveries`: one row for each event and decision of a destination about it: every attempt, and
/// what was left out and why. `(log_partition, log_offset)` is the event's address in `events`; without an
/// offset, the row tells what retention removed before the destination got it.
pub(crate) const VIEWS: [(&str, &str); 3] = [
    ("accounting", include_str!("views/accounting.sql")),
    ("profiles", include_str!("views/profiles.sql")),
    ("deliveries", include_str!("views/deliveries.sql")),
];

#[cfg(test)]
mod tests;
