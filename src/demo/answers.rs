//! Questions that a company has, answered by SQL over the log.

use super::accounts::grouped;
use super::server::Server;
use serde_json::Value;
use std::fmt::Write;

/// Cells of the longest bar.
const BAR: usize = 36;

/// Which visitor turned out to be which customer: an anonymous id that was seen with a user id.
const PERSON: &str = "\
WITH person AS (
  SELECT anonymous_id, min(user_id) AS user_id FROM events
  WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL
  GROUP BY anonymous_id
)";

/// Orders come from the backend and know only a user id; campaigns come from the website, mostly
/// before the visitor has one.
const REVENUE: &str = "
, first_campaign AS (
  SELECT person.user_id, first_value(e.context_campaign_source ORDER BY e.timestamp) AS source
  FROM events e JOIN person ON person.anonymous_id = e.anonymous_id
  WHERE e.context_campaign_source IS NOT NULL
  GROUP BY person.user_id
), orders AS (
  SELECT user_id, CAST((properties->>'total') AS DOUBLE) AS total
  FROM events WHERE event = 'Order Completed'
)
SELECT coalesce(c.source, 'came by themselves') AS label, round(sum(o.total)) AS value
FROM orders o LEFT JOIN first_campaign c ON c.user_id = o.user_id
GROUP BY 1 ORDER BY 2 DESC";

const FUNNEL: &str = "
, people AS (
  SELECT coalesce(e.user_id, person.user_id, e.anonymous_id) AS who,
    bool_or(e.type = 'page') AS visited,
    bool_or(e.event = 'Signed Up') AS signed_up,
    bool_or(e.event = 'Order Completed') AS bought
  FROM events e LEFT JOIN person ON person.anonymous_id = e.anonymous_id
  GROUP BY 1
)
SELECT sum(CASE WHEN visited THEN 1 ELSE 0 END) AS visited,
  sum(CASE WHEN visited AND signed_up THEN 1 ELSE 0 END) AS signed_up,
  sum(CASE WHEN visited AND signed_up AND bought THEN 1 ELSE 0 END) AS bought
FROM people";

/// The customer whom we knew longest without a name, and how much happened in that time.
const VISITOR: &str = "
SELECT person.anonymous_id, person.user_id,
  sum(CASE WHEN e.user_id IS NULL THEN 1 ELSE 0 END) AS unnamed, count(*) AS events
FROM events e JOIN person ON person.anonymous_id = e.anonymous_id
GROUP BY person.anonymous_id, person.user_id ORDER BY unnamed DESC, person.user_id LIMIT 1";

/// All answers, for people.
pub(super) async fn all(server: &Server) -> anyhow::Result<String> {
    let mut text = String::from("\nRevenue by the campaign that brought the customer first, in EUR\n\n");
    let revenue = server.rows(&format!("{PERSON}{REVENUE}")).await?;
    text.push_str(&bars(revenue.iter().map(|row| (word(row, "label"), number(row, "value"))).collect()));

    text.push_str("\nFrom visit to order, in people\n\n");
    let funnel = server.rows(&format!("{PERSON}{FUNNEL}")).await?;
    let steps = [("visited", "visited"), ("signed up", "signed_up"), ("bought", "bought")];
    let funnel = funnel.first().cloned().unwrap_or_default();
    text.push_str(&bars(steps.map(|(label, key)| (label.to_owned(), number(&funnel, key))).to_vec()));

    if let Some(visitor) = server.rows(&format!("{PERSON}{VISITOR}")).await?.first() {
        text.push_str(&who_was(server, visitor).await?);
    }
    Ok(text)
}

/// The profile that an anonymous visitor's events went to.
async fn who_was(server: &Server, visitor: &Value) -> anyhow::Result<String> {
    let anonymous_id = word(visitor, "anonymous_id");
    let profile = format!("SELECT * FROM profiles WHERE array_has(anonymous_ids, '{anonymous_id}')");
    let profile = server.rows(&profile).await?.into_iter().next().unwrap_or_default();
    let mut text = format!(
        "\nWho was visitor {anonymous_id}?\n{} events came before a name did. The profile they belong to now:\n\n",
        number(visitor, "unnamed"),
    );
    for (name, value) in profile.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let _ = writeln!(text, "  {name:>13}  {value}");
    }
    text.push('\n');
    Ok(text)
}

/// One bar for each label, the longest for the largest value.
fn bars(values: Vec<(String, f64)>) -> String {
    let width = values.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let mut text = String::new();
    for (label, value) in values {
        let eighths = if most > 0.0 { (value / most * (BAR * 8) as f64).round() as usize } else { 0 };
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        let bar = format!("{}{part}", "█".repeat(eighths / 8));
        let _ = writeln!(text, "  {label:>width$}  {bar:BAR$}  {:>9}", grouped(value.max(0.0) as u64));
    }
    text
}

fn word(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or_default().to_owned()
}

fn number(row: &Value, key: &str) -> f64 {
    let value = &row[key];
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let text = bars(vec![("google".into(), 2000.0), ("partner".into(), 500.0), ("none".into(), 0.0)]);
        let lengths: Vec<_> = text.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [36, 9, 0]);
        assert!(text.starts_with("   google  ███") && text.contains("    2 000\n"), "{text}");
    }
}
