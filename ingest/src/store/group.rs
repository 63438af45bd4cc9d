//! One group of batches inside one transaction: every record once, and what follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::Connection;
use taraz_fleet::Fleet;
use taraz_telemetry::{
    BatchItem, Clock, DeviceId, Diagnostics, Hold, MeterAddress, Outcome, Reading, Record, Sequence,
};

use super::anchors::Anchors;
use super::facts::{decode, kind_of, meter_of, registers, unstated};
use super::placing::Moved;
use super::plausible::oldest_ms;
use super::points::{Changes, Gathered};
use super::rows::{self, Row, Stored};
use super::state::{BootKey, SeriesKey, State};
use super::tally::Tally;
use crate::analytics::{Point, quarter_of};
use crate::arrivals::Arrivals;
use crate::counters::ReadingResult;
use crate::view::DeviceHealth;

/// The most conflicting records that are kept; more are only counted.
const CONFLICTS_MAX: i64 = 100_000;

/// The work of one transaction.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) connection: &'a Connection,
    pub(super) fleet: &'a Fleet,
    pub(super) state: &'a mut State,
    pub(super) gathered: Gathered,
    pub(super) changes: Changes,
    pub(super) runs_before: HashMap<BootKey, Vec<(Sequence, Sequence)>>,
    /// The anchors of the boots that were asked for.
    pub(super) anchors: HashMap<BootKey, Anchors>,
    /// Boots whose unsynced records have to be placed anew.
    pub(super) moved: BTreeMap<BootKey, Moved>,
    /// Boots with records that may be settled now.
    pub(super) unsettled: BTreeSet<BootKey>,
    /// What came in, for the present; handed on after the commit.
    pub(super) arrivals: Arrivals,
    /// What was counted; handed on after the commit.
    pub(super) tally: Tally,
}

/// What a whole item shares.
#[derive(Clone, Copy)]
pub(super) struct Context<'i> {
    pub(super) device: &'i DeviceId,
    pub(super) boot: BootKey,
    /// Nothing older is believed, UTC ms.
    pub(super) commissioned_ms: i64,
    pub(super) received_ms: i64,
    pub(super) hold: Option<Hold>,
}

