//! What was published and is not acknowledged yet.

use heapless::Vec;
use taraz_telemetry::{Boot, Sequence};

use super::Lane;
use crate::queue::Position;

/// One published run of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) boot: Boot,
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) lane: Lane,
    /// How often it was published.
    pub(super) attempts: u32,
    pub(super) sent_ms: u64,
    /// When it is published again.
    pub(super) due_ms: u64,
}

impl Flight {
    pub(super) const fn start(&self) -> Position {
        Position {
            boot: self.boot,
            sequence: self.first,
        }
    }

    pub(super) const fn end(&self) -> Position {
        Position {
            boot: self.boot,
            sequence: self.last,
        }
    }

    fn covers(&self, position: Position) -> bool {
        (self.start()..=self.end()).contains(&position)
    }
}

/// The flights, `N` at most.
#[derive(Clone, Debug)]
pub(super) struct Flights<const N: usize> {
    flights: Vec<Flight, N>,
}

impl<const N: usize> Flights<N> {
    pub(super) const fn new() -> Self {
        Self { flights: Vec::new() }
    }

    /// How many of a lane are under way.
    pub(super) fn count(&self, lane: Lane) -> usize {
        self.flights.iter().filter(|flight| flight.lane == lane).count()
    }

    pub(super) fn covering(&self, position: Position) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.covers(position))
    }

    /// The index of the flight that has waited longest beyond its time.
    pub(super) fn due(&self, now_ms: u64) -> Option<usize> {
        let due = self
            .flights
            .iter()
            .enumerate()
            .filter(|(_, flight)| flight.due_ms <= now_ms);
        due.min_by_key(|(_, flight)| flight.due_ms)
            .map(|(index, _)| index)
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.flights.iter().map(|flight| flight.due_ms).min()
    }

    /// False when there is no room: the lanes' bounds are checked before, so that there is.
    pub(super) fn push(&mut self, flight: Flight) -> bool {
        self.flights.push(flight).is_ok()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Flight> {
        self.flights.get_mut(index)
    }

    pub(super) fn remove(&mut self, index: usize) {
        if index < self.flights.len() {
            self.flights.swap_remove(index);
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flight> {
        self.flights.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }
}
