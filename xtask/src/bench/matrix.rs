//! Runs side by side: a row for each, a column for what they are compared by.

use std::fmt::Write;

use super::outcome::Outcome;
use super::report::shown;

const HEAD: [&str; 10] = [
    "run",
    "durable /s",
    "stored /s",
    "CPU s/million",
    "of it",
    "memory idle → peak, MiB",
    "→ PUBACK p50/p99, ms",
    "→ stored p50/p99, ms",
    "→ metric p50/p99, ms",
    "store B/reading",
];

/// The table.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    rows: Vec<Vec<String>>,
    /// CPU-seconds for a million readings, and readings stored a second.
    figures: Vec<(f64, Option<f64>)>,
}

impl Matrix {
    /// How many runs it has.
    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a run.
    pub(super) fn add(&mut self, part: &str, outcome: &Outcome) {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), shown);
        let whole = |value: Option<f64>| number(value.map(f64::round));
        let pair = |pointer: &str| {
            let ms = |key| outcome.number(&format!("{pointer}/{key}")).map(|us| us / 1_000.0);
            match (ms("p50_us"), ms("p99_us")) {
                (Some(p50), Some(p99)) => format!("{} / {}", shown(p50), shown(p99)),
                _ => "–".to_owned(),
            }
        };
        let processes = outcome.processes();
        let cpu: Vec<f64> = processes
            .iter()
            .filter_map(|name| outcome.cpu_s_per_million(name))
            .collect();
        let each: Vec<String> = processes
            .iter()
            .zip(&cpu)
            .map(|(name, cpu)| format!("{name} {}", shown(*cpu)))
            .collect();
        let memory = |phase: &str, key: &str| {
            let kib = processes
                .iter()
                .map(|name| outcome.number(&format!("/{phase}/processes/{name}/{key}")));
            whole(kib.sum::<Option<f64>>().map(|kib| kib / 1_024.0))
        };
        self.figures.push((cpu.iter().sum(), outcome.stored_per_s()));
        self.rows.push(vec![
            part.to_owned(),
            whole(outcome.durable_per_s()),
            whole(outcome.stored_per_s()),
            shown(cpu.iter().sum()),
            each.join(", "),
            format!(
                "{} → {}",
                memory("idle", "rss_kib"),
                memory("load", "rss_peak_kib")
            ),
            pair("/load/publish_to_puback"),
            pair("/probe/publish_to_stored"),
            pair("/probe/publish_to_metric"),
            number(outcome.store_per_reading()),
        ]);
    }

    /// The last run in one line.
    pub(super) fn last(&self) -> String {
        let cells = self
            .rows
            .last()
            .into_iter()
            .flat_map(|row| HEAD.iter().zip(row).skip(1));
        let cells: Vec<String> = cells.map(|(name, cell)| format!("{name}: {cell}")).collect();
        cells.join(" · ")
    }

    /// As a table in Markdown.
    pub(super) fn table(&self) -> String {
        let head: Vec<String> = HEAD.iter().map(|&name| name.to_owned()).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for (index, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a text can't fail.
                let _ = write!(text, "| {cell:<width$} ");
            }
            text.push_str("|\n");
            if index == 0 {
                for width in &widths {
                    let _ = write!(text, "| {} ", "-".repeat(*width));
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

/// How much more CPU each run took than the first, and how many times slower it was.
pub(super) fn ratios(matrix: &Matrix) -> String {
    let Some(&(cpu, rate)) = matrix.figures.first() else {
        return String::new();
    };
    let mut text = String::from("| the first = 1 | CPU | time until stored |\n| --- | --- | --- |\n");
    for (row, (other_cpu, other_rate)) in matrix.rows.iter().zip(&matrix.figures) {
        let slower = rate.zip(*other_rate).map(|(rate, other)| rate / other);
        let slower = slower.map_or("–".to_owned(), shown);
        let _ = writeln!(text, "| {} | {} | {slower} |", row[0], shown(other_cpu / cpu));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let mut matrix = Matrix::default();
        let process = json!({ "cpu_s": 0.5, "rss_kib": 1_024, "rss_peak_kib": 2_048 });
        let outcome = Outcome {
            figures: json!({ "load": {
                "readings": 100_000, "durable_s": 2.0,
                "publish_to_puback": { "p50_us": 1_500, "p99_us": 20_000 },
                "processes": { "up": process, "load generator": process },
            } }),
            spool_bytes: 0,
            store_bytes: 800_000,
        };
        matrix.add("a", &outcome);
        let table = matrix.table();
        let row: Vec<&str> = table.lines().last().unwrap().split('|').map(str::trim).collect();
        assert_eq!(
            row[1..11],
            [
                "a",
                "50,000",
                "–",
                "5",
                "up 5",
                "– → 2",
                "1.50 / 20",
                "–",
                "–",
                "8"
            ]
        );
        let length = |line: &str| line.chars().count();
        assert!(
            table
                .lines()
                .all(|line| length(line) == length(table.lines().next().unwrap()))
        );
    }
}
