//! `flowstate column`: properties with columns of their own, through the server that runs.

use crate::cli::{ColumnArgs, ColumnCommand};
use crate::output::print;
use crate::serve::Announcement;
use crate::settings::Settings;
use anyhow::{Context, bail};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// How long the server may take; to tell a type it looks through events.
const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) async fn run(args: ColumnArgs) -> anyhow::Result<()> {
    match args.command {
        ColumnCommand::List { flags } => {
            let list = ask(&flags.settings()?, Method::GET, "/api/v1/columns", None).await?;
            print(table(&serde_json::from_value(list)?)?)?;
        }
        ColumnCommand::Pin { key, kind, flags } => {
            let body = json!({ "key": key, "type": kind.map(crate::cli::ColumnType::as_str) });
            let column =
                ask(&flags.settings()?, Method::POST, "/api/v1/columns", Some(without_nulls(body))).await?;
            let column: Column = serde_json::from_value(column)?;
            eprintln!(
                "`{key}` has the column `{}` ({}); older rows are filled by and by",
                column.name, column.kind
            );
        }
        ColumnCommand::Unpin { key, flags } => {
            ask(&flags.settings()?, Method::DELETE, "/api/v1/columns", Some(json!({ "key": key }))).await?;
            eprintln!("`{key}` has no column any more; it stays in `properties`");
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct List {
    columns: Vec<Column>,
    rows: u64,
    not_promoted: Vec<WithoutColumn>,
}

#[derive(Deserialize)]
struct Column {
    key: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    pinned: bool,
    rows_filled: u64,
    mismatches: u64,
}

#[derive(Deserialize)]
struct WithoutColumn {
    key: String,
    reason: String,
}

fn without_nulls(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

/// Asks the server that runs on the data directory; columns are its to change.
async fn ask(settings: &Settings, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    crate::telemetry::start(settings);
    let Some(server) = Announcement::read(&settings.data)? else {
        bail!(
            "no server runs on `{}`: start `flowstate serve`, or name another with --data",
            settings.data.display()
        )
    };
    let mut request = server.request(method, path)?.timeout(TIMEOUT);
    if let Some(body) = body {
        request = request.body(body.to_string());
    }
    let answer =
        request.send().await.with_context(|| format!("the server at {} does not answer", server.url))?;
    let status = answer.status();
    let text = answer.text().await?;
    let value: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
    if !status.is_success() {
        bail!("{}", value["message"].as_str().unwrap_or(&text));
    }
    Ok(value)
}

fn table(list: &List) -> Result<String, std::fmt::Error> {
    let width =
        |title: &str, texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).max(title.len());
    let name = width("COLUMN", &mut list.columns.iter().map(|column| column.name.len()));
    let key = width("PROPERTY", &mut list.columns.iter().map(|column| column.key.chars().count()));
    let mut lines = format!("{:name$}  {:key$}  TYPE     PINNED  FILLED  OTHER TYPE\n", "COLUMN", "PROPERTY");
    for column in &list.columns {
        let pinned = if column.pinned { "yes" } else { "no" };
        let filled = (column.rows_filled * 100).checked_div(list.rows).unwrap_or(100);
        writeln!(
            lines,
            "{:name$}  {:key$}  {:7}  {pinned:6}  {filled:>5}%  {:>10}",
            column.name, column.key, column.kind, column.mismatches
        )?;
    }
    for without in &list.not_promoted {
        writeln!(lines, "`{}` has no column: {}", without.key, without.reason)?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_tells_columns_and_what_has_none() {
        let list = json!({
            "columns": [{"key": "orderId", "name": "p_order_id", "type": "text", "pinned": true,
                         "rows_filled": 50, "mismatches": 3}],
            "rows": 200,
            "not_promoted": [{"key": "order_id", "reason": "why"}],
        });
        let lines = table(&serde_json::from_value(list).unwrap()).unwrap();
        let expected = "\
COLUMN      PROPERTY  TYPE     PINNED  FILLED  OTHER TYPE
p_order_id  orderId   text     yes        25%           3
`order_id` has no column: why
";
        assert_eq!(lines, expected);
    }
}
