//! Records of a clock that was not set: where anchors place them, anew with every anchor, and when that is settled.
//!
//! Intervals and totals follow every anchor at once. Sinks can't take a point back, so they get an unsynced record when it is
//! *settled*: when everything that could place it is here ([`settled`]), or after [`SETTLE_MS_MAX`].

use taraz_telemetry::{Anchor, Clock, DeviceId, Hold, Reading, Record};

use super::anchors::{Anchors, settled};
use super::facts::{DROPPED, TIME_MS_MAX, registers};
use super::group::{Context, Group};
use super::rows::{self, Stored};
use super::state::BootKey;
use super::unsynced_rows;
use crate::counters::ReadingResult;

/// 10 TWh: no register of a plant reaches it (a GW at full power needs more than a year).
const REGISTER_WH_MAX: i64 = 10_000_000_000_000;
/// A record whose place is not settled for so long is given to the sinks as it stands: the device dropped what is missing, or
/// will not sync again in this boot.
pub(super) const SETTLE_MS_MAX: i64 = 24 * 60 * 60 * 1_000;
/// The most records that are settled by their age in one commit.
const OVERDUE_AT_ONCE: usize = 10_000;

impl Group<'_> {
    fn anchors(&mut self, boot: BootKey) -> rusqlite::Result<&mut Anchors> {
        Ok(match self.anchors.entry(boot) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(unsynced_rows::anchors(self.connection, boot)?)
            }
        })
    }

    /// When a record was, and why it is held back if it is.
    pub(super) fn place(
        &mut self,
        context: &Context<'_>,
        record: &Record,
    ) -> rusqlite::Result<(Option<i64>, Option<Hold>)> {
        let stamp = record.stamp();
        let stated = match stamp.clock {
            Clock::Synced | Clock::Holdover => i64::try_from(stamp.ms).ok(),
            Clock::Unsynced => self.anchors(context.boot)?.place(stamp.ms),
        };
        let mut hold = context.hold;
        let impossible = match stated {
            Some(time_ms) => time_ms < context.commissioned_ms || time_ms > TIME_MS_MAX,
            None => stamp.clock != Clock::Unsynced,
        };
        if let Record::Reading(reading) = record {
            let unknown = context
                .found
                .is_some_and(|found| found.device.meter(reading.meter).is_none());
            let broken = registers(reading).any(|(_, value_wh)| value_wh > REGISTER_WH_MAX);
            hold = hold
                .or(impossible.then_some(Hold::ImplausibleTime))
                .or(unknown.then_some(Hold::UnknownMeter))
                .or(broken.then_some(Hold::ImplausibleValue));
        }
        Ok((stated, hold))
    }

    /// A boot can be placed in time, or better than before.
    pub(super) fn anchor(&mut self, context: &Context<'_>, anchor: Anchor) -> rusqlite::Result<()> {
        let boot = BootKey {
            boot: anchor.boot,
            ..context.boot
        };
        if self.anchors(boot)?.insert(anchor) {
            self.moved.insert(boot, context.device.clone());
        }
        Ok(())
    }

    /// Places every boot's unsynced records anew, as after a change of the rule.
    pub(super) fn place_all(&mut self) -> rusqlite::Result<()> {
        for (boot, name) in unsynced_rows::boots_with_unsynced(self.connection)? {
            if let Ok(device) = DeviceId::new(&name) {
                self.moved.insert(boot, device);
            }
        }
        Ok(())
    }

    /// Writes the anchors that are new, and moves what they place elsewhere.
    pub(super) fn place_moved(&mut self) -> rusqlite::Result<()> {
        for (boot, device) in std::mem::take(&mut self.moved) {
            self.anchors(boot)?;
            if let Some(anchors) = self.anchors.get(&boot) {
                unsynced_rows::write_anchors(self.connection, boot, anchors)?;
            }
            for stored in rows::unsynced(self.connection, boot)? {
                // Moved, it would get a check sum that says it is right.
                match &stored.damaged {
                    Some(damaged) => self.state.passed.one(damaged),
                    None => self.replace(boot, &device, &stored)?,
                }
            }
        }
        Ok(())
    }

    /// Moves one unsynced record to where the boot's anchors place it, at the end of the feed.
    fn replace(&mut self, boot: BootKey, device: &DeviceId, stored: &Stored) -> rusqlite::Result<()> {
        let Ok((record, _)) = Record::decode(&stored.bytes) else {
            return Ok(());
        };
        if stored.hold.as_deref() == Some(DROPPED) {
            return Ok(());
        }
        // Only a placement can make an unsynced time implausible, and this one may be better.
        let hold = stored
            .hold
            .as_deref()
            .and_then(|text| Hold::ALL.into_iter().find(|h| h.as_str() == text))
            .filter(|&hold| hold != Hold::ImplausibleTime);
        let context = self.context(device, boot, stored.received_ms, hold);
        if self.place(&context, &record)?.0 == stored.time_ms {
            return Ok(());
        }
        let counted = self.tally.readings;
        if let (Some(was_ms), Record::Reading(reading)) = (stored.time_ms, &record) {
            self.unplace(&context, reading, was_ms, stored.hold.is_some())?;
        }
        let is_reading = matches!(record, Record::Reading(_));
        self.new_record(&context, stored.sequence, record, &stored.bytes)?;
        if stored.time_ms.is_some() || stored.hold.is_some() {
            self.tally.readings = counted;
        }
        let was_given_away = stored.time_ms.is_some() && stored.hold.is_none() && stored.waiting_ms.is_none();
        if is_reading && was_given_away {
            self.tally.readings[ReadingResult::Moved as usize] += 1;
        }
        rows::delete(self.connection, stored.id)
    }

    fn unplace(
        &mut self,
        context: &Context<'_>,
        reading: &Reading,
        was_ms: i64,
        held: bool,
    ) -> rusqlite::Result<()> {
        if held {
            return self.count_held(context.boot.device, reading.meter, was_ms, -1);
        }
        self.state.changes.gone(context.boot.device, was_ms);
        if registers(reading).next().is_some() {
            self.gathered.take_out(context.boot.device, was_ms);
        }
        self.count_unstated(context, reading, was_ms, -1)
    }

    /// Gives to the sinks what is settled by now. Only runs that have grown, or in which something waits since now, are looked at.
    pub(super) fn settle(&mut self) -> rusqlite::Result<()> {
        let mut grown = std::mem::take(&mut self.unsettled);
        self.state.waiting.extend(grown.keys());
        for (boot, fresh) in &self.fresh {
            if self.state.waiting.contains(boot) {
                grown.entry(*boot).or_default().extend(fresh);
            }
        }
        for (boot, stretches) in grown {
            let received = self.state.received.get(&boot);
            for run in received
                .map(|received| rows::runs_of(received, &stretches))
                .into_iter()
                .flatten()
            {
                let anchors = unsynced_rows::anchors_of(self.connection, boot, run)?;
                let Some((first, last)) = settled(run, anchors) else {
                    continue;
                };
                for id in unsynced_rows::waiting(self.connection, boot, first, last)? {
                    unsynced_rows::give_away(self.connection, id, self.state.place())?;
                }
            }
            if !unsynced_rows::waits(self.connection, boot)? {
                self.state.waiting.remove(&boot);
            }
        }
        let since_ms = self.arrivals.now_ms() - SETTLE_MS_MAX;
        for id in unsynced_rows::overdue(self.connection, since_ms, OVERDUE_AT_ONCE)? {
            unsynced_rows::give_away(self.connection, id, self.state.place())?;
        }
        Ok(())
    }
}
