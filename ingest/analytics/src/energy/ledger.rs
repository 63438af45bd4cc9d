//! The result: segments that tile time, and what they state about a period.

use super::Point;

/// The length of an interval in ms.
pub const INTERVAL_MS: i64 = 15 * 60 * 1_000;
/// Within a segment up to this length energy is taken as even; of a longer one the total is known and the shape is not.
pub const SHAPE_MS_MAX: i64 = INTERVAL_MS;

/// How a segment's energy came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The register rose within [`SHAPE_MS_MAX`].
    Counted,
    /// The register stood still, for however long and in however many readings: nothing was counted.
    Still,
    /// The register rose over a longer silence: known total, unknown shape.
    Gap,
    /// The register stood still and then rose by more than the last span explains: the rise belongs to the whole standstill.
    CatchUp,
    /// The register passed its end and began again at 0.
    RollOver,
    /// One side of a recorded replacement.
    Replaced,
    /// The register began again at 0: what it holds since then is the least that was counted.
    Reset,
    /// The register rose by more than the meter's power explains: not counted, kept as unknown.
    Jump,
    /// The register fell to a value that a reset doesn't explain, and there is no record: unknown.
    Fall,
    /// There is a record of a replacement, but the readings beside it contradict it: unknown.
    Misfit,
}

/// The time between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Its begin and what the register read; beside a replacement, what the record says.
    pub from: Point,
    /// Its end (excluded) and what the register read.
    pub to: Point,
    /// What it counted in Wh, 0 or more; 0 where it is unknown.
    pub energy_wh: i64,
    /// Why.
    pub cause: Cause,
}

/// Why a reading was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// It was lower than before and the next ones were not.
    Dip,
    /// It was higher than the next ones.
    Spike,
}

/// A reading that is part of no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ignored {
    /// The reading.
    pub point: Point,
    /// Why.
    pub why: Why,
}

/// All that a register's readings state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub(super) segments: Vec<Segment>,
    pub(super) ignored: Vec<Ignored>,
}

/// What has to be said beside an energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Part of it is spread evenly over a silence or a standstill.
    pub spread: bool,
    /// Part of it comes from a standstill that was caught up.
    pub caught_up: bool,
    /// The register was reset: it is the least that was counted.
    pub reset: bool,
    /// The register rolled over.
    pub rolled_over: bool,
    /// The meter was replaced.
    pub replaced: bool,
    /// A rise, a fall or a record could not be believed: that time is unknown.
    pub quarantined: bool,
    /// Readings were ignored.
    pub glitch: bool,
}

/// What a register states about a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodEnergy {
    /// Energy in Wh.
    pub energy_wh: i64,
    /// For how much of the period the total is known, in ms: segments whose shape is known as far as they overlap, others when they
    /// lie within the period as a whole.
    pub known_ms: i64,
    /// For how much of the period readings stand on both sides, in ms.
    pub covered_ms: i64,
    /// What has to be said beside it.
    pub flags: Flags,
}

impl Cause {
    /// The segment's total is known.
    #[must_use]
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Reset | Self::Jump | Self::Fall | Self::Misfit)
    }
}

impl Segment {
    /// Its length in ms.
    #[must_use]
    pub const fn length_ms(&self) -> i64 {
        self.to.time_ms - self.from.time_ms
    }

    /// Its total is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.cause.is_known()
    }

    /// When within it the energy was counted is known well enough for intervals.
    #[must_use]
    pub const fn has_shape(&self) -> bool {
        self.energy_wh == 0 || self.length_ms() <= SHAPE_MS_MAX
    }

    /// Its energy within a period, in Wh: interpolated linearly and rounded down from the segment's begin, so that the parts of a
    /// segment always add up to it.
    #[must_use]
    pub fn energy_within_wh(&self, start_ms: i64, end_ms: i64) -> i64 {
        let (start_ms, end_ms) = self.overlap_ms(start_ms, end_ms);
        if start_ms >= end_ms {
            return 0;
        }
        self.counted_wh(end_ms) - self.counted_wh(start_ms)
    }

    fn overlap_ms(&self, start_ms: i64, end_ms: i64) -> (i64, i64) {
        (start_ms.max(self.from.time_ms), end_ms.min(self.to.time_ms))
    }

    fn counted_wh(&self, at_ms: i64) -> i64 {
        let (elapsed_ms, length_ms) = (at_ms - self.from.time_ms, self.length_ms());
        if elapsed_ms == length_ms {
            return self.energy_wh;
        }
        if let Some(product) = self.energy_wh.checked_mul(elapsed_ms) {
            return product / length_ms;
        }
        // At most the segment's own energy, since `elapsed_ms` is at most its length.
        let product = i128::from(self.energy_wh) * i128::from(elapsed_ms);
        i64::try_from(product / i128::from(length_ms)).unwrap_or(i64::MAX)
    }

    fn known_within_ms(&self, start_ms: i64, end_ms: i64) -> i64 {
        let within = start_ms <= self.from.time_ms && self.to.time_ms <= end_ms;
        if !self.is_known() || !(self.has_shape() || within) {
            return 0;
        }
        let (start_ms, end_ms) = self.overlap_ms(start_ms, end_ms);
        end_ms - start_ms
    }
}

