//! Which statements are taken: one that reads.

use crate::SqlError;
use datafusion::config::Dialect;
use datafusion::logical_expr::sqlparser::ast::{self, SetExpr, Visit, Visitor};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use std::ops::ControlFlow;

/// The longest statement, in bytes.
pub(crate) const SQL_BYTES_MAX: usize = 256 << 10;

/// The dialect of all statements. In it `->>` binds closer than `=`, as one expects.
pub(crate) const DIALECT: Dialect = Dialect::PostgreSQL;

/// Parses one statement that reads: `SELECT`, `WITH`, `VALUES`, `EXPLAIN`, `SHOW` or `DESCRIBE`.
///
/// # Errors
/// [`SqlError::Invalid`] for anything else, with the place where it is wrong.
pub(crate) fn parse(sql: &str) -> Result<Statement, SqlError> {
    if sql.len() > SQL_BYTES_MAX {
        let message = format!("the statement has {} bytes; at most {SQL_BYTES_MAX} are allowed", sql.len());
        return Err(SqlError::invalid(message));
    }
    let parser = DFParserBuilder::new(sql).with_dialect(&PostgreSqlDialect {}).build();
    let statements = parser.and_then(|mut parser| parser.parse_statements());
    let mut statements = statements.map_err(|error| SqlError::of(&error, sql))?;
    let statement =
        statements.pop_front().ok_or_else(|| SqlError::invalid("there is no statement".into()))?;
    if !statements.is_empty() {
        let message = format!("there are {} statements; send one at a time", statements.len() + 1);
        return Err(SqlError::invalid(message));
    }
    match refusal(&statement) {
        None => Ok(statement),
        Some(what) => Err(SqlError::invalid(format!(
            "{what} is not allowed: queries only read; use SELECT, WITH, VALUES, EXPLAIN, SHOW or DESCRIBE"
        ))),
    }
}

/// What in `statement` is more than reading.
fn refusal(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Statement(statement) => refusal_of_sql(statement),
        Statement::Explain(explain) => refusal(&explain.statement),
        Statement::CreateExternalTable(_) => Some("`CREATE EXTERNAL TABLE`".into()),
        Statement::CopyTo(_) => Some("`COPY`".into()),
        Statement::Reset(_) => Some("`RESET`".into()),
    }
}

fn refusal_of_sql(statement: &ast::Statement) -> Option<String> {
    match statement {
        ast::Statement::Query(_) => match statement.visit(&mut Reading) {
            ControlFlow::Break(what) => Some(what),
            ControlFlow::Continue(()) => None,
        },
        ast::Statement::Explain { statement, .. } => refusal_of_sql(statement),
        ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ShowVariable { .. } => None,
        other => Some(format!("`{}`", words(&other.to_string()))),
    }
}

/// The leading keywords of a statement.
fn words(statement: &str) -> String {
    let keyword = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let words: Vec<&str> = statement.split_whitespace().take_while(keyword).take(2).collect();
    if words.is_empty() { "this statement".into() } else { words.join(" ") }
}

/// Finds what writes inside a query: `SELECT INTO`, and `INSERT` and its like in a `WITH`.
struct Reading;

impl Visitor for Reading {
    type Break = String;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<String> {
        writing(&query.body).map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

fn writing(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(select) => select.into.as_ref().map(|_| "`SELECT INTO`".into()),
        SetExpr::SetOperation { left, right, .. } => writing(left).or_else(|| writing(right)),
        SetExpr::Insert(_) => Some("`INSERT`".into()),
        SetExpr::Update(_) => Some("`UPDATE`".into()),
        SetExpr::Delete(_) => Some("`DELETE`".into()),
        SetExpr::Merge(_) => Some("`MERGE`".into()),
        SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_read_are_taken() {
        for sql in [
            "SELECT 1",
            "select event, count(*) from events group by 1;",
            "WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL (VALUES (2))",
            "VALUES (1), (2)",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "SHOW TABLES",
            "SHOW COLUMNS FROM events",
            "DESCRIBE events",
            "SELECT properties->>'price' FROM events WHERE (properties->>'price')::double > 3",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {}", parse(sql).unwrap_err());
        }
    }

    #[test]
    fn statements_that_do_more_are_refused() {
        for (sql, what) in [
            ("INSERT INTO events VALUES (1)", "INSERT"),
            ("UPDATE events SET event = 'x'", "UPDATE"),
            ("DELETE FROM events", "DELETE"),
            ("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE", "MERGE"),
            ("TRUNCATE TABLE events", "TRUNCATE"),
            ("CREATE TABLE a AS SELECT 1", "CREATE"),
            ("CREATE VIEW a AS SELECT 1", "CREATE"),
            ("CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL"),
            ("CREATE FUNCTION f() RETURNS INT RETURN 1", "CREATE"),
            ("DROP TABLE events", "DROP"),
            ("ALTER TABLE events ADD COLUMN a INT", "ALTER"),
            ("COPY (SELECT 1) TO '/tmp/x.csv'", "COPY"),
            ("EXPLAIN COPY (SELECT 1) TO '/tmp/x.csv'", "COPY"),
            ("EXPLAIN DELETE FROM events", "DELETE"),
            ("SET datafusion.execution.batch_size = 1", "SET"),
            ("RESET datafusion.execution.batch_size", "RESET"),
            ("PREPARE p AS SELECT 1", "PREPARE"),
            ("EXECUTE p", "EXECUTE"),
            ("DEALLOCATE p", "DEALLOCATE"),
            ("BEGIN TRANSACTION", "BEGIN TRANSACTION"),
            ("COMMIT", "COMMIT"),
            ("SELECT 1 INTO a", "SELECT INTO"),
            ("WITH a AS (INSERT INTO events VALUES (1)) SELECT 1", "INSERT"),
            ("USE a", "USE"),
            ("GRANT SELECT ON events TO a", "GRANT"),
        ] {
            let error = parse(sql).map(|_| ()).expect_err(sql).to_string();
            assert!(error.contains(what) || error.contains("expected"), "{sql}: {error}");
        }
    }

    #[test]
    fn two_statements_none_and_a_long_one_are_refused() {
        assert!(parse("SELECT 1; SELECT 2").unwrap_err().to_string().contains("2 statements"));
        assert!(parse(" -- nothing").unwrap_err().to_string().contains("no statement"));
        let long = format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX));
        assert!(parse(&long).unwrap_err().to_string().contains(&SQL_BYTES_MAX.to_string()));
    }

    #[test]
    fn deep_nesting_is_refused_without_harm() {
        let sql = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert!(parse(&sql).is_err());
    }
}
