//! Plain readings as they came: consecutive records of one boot and one UTC day in one row, several of them for one price.
//!
//! In: records that are placed by their own clock and held for nothing. Out: rows of `run`, each with the records' bytes one
//! behind the other, and the records again. A run is written once, with its commit, and never grows.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _};
use taraz_telemetry::{Crc32, Reading, Record, Records, Sequence};

use super::damage::{Columns, Damaged, OTHER_TYPE};
use super::state::{BootKey, State};

/// The most records of one run: what a reader unpacks to find one of them.
const RUN_RECORDS_MAX: u32 = 1_024;
/// A UTC day in ms. At midnight UTC it is night in Iran, so that a plant's day lies in one of them.
pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The UTC day of an instant, counted from 1970-01-01.
pub(crate) const fn day_of(time_ms: i64) -> i64 {
    time_ms.div_euclid(DAY_MS)
}

/// A run as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The place of its last record in the feed; the others stand right in front of it.
    pub(super) id: i64,
    pub(super) boot: BootKey,
    pub(super) first: Sequence,
    pub(super) count: u32,
    /// UTC day since 1970.
    pub(super) day: i64,
    /// The earliest time in it, UTC ms.
    pub(super) from_ms: i64,
    /// The latest time in it, UTC ms.
    pub(super) to_ms: i64,
    /// When the gateway had taken in all of it, UTC ms.
    pub(super) received_ms: i64,
    pub(super) bytes: Vec<u8>,
    /// The check sum that stands beside it in the store; `None` of what no row of `run` was read for.
    pub(super) crc: Option<u32>,
    /// A column of its row could not be read, and something else stands here in its place.
    pub(super) is_damaged: bool,
}

/// A record of a run.
#[derive(Debug)]
pub(super) struct RunRecord<'r> {
    /// Its place in the feed.
    pub(super) place: i64,
    pub(super) sequence: Sequence,
    /// When, UTC ms.
    pub(super) time_ms: i64,
    pub(super) reading: Reading,
    pub(super) bytes: &'r [u8],
}

/// What a reader of runs selects, in the order of [`Run::read`].
pub(super) const COLUMNS: &str =
    "run.id, run.device, incarnation, boot, first, count, day, from_ms, to_ms, received_ms, bytes, crc";
/// How many columns that are.
pub(super) const COLUMNS_LEN: usize = 12;

