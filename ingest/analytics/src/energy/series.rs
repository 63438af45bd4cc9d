//! The readings of one register, whatever the order they came in.

use std::collections::BTreeMap;

use super::{Ledger, Meter, Point, account};

/// What a reading did to the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is new.
    New,
    /// The same reading was there.
    Repeated,
    /// Another value of the same instant was there; the lower one is kept.
    Conflict,
}

/// A register's readings by time, each instant once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    points: BTreeMap<i64, i64>,
}

impl Series {
    /// Adds a reading. Of two values at one instant the lower is kept, whichever came first: too low a value is seen as a dip, and
    /// energy that may not exist is not counted.
    pub fn insert(&mut self, point: Point) -> Arrival {
        let mut arrival = Arrival::New;
        self.points
            .entry(point.time_ms)
            .and_modify(|value_wh| {
                arrival = if *value_wh == point.value_wh {
                    Arrival::Repeated
                } else {
                    Arrival::Conflict
                };
                *value_wh = point.value_wh.min(*value_wh);
            })
            .or_insert(point.value_wh);
        arrival
    }

    /// The readings in time.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        self.points
            .iter()
            .map(|(&time_ms, &value_wh)| Point { time_ms, value_wh })
            .collect()
    }

    /// Accounts for all of them.
    #[must_use]
    pub fn account(&self, meter: &Meter) -> Ledger {
        account(meter, &self.points())
    }
}

impl Extend<Point> for Series {
    fn extend<I: IntoIterator<Item = Point>>(&mut self, points: I) {
        for point in points {
            self.insert(point);
        }
    }
}

impl FromIterator<Point> for Series {
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        let mut series = Self::default();
        series.extend(points);
        series
    }
}
