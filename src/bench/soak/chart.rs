//! One figure over time, as a terminal shows it.

use std::fmt::Write;

/// Rows of a chart, and the eighths of a row.
const HEIGHT: usize = 8;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A figure over time.
pub(super) struct Series {
    pub(super) title: String,
    pub(super) unit: &'static str,
    /// Minutes from the start, and the figure.
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    /// The largest figure; more than 0.
    pub(super) fn top(&self) -> f64 {
        self.points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max)
    }

    /// The last moment, in minutes.
    pub(super) fn end(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.0)
    }

    /// A chart of columns, from 0 up, one for each point.
    pub(super) fn text(&self) -> String {
        let top = self.top();
        let eighths: Vec<usize> =
            self.points.iter().map(|point| (point.1 / top * (HEIGHT * 8) as f64).round() as usize).collect();
        let mut text = format!("{} {}\n", self.title, self.unit).replace(" \n", "\n");
        for row in (0..HEIGHT).rev() {
            let label = match row {
                0 => "0".to_owned(),
                row if row == HEIGHT - 1 => format!("{top:.0}"),
                _ => String::new(),
            };
            let columns: String =
                eighths.iter().map(|&eighths| BLOCKS[eighths.saturating_sub(row * 8).min(8)]).collect();
            let _ = writeln!(text, "{label:>8} │{columns}");
        }
        let _ = writeln!(text, "{:>8} └{}", "", "─".repeat(self.points.len()));
        let _ = writeln!(text, "{:>8}  0 to {:.0} min", "", self.end());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_column_for_each_point_as_high_as_its_share_of_the_top() {
        let points = vec![(1.0, 16.0), (2.0, 8.0), (3.0, 0.0), (4.0, 1.0)];
        let chart = Series { title: "p99".into(), unit: "ms", points }.text();
        let rows: Vec<&str> = chart.lines().collect();
        assert_eq!(rows[0], "p99 ms");
        assert_eq!(rows[1], "      16 │█   ", "the top row");
        assert_eq!(rows[5], "         │██  ", "half of the height");
        assert_eq!(rows[8], "       0 │██ ▄", "a sixteenth is half of the lowest row");
        assert_eq!(rows[10].trim(), "0 to 4 min");
    }
}
