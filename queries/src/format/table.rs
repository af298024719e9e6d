//! Aligned text for terminals.

use super::value::write_text;
use super::{Column, Writer, type_name};
use arrow::array::{Array, ArrayRef};

/// Widths are taken from so many rows.
const MEASURED_ROWS: usize = 200;

const NULL: &str = "∅";

pub(super) struct Table {
    width_max: usize,
    /// Of each column: its width, and whether it is aligned to the right.
    layout: Vec<(usize, bool)>,
    rows: u64,
    cell: Vec<u8>,
}

impl Table {
    pub(super) fn new(width_max: usize) -> Self {
        Self { width_max: width_max.max(3), layout: Vec::new(), rows: 0, cell: Vec::new() }
    }

    fn cell(&mut self, column: &Column, values: &ArrayRef, row: usize) -> String {
        self.cell.clear();
        if write_text(&column.field, values, row, &mut self.cell) {
            cut(&String::from_utf8_lossy(&self.cell), self.width_max)
        } else {
            NULL.into()
        }
    }

    fn line(&self, cells: impl Iterator<Item = String>, out: &mut Vec<u8>) {
        let mut line = String::new();
        for (index, (cell, (width, right))) in cells.zip(&self.layout).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            if *right {
                line.push_str(&space);
            }
            line.push_str(&cell);
            if !right {
                line.push_str(&space);
            }
        }
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

impl Writer for Table {
    fn begin(&mut self, columns: &[Column], first: Option<&[ArrayRef]>, out: &mut Vec<u8>) {
        for (index, column) in columns.iter().enumerate() {
            let mut width = cut(&column.name, self.width_max).chars().count();
            if let Some(values) = first.map(|values| &values[index]) {
                for row in 0..values.len().min(MEASURED_ROWS) {
                    width = width.max(self.cell(column, values, row).chars().count());
                }
            }
            let right = matches!(type_name(column.field.data_type()), "integer" | "double" | "decimal");
            self.layout.push((width, right));
        }
        self.line(columns.iter().map(|column| cut(&column.name, self.width_max)), out);
        self.line(self.layout.iter().map(|(width, _)| "─".repeat(*width)), out);
    }

    fn row(&mut self, columns: &[Column], values: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
        let pairs = columns.iter().zip(values);
        let cells: Vec<String> = pairs.map(|(column, values)| self.cell(column, values, row)).collect();
        self.line(cells.into_iter(), out);
        self.rows += 1;
    }

    fn end(&mut self, truncated: bool, out: &mut Vec<u8>) {
        let rows = if self.rows == 1 { "row" } else { "rows" };
        let cut = if truncated { ", more were left out" } else { "" };
        out.extend_from_slice(format!("({} {rows}{cut})\n", self.rows).as_bytes());
    }
}

/// The text with control characters made visible, cut to `width` characters.
fn cut(text: &str, width: usize) -> String {
    let mut shown = String::new();
    let mut room = width;
    let mut letters = text.chars();
    for letter in letters.by_ref() {
        let piece: String = match letter {
            '\n' | '\t' | '\r' => letter.escape_default().collect(),
            letter if letter.is_control() => '\u{fffd}'.into(),
            letter => letter.into(),
        };
        let size = piece.chars().count();
        if size > room {
            let keep = shown.chars().count().min(width - 1);
            return shown.chars().take(keep).chain(['…']).collect();
        }
        room -= size;
        shown.push_str(&piece);
    }
    shown
}
