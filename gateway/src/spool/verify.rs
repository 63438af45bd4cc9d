//! Is everything in a spool as it was written? Every check sum, every record, every identity that stands there twice.

use std::collections::BTreeMap;

use serde::Serialize;
use taraz_telemetry::{DeviceId, Records};

use super::SpoolError;
use super::inspect::{SpoolFile, failed};
use super::missing;
use super::schema::{SCHEMA_VERSION, is_described, is_empty, version};
use super::table::{StoredRow, unsigned};

/// Findings that are told; all of them are counted.
pub const FINDINGS_MAX: usize = 1_000;
/// Lines that `SQLite`'s own check may say.
const FILE_FINDINGS_MAX: u32 = 20;

/// What a check of a spool found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Rows that wait for ingest.
    pub rows: u64,
    /// Records in them.
    pub records: u64,
    /// Rows in the quarantine.
    pub quarantined_rows: u64,
    /// Rows that were acknowledged and are not there, found now or noted since the last repair.
    pub missing_rows: u64,
    /// Records that stand there more than once with the same bytes. Nothing is wrong with them: a device sent them again, and
    /// ingest takes them once.
    pub repeated_records: u64,
    /// What is wrong, the first [`FINDINGS_MAX`] of it.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub findings_total: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The row, where it is one.
    pub position: Option<u64>,
    /// Its device, as far as it can be read.
    pub device: String,
    /// What was found.
    pub what: String,
}

/// Kinds of findings, each with its own remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The file itself is damaged.
    File,
    /// A row does not fit its check sum, or its records can't be read.
    Row,
    /// The same in the quarantine, where it does no harm.
    QuarantinedRow,
    /// The same identity stands there with other bytes.
    Conflict,
    /// Rows that were acknowledged are not there.
    Missing,
    /// What says how far the spool has come can't be read.
    Mark,
}

impl FindingKind {
    /// What a person can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::File => {
                "stop the gateway, then `taraz spool repair`: every row that can be read goes into a new file, the old one is kept"
            }
            Self::Row => {
                "`taraz spool repair` moves it into the quarantine while the gateway is stopped; a running gateway does so when its turn comes"
            }
            Self::QuarantinedRow => {
                "it never goes to ingest; `taraz quarantine drop` removes it once nobody wants to look at it"
            }
            Self::Missing => {
                "look at the disk; `taraz gaps` names their records once the devices' next ones are stored; `taraz spool repair`, while the \
                 gateway is stopped, takes note of it and ends the alert; a log that can't be read is kept as spool.sqlite.damaged-…-wal"
            }
            Self::Mark => {
                "nothing is lost by it alone, and the gateway makes it anew when it starts: look at the disk; `taraz gaps` tells what is missing; \
                 `taraz spool repair`, while the gateway is stopped, ends this finding"
            }
            Self::Conflict => {
                "nothing to repair: ingest keeps both and counts a conflict; find out why the device used an identity twice"
            }
        }
    }
}

/// Where the newest row of a device's boot ends, while rows come in the order of their first sequence.
struct Reach {
    position: u64,
    last: u64,
}

impl Verification {
    fn add(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    fn row(&mut self, kind: FindingKind, row: &StoredRow<'_>, what: String) {
        self.add(Finding {
            kind,
            position: Some(row.position),
            device: row.device.to_owned(),
            what,
        });
    }

    fn file(&mut self, what: String) {
        self.add(Finding {
            kind: FindingKind::File,
            position: None,
            device: String::new(),
            what,
        });
    }

    fn unreadable(&mut self, walked: Result<(), SpoolError>) {
        if let Err(error) = walked {
            self.file(format!("not all rows can be read: {error}"));
        }
    }

    /// Nothing is wrong.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.findings_total == 0
    }
}

impl SpoolFile {
    /// Checks everything. Beside a running gateway it sees what was committed when it looked.
    ///
    /// # Errors
    /// [`SpoolError::Open`] when the file can't be looked at; damage inside it is a finding, not an error.
    pub fn verify(&self) -> Result<Verification, SpoolError> {
        let mut found = Verification::default();
        self.check_whole(&mut found);
        if version(&self.connection).is_ok_and(|version| version == 0)
            && is_empty(&self.connection).is_ok_and(|empty| empty)
        {
            // It has no tables that could be looked into.
            return Ok(found);
        }
        if let Err(error) = self.check_file(&mut found) {
            found.file(format!("SQLite can't check it: {error}"));
        }
        let walked = self.each("items", |row| {
            found.rows += 1;
            match wrong_with(row) {
                None => found.records += u64::from(row.count),
                Some(what) => found.row(FindingKind::Row, row, what),
            }
        });
        found.unreadable(walked);
        let walked = self.each("quarantine", |row| {
            found.quarantined_rows += 1;
            if let Some(what) = wrong_with(row) {
                found.row(FindingKind::QuarantinedRow, row, what);
            }
        });
        found.unreadable(walked);
        if let Err(error) = self.check_identities(&mut found) {
            found.unreadable(Err(failed(&self.file)(error)));
        }
        Ok(found)
    }