impl<'a> Group<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        fleet: &'a Fleet,
        state: &'a mut State,
        now_ms: i64,
    ) -> Self {
        Self {
            connection,
            fleet,
            state,
            gathered: Gathered::default(),
            changes: Changes::default(),
            runs_before: HashMap::new(),
            anchors: HashMap::new(),
            moved: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            arrivals: Arrivals::new(now_ms),
            tally: Tally::default(),
        }
    }

    /// Stores an item whole. The inner error is the reason why it can never be taken.
    pub(super) fn item(&mut self, item: &BatchItem<'_>) -> rusqlite::Result<Result<(), String>> {
        let fleet = self.fleet;
        let Ok(id) = DeviceId::new(item.device) else {
            return Ok(Err(format!("\"{}\" is no device id", item.device)));
        };
        let registered = fleet.device(&id);
        let records = match decode(item) {
            Ok(records) => records,
            Err(reason) => return Ok(Err(reason)),
        };
        let device = self.state.device(self.connection, &id)?;
        let context = Context {
            device: &id,
            boot: BootKey {
                device,
                incarnation: item.incarnation,
                boot: item.boot,
            },
            commissioned_ms: registered.map_or(i64::MIN, |found| oldest_ms(found.plant)),
            received_ms: i64::try_from(item.received_ms).unwrap_or(i64::MAX),
            // A gateway's registry may be ahead of ours: its devices' records wait here for our next start.
            hold: item.hold.or(registered.is_none().then_some(Hold::UnknownMeter)),
        };
        self.arrivals.device(context.device);
        for (sequence, (record, bytes)) in (item.first..).zip(records) {
            self.record(&context, sequence, record, bytes)?;
        }
        Ok(Ok(()))
    }

    fn record(
        &mut self,
        context: &Context<'_>,
        sequence: Sequence,
        record: Record,
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        let received = self.state.received.entry(context.boot).or_default();
        if received.contains(sequence) {
            return self.repeated(context, sequence, record, bytes);
        }
        self.runs_before
            .entry(context.boot)
            .or_insert_with(|| received.runs().collect());
        received.insert(sequence);
        self.tally.records[kind_of(&record) as usize] += 1;
        self.new_record(context, sequence, record, bytes)
    }

    pub(super) fn new_record(
        &mut self,
        context: &Context<'_>,
        sequence: Sequence,
        record: Record,
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        let (time_ms, hold) = self.place(context, &record)?;
        let stamp = record.stamp();
        let waits = stamp.clock == Clock::Unsynced && time_ms.is_some();
        if waits {
            self.unsettled.insert(context.boot);
        }
        rows::insert(
            self.connection,
            &Row {
                boot: context.boot,
                sequence,
                kind: kind_of(&record),
                meter: meter_of(&record),
                clock: stamp.clock,
                time_ms,
                hold,
                received_ms: context.received_ms,
                waiting_ms: waits.then(|| self.arrivals.now_ms()),
                bytes,
            },
        )?;
        match record {
            Record::Reading(reading) => self.reading(context, reading, time_ms, hold, bytes),
            Record::Anchor(anchor) if hold.is_none() => self.anchor(context, anchor),
            Record::Diagnostics(state) if hold.is_none() => {
                if let Some(time_ms) = time_ms {
                    self.health(context, time_ms, &state)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A device said how it is; how it started stands in the first record of the boot.
    fn health(
        &mut self,
        context: &Context<'_>,
        time_ms: i64,
        diagnostics: &Diagnostics,
    ) -> rusqlite::Result<()> {
        let first = rows::find(self.connection, context.boot, 0)?;
        let start = first.and_then(|stored| match Record::decode(&stored.bytes) {
            Ok((Record::Start(start), _)) => Some(start),
            _ => None,
        });
        let health = DeviceHealth::new(time_ms, context.boot.boot, diagnostics, start.as_ref());
        self.arrivals.health(context.device, health);
        Ok(())
    }

    /// What follows from a reading that is new, newly placed or released.
    fn reading(
        &mut self,
        context: &Context<'_>,
        reading: Reading,
        time_ms: Option<i64>,
        hold: Option<Hold>,
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        let result = match (hold, time_ms) {
            (Some(_), _) => ReadingResult::Held,
            (None, None) => ReadingResult::Unplaced,
            (None, Some(_)) => ReadingResult::Stored,
        };
        self.tally.readings[result as usize] += 1;
        let Some(time_ms) = time_ms else { return Ok(()) };
        if hold.is_some() {
            return rows::count_held(
                self.connection,
                context.boot.device,
                reading.meter,
                quarter_of(time_ms),
                1,
            );
        }
        let rated_w = self.rated_w(context, reading.meter);
        for (register, value_wh) in registers(&reading) {
            let key = SeriesKey {
                device: context.boot.device,
                meter: reading.meter.get(),
                register,
            };
            let series = self.state.series(self.connection, key, rated_w)?;
            self.gathered.push(series, Point { time_ms, value_wh });
        }
        self.count_unstated(context, &reading, time_ms, 1)?;
        match reading.outcome {
            Outcome::Values(values) => {
                self.arrivals
                    .reading(context.device, reading.meter, time_ms, values, bytes)
            }
            // The device was there, but nothing was read.
            Outcome::Failed(_) => {
                self.arrivals.device(context.device);
            }
        }
        Ok(())
    }

    /// Keeps when power flowed the way of a register that was not stated.
    pub(super) fn count_unstated(
        &self,
        context: &Context<'_>,
        reading: &Reading,
        time_ms: i64,
        change: i64,
    ) -> rusqlite::Result<()> {
        let Some(register) = unstated(reading, self.rated_w(context, reading.meter)) else {
            return Ok(());
        };
        let (device, quarter) = (context.boot.device, quarter_of(time_ms));
        rows::count_unstated(self.connection, device, reading.meter, register, quarter, change)
    }

    /// What the registry rates a meter at, in W; 0 when it doesn't know the meter.
    pub(super) fn rated_w(&self, context: &Context<'_>, meter: MeterAddress) -> u32 {
        let found = self.fleet.device(context.device);
        found.and_then(|d| d.device.meter(meter)).map_or(0, |m| m.rated_w)
    }

    /// An identity that is here already.
    fn repeated(
        &mut self,
        context: &Context<'_>,
        sequence: Sequence,
        record: Record,
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        let stored = rows::find(self.connection, context.boot, sequence)?;
        let result = match &stored {
            Some(stored) if stored.bytes != bytes => ReadingResult::Conflict,
            _ => ReadingResult::Duplicate,
        };
        self.tally.readings[result as usize] += 1;
        if result == ReadingResult::Conflict {
            return rows::keep_conflict(
                self.connection,
                context.boot,
                sequence,
                context.received_ms,
                bytes,
                CONFLICTS_MAX,
            );
        }
        match stored {
            Some(stored) if stored.is_held() && self.place(context, &record)?.1.is_none() => {
                self.release(context, sequence, &stored, record, bytes)
            }
            _ => Ok(()),
        }
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
            rows::count_held(
                self.connection,
                context.boot.device,
                meter,
                quarter_of(time_ms),
                -1,
            )?;
        }
        // First the new row, then the old one away: the feed's end never goes back.
        self.new_record(context, sequence, record, bytes)?;
        rows::delete(self.connection, stored.id)
    }

    /// Writes what was gathered. The transaction can be committed afterwards.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        self.place_moved()?;
        self.settle()?;
        self.gathered.insert(self.connection, &mut self.changes)?;
        std::mem::take(&mut self.changes).write(self.connection)?;
        for (boot, before) in &self.runs_before {
            if let Some(received) = self.state.received.get(boot) {
                rows::write_runs(self.connection, *boot, before, received)?;
            }
        }
        rows::write_newest(self.connection, self.state, &self.arrivals)
    }
}
