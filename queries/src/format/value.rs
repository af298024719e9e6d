//! One value of an answer.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use arrow::util::display::array_value_to_string;
use std::sync::Arc;

/// The name of a type in answers: `string`, `integer`, `double`, `decimal`, `boolean`,
/// `timestamp`, `date`, `list`, `struct`, `json` (a value of any JSON type), `binary`, `null`, or
/// `other`, whose values are text.
pub fn type_name(kind: &DataType) -> &'static str {
    match kind {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        kind if kind.is_integer() => "integer",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double",
        kind if kind.is_decimal() => "decimal",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary"
        }
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(_, _) => "timestamp",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => "list",
        DataType::Struct(_) => "struct",
        DataType::Union(_, _) => "json",
        DataType::Dictionary(_, values) => type_name(values),
        _ => "other",
    }
}

/// The field as [`plain`] makes its column.
pub(super) fn plain_field(field: &Field) -> Field {
    field.clone().with_data_type(plain_type(field.data_type()).unwrap_or_else(|| field.data_type().clone()))
}

/// The column without dictionaries, with one type each for floating-point numbers and times.
pub(super) fn plain(column: &ArrayRef) -> ArrayRef {
    let plain = plain_type(column.data_type()).and_then(|kind| arrow::compute::cast(column, &kind).ok());
    plain.unwrap_or_else(|| Arc::clone(column))
}

fn plain_type(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::Dictionary(_, values) => {
            Some(plain_type(values).unwrap_or_else(|| values.as_ref().clone()))
        }
        DataType::Float16 | DataType::Float32 => Some(DataType::Float64),
        DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Date64 => Some(DataType::Date32),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => Some(DataType::Int64),
        DataType::Timestamp(unit, _) if *unit != TimeUnit::Microsecond => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        _ => None,
    }
}

/// Writes the value as JSON.
pub(super) fn write_json(field: &Field, values: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if is_null(values, row) {
        return out.extend_from_slice(b"null");
    }
    match values.data_type() {
        DataType::Boolean => put(values.as_boolean().value(row), out),
        DataType::Int64 => put(values.as_primitive::<Int64Type>().value(row), out),
        DataType::UInt64 => put(values.as_primitive::<UInt64Type>().value(row), out),
        // serde_json writes NaN and the infinities as null.
        DataType::Float64 => put(values.as_primitive::<Float64Type>().value(row), out),
        DataType::Utf8 => {
            let text = values.as_string::<i32>().value(row);
            if is_json(field, text) { out.extend_from_slice(text.as_bytes()) } else { put_string(text, out) }
        }
        DataType::List(item) => put_list(item, &values.as_list::<i32>().value(row), out),
        DataType::LargeList(item) => put_list(item, &values.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(item, _) => put_list(item, &values.as_fixed_size_list().value(row), out),
        DataType::Struct(fields) => {
            out.push(b'{');
            for (index, (field, column)) in fields.iter().zip(values.as_struct().columns()).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                put_string(field.name(), out);
                out.push(b':');
                write_json(field, &plain(column), row, out);
            }
            out.push(b'}');
        }
        DataType::Union(fields, _) => {
            let union = values.as_union();
            let kind = union.type_id(row);
            match fields.iter().find(|(id, _)| *id == kind) {
                Some((_, field)) => write_json(field, union.child(kind), union.value_offset(row), out),
                None => out.extend_from_slice(b"null"),
            }
        }
        kind if kind.is_decimal() => out.extend_from_slice(display(values, row).as_bytes()),
        _ => {
            let mut text = Vec::new();
            write_scalar_text(values, row, &mut text);
            put_string(&String::from_utf8_lossy(&text), out);
        }
    }
}

/// Writes the value as text and says whether it is there: `false` for NULL.
pub(super) fn write_text(field: &Field, values: &dyn Array, row: usize, out: &mut Vec<u8>) -> bool {
    if is_null(values, row) {
        return false;
    }
    match values.data_type() {
        DataType::Utf8 => out.extend_from_slice(values.as_string::<i32>().value(row).as_bytes()),
        DataType::Float64 => {
            let number = values.as_primitive::<Float64Type>().value(row);
            if number.is_finite() {
                put(number, out)
            } else {
                out.extend_from_slice(number.to_string().as_bytes())
            }
        }
        DataType::Union(_, _) => {
            let union = values.as_union();
            return write_text(field, union.child(union.type_id(row)), union.value_offset(row), out);
        }
        DataType::Boolean
        | DataType::Int64
        | DataType::UInt64
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(_, _)
        | DataType::Struct(_) => write_json(field, values, row, out),
        _ => write_scalar_text(values, row, out),
    }
    true
}

fn write_scalar_text(values: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let text = match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = values.as_primitive::<TimestampMicrosecondType>().value(row);
            timestamp_us_to_datetime(micros).map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        }
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>().value(row);
            date32_to_datetime(days).map(|time| time.format("%Y-%m-%d").to_string())
        }
        _ => None,
    };
    out.extend_from_slice(text.unwrap_or_else(|| display(values, row)).as_bytes());
}

fn display(values: &dyn Array, row: usize) -> String {
    array_value_to_string(values, row).unwrap_or_else(|error| format!("({error})"))
}

/// A union has no nulls of its own: its member is null.
fn is_null(values: &dyn Array, row: usize) -> bool {
    match values.data_type() {
        DataType::Null => true,
        DataType::Union(_, _) => {
            let union = values.as_union();
            is_null(union.child(union.type_id(row)), union.value_offset(row))
        }
        _ => values.is_null(row),
    }
}

/// Text that is JSON already, as arrays and objects within a JSON value are. It is checked, because
/// the JSON functions take more for JSON than a reader of ours may, such as `NaN`.
fn is_json(field: &Field, text: &str) -> bool {
    field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.json")
        && serde_json::from_str::<serde_json::Value>(text).is_ok()
}

fn put_list(item: &Field, values: &ArrayRef, out: &mut Vec<u8>) {
    let values = plain(values);
    out.push(b'[');
    for row in 0..values.len() {
        if row > 0 {
            out.push(b',');
        }
        write_json(item, &values, row, out);
    }
    out.push(b']');
}

/// Writes a JSON string.
pub(super) fn put_string(text: &str, out: &mut Vec<u8>) {
    put(text, out);
}

fn put(value: impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("a plain value is always written to memory");
}
