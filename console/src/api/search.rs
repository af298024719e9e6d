//! The parameters of `/events` and `/rejected`.

use crate::logged::{Page, Place, Search};
use crate::parameters::Parameters;
use crate::problem::Problem;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::ops::RangeInclusive;

/// The longest text that is looked for, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;

/// A place as a client is given it.
pub(super) const CURSOR: &str = "1768478400000000.00aa";

/// Takes the columns that must hold a text.
pub(super) fn equal(
    parameters: &mut Parameters,
    columns: &[&'static str],
) -> Result<Vec<(&'static str, String)>, Problem> {
    let mut equal = Vec::new();
    for &column in columns {
        if let Some(text) = parameters.text(column) {
            equal.push((column, checked(column, text)?));
        }
    }
    Ok(equal)
}

/// A text that is looked for in a column.
pub(super) fn checked(column: &str, text: String) -> Result<String, Problem> {
    if text.len() > TEXT_BYTES_MAX {
        let rule = format!("has {} bytes, allowed are {TEXT_BYTES_MAX}", text.len());
        return Err(Problem::wrong(column, rule, ""));
    }
    Ok(text)
}

/// The place that a page's `next` leads to.
pub(super) fn place(cursor: &str) -> Result<Place, Problem> {
    Place::parse(cursor).ok_or_else(|| Problem::wrong("after", "must be the `next` of a page", CURSOR))
}

/// Takes everything that a page may be asked for.
pub(super) fn search(
    mut parameters: Parameters,
    columns: &[&'static str],
    limits: RangeInclusive<u32>,
    limit: u32,
) -> Result<Search, Problem> {
    let equal = equal(&mut parameters, columns)?;
    let (from, to) = (parameters.time("from")?, parameters.time("to")?);
    let oldest_first = match parameters.text("order").as_deref() {
        None | Some("newest") => false,
        Some("oldest") => true,
        Some(_) => return Err(Problem::wrong("order", "must be one of `newest`, `oldest`", "newest")),
    };
    let after = parameters.text("after").map(|cursor| place(&cursor)).transpose()?;
    let limit = parameters.number("limit", limits, limit)? as usize;
    let allowed: Vec<_> = columns.iter().map(|column| format!("`{column}`")).collect();
    parameters.end(&format!("{}, `from`, `to`, `order`, `after`, `limit`", allowed.join(", ")))?;
    Ok(Search { equal, from, to, after, oldest_first, limit })
}

/// A page as it is answered; `next` is the `after` of the page that follows.
///
/// It is written as it is: [`serde_json::Value`] would turn the numbers within events into others.
pub(super) struct Shown<T> {
    name: &'static str,
    page: Page<T>,
}

impl<T> Shown<T> {
    /// The rows go under this name.
    pub(super) fn new(name: &'static str, page: Page<T>) -> Self {
        Self { name, page }
    }
}

impl<T: Serialize> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut page = serializer.serialize_map(Some(2))?;
        page.serialize_entry(self.name, &self.page.rows)?;
        page.serialize_entry("next", &self.page.next.as_ref().map(Place::cursor))?;
        page.end()
    }
}
