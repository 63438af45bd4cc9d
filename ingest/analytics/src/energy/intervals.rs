//! From settled segments to what a store keeps: quarter-hours, each once, and longer segments as themselves.
//!
//! A segment of at most [`SHAPE_MS_MAX`] adds to the one or two quarter-hours that it touches. A longer one is kept as itself, however
//! long: so a late reading changes a bounded number of entries, and nothing is lost of what it says about any period.
//! A quarter-hour is handed out when nothing can add to it any more.

use std::collections::BTreeMap;

use super::checkpoint::CheckpointError;
use super::ledger::{Flags, INTERVAL_MS, Ignored, Ledger, PeriodEnergy, SHAPE_MS_MAX, Segment};
use super::running::{NotLater, RunningAccount, Settled};
use super::{Meter, Point};
use crate::varint::{Reader, put_signed, put_unsigned};

/// What is kept of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// What all short segments state about a quarter-hour.
    Quarter {
        /// The quarter-hour, counted from 1970 in UTC.
        quarter: i64,
        /// Their sum.
        energy: PeriodEnergy,
    },
    /// A segment longer than [`SHAPE_MS_MAX`].
    Long(Segment),
    /// A reading that was left out.
    Ignored(Ignored),
}

/// An account and the quarter-hour that its settled segments end in. Two that are equal go on equally.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningIntervals {
    account: RunningAccount,
    open: Open,
}

/// How far the entries of an account are handed out; each is [`i64::MIN`] when none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first quarter-hour that isn't, as counted in [`Entry::Quarter`].
    pub quarter: i64,
    /// Long segments from here on (UTC ms) are not.
    pub settled_ms: i64,
    /// Ignored readings from here on (UTC ms) are not.
    pub open_ms: i64,
}

/// The quarter-hour that short segments still add to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Open(Option<(i64, PeriodEnergy)>);

/// The number of the quarter-hour, counted from 1970 in UTC, that an instant lies in.
#[must_use]
pub const fn quarter_of(time_ms: i64) -> i64 {
    time_ms.div_euclid(INTERVAL_MS)
}

impl PeriodEnergy {
    /// Adds what other segments state about the same period.
    pub fn add(&mut self, other: &Self) {
        // Registers are bounded, so this can't wrap in a plant's life.
        self.energy_wh = self.energy_wh.wrapping_add(other.energy_wh);
        self.known_ms += other.known_ms;
        self.covered_ms += other.covered_ms;
        self.flags = self.flags.union(other.flags);
    }
}

impl RunningIntervals {
    /// The account behind it.
    #[must_use]
    pub const fn account(&self) -> &RunningAccount {
        &self.account
    }

    /// What was handed out so far, and what was not.
    #[must_use]
    pub fn position(&self) -> Position {
        let settled_ms = self.account.settled_ms();
        let quarter = self.open.0.map(|(quarter, _)| quarter);
        Position {
            quarter: quarter.or(settled_ms.map(quarter_of)).unwrap_or(i64::MIN),
            settled_ms: settled_ms.unwrap_or(i64::MIN),
            open_ms: self.account.open_ms().unwrap_or(i64::MIN),
        }
    }

    /// Takes a reading, and hands out what it completes.
    ///
    /// # Errors
    /// When the reading is not later than the one before; nothing changes then.
    pub fn push(
        &mut self,
        meter: &Meter,
        point: Point,
        hand_out: &mut impl FnMut(Entry),
    ) -> Result<(), NotLater> {
        let Self { account, open } = self;
        account.push(meter, point, &mut |settled| open.add(settled, hand_out))
    }

    /// Hands out what is still open, as if the readings ended here.
    pub fn tail(&self, meter: &Meter, hand_out: &mut impl FnMut(Entry)) {
        let mut open = self.open.clone();
        self.account
            .tail(meter, &mut |settled| open.add(settled, hand_out));
        open.close(hand_out);
    }

    /// Appends the state as bytes: the account's checkpoint, and 0 or 1 with the quarter-hour behind it.
    pub fn write_checkpoint(&self, bytes: &mut Vec<u8>) {
        self.account.write_checkpoint(bytes);
        bytes.push(u8::from(self.open.0.is_some()));
        if let Some((quarter, energy)) = self.open.0 {
            put_signed(bytes, quarter);
            write_energy(&energy, bytes);
        }
    }

    /// Reads a state that was written as bytes.
    ///
    /// # Errors
    /// When it is of another version or damaged.
    pub fn from_checkpoint(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (account, rest) = RunningAccount::read_checkpoint(bytes)?;
        let (&is_open, rest) = rest.split_first().ok_or(CheckpointError::Damaged)?;
        let mut reader = Reader::new(rest);
        let open = match is_open {
            0 => Some(None),
            1 => reader.signed().zip(read_energy(&mut reader)).map(Some),
            _ => None,
        };
        match open {
            Some(open) if reader.rest().is_empty() => Ok(Self {
                account,
                open: Open(open),
            }),
            _ => Err(CheckpointError::Damaged),
        }
    }
}

