//! How a number came about: lines whose energies add up to it, for people.

use core::fmt;

use jiff::Timestamp;

use super::ledger::{Cause, Ignored, Ledger, Segment, Why};

/// One step of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Segments with nothing to say about them, in a row: from the first one's begin to the last one's end.
    Plain {
        /// All of them as one.
        whole: Segment,
        /// How many.
        spans: usize,
        /// Their energy within the period in Wh.
        energy_wh: i64,
    },
    /// A segment that needs a word.
    Noted {
        /// The segment.
        segment: Segment,
        /// Its energy within the period in Wh.
        energy_wh: i64,
    },
    /// A reading that was left out.
    Ignored(Ignored),
}

/// How a period's energy came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The steps in time; their energies add up to the period's.
    pub lines: Vec<Line>,
    /// The period's energy in Wh.
    pub energy_wh: i64,
}

impl Line {
    /// What it adds to the period in Wh.
    #[must_use]
    pub const fn energy_wh(&self) -> i64 {
        match self {
            Self::Plain { energy_wh, .. } | Self::Noted { energy_wh, .. } => *energy_wh,
            Self::Ignored(_) => 0,
        }
    }

    /// Its begin, UTC ms.
    #[must_use]
    pub const fn time_ms(&self) -> i64 {
        match self {
            Self::Plain { whole, .. } => whole.from.time_ms,
            Self::Noted { segment, .. } => segment.from.time_ms,
            Self::Ignored(ignored) => ignored.point.time_ms,
        }
    }
}

impl Ledger {
    /// How the energy of `start_ms..end_ms` came about.
    #[must_use]
    pub fn explain(&self, start_ms: i64, end_ms: i64) -> Explanation {
        let mut lines: Vec<Line> = Vec::new();
        for segment in self.overlapping(start_ms, end_ms) {
            let part_wh = segment.energy_within_wh(start_ms, end_ms);
            if !matches!(segment.cause, Cause::Counted | Cause::Still) {
                lines.push(Line::Noted {
                    segment: *segment,
                    energy_wh: part_wh,
                });
                continue;
            }
            if let Some(Line::Plain {
                whole,
                spans,
                energy_wh,
            }) = lines.last_mut()
            {
                whole.to = segment.to;
                whole.energy_wh += segment.energy_wh;
                *spans += 1;
                *energy_wh += part_wh;
            } else {
                lines.push(Line::Plain {
                    whole: *segment,
                    spans: 1,
                    energy_wh: part_wh,
                });
            }
        }
        lines.extend(
            self.ignored_within(start_ms, end_ms)
                .iter()
                .copied()
                .map(Line::Ignored),
        );
        lines.sort_by_key(Line::time_ms);
        Explanation {
            energy_wh: lines.iter().map(Line::energy_wh).sum(),
            lines,
        }
    }
}

/// A UTC instant as text.
struct At(i64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (segment, energy_wh) = match self {
            Self::Plain {
                whole,
                spans,
                energy_wh,
            } => {
                write_span(f, whole, *energy_wh)?;
                return write!(f, " counted in {spans} spans");
            }
            Self::Ignored(Ignored { point, why }) => {
                let reason = match why {
                    Why::Dip => "lower than before, and the readings after it are not",
                    Why::Spike => "higher than the readings after it",
                };
                return write!(
                    f,
                    "{} reading of {} Wh ignored: {reason}",
                    At(point.time_ms),
                    point.value_wh
                );
            }
            Self::Noted { segment, energy_wh } => (segment, *energy_wh),
        };
        write_span(f, segment, energy_wh)?;
        match segment.cause {
            Cause::Counted | Cause::Still => write!(f, " counted"),
            Cause::Gap => write!(
                f,
                " counted over a silence: the total is known, its shape is not; spread evenly"
            ),
            Cause::CatchUp => write!(
                f,
                " counted while the register stood still, then caught up: the total is known, its shape is not; spread evenly"
            ),
            Cause::RollOver => write!(f, " counted; the register passed its end and began again at 0"),
            Cause::Replaced => write!(f, " counted up to or from a recorded replacement"),
            Cause::Reset => write!(
                f,
                " counted at least: the register began again at 0, what it held before was not read"
            ),
            Cause::Jump => write!(
                f,
                " counted: unknown; the register rose by {} Wh, more than the meter's rated power explains. If the meter was replaced, \
                 record it with both registers",
                segment.to.value_wh - segment.from.value_wh
            ),
            Cause::Fall => write!(
                f,
                " counted: unknown; the register fell by {} Wh to a value that a reset does not explain. If the meter was replaced, \
                 record it with both registers",
                segment.from.value_wh - segment.to.value_wh
            ),
            Cause::Misfit => write!(
                f,
                " counted: unknown; the recorded replacement contradicts the readings beside it. Correct its time or its registers"
            ),
        }
    }
}

fn write_span(f: &mut fmt::Formatter<'_>, segment: &Segment, energy_wh: i64) -> fmt::Result {
    write!(
        f,
        "{} to {}, register {} to {} Wh: {energy_wh} Wh",
        At(segment.from.time_ms),
        At(segment.to.time_ms),
        segment.from.value_wh,
        segment.to.value_wh
    )?;
    if energy_wh != segment.energy_wh {
        write!(f, " (of {} Wh, the share within the period)", segment.energy_wh)?;
    }
    Ok(())
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "together {} Wh", self.energy_wh)
    }
}
