//! Charts as a picture, one below the other.

use super::chart::Series;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;

/// An SVG document.
pub(super) fn document(charts: &[Series]) -> String {
    let height = charts.len() as f64 * (TOP + HEIGHT + BOTTOM);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        LEFT + WIDTH + 20.0
    );
    for (nth, chart) in charts.iter().enumerate() {
        draw(chart, nth as f64 * (TOP + HEIGHT + BOTTOM) + TOP, &mut text);
    }
    text.push_str("</svg>\n");
    text
}

fn draw(chart: &Series, y: f64, text: &mut String) {
    let (top, end) = (chart.top(), chart.end().max(f64::MIN_POSITIVE));
    let bottom = y + HEIGHT;
    let unit = if chart.unit.is_empty() { String::new() } else { format!(" ({})", chart.unit) };
    let line: Vec<String> = chart
        .points
        .iter()
        .map(|(minute, figure)| {
            format!("{:.1},{:.1}", LEFT + minute / end * WIDTH, bottom - figure / top * HEIGHT)
        })
        .collect();
    let right = LEFT + WIDTH;
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}{unit}</text>\n\
         <path d=\"M{LEFT} {y}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#2563eb\" stroke-width=\"1.5\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{top:.0}</text>\n\
         <text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{end:.0} min</text>\n",
        y - 10.0,
        chart.title,
        line.join(" "),
        LEFT - 6.0,
        y + 10.0,
        LEFT - 6.0,
        bottom + 16.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_holds_every_chart_within_its_frame() {
        let points = vec![(30.0, 5.0), (60.0, 10.0)];
        let charts =
            ["p99", "memory"].map(|title| Series { title: title.into(), unit: "ms", points: points.clone() });
        let picture = document(&charts);
        assert_eq!(picture.matches("<polyline").count(), 2);
        assert!(picture.contains("points=\"440.0,124.0 820.0,34.0\""), "{picture}");
        assert!(picture.contains(">memory (ms)<") && picture.ends_with("</svg>\n"));
    }
}