impl Open {
    fn add(&mut self, settled: Settled, hand_out: &mut impl FnMut(Entry)) {
        let segment = match settled {
            Settled::Ignored(ignored) => {
                hand_out(Entry::Ignored(ignored));
                return;
            }
            Settled::Segment(segment) => segment,
        };
        if segment.length_ms() > SHAPE_MS_MAX {
            // What comes next begins in a later quarter-hour.
            self.close(hand_out);
            hand_out(Entry::Long(segment));
            return;
        }
        let (first, last) = (
            quarter_of(segment.from.time_ms),
            quarter_of(segment.to.time_ms - 1),
        );
        self.add_part(first, &segment, hand_out);
        if last != first {
            self.add_part(last, &segment, hand_out);
        }
    }

    fn add_part(&mut self, quarter: i64, segment: &Segment, hand_out: &mut impl FnMut(Entry)) {
        if self.0.is_none_or(|(open, _)| open != quarter) {
            self.close(hand_out);
        }
        let (_, energy) = self.0.get_or_insert((quarter, PeriodEnergy::default()));
        energy.add_segment(segment, quarter * INTERVAL_MS, (quarter + 1) * INTERVAL_MS);
    }

    fn close(&mut self, hand_out: &mut impl FnMut(Entry)) {
        if let Some((quarter, energy)) = self.0.take() {
            hand_out(Entry::Quarter { quarter, energy });
        }
    }
}

fn write_energy(energy: &PeriodEnergy, bytes: &mut Vec<u8>) {
    for number in [energy.energy_wh, energy.known_ms, energy.covered_ms] {
        put_signed(bytes, number);
    }
    put_unsigned(bytes, energy.flags.bits().into());
}

fn read_energy(reader: &mut Reader<'_>) -> Option<PeriodEnergy> {
    Some(PeriodEnergy {
        energy_wh: reader.signed()?,
        known_ms: reader.signed()?,
        covered_ms: reader.signed()?,
        flags: Flags::from_bits(u8::try_from(reader.unsigned()?).ok()?)?,
    })
}

/// Entries of a register by time: what can be asked of a [`Ledger`] about whole quarter-hours, from what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    quarters: BTreeMap<i64, PeriodEnergy>,
    rest: Ledger,
}

impl Entries {
    /// Adds one; those of an account, settled ones before its tail, come in time.
    pub fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Quarter { quarter, energy } => self.quarters.entry(quarter).or_default().add(&energy),
            Entry::Long(segment) => self.rest.add(Settled::Segment(segment)),
            Entry::Ignored(ignored) => self.rest.add(Settled::Ignored(ignored)),
        }
    }

    /// What the register states about `start_ms..end_ms`, both edges of quarter-hours: the same as the ledger of its readings.
    #[must_use]
    pub fn period(&self, start_ms: i64, end_ms: i64) -> PeriodEnergy {
        let mut sum = self.rest.period(start_ms, end_ms);
        for (_, energy) in self.quarters.range(quarter_of(start_ms)..quarter_of(end_ms)) {
            sum.add(energy);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::account;

    const MINUTE_MS: i64 = 60_000;

    fn points(steps: &[(i64, i64)]) -> Vec<Point> {
        let point = |&(minute, value_wh): &(i64, i64)| Point {
            time_ms: minute * MINUTE_MS,
            value_wh,
        };
        steps.iter().map(point).collect()
    }

    #[test]
    fn a_segment_over_an_edge_is_split_in_proportion_and_a_long_one_stays_whole() {
        let points = points(&[(10, 1_000), (20, 1_300), (80, 4_300), (85, 4_400)]);
        let mut entries = Vec::new();
        let mut running = RunningIntervals::default();
        for &point in &points {
            running
                .push(&Meter::new(30_000), point, &mut |entry| entries.push(entry))
                .unwrap();
        }
        running.tail(&Meter::new(30_000), &mut |entry| entries.push(entry));
        let quarter = |quarter, energy_wh, known_ms| Entry::Quarter {
            quarter,
            energy: PeriodEnergy {
                energy_wh,
                known_ms,
                covered_ms: known_ms,
                flags: Flags::default(),
            },
        };
        let long = account(&Meter::new(30_000), &points).segments()[1];
        let expected = [
            quarter(0, 150, 5 * MINUTE_MS),
            quarter(1, 150, 5 * MINUTE_MS),
            Entry::Long(long),
            quarter(5, 100, 5 * MINUTE_MS),
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn flags_are_the_bits_they_are_written_as() {
        for bits in 0..128 {
            let flags = Flags::from_bits(bits).unwrap();
            assert_eq!(
                (flags.bits(), flags.words().count()),
                (bits, bits.count_ones() as usize)
            );
        }
        assert_eq!(Flags::from_bits(128), None);
    }
}