impl Run {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let mut columns = Columns::new(row);
        let run = Self {
            id: row.get(0)?,
            boot: BootKey {
                device: columns.get(1)?,
                incarnation: columns.get(2)?,
                boot: columns.get(3)?,
            },
            first: columns.get(4)?,
            count: columns.get(5)?,
            day: columns.get(6)?,
            from_ms: columns.get(7)?,
            to_ms: columns.get(8)?,
            received_ms: columns.get(9)?,
            bytes: columns.get(10)?,
            crc: Some(columns.get(11)?),
            is_damaged: false,
        };
        Ok(Self {
            is_damaged: columns.is_damaged(),
            ..run
        })
    }

    /// The statement of [`Self::insert`].
    pub(super) fn inserting(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
        connection.prepare_cached(
            "INSERT INTO run (id, device, incarnation, boot, first, count, day, from_ms, to_ms, received_ms, bytes, crc)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
    }

    pub(super) fn insert(&self, inserting: &mut CachedStatement<'_>) -> rusqlite::Result<()> {
        inserting.execute((
            self.id,
            self.boot.device,
            self.boot.incarnation,
            self.boot.boot,
            self.first,
            self.count,
            self.day,
            self.from_ms,
            self.to_ms,
            self.received_ms,
            &self.bytes,
            self.sum(),
        ))?;
        Ok(())
    }

    /// The CRC-32 of all that its row says, each number as eight bytes, little-endian, in the order of the columns, then the records.
    pub(super) fn sum(&self) -> u32 {
        let numbers = [
            self.id,
            self.boot.device,
            i64::from(self.boot.incarnation),
            i64::from(self.boot.boot),
            i64::from(self.first),
            i64::from(self.count),
            self.day,
            self.from_ms,
            self.to_ms,
            self.received_ms,
        ];
        let mut head = [0; 10 * 8];
        for (bytes, number) in head.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        Crc32::new().bytes(&head).bytes(&self.bytes).sum()
    }

    /// Whether it is what was written, by its check sum.
    pub(super) fn has_its_sum(&self) -> bool {
        !self.is_damaged && self.crc.is_none_or(|crc| crc == self.sum())
    }

    /// Its records in their order. Ends early where the bytes are damaged, which [`Run::check`] tells.
    pub(super) fn records(&self) -> impl Iterator<Item = RunRecord<'_>> {
        let mut records = Records::new(&self.bytes);
        let first_place = self.id.saturating_sub(i64::from(self.count)).saturating_add(1);
        let places = (first_place..=self.id).zip(self.first..=Sequence::MAX);
        places.map_while(move |(place, sequence)| {
            let (record, bytes) = records.next_with_bytes()?.ok()?;
            let Record::Reading(reading) = record else {
                return None;
            };
            Some(RunRecord {
                place,
                sequence,
                time_ms: i64::try_from(reading.stamp.utc_ms()?).ok()?,
                reading,
                bytes,
            })
        })
    }

    /// Whether it is what was written, and every record of it can be read.
    pub(super) fn check(&self) -> Result<(), Damaged> {
        self.each_record(|_| ())
    }

    /// Every record of it to `each`, unpacked once; an error when not all of them can be read, then `each` has got those in front.
    pub(super) fn each_record(&self, mut each: impl FnMut(RunRecord<'_>)) -> Result<(), Damaged> {
        let damaged = |what| {
            Err(Damaged {
                table: "run",
                id: self.id,
                readings: self.count,
                what,
            })
        };
        if self.is_damaged {
            return damaged(OTHER_TYPE);
        }
        let (mut count, mut len) = (0_u64, 0);
        for record in self.records() {
            count += 1;
            len += record.bytes.len();
            each(record);
        }
        if count != u64::from(self.count) || len != self.bytes.len() {
            damaged("not all of its readings can be read")
        } else if !self.has_its_sum() {
            damaged("it has another check sum")
        } else {
            Ok(())
        }
    }

    pub(super) fn contains(&self, boot: BootKey, sequence: Sequence) -> bool {
        self.boot == boot && self.first <= sequence && sequence - self.first < self.count
    }

    /// Takes the run of one record that stands on the next place, if it continues this one.
    pub(super) fn join(&mut self, single: &Self) -> bool {
        let is_next =
            single.id == self.id + 1 && self.extend(single.boot, single.first, single.from_ms, &single.bytes);
        if is_next {
            self.id = single.id;
            self.received_ms = self.received_ms.max(single.received_ms);
        }
        is_next
    }

    /// Takes one more record if it is the next one of this boot and day.
    fn extend(&mut self, boot: BootKey, sequence: Sequence, time_ms: i64, bytes: &[u8]) -> bool {
        let is_next = self.boot == boot
            && self.first.checked_add(self.count) == Some(sequence)
            && self.day == day_of(time_ms)
            && self.count < RUN_RECORDS_MAX;
        if is_next {
            self.count += 1;
            self.from_ms = self.from_ms.min(time_ms);
            self.to_ms = self.to_ms.max(time_ms);
            self.bytes.extend_from_slice(bytes);
        }
        is_next
    }
}

/// The run of a record of this identity, among those of a day or, without one, among all of its device. The newest ones are looked at
/// first: what comes again is mostly the last batch, whose answer was lost.
pub(super) fn find(
    connection: &Connection,
    boot: BootKey,
    sequence: Sequence,
    day: Option<i64>,
) -> rusqlite::Result<Option<Run>> {
    connection
        .prepare_cached(&find_sql(day.is_some()))?
        .query_row(
            (boot.device, boot.incarnation, boot.boot, sequence, day),
            Run::read,
        )
        .optional()
}

