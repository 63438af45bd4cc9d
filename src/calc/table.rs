//! CSV tables: read by column name, written by column name.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Columns beyond these are no table of ours.
const COLUMNS_MAX: usize = 10_000;
/// Words that stand for "not known" in files of other programs.
const UNKNOWN: &[&str] = &["", "nan", "null", "none", "na"];

/// A CSV file in memory.
pub(crate) struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

/// One row of a [`Table`].
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    table: &'a Table,
    index: usize,
}

impl Table {
    /// Reads a file, unpacking it when its name ends in `.gz`, and checks that the columns that nothing can be done without are there.
    pub(crate) fn read(path: &Path, required: &[&str]) -> anyhow::Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("can't open {name}"))?;
        let file = BufReader::new(file);
        let reader: Box<dyn Read> = if path.extension().is_some_and(|ending| ending == "gz") {
            Box::new(flate2::read::GzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
        let headers = csv.headers().with_context(|| format!("{name} is no CSV file"))?;
        let clean = |header: &str| header.trim_start_matches('\u{feff}').to_owned();
        let columns: Vec<String> = headers.iter().map(clean).collect();
        if columns.len() > COLUMNS_MAX {
            bail!(
                "{name} has {} columns, expected at most {COLUMNS_MAX}",
                columns.len()
            );
        }
        let missing: Vec<&str> = required
            .iter()
            .copied()
            .filter(|wanted| !columns.iter().any(|column| column == wanted))
            .collect();
        if !missing.is_empty() {
            bail!(
                "{name} lacks the column {}; it has: {}",
                missing.join(", "),
                columns.join(", ")
            );
        }
        let rows: Result<Vec<_>, _> = csv.records().collect();
        Ok(Self {
            path: path.to_owned(),
            columns,
            rows: rows.with_context(|| format!("{name} is no CSV file"))?,
        })
    }

    /// The names of its columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Its rows in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.rows.len()).map(|index| Row { table: self, index })
    }
}

impl<'a> Row<'a> {
    /// A cell's text; `None` where the column is missing or nothing stands in it.
    pub(crate) fn text(self, column: &str) -> Option<&'a str> {
        let place = self.table.columns.iter().position(|name| name == column)?;
        let text = self.table.rows[self.index].get(place)?;
        let is_unknown = UNKNOWN.iter().any(|unknown| text.eq_ignore_ascii_case(unknown));
        (!is_unknown).then_some(text)
    }

    /// A cell's text where there must be one.
    pub(crate) fn required(self, column: &str) -> anyhow::Result<&'a str> {
        self.text(column)
            .with_context(|| format!("{}: {column} is empty", self.place()))
    }

    /// A cell's number; `None` where it is not known.
    pub(crate) fn number(self, column: &str) -> anyhow::Result<Option<f64>> {
        let Some(text) = self.text(column) else {
            return Ok(None);
        };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => bail!("{}: expected a number in {column}, got {text:?}", self.place()),
        }
    }

    /// A cell's number where there must be one.
    pub(crate) fn required_number(self, column: &str) -> anyhow::Result<f64> {
        self.number(column)?
            .with_context(|| format!("{}: {column} is empty", self.place()))
    }

    /// The instant in a cell, UTC ms.
    pub(crate) fn time_ms(self, column: &str) -> anyhow::Result<i64> {
        let text = self.required(column)?;
        instant_ms(text).with_context(|| format!("{}: {column}", self.place()))
    }

    /// Where it stands, for messages.
    pub(crate) fn place(self) -> String {
        // The header is the first line.
        format!("{} line {}", self.table.path.display(), self.index + 2)
    }
}

/// An instant as UTC ms; a time without a zone is UTC.
pub(crate) fn instant_ms(text: &str) -> anyhow::Result<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.as_millisecond());
    }
    let civil: DateTime = text
        .parse()
        .with_context(|| format!("expected a time such as 2025-03-21T08:30Z, got {text:?}"))?;
    Ok(Offset::UTC.to_timestamp(civil)?.as_millisecond())
}

/// A CSV file that is being written.
pub(crate) struct Writer {
    csv: csv::Writer<File>,
    name: String,
}

impl Writer {
    /// Begins a file with its header.
    pub(crate) fn create(path: &Path, columns: &[&str]) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::create(path).with_context(|| format!("can't write {name}"))?;
        let mut writer = Self {
            csv: csv::Writer::from_writer(file),
            name,
        };
        writer.row(columns)?;
        Ok(writer)
    }

    /// Writes a row.
    pub(crate) fn row<T: AsRef<[u8]>>(&mut self, cells: &[T]) -> anyhow::Result<()> {
        self.csv
            .write_record(cells)
            .with_context(|| format!("can't write {}", self.name))
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.csv
            .flush()
            .with_context(|| format!("can't write {}", self.name))
    }
}

/// A number with six decimals; unknown is empty.
pub(crate) fn six_decimals(number: Option<f64>) -> String {
    // 0 has no sign in a report.
    number.map_or_else(String::new, |number| {
        format!("{:.6}", super::json::rounded(number))
    })
}
