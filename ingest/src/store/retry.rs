//! Held records judged again: at the start of the program, since the registry may be right by now, and as time passes.

use taraz_telemetry::{DeviceId, Record};

use super::group::Group;
use super::plausible::is_plausible;
use super::rows::{self, Again, Held};

/// How many held records are looked at at once.
const HELD_AT_ONCE: usize = 10_000;

impl Group<'_> {
    /// Releases every one of these held records that nothing speaks against any more; returns how many.
    pub(super) fn judge_again(&mut self, again: Again, now_ms: i64) -> rusqlite::Result<u64> {
        let (mut after, mut released) = (0, 0);
        loop {
            let held = rows::held_after(self.connection, again, after, HELD_AT_ONCE)?;
            let Some(last) = held.last() else {
                return Ok(released);
            };
            after = last.stored.id;
            for held in &held {
                released += u64::from(self.judge_held(held, now_ms)?);
            }
        }
    }

    fn judge_held(&mut self, held: &Held, now_ms: i64) -> rusqlite::Result<bool> {
        // Released, it would get a check sum that says it is right.
        if let Some(damaged) = &held.stored.damaged {
            self.state.passed.one(damaged);
            return Ok(false);
        }
        let fleet = self.fleet;
        let id = DeviceId::new(&held.device).ok();
        let Some(found) = id.as_ref().and_then(|id| fleet.device(id)) else {
            return Ok(false);
        };
        let Ok((record, _)) = Record::decode(&held.stored.bytes) else {
            return Ok(false);
        };
        let context = self.context(&found.device.id, held.boot, held.stored.received_ms, None);
        let (time_ms, hold) = self.place(&context, &record)?;
        if hold.is_some() || !is_plausible(found, &record, time_ms, context.commissioned_ms, now_ms) {
            return Ok(false);
        }
        self.release(
            &context,
            held.stored.sequence,
            &held.stored,
            record,
            &held.stored.bytes,
        )?;
        Ok(true)
    }
}
