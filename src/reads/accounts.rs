//! The accounts of sources and hours.

use super::{Answered, objects, read_error};
use console::{Account, AccountPlace, Accounts, AccountsOf, ReadError, Totals};
use pipeline::Micros;
use pipeline::event::{format_timestamp, parse_timestamp};
use queries::Engine;

pub(super) async fn page(engine: &Engine, of: AccountsOf) -> Result<Accounts, ReadError> {
    let answer = engine.query(&page_sql(&of)).await.map_err(read_error)?;
    let answer: Answered<Account> = objects(answer).await?;
    if answer.truncated {
        let message =
            format!("a page of {} accounts is more than `sql_rows_max` allows; ask for fewer", of.limit);
        return Err(ReadError::Limit(message));
    }
    let mut accounts = answer.rows;
    let is_more = accounts.len() > of.limit;
    accounts.truncate(of.limit);
    let next = accounts.last().filter(|_| is_more).map(place).transpose()?;
    let totals = match (&of.after, &next) {
        (Some(_), _) => None,
        (None, None) => Some(accounts.iter().sum()),
        (None, Some(_)) => Some(totals(engine, &of).await?),
    };
    Ok(Accounts { accounts, next, totals })
}

fn place(account: &Account) -> Result<AccountPlace, ReadError> {
    let hour = parse_timestamp(&account.hour)
        .ok_or_else(|| ReadError::Failed(format!("`{}` is no hour", account.hour)))?;
    Ok(AccountPlace { hour, source: account.source.clone() })
}

async fn totals(engine: &Engine, of: &AccountsOf) -> Result<Totals, ReadError> {
    let answer = engine.query(&totals_sql(of)).await.map_err(read_error)?;
    let answer: Answered<Totals> = objects(answer).await?;
    Ok(answer.rows.first().copied().unwrap_or_default())
}

const NUMBERS: [&str; 7] =
    ["received", "accepted", "duplicate", "rejected", "accepted_expired", "rejected_expired", "unaccounted"];

fn page_sql(of: &AccountsOf) -> String {
    let after = of.after.as_ref().map(|AccountPlace { hour, source }| {
        let (hour, source) = (format_timestamp(*hour), text(source));
        format!("(hour > '{hour}' OR hour = '{hour}' AND source > {source})")
    });
    let conditions: Vec<_> = matching(of).into_iter().chain(after).collect();
    format!(
        "SELECT source, hour, {} FROM accounting WHERE {} ORDER BY hour, source LIMIT {}",
        NUMBERS.join(", "),
        all(&conditions),
        of.limit + 1
    )
}

fn totals_sql(of: &AccountsOf) -> String {
    let sums = NUMBERS.map(|number| format!("coalesce(sum({number}), 0) AS {number}"));
    format!("SELECT {} FROM accounting WHERE {}", sums.join(", "), all(&matching(of)))
}

fn matching(of: &AccountsOf) -> Vec<String> {
    let time = |comparison: &str, time: Option<Micros>| {
        time.map(|time| format!("hour {comparison} '{}'", format_timestamp(time)))
    };
    let source = of.source.as_ref().map(|source| format!("source = {}", text(source)));
    [time(">=", of.from), time("<", of.to), source].into_iter().flatten().collect()
}

fn all(conditions: &[String]) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
}

/// A text as SQL has it.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_selected_by_time_source_and_page_and_nothing_else() {
        assert!(page_sql(&AccountsOf { limit: 7, ..AccountsOf::default() }).contains("WHERE true"));
        let after = AccountPlace { hour: 3_600_000_000, source: "w'eb".into() };
        let of = AccountsOf {
            from: Some(0),
            to: Some(3_600_000_000),
            source: Some("a' OR 'b".into()),
            after: Some(after),
            limit: 7,
        };
        let sql = page_sql(&of);
        let matches = "hour >= '1970-01-01T00:00:00.000000Z' AND hour < '1970-01-01T01:00:00.000000Z' AND source = 'a'' OR ''b'";
        let page = "(hour > '1970-01-01T01:00:00.000000Z' OR hour = '1970-01-01T01:00:00.000000Z' AND source > 'w''eb') \
                    ORDER BY hour, source LIMIT 8";
        assert!(sql.contains(&format!("WHERE {matches} AND {page}")), "{sql}");
        let sql = totals_sql(&of);
        assert!(sql.ends_with(&format!("WHERE {matches}")) && !sql.contains("ORDER"), "{sql}");
    }
}
