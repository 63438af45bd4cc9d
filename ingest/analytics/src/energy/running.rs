//! From readings to segments, one reading at a time.
//!
//! In: the readings of one register in time order, what is known of its meter. Out: segments and ignored readings that nothing can
//! change any more, in time; [`RunningAccount::tail`] says what would come out if the readings ended here. Both together are what
//! [`super::account`] says of all readings.
//!
//! The account keeps a chain of believed readings. Each next reading is either reached from the chain's end by a segment, or is a
//! glitch that the following readings contradict, or shows that the end of the chain was one. So a reading waits for at most
//! [`GLITCH_POINTS_MAX`] later ones before it is taken, and may be taken back by that many more. A standstill stays open until the
//! register moves, because a catch-up belongs to all of it: it is kept as its first and its last reading.

use super::ledger::{Cause, Ignored, SHAPE_MS_MAX, Segment, Why};
use super::ring::Ring;
use super::{Meter, Point};

/// How many readings in a row may be a glitch; more of them are believed.
pub const GLITCH_POINTS_MAX: usize = 8;
/// Readings that are taken, and may be taken back: as many as may be a glitch, and the one before them.
const TAKEN_MAX: usize = GLITCH_POINTS_MAX + 1;
/// Readings that are not taken yet: the next one, and those that may show it to be a glitch.
const WAITING_MAX: usize = 1 + GLITCH_POINTS_MAX;
/// The most readings that an account keeps: those above, and both ends of a standstill.
pub const OPEN_POINTS_MAX: usize = 2 + TAKEN_MAX + WAITING_MAX;

/// What stays as it is, whatever is read later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// A segment; it begins where the one before it ended.
    Segment(Segment),
    /// A reading that is part of no segment. No later one of an account is older.
    Ignored(Ignored),
}

/// A reading that is not later than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a reading after {last_ms} ms, got one at {time_ms} ms: account again from a state before it"
)]
pub struct NotLater {
    /// The account's last reading, UTC ms.
    pub last_ms: i64,
    /// The reading's time, UTC ms.
    pub time_ms: i64,
}

/// What became of a taken reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A link of the chain, and the cause of the segment (of the last one, beside a replacement) that leads to it. The first link
    /// has none and stands as [`Cause::Still`].
    Believed(Cause),
    Ignored(Why),
    /// Part of a standstill that was caught up: one segment lies over it.
    Absorbed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) point: Point,
    pub(super) role: Role,
}

/// What lies before the taken readings: the last link there, and since when the register has stood still up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) since: Point,
    pub(super) end: Point,
}

/// An account of a register that goes on with every reading. Two that are equal go on equally, whatever lies behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAccount {
    pub(super) base: Option<Base>,
    pub(super) taken: Ring<Taken, TAKEN_MAX>,
    pub(super) waiting: Ring<Point, WAITING_MAX>,
}

impl Default for RunningAccount {
    fn default() -> Self {
        let point = Point {
            time_ms: 0,
            value_wh: 0,
        };
        let role = Role::Absorbed;
        Self {
            base: None,
            taken: Ring::new(Taken { point, role }),
            waiting: Ring::new(point),
        }
    }
}

/// The first of the waiting readings for which something holds.
enum Ahead {
    Found(usize),
    Nowhere,
    /// The readings that decide it have not come yet.
    Undecided,
}

impl RunningAccount {
    /// Takes a reading of a register, and hands out what it settles, in time. The meter must be the same for all of an account.
    ///
    /// # Errors
    /// When the reading is not later than the one before; nothing changes then.
    pub fn push(
        &mut self,
        meter: &Meter,
        point: Point,
        settle: &mut impl FnMut(Settled),
    ) -> Result<(), NotLater> {
        if let Some(last_ms) = self.last_ms().filter(|&last_ms| point.time_ms <= last_ms) {
            let time_ms = point.time_ms;
            return Err(NotLater { last_ms, time_ms });
        }
        self.waiting.push(point);
        while self.step(meter, false, settle) {}
        Ok(())
    }