fn find_sql(is_of_day: bool) -> String {
    // In the order of the index, so that nothing is sorted.
    let (days, order) = if is_of_day {
        ("AND day = ?5", "id DESC")
    } else {
        ("AND ?5 IS NULL", "day DESC, id DESC")
    };
    format!(
        "SELECT {COLUMNS} FROM run INDEXED BY run_day
         WHERE device = ?1 AND incarnation = ?2 AND boot = ?3 AND first <= ?4 AND first + count > ?4 {days}
         ORDER BY {order} LIMIT 1"
    )
}

/// The first runs of a day, in the order of the feed.
pub(super) fn of_day(
    connection: &Connection,
    device: i64,
    day: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Run>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM run INDEXED BY run_day WHERE device = ? AND day = ? ORDER BY id LIMIT ?"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let runs = statement.query_map((device, day, limit), Run::read)?;
    runs.collect()
}

/// A run that was looked up, with where its records begin: whoever repeats one record repeats its neighbours.
#[derive(Debug)]
pub(super) struct Looked {
    run: Run,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Looked {
    pub(super) fn new(run: Run) -> Self {
        let mut end = 0;
        let ends = run
            .records()
            .map(|record| {
                end += record.bytes.len();
                end
            })
            .collect();
        Self { run, ends }
    }

    /// The bytes of the record of this identity, if it is in the run.
    pub(super) fn bytes(&self, boot: BootKey, sequence: Sequence) -> Option<&[u8]> {
        if !self.run.contains(boot, sequence) {
            return None;
        }
        let at = usize::try_from(sequence - self.run.first).ok()?;
        let start = at
            .checked_sub(1)
            .map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.run.bytes.get(start..*self.ends.get(at)?)
    }
}

/// The runs of a commit that is under way.
#[derive(Debug, Default)]
pub(super) struct OpenRuns {
    runs: Vec<Run>,
    /// Beside each run: the one before it of the same boot.
    before: Vec<Option<usize>>,
    /// The last one of each boot, which may go on.
    latest: HashMap<BootKey, usize>,
}

impl OpenRuns {
    /// Adds a record; its place in the feed follows when the runs are written.
    pub(super) fn push(
        &mut self,
        boot: BootKey,
        sequence: Sequence,
        time_ms: i64,
        received_ms: i64,
        bytes: &[u8],
    ) {
        if let Some(run) = self.latest.get(&boot).and_then(|&at| self.runs.get_mut(at))
            && run.extend(boot, sequence, time_ms, bytes)
        {
            run.received_ms = run.received_ms.max(received_ms);
            return;
        }
        self.before.push(self.latest.insert(boot, self.runs.len()));
        self.runs.push(Run {
            id: 0,
            boot,
            first: sequence,
            count: 1,
            day: day_of(time_ms),
            from_ms: time_ms,
            to_ms: time_ms,
            received_ms,
            bytes: bytes.to_vec(),
            crc: None,
            is_damaged: false,
        });
    }

    /// The run of this identity.
    pub(super) fn find(&self, boot: BootKey, sequence: Sequence) -> Option<&Run> {
        let last = self.latest.get(&boot).copied();
        let mut of_boot = std::iter::successors(last, |&at| self.before.get(at).copied().flatten())
            .filter_map(|at| self.runs.get(at));
        of_boot.find(|run| run.contains(boot, sequence))
    }

    /// Writes them at the end of the feed, in the order in which they began.
    pub(super) fn write(&mut self, connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
        self.latest.clear();
        let mut inserting = Run::inserting(connection)?;
        for run in &mut self.runs {
            run.id = state.places(run.count);
            run.insert(&mut inserting)?;
        }
        self.runs.clear();
        self.before.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
