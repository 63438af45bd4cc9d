//! The fault matrix: every part of an installation is killed, stopped, restarted, cut off, slowed, damaged, repeated, exchanged, left
//! without disk or with a wrong clock, several at a time, and nothing is lost, there twice or altered.
//!
//! In: real processes, a simulator with a journal, a schedule that a seed decides. Out: a line for each round and each cell. Here it
//! goes on until every cell had its turn; `cargo xtask chaos` runs it for longer: TARAZ_CHAOS_SECONDS, TARAZ_CHAOS_SEED,
//! TARAZ_CHAOS_ROUND (only this one), TARAZ_CHAOS_STOP_MS (the longest fault), TARAZ_CHAOS_DAYS (of each device's history).

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use common::chaos::cells::{Cell, Fault, Target, cells, excluded};
use common::chaos::schedule::{Round, rounds};
use common::chaos::site::run;
use common::chaos::verdict::{Tally, Verdict};

/// The seed of CI.
const SEED: u64 = 77;
/// A device's history in days of 1,440 polls of each of its meters.
const HISTORY_DAYS: u64 = 4;
/// The longest fault, ms.
const STOP_MS: u64 = 5_000;

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, found {text}")))
}

/// What was played.
#[derive(Default)]
struct Record {
    rounds: usize,
    failed: Vec<usize>,
    cells: BTreeMap<Cell, Tally>,
}

impl Record {
    fn play(&mut self, round: &Round, days: u32) {
        println!("{round}");
        let begun = Instant::now();
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| run(round, days)));
        let (took_s, verdict) = (begun.elapsed().as_secs_f64(), result.ok());
        self.rounds += 1;
        for step in &round.steps {
            self.cells.entry(step.cell).or_default().add(verdict.as_ref());
        }
        if verdict.is_none() {
            self.failed.push(round.number);
        }
        let said = verdict.as_ref().map_or("FAILED".to_owned(), Verdict::to_string);
        println!("  {said}; {took_s:.1} s");
    }
}

#[test]
fn whatever_fails_nothing_is_lost() {
    let seed = asked("TARAZ_CHAOS_SEED").unwrap_or(SEED);
    let (only, limit) = (asked("TARAZ_CHAOS_ROUND"), asked("TARAZ_CHAOS_SECONDS"));
    let days = u32::try_from(asked("TARAZ_CHAOS_DAYS").unwrap_or(HISTORY_DAYS)).unwrap();
    for (cell, reason) in excluded() {
        println!("left out: {cell}: {reason}");
    }
    let begun = Instant::now();
    let mut record = Record::default();
    for round in rounds(seed, asked("TARAZ_CHAOS_STOP_MS").unwrap_or(STOP_MS)) {
        let is_over = match (only, limit) {
            (Some(only), _) => round.number as u64 > only,
            (None, Some(seconds)) => begun.elapsed() > Duration::from_secs(seconds),
            (None, None) => record.cells.len() == cells().len(),
        };
        if is_over {
            break;
        }
        if only.is_none_or(|only| only == round.number as u64) {
            record.play(&round, days);
        }
    }
    for (cell, tally) in &record.cells {
        println!("{:<22} {tally}; seed {seed}", cell.to_string());
    }
    println!(
        "{} rounds of seed {seed}, {} of {} cells, in {:.0} s",
        record.rounds,
        record.cells.len(),
        cells().len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(record.rounds > 0, "no round was played");
    assert!(
        record.failed.is_empty(),
        "rounds {:?} failed; one of them again: cargo xtask chaos --seed {seed} --round N",
        record.failed
    );
}

#[test]
fn every_cell_has_its_turn_soon_and_every_seed_its_own_order() {
    let all: BTreeSet<Cell> = cells().into_iter().collect();
    assert_eq!(all.len() + excluded().len(), Target::ALL.len() * Fault::ALL.len());
    for seed in [SEED, 1, 4] {
        let first: Vec<Round> = rounds(seed, STOP_MS).take(14).collect();
        let seen: BTreeSet<Cell> = first
            .iter()
            .flat_map(|round| &round.steps)
            .map(|step| step.cell)
            .collect();
        assert_eq!(seen, all, "of seed {seed}");
        assert_eq!(first, rounds(seed, STOP_MS).take(14).collect::<Vec<_>>());
        for round in &first {
            let targets: BTreeSet<_> = round.steps.iter().map(|step| step.cell.target).collect();
            assert_eq!(
                targets.len(),
                round.steps.len(),
                "two faults of one part: {round:?}"
            );
        }
    }
    assert_ne!(rounds(1, STOP_MS).next(), rounds(2, STOP_MS).next());
}