    /// Hands out what is still open, as if the readings ended here.
    pub fn tail(&self, meter: &Meter, settle: &mut impl FnMut(Settled)) {
        let mut rest = self.clone();
        while rest.step(meter, true, settle) {}
        while rest.settle_first(meter, settle) {}
        if let Some(base) = rest.base {
            settle_standstill(base, settle);
        }
    }

    /// The time of the last reading, UTC ms.
    #[must_use]
    pub fn last_ms(&self) -> Option<i64> {
        self.last().map(|point| point.time_ms)
    }

    /// The last reading.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.waiting
            .last()
            .or_else(|| self.taken.last().map(|taken| taken.point))
    }

    /// The first reading that something may still become of, UTC ms: ignored ones before it were handed out.
    #[must_use]
    pub fn open_ms(&self) -> Option<i64> {
        let taken = self.taken.get(0).map(|taken| taken.point);
        taken.or_else(|| self.waiting.get(0)).map(|point| point.time_ms)
    }

    /// Where the settled segments end, UTC ms: nothing before it can change. `None` before the first link is settled.
    #[must_use]
    pub fn settled_ms(&self) -> Option<i64> {
        self.base.map(|base| base.since.time_ms)
    }

    /// From when on (UTC ms) a reading behind the last one changes what the account says: nothing before it does.
    #[must_use]
    pub fn changes_from_ms(&self, meter: &Meter, point: Point) -> i64 {
        let Some(last) = self.last() else {
            return point.time_ms;
        };
        // A rise that the meter can count is taken as it is, and leaves what lies before it alone.
        let is_plain = self.waiting.get(0).is_none()
            && meter.replacements_between(last.time_ms, point.time_ms).is_empty()
            && meter.can_count(point.value_wh - last.value_wh, point.time_ms - last.time_ms);
        if is_plain && self.end() == Some(last) {
            return last.time_ms;
        }
        let open = [self.settled_ms(), self.open_ms()];
        open.into_iter().flatten().min().unwrap_or(last.time_ms)
    }

    /// Takes the first waiting reading, or decides that others are glitches; false when nothing can be decided.
    fn step(&mut self, meter: &Meter, is_end: bool, settle: &mut impl FnMut(Settled)) -> bool {
        let Some(to) = self.waiting.get(0) else {
            return false;
        };
        let Some(from) = self.end() else {
            self.take(meter, Role::Believed(Cause::Still), settle);
            return true;
        };
        let span_ms = to.time_ms - from.time_ms;
        if !meter.replacements_between(from.time_ms, to.time_ms).is_empty() {
            // The meter's records say which segments these are; the last one's cause says whether the reading can be trusted.
            let mut last = Cause::Replaced;
            replaced(meter, from, to, &mut |segment| last = segment.cause);
            self.take(meter, Role::Believed(last), settle);
            return true;
        }
        let rise_wh = to.value_wh - from.value_wh;
        if meter.can_count(rise_wh, span_ms) {
            self.take(meter, Role::Believed(counted(rise_wh, span_ms)), settle);
            return true;
        }
        if rise_wh > 0 {
            self.rise(meter, from, to, is_end, settle)
        } else {
            self.fall(meter, from, to, is_end, settle)
        }
    }

    /// A rise beyond the meter's power: a spike, a standstill that is caught up, or a jump.
    fn rise(
        &mut self,
        meter: &Meter,
        from: Point,
        to: Point,
        is_end: bool,
        settle: &mut impl FnMut(Settled),
    ) -> bool {
        let is_back = |later: Point| later.value_wh < to.value_wh && follows(meter, from, later);
        match self.first_after(is_end, is_back) {
            Ahead::Undecided => return false,
            Ahead::Found(back) => self.ignore(meter, back, Why::Spike, settle),
            Ahead::Nowhere => {
                let (place, since) = self.standstill(from);
                let is_caught_up = meter.can_count(to.value_wh - since.value_wh, to.time_ms - since.time_ms);
                if is_caught_up {
                    self.absorb(place);
                }
                let cause = if is_caught_up { Cause::CatchUp } else { Cause::Jump };
                self.take(meter, Role::Believed(cause), settle);
            }
        }
        true
    }

    /// A fall: a roll-over, a dip, a spike before it, a reset, or something that needs a record.
    fn fall(
        &mut self,
        meter: &Meter,
        from: Point,
        to: Point,
        is_end: bool,
        settle: &mut impl FnMut(Settled),
    ) -> bool {
        let span_ms = to.time_ms - from.time_ms;
        let rolled = meter.rolled_over_wh(from.value_wh, to.value_wh);
        if rolled.is_some_and(|energy_wh| meter.can_count(energy_wh, span_ms)) {
            self.take(meter, Role::Believed(Cause::RollOver), settle);
            return true;
        }
        match self.first_after(is_end, |later| follows(meter, from, later)) {
            Ahead::Undecided => return false,
            Ahead::Found(back) => self.ignore(meter, back, Why::Dip, settle),
            Ahead::Nowhere => {
                let restarts = meter.can_restart(to.value_wh, span_ms);
                let is_doubtful = self.end_cause().is_some_and(|cause| !cause.is_known());
                let takes_back = (!restarts || is_doubtful) && self.take_back(meter, to);
                if !takes_back {
                    let cause = if restarts { Cause::Reset } else { Cause::Fall };
                    self.take(meter, Role::Believed(cause), settle);
                }
            }
        }
        true
    }

    /// Takes the end of the chain back as a spike when a reading shortly before it leads to `to` and it doesn't; false when none does.
    fn take_back(&mut self, meter: &Meter, to: Point) -> bool {
        let links = self.taken.iter().rev().filter(|(_, taken)| taken.is_believed());
        let before = links
            .skip(1)
            .find(|(_, taken)| follows(meter, taken.point, to))
            .map(|(index, _)| index);
        let Some(before) = before else {
            return false;
        };
        self.drop_links_after(before + 1, Role::Ignored(Why::Spike));
        true
    }

    /// The readings of a caught-up standstill, after its first one (`None`: it lies before the taken ones), are links no more.
    fn absorb(&mut self, first: Option<usize>) {
        self.drop_links_after(first.map_or(0, |index| index + 1), Role::Absorbed);
        if let (None, Some(base)) = (first, &mut self.base) {
            base.end = base.since;
        }
    }

    fn drop_links_after(&mut self, first: usize, role: Role) {
        for index in first..self.taken.len() {
            let taken = self.taken.get_mut(index);
            if taken.is_believed() {
                taken.role = role;
            }
        }
    }

    /// Since when the register has stood still up to the chain's end `from`, and its place among the taken readings; `None` for one
    /// before them.
    fn standstill(&self, from: Point) -> (Option<usize>, Point) {
        let mut since = (None, from);
        for (index, taken) in self.taken.iter().rev() {
            let Role::Believed(cause) = taken.role else {
                continue;
            };
            since = (Some(index), taken.point);
            if cause != Cause::Still {
                return since;
            }
        }
        self.base.map_or(since, |base| (None, base.since))
    }

    /// The chain's end.
    fn end(&self) -> Option<Point> {
        let mut links = self.taken.iter().rev().filter(|(_, taken)| taken.is_believed());
        let base = || self.base.map(|base| base.end);
        links.next().map(|(_, taken)| taken.point).or_else(base)
    }

    /// The cause of the last segment.
    fn end_cause(&self) -> Option<Cause> {
        self.taken.iter().rev().find_map(|(_, taken)| match taken.role {
            Role::Believed(cause) => Some(cause),
            Role::Ignored(_) | Role::Absorbed => None,
        })
    }

    fn first_after(&self, is_end: bool, holds: impl Fn(Point) -> bool) -> Ahead {
        let found = self.waiting.iter().skip(1).find(|&(_, later)| holds(later));
        match found {
            Some((index, _)) => Ahead::Found(index),
            None if is_end || self.waiting.is_full() => Ahead::Nowhere,
            None => Ahead::Undecided,
        }
    }

    /// The first `count` waiting readings are glitches.
    fn ignore(&mut self, meter: &Meter, count: usize, why: Why, settle: &mut impl FnMut(Settled)) {
        for _ in 0..count {
            self.take(meter, Role::Ignored(why), settle);
        }
    }

    /// Moves the first waiting reading to the taken ones; the oldest of those is settled when they are too many.
    fn take(&mut self, meter: &Meter, role: Role, settle: &mut impl FnMut(Settled)) {
        if let Some(point) = self.waiting.pop_first() {
            if self.taken.is_full() {
                self.settle_first(meter, settle);
            }
            self.taken.push(Taken { point, role });
        }
    }

    /// Settles the oldest taken reading; false when there is none.
    fn settle_first(&mut self, meter: &Meter, settle: &mut impl FnMut(Settled)) -> bool {
        let Some(Taken { point, role }) = self.taken.pop_first() else {
            return false;
        };
        match role {
            Role::Absorbed => {}
            Role::Ignored(why) => settle(Settled::Ignored(Ignored { point, why })),
            Role::Believed(cause) => match &mut self.base {
                Some(base) if cause == Cause::Still => base.end = point,
                base => {
                    if let Some(base) = *base {
                        settle_standstill(base, settle);
                        segments(meter, base.end, point, cause, settle);
                    }
                    *base = Some(Base {
                        since: point,
                        end: point,
                    });
                }
            },
        }
        true
    }
}

