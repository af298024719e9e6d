//! A checkpoint: the actions of all commits up to its version, as Parquet.

use super::Change;
use super::actions::{Action, Add, Metadata, Protocol, Remove, Txn};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};
use std::collections::HashMap;

/// Why a checkpoint could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Store(object_store::Error),
    Damaged(String),
}

/// Reads all parts of a checkpoint.
pub(super) async fn read(objects: &dyn ObjectStore, parts: &[Path]) -> Result<Vec<Change>, ReadError> {
    let mut changes = Vec::new();
    for path in parts {
        let found = objects.get(path).await.map_err(ReadError::Store)?;
        let bytes = found.bytes().await.map_err(ReadError::Store)?;
        let part = tokio::task::spawn_blocking(move || parse(bytes))
            .await
            .map_err(|error| ReadError::Damaged(error.to_string()))?
            .map_err(ReadError::Damaged)?;
        changes.extend(part);
    }
    Ok(changes)
}

fn parse(bytes: bytes::Bytes) -> Result<Vec<Change>, String> {
    let reader = SerializedFileReader::new(bytes).map_err(|error| error.to_string())?;
    let mut changes = Vec::new();
    for row in reader.get_row_iter(None).map_err(|error| error.to_string())? {
        let row = row.map_err(|error| error.to_string())?;
        action(&row).changes(&mut changes)?;
    }
    Ok(changes)
}

fn action(row: &Row) -> Action {
    let mut action = Action::default();
    for (name, field) in row.get_column_iter() {
        let Field::Group(group) = field else { continue };
        match name.as_str() {
            "add" => {
                action.add = Some(Add {
                    path: text(group, "path").unwrap_or_default(),
                    size: number(group, "size").unwrap_or_default(),
                    partition_values: map(group, "partitionValues"),
                    stats: text(group, "stats"),
                });
            }
            "remove" => {
                action.remove = Some(Remove {
                    path: text(group, "path").unwrap_or_default(),
                    deletion_timestamp: number(group, "deletionTimestamp"),
                });
            }
            "txn" => {
                action.txn = Some(Txn {
                    app_id: text(group, "appId").unwrap_or_default(),
                    version: number(group, "version").unwrap_or_default(),
                });
            }
            "protocol" => {
                action.protocol = Some(Protocol {
                    min_reader_version: number(group, "minReaderVersion").unwrap_or(i64::MAX),
                    min_writer_version: number(group, "minWriterVersion").unwrap_or(i64::MAX),
                });
            }
            "metaData" => {
                action.meta_data = Some(Metadata {
                    schema: text(group, "schemaString").unwrap_or_default(),
                    configuration: map(group, "configuration"),
                });
            }
            _ => {}
        }
    }
    action
}

fn field<'r>(row: &'r Row, name: &str) -> Option<&'r Field> {
    row.get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field)
}

fn text(row: &Row, name: &str) -> Option<String> {
    as_text(field(row, name)?)
}

fn as_text(field: &Field) -> Option<String> {
    if let Field::Str(text) = field { Some(text.clone()) } else { None }
}

fn number(row: &Row, name: &str) -> Option<i64> {
    match field(row, name)? {
        Field::Long(number) => Some(*number),
        Field::Int(number) => Some(i64::from(*number)),
        _ => None,
    }
}

fn map(row: &Row, name: &str) -> HashMap<String, Option<String>> {
    let Some(Field::MapInternal(map)) = field(row, name) else { return HashMap::new() };
    map.entries().iter().filter_map(|(key, value)| Some((as_text(key)?, as_text(value)))).collect()
}
