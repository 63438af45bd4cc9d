//! The oracle of the tests: the account as one pass over all readings at once, which looks ahead and back in them as it likes.
//!
//! The pass keeps a chain of believed readings. Each next reading is either reached from the chain's end by a segment, or is a
//! glitch that the following readings contradict, or shows that the end of the chain was one. A reading decides about at most
//! [`GLITCH_POINTS_MAX`] readings before it, and about the standstill that it ends.

use super::ledger::{Cause, Ignored, Ledger, SHAPE_MS_MAX, Segment, Why};
use super::{GLITCH_POINTS_MAX, Meter, Point, Replacement};

/// A believed reading, and where the segments that lead to it begin in the ledger.
#[derive(Clone, Copy)]
struct Link {
    point: Point,
    index: usize,
    segments_before: usize,
}

struct Pass<'a> {
    meter: &'a Meter,
    points: &'a [Point],
    chain: Vec<Link>,
    ledger: Ledger,
}

/// Accounts for a register's readings, which must be in time and each instant once.
pub(super) fn account(meter: &Meter, points: &[Point]) -> Ledger {
    let mut pass = Pass {
        meter,
        points,
        chain: Vec::with_capacity(points.len()),
        ledger: Ledger::default(),
    };
    let mut next = 0;
    while next < points.len() {
        next = pass.take(next);
    }
    // Retracted readings are named after later ones.
    pass.ledger.ignored.sort_unstable();
    // A standstill is one segment.
    pass.ledger.segments.dedup_by(|next, segment| {
        let is_one = segment.cause == Cause::Still && next.cause == Cause::Still;
        if is_one {
            segment.to = next.to;
        }
        is_one
    });
    pass.ledger
}