impl Taken {
    const fn is_believed(&self) -> bool {
        matches!(self.role, Role::Believed(_))
    }
}

/// Whether the meter can have counted from one reading to a later one, with no replacement between them.
fn follows(meter: &Meter, from: Point, to: Point) -> bool {
    meter.can_count(to.value_wh - from.value_wh, to.time_ms - from.time_ms)
        && meter.replacements_between(from.time_ms, to.time_ms).is_empty()
}

const fn counted(rise_wh: i64, span_ms: i64) -> Cause {
    if rise_wh == 0 {
        Cause::Still
    } else if span_ms <= SHAPE_MS_MAX {
        Cause::Counted
    } else {
        Cause::Gap
    }
}

fn settle_standstill(base: Base, settle: &mut impl FnMut(Settled)) {
    if base.since != base.end {
        settle(Settled::Segment(Segment {
            from: base.since,
            to: base.end,
            energy_wh: 0,
            cause: Cause::Still,
        }));
    }
}

/// The segment between two links, or those beside the replacements between them.
fn segments(meter: &Meter, from: Point, to: Point, cause: Cause, settle: &mut impl FnMut(Settled)) {
    let energy_wh = match cause {
        Cause::Counted | Cause::Still | Cause::Gap | Cause::CatchUp => to.value_wh - from.value_wh,
        Cause::RollOver => meter.rolled_over_wh(from.value_wh, to.value_wh).unwrap_or(0),
        Cause::Reset => to.value_wh,
        Cause::Jump | Cause::Fall => 0,
        Cause::Replaced | Cause::Misfit => {
            replaced(meter, from, to, &mut |segment| settle(Settled::Segment(segment)));
            return;
        }
    };
    settle(Settled::Segment(Segment {
        from,
        to,
        energy_wh,
        cause,
    }));
}

/// Both sides of each record: the old register up to its last value, the new one from its first.
fn replaced(meter: &Meter, from: Point, to: Point, hand_out: &mut impl FnMut(Segment)) {
    let mut begin = from;
    for record in meter.replacements_between(from.time_ms, to.time_ms) {
        let end = Point {
            time_ms: record.at_ms,
            value_wh: record.final_wh,
        };
        beside_record(meter, begin, end, hand_out);
        begin = Point {
            time_ms: record.at_ms,
            value_wh: record.start_wh,
        };
    }
    beside_record(meter, begin, to, hand_out);
}

fn beside_record(meter: &Meter, from: Point, to: Point, hand_out: &mut impl FnMut(Segment)) {
    let span_ms = to.time_ms - from.time_ms;
    let rise_wh = to.value_wh - from.value_wh;
    let fits = meter.can_count(rise_wh, span_ms);
    // A record at the very instant of a reading leaves nothing between them, unless they contradict each other: that shows in the
    // segment on the other side of the reading.
    if span_ms > 0 {
        hand_out(Segment {
            from,
            to,
            energy_wh: if fits { rise_wh } else { 0 },
            cause: if fits { Cause::Replaced } else { Cause::Misfit },
        });
    }
}
