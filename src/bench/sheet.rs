//! The figures of all repeats, and how they are shown.

use std::fmt::Write;

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    Below(f64),
    /// It is shown for its own sake.
    None,
}

struct Line {
    name: String,
    unit: &'static str,
    bound: Bound,
    values: Vec<f64>,
}

/// Figures by name, in the order in which they were first noted.
#[derive(Default)]
pub(crate) struct Sheet {
    lines: Vec<Line>,
}

impl Sheet {
    /// Notes the figure of one repeat.
    pub(crate) fn note(&mut self, name: &str, unit: &'static str, bound: Bound, value: f64) {
        match self.lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.values.push(value),
            None => self.lines.push(Line { name: name.to_owned(), unit, bound, values: vec![value] }),
        }
    }

    /// The median of a figure; not a number when it was never noted.
    pub(crate) fn median(&self, name: &str) -> f64 {
        self.lines.iter().find(|line| line.name == name).map_or(f64::NAN, Line::median)
    }

    /// Whether every median keeps its bound.
    pub(crate) fn holds(&self) -> bool {
        self.lines.iter().all(Line::holds)
    }

    /// A table: Markdown, or the same with blanks for a terminal.
    pub(crate) fn table(&self, markdown: bool) -> String {
        let head = ["", "median", "min to max", "bound", ""].map(str::to_owned);
        let rows: Vec<[String; 5]> =
            std::iter::once(head).chain(self.lines.iter().map(Line::cells)).collect();
        let widths: [usize; 5] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        let mut text = String::new();
        for (nth, row) in rows.iter().enumerate() {
            let cells: Vec<String> = (0..5)
                .map(|column| {
                    let (cell, width) = (&row[column], widths[column]);
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                })
                .collect();
            let line = if markdown { format!("| {} |", cells.join(" | ")) } else { cells.join("   ") };
            let _ = writeln!(text, "{}", line.trim_end());
            if nth == 0 && markdown {
                text.push_str("|---|---:|---:|---:|---|\n");
            }
        }
        text
    }
}

impl Line {
    fn median(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        f64::midpoint(low, high)
    }

    fn holds(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => self.median() >= bound,
            Bound::Below(bound) => self.median() < bound,
            Bound::None => true,
        }
    }

    fn cells(&self) -> [String; 5] {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let bound = match self.bound {
            Bound::AtLeast(bound) => format!("≥ {}", number(bound)),
            Bound::Below(bound) => format!("< {}", number(bound)),
            Bound::None => String::new(),
        };
        let verdict = match (self.bound, self.holds()) {
            (Bound::None, _) => "",
            (_, true) => "holds",
            (_, false) => "MISSED",
        };
        [
            self.name.clone(),
            format!("{} {}", number(self.median()), self.unit).trim_end().to_owned(),
            format!("{} to {}", number(least), number(most)),
            bound,
            verdict.to_owned(),
        ]
    }
}

/// Three significant digits, and commas between thousands.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let decimals = if value.abs() < 1.0 { 3 } else { 2 };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides_and_the_spread_is_shown() {
        let mut sheet = Sheet::default();
        for value in [0.31, 0.2, 0.9] {
            sheet.note("ratio", "", Bound::AtLeast(0.25), value);
        }
        sheet.note("rate", "1/s", Bound::None, 1_234_567.8);
        assert!(sheet.holds());
        let table = sheet.table(true);
        assert!(table.contains(" 0.310 |") && table.contains("0.200 to 0.900"), "{table}");
        assert!(table.contains("1,234,568 1/s") && table.contains("holds"), "{table}");
        sheet.note("p99", "ms", Bound::Below(25.0), 25.0);
        assert!(!sheet.holds() && sheet.table(false).contains("MISSED"));
    }
}
