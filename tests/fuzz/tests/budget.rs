//! Every target for a few seconds, its corpus first; and the harness itself: what it finds, and that a seed finds it again.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_fuzz::{Budget, Spec, TARGETS, Target, fuzz, replay};

/// For each target; `cargo xtask fuzz` takes as long as one likes.
const EACH: Duration = Duration::from_secs(3);
const SEED: u64 = 1_404;

fn budget(out: &Path, seed: u64, time: Duration) -> Budget {
    Budget {
        seed,
        time,
        out: out.to_owned(),
    }
}

/// One after the other: a panic anywhere in the process is a finding.
#[test]
fn no_target_falls_and_the_harness_finds_what_would() {
    let out = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for spec in TARGETS {
        let report = fuzz(spec, &budget(out.path(), SEED, EACH)).unwrap();
        println!("{report}");
        assert!(
            report.outcomes.len() > 1,
            "{}: all inputs come to the same",
            spec.name
        );
        found.extend(report.finding.map(|finding| (spec.name, finding.what)));
    }
    assert!(
        found.is_empty(),
        "{found:#?}\nagain: cargo xtask fuzz --seed {SEED} --target NAME"
    );
    findings_are_short_and_come_again();
    a_panic_in_any_thread_is_a_finding();
}

/// Falls over two 0x42 with anything between.
struct Sample;

impl Target for Sample {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        (0..100).map(|_| random.random()).collect()
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        match input.iter().filter(|&&byte| byte == 0x42).count() {
            0 => Ok("none".to_owned()),
            1 => Ok("one".to_owned()),
            _ => Err("two".to_owned()),
        }
    }
}

/// Panics in a thread of its own, which nobody joins to see.
struct Elsewhere;

impl Target for Elsewhere {
    fn generate(&mut self, _: &mut StdRng) -> Vec<u8> {
        vec![1]
    }

    fn execute(&mut self, _: &[u8]) -> Result<String, String> {
        let thread = std::thread::spawn(|| panic!("in a thread"));
        let _ = thread.join();
        Ok("as if nothing had been".to_owned())
    }
}

const SAMPLE: Spec = Spec {
    name: "sample",
    what: "",
    make: |_| Ok(Box::new(Sample)),
};
const ELSEWHERE: Spec = Spec {
    name: "elsewhere",
    what: "",
    make: |_| Ok(Box::new(Elsewhere)),
};

fn findings_are_short_and_come_again() {
    let out = tempfile::tempdir().unwrap();
    let run = |seed| {
        let report = fuzz(&SAMPLE, &budget(out.path(), seed, Duration::from_secs(60))).unwrap();
        report.finding.expect("two of 256 values in a hundred bytes")
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!((first.number, &first.file), (again.number, &again.file));
    assert_ne!(first.number, other.number);
    assert_eq!(std::fs::read(&first.file).unwrap(), [0x42, 0x42]);
    assert_eq!(replay(&SAMPLE, &[0x42, 0x42]).unwrap().as_deref(), Some("two"));
    assert_eq!(replay(&SAMPLE, &[0x42]).unwrap(), None);
}

fn a_panic_in_any_thread_is_a_finding() {
    let said = replay(&ELSEWHERE, &[1]).unwrap();
    assert!(
        said.as_ref().is_some_and(|said| said.contains("in a thread")),
        "{said:?}"
    );
}
