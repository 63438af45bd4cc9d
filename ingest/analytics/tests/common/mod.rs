//! Reading the vectors: a file is read from the checkout, and every column that is asked for must be there.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// One row by column name.
pub(crate) struct Row(HashMap<String, String>);

impl Row {
    /// The text of a column.
    pub(crate) fn text(&self, column: &str) -> &str {
        self.0
            .get(column)
            .unwrap_or_else(|| panic!("the vectors have no column {column}"))
    }

    /// The number in a column; empty is `None`.
    pub(crate) fn number(&self, column: &str) -> Option<f64> {
        let text = self.text(column);
        (!text.is_empty()).then(|| text.parse().unwrap_or_else(|_| panic!("{column}: {text}")))
    }

    /// The number in a column that must be filled.
    pub(crate) fn f64(&self, column: &str) -> f64 {
        self.number(column).unwrap_or_else(|| panic!("{column} is empty"))
    }

    /// The instant in `ts_utc`, ms.
    pub(crate) fn time_ms(&self) -> i64 {
        instant_ms(self.text("ts_utc"))
    }
}

/// `2025-01-10T05:15Z`, with or without seconds, as UTC ms.
pub(crate) fn instant_ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .as_millisecond()
}

/// A file of this crate's vectors.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// A file of the recorded plants.
pub(crate) fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../simulator/data")
        .join(name)
}

/// Every row of a CSV file, unpacked when its name ends in `.gz`; there is at least one.
pub(crate) fn rows(path: &Path) -> Vec<Row> {
    let mut bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|ending| ending == "gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        bytes = plain;
    }
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let rows: Vec<Row> = reader.deserialize().map(|row| Row(row.unwrap())).collect();
    assert!(!rows.is_empty(), "{} has no rows", path.display());
    rows
}

/// A JSON file of the vectors.
pub(crate) fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(data(name)).unwrap()).unwrap()
}

/// Fails when two numbers are further apart than the tolerance.
#[track_caller]
pub(crate) fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: found {found}, expected {expected} ± {tolerance}"
    );
}
