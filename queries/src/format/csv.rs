//! CSV (RFC 4180).

use super::value::write_text;
use super::{Column, Writer};
use arrow::array::ArrayRef;

#[derive(Default)]
pub(super) struct Csv {
    cell: Vec<u8>,
}

impl Writer for Csv {
    fn begin(&mut self, columns: &[Column], _: Option<&[ArrayRef]>, out: &mut Vec<u8>) {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_cell(column.name.as_bytes(), out);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn row(&mut self, columns: &[Column], values: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
        for (index, (column, values)) in columns.iter().zip(values).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.cell.clear();
            if write_text(&column.field, values, row, &mut self.cell) {
                put_cell(&self.cell, out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn end(&mut self, _: bool, _: &mut Vec<u8>) {}
}

fn put_cell(cell: &[u8], out: &mut Vec<u8>) {
    let quoted = cell.is_empty() || cell.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'));
    if !quoted {
        return out.extend_from_slice(cell);
    }
    out.push(b'"');
    for &byte in cell {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
