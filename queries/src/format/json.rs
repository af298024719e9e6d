//! JSON.

use super::value::{put_string, write_json};
use super::{Column, Writer, type_name};
use arrow::array::ArrayRef;

#[derive(Default)]
pub(super) struct Json {
    rows: bool,
}

impl Writer for Json {
    fn begin(&mut self, columns: &[Column], _: Option<&[ArrayRef]>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"columns\":[");
        for (index, column) in columns.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
            put_string(&column.name, out);
            out.extend_from_slice(b",\"type\":");
            put_string(type_name(column.field.data_type()), out);
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"rows\":[");
    }

    fn row(&mut self, columns: &[Column], values: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
        if self.rows {
            out.push(b',');
        }
        self.rows = true;
        out.push(b'{');
        for (index, (column, values)) in columns.iter().zip(values).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_string(&column.name, out);
            out.push(b':');
            write_json(&column.field, values, row, out);
        }
        out.push(b'}');
    }

    fn end(&mut self, truncated: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],\"truncated\":");
        out.extend_from_slice(if truncated { b"true}" } else { b"false}" });
    }
}
