//! The figures, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    part: String,
    name: String,
    value: f64,
    unit: &'static str,
}

impl Figure {
    /// `part` is the run that it was measured in.
    pub(crate) fn new(
        part: impl Into<String>,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            part: part.into(),
            name: name.into(),
            value,
            unit,
        }
    }
}

/// All figures, in the order of their parts' first mention.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds figures behind those of the same part.
    pub(crate) fn add(&mut self, figures: impl IntoIterator<Item = Figure>) {
        for figure in figures {
            let last = self.figures.iter().rposition(|known| known.part == figure.part);
            let at = last.map_or(self.figures.len(), |last| last + 1);
            self.figures.insert(at, figure);
        }
    }

    /// As a table in Markdown that is also readable as it stands.
    pub(crate) fn table(&self) -> String {
        table(self.figures.iter())
    }

    /// The same of one part.
    pub(crate) fn table_of(&self, part: &str) -> String {
        table(self.figures.iter().filter(|figure| figure.part == part))
    }

    /// `{part: {name: {value, unit}}}`.
    pub(crate) fn json(&self) -> Value {
        let mut parts = Map::new();
        for figure in &self.figures {
            let part = parts
                .entry(figure.part.as_str())
                .or_insert_with(|| Value::Object(Map::new()));
            part[&figure.name] = json!({ "value": figure.value, "unit": figure.unit });
        }
        Value::Object(parts)
    }
}

fn table<'f>(figures: impl Iterator<Item = &'f Figure>) -> String {
    let rows: Vec<[String; 4]> = figures
        .map(|figure| {
            [
                figure.part.clone(),
                figure.name.clone(),
                shown(figure.value),
                figure.unit.to_owned(),
            ]
        })
        .collect();
    let head = ["run", "figure", "value", "unit"].map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(&rows);
        cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    let mut line = |row: &[String; 4]| {
        let [part, name, value, unit] = row;
        let [a, b, c, d] = widths;
        let _ = writeln!(text, "| {part:<a$} | {name:<b$} | {value:>c$} | {unit:<d$} |");
    };
    line(&head);
    let dashes = |column: usize| "-".repeat(widths[column]);
    let right = format!("{}:", "-".repeat(widths[2].saturating_sub(1)));
    line(&[dashes(0), dashes(1), right, dashes(3)]);
    rows.iter().for_each(line);
    text
}

/// Three digits that count, at least; whole numbers in groups of three.
pub(super) fn shown(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        grouped(&format!("{value:.0}"))
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add([
            Figure::new("machine", "cores", 2.0, ""),
            Figure::new("whole", "readings", 40_320.0, ""),
            Figure::new("whole", "up", 63.456, "B/reading"),
        ]);
        report.add([Figure::new("machine", "fdatasync", 1234.5, "µs")]);
        report
    }

    #[test]
    fn the_table_is_aligned_and_keeps_parts_together() {
        let expected = "\
| run     | figure    |  value | unit      |
| ------- | --------- | -----: | --------- |
| machine | cores     |      2 |           |
| machine | fdatasync |  1,234 | µs        |
| whole   | readings  | 40,320 |           |
| whole   | up        |   63.5 | B/reading |
";
        assert_eq!(report().table(), expected);
    }

    #[test]
    fn json_holds_the_exact_value() {
        let json = report().json();
        assert_eq!(
            json["whole"]["up"],
            json!({ "value": 63.456, "unit": "B/reading" })
        );
        assert_eq!(json["machine"]["cores"]["value"], json!(2.0));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (9.876, "9.88"),
            (12.34, "12.3"),
            (1e6, "1,000,000"),
            (-123.4, "-123"),
        ] {
            assert_eq!(shown(value), text);
        }
    }
}
