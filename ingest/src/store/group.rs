//! One group of batches inside one transaction: every record once, and what follows from it.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use taraz_analytics::energy::{Meter, Point};
use taraz_fleet::{DeviceRef, Fleet};
use taraz_telemetry::{
    BatchItem, Clock, DeviceId, Diagnostics, Hold, MeterAddress, Outcome, Reading, Record, Sequence,
};

use super::account::{self, Credit, Gathered};
use super::anchors::Anchors;
use super::facts::{decode, kind_of, meter_of, registers, unstated};
use super::notes;
use super::plausible::oldest_ms as oldest_ms_of;
use super::rows::{self, ReceivedWriter, Row};
use super::runs::{Looked, OpenRuns};
use super::state::{BootKey, Register, Registered, SeriesKey, State};
use super::tally::Tally;
use crate::analytics::quarter_of;
use crate::arrivals::{Arrivals, Who};
use crate::counters::ReadingResult;
use crate::registers::register_of;
use crate::view::DeviceHealth;

/// So many stored readings may be read again for each value that comes in; what is late beyond that waits until the writer is idle.
const REREAD_PER_VALUE: usize = 2;
/// The most readings that one transaction reads again, in about.
pub(super) const CREDIT_MAX: usize = 20_000;

/// The most ranges of records of one device, over all its starts: what is kept of each for ever, in memory as well. A device that starts
/// once in an hour has them after eleven years.
pub(super) const RANGES_MAX: usize = 100_000;

/// The work of one transaction.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) connection: &'a Connection,
    pub(super) fleet: &'a Fleet,
    pub(super) state: &'a mut State,
    pub(super) gathered: Gathered,
    /// Plain readings that are not written yet.
    pub(super) open: OpenRuns,
    /// The run that a repeated record was found in.
    pub(super) looked: Option<Looked>,
    /// What came of each boot for the first time, first and last of what stands together.
    pub(super) fresh: HashMap<BootKey, Vec<(Sequence, Sequence)>>,
    /// The anchors of the boots that were asked for.
    pub(super) anchors: HashMap<BootKey, Anchors>,
    /// Boots whose unsynced records have to be placed anew, with their device.
    pub(super) moved: BTreeMap<BootKey, DeviceId>,
    /// Records that wait since now, and may be settled already; first and last of what stands together.
    pub(super) unsettled: BTreeMap<BootKey, Vec<(Sequence, Sequence)>>,
    /// What came in, for the present; handed on after the commit.
    pub(super) arrivals: Arrivals,
    /// What was counted; handed on after the commit.
    pub(super) tally: Tally,
}

/// What a whole item shares.
#[derive(Clone, Copy)]
pub(super) struct Context<'i> {
    pub(super) device: &'i DeviceId,
    /// What the registry says of it, if it knows it.
    pub(super) found: Option<DeviceRef<'i>>,
    pub(super) boot: BootKey,
    /// Nothing older is believed, UTC ms.
    pub(super) commissioned_ms: i64,
    pub(super) received_ms: i64,
    pub(super) hold: Option<Hold>,
}

