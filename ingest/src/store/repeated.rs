//! An identity that is here already: the same record again, another one, or one that was held and is held no longer.

use taraz_telemetry::{Clock, Record, Sequence};

use super::chunk;
use super::conflicts::CONFLICTS_MAX;
use super::damage::Damaged;
use super::facts::meter_of;
use super::group::{Context, Group};
use super::rows::{self, Stored};
use super::runs::{self, Looked, day_of};
use super::state::BootKey;
use crate::counters::ReadingResult;

/// What is stored under an identity.
enum Known {
    /// The same bytes, and they count.
    Same,
    /// Other bytes.
    Other,
    /// A row of its own, with the same bytes; it may be held.
    Row(Stored),
    /// What can't be read, or is gone and was not given up: what comes now may be the only good copy.
    Damaged,
}

impl Group<'_> {
    /// An identity that is here already.
    pub(super) fn repeated(
        &mut self,
        context: &Context<'_>,
        sequence: Sequence,
        record: Record,
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        let known = self.known(context.boot, sequence, &record, bytes)?;
        let result = match known {
            Known::Other => ReadingResult::Conflict,
            Known::Same | Known::Row(_) | Known::Damaged => ReadingResult::Duplicate,
        };
        self.tally.readings[result as usize] += 1;
        match known {
            Known::Other | Known::Damaged => rows::keep_conflict(
                self.connection,
                context.boot,
                sequence,
                context.received_ms,
                bytes,
                CONFLICTS_MAX,
            ),
            Known::Row(stored) if stored.is_held() && self.place(context, &record)?.1.is_none() => {
                self.release(context, sequence, &stored, record, bytes)
            }
            Known::Row(_) | Known::Same => Ok(()),
        }
    }

    /// Looks where the record should be first. What is nowhere any more was given up by a policy, and nothing speaks against it.
    fn known(
        &mut self,
        boot: BootKey,
        sequence: Sequence,
        record: &Record,
        bytes: &[u8],
    ) -> rusqlite::Result<Known> {
        let compare = |stored: &[u8]| {
            if stored == bytes {
                Known::Same
            } else {
                Known::Other
            }
        };
        if let Some(run) = self.open.find(boot, sequence) {
            let stored = run.records().find(|stored| stored.sequence == sequence);
            return Ok(stored.map_or(Known::Other, |stored| compare(stored.bytes)));
        }
        let looked = self.looked.as_ref();
        if let Some(stored) = looked.and_then(|looked| looked.bytes(boot, sequence)) {
            return Ok(compare(stored));
        }
        // Without a time of its own it has a row; else the rows come after the runs of its day, and before those of all days.
        let day = stated_ms(record).map(day_of);
        if day.is_some()
            && let Some(known) = self.look(boot, sequence, day, compare)?
        {
            return Ok(known);
        }
        if let Some(stored) = rows::find(self.connection, boot, sequence)? {
            if let Some(damaged) = &stored.damaged {
                self.state.passed.one(damaged);
                return Ok(Known::Damaged);
            }
            return Ok(if stored.bytes == bytes {
                Known::Row(stored)
            } else {
                Known::Other
            });
        }
        match self.look(boot, sequence, None, compare)? {
            Some(known) => Ok(known),
            None if self.was_given_up(day)? => Ok(Known::Same),
            None => Ok(Known::Damaged),
        }
    }

    /// A policy has given up readings of that day, or of any.
    fn was_given_up(&self, day: Option<i64>) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM forgotten WHERE ?1 IS NULL OR day = ?1)")?
            .query_row([day], |row| row.get(0))
    }

    /// Compares with a record in the runs and chunks of a day, or of all days; its run is remembered. What is there and damaged can't
    /// be compared.
    fn look(
        &mut self,
        boot: BootKey,
        sequence: Sequence,
        day: Option<i64>,
        compare: impl Fn(&[u8]) -> Known,
    ) -> rusqlite::Result<Option<Known>> {
        let passed = &mut self.state.passed;
        let run = match runs::find(self.connection, boot, sequence, day)? {
            Some(run) => Some(run),
            None => match chunk::find(self.connection, boot, sequence, day, passed) {
                Ok(found) => found,
                Err(error) => match Damaged::behind(&error) {
                    Some(damaged) => {
                        passed.one(damaged);
                        return Ok(Some(Known::Damaged));
                    }
                    None => return Err(error),
                },
            },
        };
        let Some(run) = run else {
            return Ok(None);
        };
        if let Err(damaged) = run.check() {
            passed.one(&damaged);
            return Ok(Some(Known::Damaged));
        }
        let looked = self.looked.insert(Looked::new(run));
        Ok(looked.bytes(boot, sequence).map(compare))
    }

    /// A record that was held is held no longer.
    pub(super) fn release(
        &mut self,
        context: &Context<'_>,
        sequence: Sequence,
        stored: &Stored,
        record: Record,
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        if let (Some(meter), Some(time_ms)) = (meter_of(&record), stored.time_ms) {
            self.count_held(context.boot.device, meter, time_ms, -1)?;
        }
        rows::delete(self.connection, stored.id)?;
        self.new_record(context, sequence, record, bytes)
    }
}

/// The UTC that a record states by itself.
pub(super) fn stated_ms(record: &Record) -> Option<i64> {
    let stamp = record.stamp();
    let is_utc = matches!(stamp.clock, Clock::Synced | Clock::Holdover);
    is_utc.then(|| i64::try_from(stamp.ms).ok()).flatten()
}