impl PeriodEnergy {
    /// Adds what a segment that overlaps the period states about it.
    pub(super) fn add_segment(&mut self, segment: &Segment, start_ms: i64, end_ms: i64) {
        let (from_ms, to_ms) = segment.overlap_ms(start_ms, end_ms);
        self.energy_wh += segment.energy_within_wh(start_ms, end_ms);
        self.known_ms += segment.known_within_ms(start_ms, end_ms);
        self.covered_ms += to_ms - from_ms;
        self.flags.add(segment);
    }
}

impl Flags {
    fn add(&mut self, segment: &Segment) {
        self.spread |= !segment.has_shape();
        match segment.cause {
            Cause::Counted | Cause::Still | Cause::Gap => {}
            Cause::CatchUp => self.caught_up = true,
            Cause::RollOver => self.rolled_over = true,
            Cause::Replaced => self.replaced = true,
            Cause::Reset => self.reset = true,
            Cause::Jump | Cause::Fall | Cause::Misfit => self.quarantined = true,
        }
    }

    /// Joins what is said of several registers or periods.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            spread: self.spread | other.spread,
            caught_up: self.caught_up | other.caught_up,
            reset: self.reset | other.reset,
            rolled_over: self.rolled_over | other.rolled_over,
            replaced: self.replaced | other.replaced,
            quarantined: self.quarantined | other.quarantined,
            glitch: self.glitch | other.glitch,
        }
    }

    /// As bits, the first field lowest.
    #[must_use]
    pub const fn bits(self) -> u8 {
        (self.spread as u8)
            | (self.caught_up as u8) << 1
            | (self.reset as u8) << 2
            | (self.rolled_over as u8) << 3
            | (self.replaced as u8) << 4
            | (self.quarantined as u8) << 5
            | (self.glitch as u8) << 6
    }

    /// From bits; `None` when one is set that has no meaning.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & 0x80 != 0 {
            return None;
        }
        Some(Self {
            spread: bits & 1 != 0,
            caught_up: bits & 1 << 1 != 0,
            reset: bits & 1 << 2 != 0,
            rolled_over: bits & 1 << 3 != 0,
            replaced: bits & 1 << 4 != 0,
            quarantined: bits & 1 << 5 != 0,
            glitch: bits & 1 << 6 != 0,
        })
    }

    /// The words of those that are set, in a fixed order.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        [
            (self.spread, "spread"),
            (self.caught_up, "caught_up"),
            (self.reset, "reset"),
            (self.rolled_over, "rolled_over"),
            (self.replaced, "replaced"),
            (self.quarantined, "quarantined"),
            (self.glitch, "glitch"),
        ]
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
    }
}

impl Ledger {
    /// The segments in time; each begins where the one before it ends.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The ignored readings in time.
    #[must_use]
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// Everything that was counted, in Wh: the lifetime's energy since the first reading.
    #[must_use]
    pub fn total_wh(&self) -> i64 {
        self.segments.iter().map(|segment| segment.energy_wh).sum()
    }

    /// The segments that overlap a period; none overlaps an empty one.
    #[must_use]
    pub fn overlapping(&self, start_ms: i64, end_ms: i64) -> &[Segment] {
        if start_ms >= end_ms {
            return &[];
        }
        let first = self
            .segments
            .partition_point(|segment| segment.to.time_ms <= start_ms);
        let end = self
            .segments
            .partition_point(|segment| segment.from.time_ms < end_ms);
        &self.segments[first..end.max(first)]
    }

    /// The ignored readings of a period.
    #[must_use]
    pub fn ignored_within(&self, start_ms: i64, end_ms: i64) -> &[Ignored] {
        let first = self.ignored.partition_point(|one| one.point.time_ms < start_ms);
        let end = self.ignored.partition_point(|one| one.point.time_ms < end_ms);
        &self.ignored[first..end.max(first)]
    }

    /// What the register states about `start_ms..end_ms`. Adjoining periods add up to the whole, to the Wh.
    #[must_use]
    pub fn period(&self, start_ms: i64, end_ms: i64) -> PeriodEnergy {
        let mut sum = PeriodEnergy::default();
        for segment in self.overlapping(start_ms, end_ms) {
            sum.add_segment(segment, start_ms, end_ms);
        }
        sum.flags.glitch = !self.ignored_within(start_ms, end_ms).is_empty();
        sum
    }

    /// The time in which two ledgers differ, UTC ms: what a late reading reopens. `None` when they state the same.
    #[must_use]
    pub fn reopened_ms(&self, other: &Self) -> Option<(i64, i64)> {
        let (a, b) = (&self.segments, &other.segments);
        let same_begin = a.iter().zip(b).take_while(|(one, two)| one == two).count();
        let (a, b) = (&a[same_begin..], &b[same_begin..]);
        let same_end = a
            .iter()
            .rev()
            .zip(b.iter().rev())
            .take_while(|(one, two)| one == two)
            .count();
        let (a, b) = (&a[..a.len() - same_end], &b[..b.len() - same_end]);
        let begins = [a.first(), b.first()]
            .into_iter()
            .flatten()
            .map(|one| one.from.time_ms);
        let ends = [a.last(), b.last()]
            .into_iter()
            .flatten()
            .map(|one| one.to.time_ms);
        begins.min().zip(ends.max())
    }
}
