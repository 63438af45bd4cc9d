//! Which cells meet in which round: decided by a seed alone.
//!
//! A round breaks up to one thing in every part, at times of its own, so that faults overlap. Rounds are chosen so that first every
//! cell, then every pair of cells of two parts has had its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::cells::{Cell, Target, cells};

/// How many draws the best of which makes a round.
const DRAWS: usize = 60;
/// The latest begin of a fault within a round, ms.
const BEGIN_MS_MAX: u64 = 6_000;

/// One fault of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) cell: Cell,
    /// After the round's first records were stored, ms.
    pub(crate) at_ms: u64,
    /// How long it lasts, ms.
    pub(crate) for_ms: u64,
}

/// Faults that meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) number: usize,
    /// Through Mosquitto; else through the gateway's own door.
    pub(crate) has_broker: bool,
    /// The last device has a queue too small for its history.
    pub(crate) has_small_queue: bool,
    pub(crate) steps: Vec<Step>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.has_broker { "broker" } else { "door" };
        let queue = if self.has_small_queue {
            ", a small queue"
        } else {
            ""
        };
        write!(f, "round {} ({way}{queue}):", self.number)?;
        for Step { cell, at_ms, for_ms } in &self.steps {
            write!(f, " {cell} at {at_ms} ms for {for_ms} ms;")?;
        }
        Ok(())
    }
}

/// The rounds of a seed, without an end. Faults last up to `stop_ms`.
pub(crate) fn rounds(seed: u64, stop_ms: u64) -> impl Iterator<Item = Round> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen_cells = BTreeSet::new();
    let mut seen_pairs = BTreeSet::new();
    (0..).map(move |number| {
        // The broker takes part in every second round.
        let has_broker = number % 2 == 1;
        let draws = (0..DRAWS).map(|_| draw(&mut random, has_broker));
        let drawn: Vec<Vec<Cell>> = draws.collect();
        let news = |cells: &&Vec<Cell>| {
            let new_cells = cells.iter().filter(|cell| !seen_cells.contains(*cell)).count();
            let new_pairs = pairs(cells).filter(|pair| !seen_pairs.contains(pair)).count();
            (new_cells, new_pairs)
        };
        let cells = drawn.iter().max_by_key(news).cloned().unwrap_or_default();
        seen_pairs.extend(pairs(&cells));
        seen_cells.extend(cells.iter().copied());
        let steps = cells
            .into_iter()
            .map(|cell| Step {
                cell,
                at_ms: random.random_range(0..BEGIN_MS_MAX),
                for_ms: random.random_range(stop_ms / 2..=stop_ms),
            })
            .collect();
        Round {
            number,
            has_broker,
            has_small_queue: number % 3 == 2,
            steps,
        }
    })
}

/// One cell of every part that takes part.
fn draw(random: &mut StdRng, has_broker: bool) -> Vec<Cell> {
    let mut by_target: BTreeMap<Target, Vec<Cell>> = BTreeMap::new();
    for cell in cells() {
        by_target.entry(cell.target).or_default().push(cell);
    }
    let takes_part = |target: &Target| has_broker || *target != Target::Broker;
    let mut drawn: Vec<_> = by_target
        .into_iter()
        .filter(|(target, _)| takes_part(target))
        .map(|(_, cells)| cells[random.random_range(0..cells.len())])
        .collect();
    drawn.shuffle(random);
    drawn
}

fn pairs(cells: &[Cell]) -> impl Iterator<Item = (Cell, Cell)> + '_ {
    cells
        .iter()
        .enumerate()
        .flat_map(|(at, &a)| cells[at + 1..].iter().map(move |&b| (a.min(b), a.max(b))))
}