    /// What lies beside the file, and whether a row of every position is there that must be.
    fn check_whole(&self, found: &mut Verification) {
        let one = |kind, position, what| Finding {
            kind,
            position,
            device: String::new(),
            what,
        };
        let marked = &self.before.marked;
        let unmarked_ms = missing::unmarked_since_ms(&self.connection).unwrap_or(None);
        if marked.is_damaged || unmarked_ms.is_some() {
            let when = unmarked_ms.map_or("can't be read".to_owned(), |ms| {
                format!("could not be read (at {ms} ms UTC)")
            });
            let what = format!(
                "what says how far the spool has come {when}: rows that were lost at the end of the log may not be among these findings"
            );
            found.add(one(FindingKind::Mark, None, what));
        }
        let looked = missing::look(&self.connection, marked.mark.as_ref())
            .and_then(|missing| Ok((missing.clone(), missing.and(missing::noted(&self.connection)?))));
        let (new, all) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                found.file(format!("what is missing can't be told: {error}"));
                return;
            }
        };
        if let Some(unreadable) = self.before.log.filter(|_| self.before.is_log_damaged(&new)) {
            found.file(unreadable.to_string());
        }
        found.missing_rows = all.rows;
        for (first, last) in all.stretches {
            let what = format!("the rows {first} to {last} were acknowledged and are not there");
            found.add(one(FindingKind::Missing, Some(first), what));
        }
    }

    /// `SQLite`'s own check of its pages.
    fn check_file(&self, found: &mut Verification) -> rusqlite::Result<()> {
        let sql = format!("PRAGMA quick_check({FILE_FINDINGS_MAX})");
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let what: String = row.get(0)?;
            if what != "ok" {
                found.file(what);
            }
        }
        // Its check takes a table as it is described; with a column of another name no row can be asked for.
        if version(&self.connection)? != SCHEMA_VERSION || !is_described(&self.connection)? {
            found.file("its tables are not described as they were made".to_owned());
        }
        Ok(())
    }

    /// Identities that stand there twice: rows in the order of their first sequence, each against what reaches farthest.
    fn check_identities(&self, found: &mut Verification) -> rusqlite::Result<()> {
        let sql = "SELECT position, device, incarnation, boot, first, count FROM items
            WHERE typeof(count) = 'integer' AND count > 0 ORDER BY device, incarnation, boot, first, position";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut current = None;
        let mut reach: Option<Reach> = None;
        while let Some(row) = rows.next()? {
            let (Ok(device), Ok(incarnation), Ok(boot), Ok(first), Ok(count)) = (
                row.get::<_, String>(1),
                row.get::<_, u32>(2),
                row.get::<_, u32>(3),
                row.get::<_, u32>(4),
                row.get::<_, u32>(5),
            ) else {
                // Found already, as a row that can't be read.
                continue;
            };
            let this = Reach {
                position: unsigned(row.get(0)?),
                last: u64::from(first) + u64::from(count) - 1,
            };
            let of = Some((device, incarnation, boot));
            if current != of {
                (current, reach) = (of, None);
            }
            if let Some(before) = reach.as_ref().filter(|before| u64::from(first) <= before.last) {
                self.compare(before.position, this.position, found)?;
            }
            if reach.as_ref().is_none_or(|before| this.last > before.last) {
                reach = Some(this);
            }
        }
        Ok(())
    }

    /// Two rows that share identities: the same bytes are a repetition, others a conflict.
    fn compare(&self, one: u64, other: u64, found: &mut Verification) -> rusqlite::Result<()> {
        let records = |row: &StoredRow<'_>| (!row.damaged).then(|| records_of(row)).flatten();
        let Some(Some(before)) = self.one(one, records)? else {
            return Ok(());
        };
        let compared = self.one(other, |row| {
            let mut equal = 0;
            for (sequence, bytes) in records(row).unwrap_or_default() {
                match before.get(&sequence) {
                    Some(known) if *known == bytes => equal += 1,
                    Some(_) => {
                        let what = format!("record {sequence} stands at position {one} with other bytes");
                        found.row(FindingKind::Conflict, row, what);
                        break;
                    }
                    None => {}
                }
            }
            equal
        })?;
        found.repeated_records += compared.unwrap_or(0);
        Ok(())
    }
}

/// Why a row can't go to ingest, if it can't.
pub(super) fn wrong_with(row: &StoredRow<'_>) -> Option<String> {
    if row.damaged {
        return Some("it does not fit its check sum".to_owned());
    }
    if let Err(error) = DeviceId::new(row.device) {
        return Some(format!("its device is none: {error}"));
    }
    if u64::from(row.first) + u64::from(row.count) > 1 << 32 {
        return Some(format!(
            "{} records from {} on do not exist",
            row.count, row.first
        ));
    }
    match records_of(row).map(|records| records.len()) {
        Some(count) if count == row.count as usize && count > 0 => None,
        Some(count) => Some(format!("it says {} records and holds {count}", row.count)),
        None => Some("its records can't be read".to_owned()),
    }
}

/// Each record's bytes under its sequence. `None` when one can't be read.
fn records_of(row: &StoredRow<'_>) -> Option<BTreeMap<u32, Vec<u8>>> {
    let mut records = Records::new(row.records);
    let mut found = BTreeMap::new();
    let mut sequence = row.first;
    while let Some(next) = records.next_with_bytes() {
        let (_, bytes) = next.ok()?;
        found.insert(sequence, bytes.to_vec());
        sequence = sequence.wrapping_add(1);
    }
    Some(found)
}
