//! The names that can stand in a statement.

use crate::sql::target::Target;
use std::collections::BTreeMap;

/// Lists the tables and views.
pub(super) const TABLES: &str = "SELECT table_name AS name, table_type AS type FROM information_schema.tables \
     WHERE table_schema = 'public' ORDER BY table_name";

const COLUMNS: &str = "SELECT table_name, column_name FROM information_schema.columns \
     WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";

/// Lists the columns of a table.
pub(super) fn columns_of(table: &str) -> String {
    format!(
        "SELECT column_name AS name, data_type AS type, is_nullable AS nullable FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name = '{}' ORDER BY ordinal_position",
        table.replace('\'', "''")
    )
}

/// Tables with their columns.
#[derive(Clone, Default)]
pub(super) struct Names(BTreeMap<String, Vec<String>>);

impl Names {
    pub(super) async fn load(target: &Target) -> anyhow::Result<Self> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in target.objects(COLUMNS).await? {
            if let (Some(table), Some(column)) = (row["table_name"].as_str(), row["column_name"].as_str()) {
                names.entry(table.to_owned()).or_default().push(column.to_owned());
            }
        }
        Ok(Self(names))
    }

    pub(super) fn is_table(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.contains_key(name)
    }

    pub(super) fn tables(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The columns of the tables that `statement` mentions; of all where it mentions none.
    pub(super) fn columns(&self, statement: &str) -> Vec<&str> {
        let word = |c: char| !(c.is_alphanumeric() || c == '_');
        let mentioned: Vec<&str> = statement.split(word).filter(|word| self.0.contains_key(*word)).collect();
        let tables = self.0.iter();
        let wanted = tables.filter(|(name, _)| mentioned.is_empty() || mentioned.contains(&name.as_str()));
        wanted.flat_map(|(_, columns)| columns.iter().map(String::as_str)).collect()
    }

    #[cfg(test)]
    pub(super) fn of(tables: &[(&str, &[&str])]) -> Self {
        let owned = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect();
        Self(tables.iter().map(|(table, columns)| ((*table).to_owned(), owned(columns))).collect())
    }
}
