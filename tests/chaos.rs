//! The fault matrix: every part of an installation is killed, stopped, restarted, cut off, slowed, damaged, repeated, exchanged, left
//! without disk or with a wrong clock, several at a time, and nothing is lost, there twice or altered.
//!
//! In: real processes, a simulator with a journal, a schedule that a seed decides. Out: a line for each round. `cargo xtask chaos`
//! runs it for longer: TARAZ_CHAOS_SECONDS, TARAZ_CHAOS_SEED, TARAZ_CHAOS_ROUND (only this one), TARAZ_CHAOS_DAYS, TARAZ_CHAOS_STOP_MS.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use common::chaos::cells::{Cell, Fault, Target, cells, excluded};
use common::chaos::schedule::{Round, rounds};
use common::chaos::site::run;
use common::chaos::verdict::Verdict;

/// The seed of CI.
const SEED: u64 = 4;
/// How long CI goes on beginning rounds.
const SECONDS: u64 = 100;
/// A device's history in days of 1,440 polls of each of its meters.
const HISTORY_DAYS: u64 = 4;
/// The longest fault, ms.
const STOP_MS: u64 = 5_000;

fn number(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, found {text}"))
    })
}

fn line(round: &Round) -> String {
    let steps: Vec<_> = round
        .steps
        .iter()
        .map(|step| format!("{} at {} ms for {} ms", step.cell, step.at_ms, step.for_ms))
        .collect();
    let way = if round.has_broker { "broker" } else { "door" };
    format!("round {} ({way}): {}", round.number, steps.join(", "))
}

/// What became of a cell in all its rounds.
#[derive(Default)]
struct Tally {
    rounds: u64,
    failed: u64,
    polls: u64,
    written: u64,
    stored: u64,
    held: u64,
    pending: u64,
    dropped: u64,
}

impl Tally {
    fn add(&mut self, verdict: Option<&Verdict>) {
        self.rounds += 1;
        let Some(verdict) = verdict else {
            self.failed += 1;
            return;
        };
        self.polls += verdict.polls as u64;
        self.written += verdict.written;
        self.stored += verdict.stored;
        self.held += verdict.held;
        self.pending += verdict.pending;
        self.dropped += verdict.dropped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds, {} failed; {} polls equal; written {} = stored {} + held {} + pending {} + dropped {}",
            self.rounds,
            self.failed,
            self.polls,
            self.written,
            self.stored,
            self.held,
            self.pending,
            self.dropped
        )
    }
}

#[test]
fn whatever_fails_nothing_is_lost() {
    let seed = number("TARAZ_CHAOS_SEED", SEED);
    let limit = Duration::from_secs(number("TARAZ_CHAOS_SECONDS", SECONDS));
    let only = std::env::var("TARAZ_CHAOS_ROUND")
        .ok()
        .map(|_| number("TARAZ_CHAOS_ROUND", 0));
    let days = u32::try_from(number("TARAZ_CHAOS_DAYS", HISTORY_DAYS)).unwrap();
    for (cell, reason) in excluded() {
        println!("left out: {cell}: {reason}");
    }
    let begun = Instant::now();
    let (mut played, mut failed) = (0, Vec::new());
    let mut tally: BTreeMap<Cell, Tally> = BTreeMap::new();
    for round in rounds(seed, number("TARAZ_CHAOS_STOP_MS", STOP_MS)) {
        if only.is_some_and(|only| only != round.number as u64) {
            if only < Some(round.number as u64) {
                break;
            }
            continue;
        }
        if begun.elapsed() > limit {
            break;
        }
        println!("{}", line(&round));
        let since = Instant::now();
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| run(&round, days)));
        played += 1;
        for step in &round.steps {
            tally.entry(step.cell).or_default().add(result.as_ref().ok());
        }
        match result {
            Ok(verdict) => println!("  {verdict}; {:.1} s", since.elapsed().as_secs_f64()),
            Err(_) => {
                println!(
                    "  FAILED after {:.1} s; again: TARAZ_CHAOS_SEED={seed} TARAZ_CHAOS_ROUND={}",
                    since.elapsed().as_secs_f64(),
                    round.number
                );
                failed.push(round.number);
            }
        }
    }
    for (cell, tally) in &tally {
        println!("{:<22} {tally}; seed {seed}", cell.to_string());
    }
    println!(
        "{played} rounds of seed {seed}, {} of {} cells",
        tally.len(),
        cells().len()
    );
    assert!(played > 0, "no round was played");
    assert!(
        failed.is_empty(),
        "of seed {seed} these rounds failed: {failed:?}"
    );
}

#[test]
fn every_cell_has_its_turn_soon_and_every_seed_its_own_order() {
    let all: BTreeSet<Cell> = cells().into_iter().collect();
    assert_eq!(all.len() + excluded().len(), Target::ALL.len() * Fault::ALL.len());
    for seed in [SEED, 1, 77] {
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
