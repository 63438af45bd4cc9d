//! CSV tables: read by column name, written by column name.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::RangeInclusive;
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
        let mut csv = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(reader);
        let no_csv = || format!("{name} is no CSV file in UTF-8: save it as one, with commas");
        let headers = csv.headers().with_context(no_csv)?;
        let clean = |header: &str| header.trim_start_matches('\u{feff}').to_owned();
        let columns: Vec<String> = headers.iter().map(clean).collect();
        check_columns(&name.to_string(), &columns, required)?;
        let rows: Result<Vec<_>, _> = csv.records().collect();
        let rows = rows.with_context(no_csv)?;
        if let Some(odd) = rows.iter().find(|row| row.len() != columns.len()) {
            bail!(
                "{name} line {}: {} cells, but the header has {}: check its commas and quotes",
                line(odd),
                odd.len(),
                columns.len()
            );
        }
        Ok(Self {
            path: path.to_owned(),
            columns,
            rows,
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

/// A header that can be read by name, with all that nothing can be done without.
fn check_columns(name: &str, columns: &[String], required: &[&str]) -> anyhow::Result<()> {
    let list = || columns.join(", ");
    if columns.iter().all(String::is_empty) {
        bail!("{name} is empty: expected a line with the names of the columns first");
    }
    if columns.len() > COLUMNS_MAX {
        bail!(
            "{name} has {} columns, expected at most {COLUMNS_MAX}",
            columns.len()
        );
    }
    let twice = (1..columns.len()).find(|&place| columns[..place].contains(&columns[place]));
    if let Some(place) = twice.filter(|&place| !columns[place].is_empty()) {
        bail!(
            "{name} has the column {} twice: leave one of them out",
            columns[place]
        );
    }
    let missing: Vec<&str> = required
        .iter()
        .copied()
        .filter(|wanted| !columns.iter().any(|column| column == wanted))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_others = columns.len() == 1 && columns[0].contains([';', '\t']);
    let hint = if by_others {
        "; separate the columns by commas"
    } else {
        ""
    };
    bail!(
        "{name} lacks the column {}; it has: {}{hint}",
        missing.join(", "),
        list()
    )
}

/// The line that a row begins on, counted from 1.
fn line(row: &csv::StringRecord) -> u64 {
    row.position().map_or(0, csv::Position::line)
}

impl<'a> Row<'a> {
    /// A cell's text; `None` where the column is missing or nothing stands in it.
    pub(crate) fn text(self, column: &str) -> Option<&'a str> {
        let place = self.table.columns.iter().position(|name| name == column)?;
        let text = self.table.rows[self.index].get(place)?;
        let is_unknown = UNKNOWN.iter().any(|unknown| text.eq_ignore_ascii_case(unknown));
        (!is_unknown).then_some(text)
    }

    /// Whether something stands in a cell that is no number and no value: it is more likely a fault of whoever wrote it than a gap.
    pub(crate) fn is_not_a_number(self, column: &str) -> bool {
        let place = self.table.columns.iter().position(|name| name == column);
        let text = place.and_then(|place| self.table.rows[self.index].get(place));
        text.is_some_and(|text| text.eq_ignore_ascii_case("nan"))
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

    /// A cell's number, when it is known, within what is possible.
    pub(crate) fn number_within(
        self,
        column: &str,
        range: RangeInclusive<f64>,
        unit: &str,
    ) -> anyhow::Result<Option<f64>> {
        let number = self.number(column)?;
        if let Some(number) = number.filter(|number| !range.contains(number)) {
            let (least, most) = (range.start(), range.end());
            let expected = if most.is_finite() {
                format!("{least} to {most}{unit}")
            } else {
                format!("{least}{unit} or more")
            };
            bail!("{}: expected {column} of {expected}, got {number}", self.place());
        }
        Ok(number)
    }

    /// A cell's truth: a number above 0, or `true`; `None` where it is not known.
    pub(crate) fn truth(self, column: &str) -> anyhow::Result<Option<bool>> {
        match self.text(column) {
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Ok(self.number(column)?.map(|number| number > 0.0)),
        }
    }

    /// The instant in a cell, UTC ms.
    pub(crate) fn time_ms(self, column: &str) -> anyhow::Result<i64> {
        let text = self.required(column)?;
        instant_ms(text).with_context(|| format!("{}: {column}", self.place()))
    }

    /// Where it stands, for messages.
    pub(crate) fn place(self) -> String {
        format!(
            "{} line {}",
            self.table.path.display(),
            line(&self.table.rows[self.index])
        )
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

/// A CSV file that is written at the end, whole: a mistake on the way leaves none.
pub(crate) struct Writer {
    csv: csv::Writer<Vec<u8>>,
    path: PathBuf,
}

impl Writer {
    /// Begins a file with its header.
    pub(crate) fn create(path: &Path, columns: &[&str]) -> anyhow::Result<Self> {
        let mut writer = Self {
            csv: csv::Writer::from_writer(Vec::new()),
            path: path.to_owned(),
        };
        writer.row(columns)?;
        Ok(writer)
    }

    /// Adds a row.
    pub(crate) fn row<T: AsRef<[u8]>>(&mut self, cells: &[T]) -> anyhow::Result<()> {
        Ok(self.csv.write_record(cells)?)
    }

    /// Writes the file.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let name = self.path.display();
        let bytes = self
            .csv
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)
            .with_context(|| format!("can't write {name}"))?;
        std::fs::write(&self.path, bytes).with_context(|| format!("can't write {name}"))
    }
}

/// A number with six decimals; unknown is empty.
pub(crate) fn six_decimals(number: Option<f64>) -> String {
    // 0 has no sign in a report.
    number.map_or_else(String::new, |number| {
        format!("{:.6}", super::json::rounded(number))
    })
}