impl Context<'_> {
    /// Its device, for the present.
    fn who(&self) -> Who {
        Who {
            key: self.boot.device,
            number: self.found.map(|found| found.number),
        }
    }

    /// What the registry rates a meter at, in W; 0 when it doesn't know the meter.
    pub(super) fn rated_w(&self, meter: MeterAddress) -> u32 {
        let meter = self.found.and_then(|found| found.device.meter(meter));
        meter.map_or(0, |meter| meter.rated_w)
    }

    /// What the registry knows of a meter's register.
    fn known(&self, meter: MeterAddress, register: Register) -> Meter {
        let meter = self.found.and_then(|found| found.device.meter(meter));
        meter.map_or(Meter::new(0), |meter| register_of(meter, register))
    }
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
            open: OpenRuns::default(),
            looked: None,
            fresh: HashMap::new(),
            anchors: HashMap::new(),
            moved: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            arrivals: Arrivals::new(now_ms),
            tally: Tally::default(),
        }
    }

    /// Stores an item whole. The inner error is the reason why it can never be taken.
    pub(super) fn item(&mut self, item: &BatchItem<'_>) -> rusqlite::Result<Result<(), String>> {
        let Ok(id) = DeviceId::new(item.device) else {
            return Ok(Err(format!("\"{}\" is no device id", item.device)));
        };
        let records = match decode(item) {
            Ok(records) => records,
            Err(reason) => return Ok(Err(reason)),
        };
        let boot = BootKey {
            device: self.state.device(self.connection, &id)?,
            incarnation: item.incarnation,
            boot: item.boot,
        };
        if let Some(reason) = self.too_many_ranges(boot, item, records.len()) {
            return Ok(Err(reason));
        }
        let received_ms = i64::try_from(item.received_ms).unwrap_or(i64::MAX);
        let mut context = self.context(&id, boot, received_ms, item.hold);
        // A gateway's registry may be ahead of ours: its devices' records wait here for our next start.
        if context.found.is_none() {
            context.hold = context.hold.or(Some(Hold::UnknownMeter));
        }
        self.arrivals.device(context.who());
        for (sequence, (record, bytes)) in (item.first..=Sequence::MAX).zip(records) {
            self.record(&context, sequence, record, bytes)?;
        }
        Ok(Ok(()))
    }

    /// Why an item can't be taken that would give its device one range of received records too many.
    fn too_many_ranges(&self, boot: BootKey, item: &BatchItem<'_>, records: usize) -> Option<String> {
        let ranges = self.state.ranges.get(&boot.device).copied().unwrap_or_default();
        if ranges < RANGES_MAX {
            return None;
        }
        let more = u32::try_from(records.saturating_sub(1)).unwrap_or(u32::MAX);
        let last = item.first.saturating_add(more);
        let received = self.state.received.get(&boot);
        let joins = received.is_some_and(|received| received.touches(item.first, last));
        (!joins).then(|| {
            format!(
                "{RANGES_MAX} separate ranges of records of \"{}\" are here, and this is another one: it leaves out sequence numbers or \
                 starts all the time; repair it, and register it by another id",
                item.device
            )
        })
    }

    pub(super) fn context<'i>(
        &mut self,
        device: &'i DeviceId,
        boot: BootKey,
        received_ms: i64,
        hold: Option<Hold>,
    ) -> Context<'i>
    where
        'a: 'i,
    {
        let fleet = self.fleet;
        let known = *self.state.registered.entry(boot.device).or_insert_with(|| {
            let found = fleet.device(device);
            Registered {
                number: found.map(|found| found.number),
                oldest_ms: found.map_or(i64::MIN, |found| oldest_ms_of(found.plant)),
            }
        });
        Context {
            device,
            found: known.number.and_then(|number| fleet.numbered(number)),
            boot,
            commissioned_ms: known.oldest_ms,
            received_ms,
            hold,
        }
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
        let before = received.runs_len();
        received.insert(sequence);
        let after = received.runs_len();
        if before != after {
            let ranges = self.state.ranges.entry(context.boot.device).or_default();
            *ranges = (*ranges + after).saturating_sub(before);
        }
        extend(self.fresh.entry(context.boot).or_default(), sequence);
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
        let is_unsynced = stamp.clock == Clock::Unsynced;
        let record = match (record, time_ms, hold) {
            (Record::Reading(reading), Some(time_ms), None) if !is_unsynced => {
                self.open
                    .push(context.boot, sequence, time_ms, context.received_ms, bytes);
                return self.reading(context, reading, Some(time_ms), None, bytes);
            }
            (record, ..) => record,
        };
        let waits = is_unsynced && time_ms.is_some();
        if waits {
            extend(self.unsettled.entry(context.boot).or_default(), sequence);
        }
        rows::insert(
            self.connection,
            &Row {
                place: self.state.place(),
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
        let first = rows::find(self.connection, context.boot, 0)?.filter(|stored| stored.damaged.is_none());
        let start = first.and_then(|stored| match Record::decode(&stored.bytes) {
            Ok((Record::Start(start), _)) => Some(start),
            _ => None,
        });
        let health = DeviceHealth::new(time_ms, context.boot.boot, diagnostics, start.as_ref());
        self.arrivals.health(context.who(), health);
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
            return self.count_held(context.boot.device, reading.meter, time_ms, 1);
        }
        self.state.changes.reading(context.boot.device, &reading, time_ms);
        for (register, value_wh) in registers(&reading) {
            let key = SeriesKey {
                device: context.boot.device,
                meter: reading.meter.get(),
                register,
            };
            let known = || context.known(reading.meter, register);
            let series = self.state.series(self.connection, key, known)?;
            self.gathered.push(key, series, Point { time_ms, value_wh });
        }
        self.count_unstated(context, &reading, time_ms, 1)?;
        match reading.outcome {
            Outcome::Values(values) => {
                self.arrivals
                    .reading(context.who(), reading.meter, time_ms, values, bytes)
            }
            // The device was there, but nothing was read.
            Outcome::Failed(_) => {
                self.arrivals.device(context.who());
            }
        }
        Ok(())
    }

    /// Keeps how many readings of a meter are held at a time.
    pub(super) fn count_held(
        &mut self,
        device: i64,
        meter: MeterAddress,
        time_ms: i64,
        change: i64,
    ) -> rusqlite::Result<()> {
        self.state.changes.touch(device, time_ms, time_ms);
        rows::count_held(self.connection, device, meter, quarter_of(time_ms), change)
    }

    /// Keeps when power flowed the way of a register that was not stated.
    pub(super) fn count_unstated(
        &self,
        context: &Context<'_>,
        reading: &Reading,
        time_ms: i64,
        change: i64,
    ) -> rusqlite::Result<()> {
        let Some(register) = unstated(reading, context.rated_w(reading.meter)) else {
            return Ok(());
        };
        let (device, quarter) = (context.boot.device, quarter_of(time_ms));
        rows::count_unstated(self.connection, device, reading.meter, register, quarter, change)
    }

    /// Accounts for the register values; accounts that late ones have reopened are made again as far as the credit goes.
    fn account(&mut self) -> rusqlite::Result<()> {
        let gathered = std::mem::take(&mut self.gathered);
        let earned = gathered.len().saturating_mul(REREAD_PER_VALUE);
        let mut credit = Credit((self.state.credit + earned).min(CREDIT_MAX));
        self.tally.too_late += account::feed(self.connection, self.state, gathered)?;
        account::catch_up(self.connection, self.state, &mut credit)?;
        self.state.credit = credit.0;
        Ok(())
    }

    /// Writes what was gathered. The transaction can be committed afterwards.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        self.open.write(self.connection, self.state)?;
        self.place_moved()?;
        self.settle()?;
        self.account()?;
        // In the order of the table: neighbours lie on one page.
        let mut boots: Vec<_> = self.fresh.iter().collect();
        boots.sort_unstable_by_key(|&(boot, _)| *boot);
        let mut writer = ReceivedWriter::new(self.connection)?;
        for (&boot, fresh) in boots {
            if let Some(received) = self.state.received.get(&boot) {
                writer.write(boot, fresh, received)?;
            }
        }
        self.state.changes.write(self.connection)?;
        notes::keep(self.connection, self.state, &self.arrivals)
    }
}

/// Adds a sequence to stretches of them, in the order in which they come.
fn extend(stretches: &mut Vec<(Sequence, Sequence)>, sequence: Sequence) {
    match stretches.last_mut() {
        Some((_, last)) if last.checked_add(1) == Some(sequence) => *last = sequence,
        _ => stretches.push((sequence, sequence)),
    }
}