impl Pass<'_> {
    /// Takes the reading at an index; returns the index of the next one.
    fn take(&mut self, at: usize) -> usize {
        let to = self.points[at];
        let Some(from) = self.chain.last().map(|link| link.point) else {
            self.believe(at);
            return at + 1;
        };
        let replacements = self.meter.replacements_between(from.time_ms, to.time_ms);
        if !replacements.is_empty() {
            self.replace(from, replacements, at);
            return at + 1;
        }
        let rise_wh = to.value_wh - from.value_wh;
        if self.meter.can_count(rise_wh, to.time_ms - from.time_ms) {
            self.count(from, at, rise_wh);
            return at + 1;
        }
        if rise_wh > 0 {
            self.rise(from, at)
        } else {
            self.fall(from, at)
        }
    }

    /// A rise beyond the meter's power: a spike, a standstill that is caught up, or a jump.
    fn rise(&mut self, from: Point, at: usize) -> usize {
        let to = self.points[at];
        let is_back = |later: Point| later.value_wh < to.value_wh && self.follows(from, later);
        if let Some(back) = self.first_after(at, is_back) {
            self.ignore(at, back, Why::Spike);
            return back;
        }
        let stood = self.standstill();
        let since = self.chain[stood].point;
        if self
            .meter
            .can_count(to.value_wh - since.value_wh, to.time_ms - since.time_ms)
        {
            if let Some(second) = self.chain.get(stood + 1) {
                self.ledger.segments.truncate(second.segments_before);
            }
            self.chain.truncate(stood + 1);
            self.link(since, at, to.value_wh - since.value_wh, Cause::CatchUp);
        } else {
            self.link(from, at, 0, Cause::Jump);
        }
        at + 1
    }

    /// A fall: a roll-over, a dip, a spike before it, a reset, or something that needs a record.
    fn fall(&mut self, from: Point, at: usize) -> usize {
        let to = self.points[at];
        let span_ms = to.time_ms - from.time_ms;
        let rolled = self.meter.rolled_over_wh(from.value_wh, to.value_wh);
        if let Some(energy_wh) = rolled.filter(|&energy| self.meter.can_count(energy, span_ms)) {
            self.link(from, at, energy_wh, Cause::RollOver);
            return at + 1;
        }
        if let Some(back) = self.first_after(at, |later| self.follows(from, later)) {
            self.ignore(at, back, Why::Dip);
            return back;
        }
        let restarts = self.meter.can_restart(to.value_wh, span_ms);
        let end_is_doubtful = self
            .ledger
            .segments
            .last()
            .is_some_and(|segment| !segment.is_known());
        if (!restarts || end_is_doubtful) && self.retract_before(at) {
            return at;
        }
        if restarts {
            self.link(from, at, to.value_wh, Cause::Reset);
        } else {
            self.link(from, at, 0, Cause::Fall);
        }
        at + 1
    }

    /// Takes the end of the chain back when the reading before it leads to `to` and it doesn't; false when none does.
    fn retract_before(&mut self, at: usize) -> bool {
        let to = self.points[at];
        // At most so many readings lie between the two, ignored ones among them.
        let earliest = self
            .chain
            .partition_point(|link| link.index + 1 + GLITCH_POINTS_MAX < at)
            .min(self.chain.len() - 1);
        let before = self.chain[earliest..self.chain.len() - 1]
            .iter()
            .rposition(|link| self.follows(link.point, to));
        let Some(before) = before.map(|position| earliest + position) else {
            return false;
        };
        let spikes = self.chain[before + 1..].iter().map(|link| Ignored {
            point: link.point,
            why: Why::Spike,
        });
        self.ledger.ignored.extend(spikes);
        self.ledger
            .segments
            .truncate(self.chain[before + 1].segments_before);
        self.chain.truncate(before + 1);
        true
    }

    /// Both sides of each record: the old register up to its last value, the new one from its first.
    fn replace(&mut self, from: Point, records: &[Replacement], at: usize) {
        let to = self.points[at];
        let segments_before = self.ledger.segments.len();
        let mut begin = from;
        for record in records {
            let end = Point {
                time_ms: record.at_ms,
                value_wh: record.final_wh,
            };
            self.replaced(begin, end);
            begin = Point {
                time_ms: record.at_ms,
                value_wh: record.start_wh,
            };
        }
        self.replaced(begin, to);
        self.chain.push(Link {
            point: to,
            index: at,
            segments_before,
        });
    }

    fn replaced(&mut self, from: Point, to: Point) {
        let span_ms = to.time_ms - from.time_ms;
        let rise_wh = to.value_wh - from.value_wh;
        let fits = self.meter.can_count(rise_wh, span_ms);
        // A record at the very instant of a reading leaves nothing between them, unless they contradict each other: that shows in
        // the segment on the other side of the reading.
        if span_ms > 0 {
            self.ledger.segments.push(Segment {
                from,
                to,
                energy_wh: if fits { rise_wh } else { 0 },
                cause: if fits { Cause::Replaced } else { Cause::Misfit },
            });
        }
    }

    /// The first of the next readings for which something holds.
    fn first_after(&self, at: usize, holds: impl Fn(Point) -> bool) -> Option<usize> {
        let end = self.points.len().min(at + 1 + GLITCH_POINTS_MAX);
        (at + 1..end).find(|&later| holds(self.points[later]))
    }

    /// Whether the meter can have counted from one reading to a later one, with no replacement between them.
    fn follows(&self, from: Point, to: Point) -> bool {
        self.meter
            .can_count(to.value_wh - from.value_wh, to.time_ms - from.time_ms)
            && self
                .meter
                .replacements_between(from.time_ms, to.time_ms)
                .is_empty()
    }

    /// The index in the chain since which the register has stood still; the last one when it just moved.
    fn standstill(&self) -> usize {
        let last = self.chain.len() - 1;
        let moved = self.chain[1..]
            .iter()
            .rposition(|link| self.ledger.segments[link.segments_before].cause != Cause::Still);
        moved.map_or(0, |position| position + 1).min(last)
    }

    fn count(&mut self, from: Point, at: usize, rise_wh: i64) {
        let to = self.points[at];
        let cause = if rise_wh == 0 {
            Cause::Still
        } else if to.time_ms - from.time_ms <= SHAPE_MS_MAX {
            Cause::Counted
        } else {
            Cause::Gap
        };
        self.link(from, at, rise_wh, cause);
    }

    fn link(&mut self, from: Point, at: usize, energy_wh: i64, cause: Cause) {
        let to = self.points[at];
        self.believe(at);
        self.ledger.segments.push(Segment {
            from,
            to,
            energy_wh,
            cause,
        });
    }

    fn believe(&mut self, index: usize) {
        self.chain.push(Link {
            point: self.points[index],
            index,
            segments_before: self.ledger.segments.len(),
        });
    }

    fn ignore(&mut self, from: usize, to: usize, why: Why) {
        let glitches = self.points[from..to].iter().map(|&point| Ignored { point, why });
        self.ledger.ignored.extend(glitches);
    }
}
