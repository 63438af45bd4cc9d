//! Input after input until the time is over or one is a finding.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use taraz_load::Usage;

use crate::guard::Guard;
use crate::mutate::mutate;
use crate::shrink::shrink;
use crate::targets::Spec;

/// One input in so many stays as the generator made it.
const UNTOUCHED_ONE_IN: u32 = 8;
/// The most mutations of one input.
const MUTATIONS_MAX: u32 = 8;

/// Something that takes bytes from outside.
pub trait Target {
    /// A valid input.
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8>;

    /// Damages an input once.
    fn damage(&mut self, input: &mut Vec<u8>, random: &mut StdRng) {
        mutate(input, random);
    }

    /// Gives the input to the code under test and says in a word or two what came of it.
    ///
    /// # Errors
    /// A promise that was broken.
    fn execute(&mut self, input: &[u8]) -> Result<String, String>;
}

/// How long, from what seed, and where findings go.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Decides every input.
    pub seed: u64,
    /// How long inputs are made.
    pub time: Duration,
    /// The folder for a failing input.
    pub out: PathBuf,
}

/// An input that the target did not stand.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The how-manieth input of the seed; 0 of the corpus.
    pub number: u64,
    /// What was wrong.
    pub what: String,
    /// Where the input was written, as short as it could be made.
    pub file: PathBuf,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The target.
    pub target: &'static str,
    /// Inputs, those of the corpus included.
    pub executions: u64,
    /// How long it took, the target's own preparation left out.
    pub took: Duration,
    /// What came of the inputs, and how often.
    pub outcomes: BTreeMap<String, u64>,
    /// The most memory that the process had so far, in MiB.
    pub peak_mib: u64,
    /// The first finding; it ends a run.
    pub finding: Option<Finding>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let rate = self.executions as f64 / seconds.max(1e-9);
        write!(
            f,
            "{:<9} {:>9} executions, {rate:>9.0}/s, {:>3} distinct outcomes, at most {} MiB",
            self.target,
            self.executions,
            self.outcomes.len(),
            self.peak_mib
        )
    }
}

/// Fuzzes one target: first the corpus, then until the time is over or something was found.
///
/// # Errors
/// The target can't be prepared, or a finding can't be written.
pub fn fuzz(spec: &Spec, budget: &Budget) -> Result<Report> {
    let folder = scratch()?;
    let mut target = (spec.make)(folder.path()).with_context(|| format!("preparing {}", spec.name))?;
    let guard = Guard::watch(spec.name, &budget.out)?;
    let begun = Instant::now();
    let mut report = Report {
        target: spec.name,
        executions: 0,
        took: Duration::ZERO,
        outcomes: BTreeMap::new(),
        peak_mib: 0,
        finding: None,
    };
    let mut kept = corpus(spec.name)?.into_iter();
    let mut number = 0;
    while report.finding.is_none() {
        let input = match kept.next() {
            Some(kept) => kept,
            None if begun.elapsed() >= budget.time => break,
            None => {
                number += 1;
                input(target.as_mut(), spec.name, budget.seed, number)
            }
        };
        report.executions += 1;
        match guard.run(target.as_mut(), &input) {
            Ok(outcome) => *report.outcomes.entry(outcome).or_default() += 1,
            Err(what) => report.finding = Some(found(spec, &guard, number, &input, what)?),
        }
    }
    report.took = begun.elapsed();
    report.peak_mib = Usage::of(std::process::id())?.rss_peak_kib >> 10;
    Ok(report)
}

/// Gives one input to a target. `Some` says what is wrong.
///
/// # Errors
/// The target can't be prepared.
pub fn replay(spec: &Spec, input: &[u8]) -> Result<Option<String>> {
    let folder = scratch()?;
    let mut target = (spec.make)(folder.path())?;
    let guard = Guard::watch(spec.name, folder.path())?;
    Ok(guard.run(target.as_mut(), input).err())
}

/// The n-th input of a seed.
fn input(target: &mut dyn Target, name: &str, seed: u64, number: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed ^ hash(name) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut input = target.generate(&mut random);
    if !random.random_ratio(1, UNTOUCHED_ONE_IN) {
        for _ in 0..random.random_range(1..=MUTATIONS_MAX) {
            target.damage(&mut input, &mut random);
        }
    }
    input
}

/// A finding, made as short as it can be, each time by a target that has seen nothing else.
fn found(spec: &Spec, guard: &Guard, number: u64, input: &[u8], what: String) -> Result<Finding> {
    let alone = |input: &[u8]| -> Option<String> {
        let folder = scratch().ok()?;
        let mut target = (spec.make)(folder.path()).ok()?;
        guard.run(target.as_mut(), input).err()
    };
    let (short, what) = if alone(input).is_some() {
        let short = shrink(input, |shorter| alone(shorter).is_some());
        let again = alone(&short).unwrap_or(what);
        (short, again)
    } else {
        let what = format!("{what} (not by this input alone: run the same seed again)");
        (input.to_vec(), what)
    };
    let file = guard.write(&short)?;
    Ok(Finding { number, what, file })
}

/// In memory where there is such a place: what is tried is what is written, not that the disk keeps it.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let mut folder = tempfile::Builder::new();
    folder.prefix("taraz-fuzz-");
    let made = if memory.is_dir() {
        folder.tempdir_in(memory)
    } else {
        folder.tempdir()
    };
    made.context("a folder for what is tried")
}

/// The inputs that were found before, in the order of their names.
fn corpus(target: &str) -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).with_context(|| file.display().to_string()))
        .collect()
}

/// FNV-1a, 64 bits: each target has inputs of its own.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
