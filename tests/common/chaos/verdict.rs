//! What a round came to: the journal, the store, the devices' queues and the gap ledger say the same.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

use crate::common::installation::{Installation, TARAZ};
use crate::common::ledger::{Ledger, QueueLeft};
use crate::common::oracle::{self, Polls};

use super::cells::Target;
use super::schedule::{Round, Step};
use super::site::{DEVICES, HISTORY_STEP_S, SMALL};

const HISTORY_STEP_MS: i64 = HISTORY_STEP_S * 1_000;

/// The most records that are no readings of the history and that a small queue may overwrite: a start, a few polls of the present.
const OTHERS_DROPPED_MAX: u64 = 60;

/// The counts of a round.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Polls of the histories that were served and are stored, each once and digit for digit.
    pub(crate) polls: usize,
    pub(crate) values: usize,
    pub(crate) written: u64,
    pub(crate) stored: u64,
    pub(crate) held: u64,
    pub(crate) pending: u64,
    pub(crate) dropped: u64,
    /// Packets that the road damaged, repeated or exchanged.
    pub(crate) disturbed: u64,
    /// Programs that ended by themselves on a full or read-only disk.
    pub(crate) ended_by_themselves: u32,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} polls with {} values equal; written {} = stored {} + held {} + pending {} + dropped {}",
            self.polls, self.values, self.written, self.stored, self.held, self.pending, self.dropped
        )?;
        if self.disturbed > 0 {
            write!(f, "; {} packets disturbed", self.disturbed)?;
        }
        if self.ended_by_themselves > 0 {
            write!(
                f,
                "; {} times a program ended by itself",
                self.ended_by_themselves
            )?;
        }
        Ok(())
    }
}

/// What became of a cell in all its rounds.
#[derive(Default)]
pub(crate) struct Tally {
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
    /// One more round; `None` when it failed.
    pub(crate) fn add(&mut self, verdict: Option<&Verdict>) {
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

/// Judges an installation that has ended.
///
/// # Panics
/// At the first difference, saying where.
pub(crate) fn judge(
    installation: &Installation,
    round: &Round,
    disturbed: u64,
    ended_by_themselves: u32,
) -> Verdict {
    let mut journal = oracle::journal(&installation.journal());
    let mut stored = oracle::store(&installation.store());
    assert_eq!(
        (stored.repeated, stored.conflicts),
        (0, 0),
        "polls there twice, and conflicts"
    );
    let is_set_back = |step: &Step| step.cell.target == Target::Device && step.cell.fault.needs_clock();
    assert!(
        stored.unstamped == 0 || round.steps.iter().any(is_set_back),
        "{} readings have no time of their own, and no device's clock was set",
        stored.unstamped
    );
    only_of_history(&journal, &mut stored.polls);
    let lost = if round.has_small_queue {
        take_lost(&mut journal, &stored.polls)
    } else {
        0
    };
    assert!(stored.sealed > 0, "nothing was sealed");
    let (polls, values) = oracle::assert_equal_history(&journal, &stored.polls);
    assert!(polls > 1_000, "only {polls} polls: the history is missing");
    let mut verdict = Verdict {
        polls,
        values,
        disturbed,
        ended_by_themselves,
        ..Verdict::default()
    };
    for device in DEVICES {
        let ledger = Ledger::ask(installation, device);
        let left = QueueLeft::read(&installation.folder().join(format!("device-{device}")));
        left.assert_is(&ledger);
        assert_eq!(
            ledger.unknown,
            0,
            "{device}: nobody knows what became of {:?}",
            ledger.identities("unknown")
        );
        verdict.written += ledger.written;
        verdict.stored += ledger.stored;
        verdict.held += ledger.held;
        verdict.pending += ledger.pending;
        verdict.dropped += ledger.dropped;
    }
    let reasons = held_reasons(installation);
    let has_step = round.steps.iter().any(|step| step.cell.fault.needs_clock());
    let allowed: BTreeSet<_> = has_step
        .then_some("implausible_time".to_owned())
        .into_iter()
        .collect();
    assert!(
        reasons.is_subset(&allowed),
        "held for {reasons:?}, expected at most {allowed:?}"
    );
    // Beside readings of the history a few other records may have been overwritten.
    let dropped = lost..=lost
        + if round.has_small_queue {
            OTHERS_DROPPED_MAX
        } else {
            0
        };
    assert!(
        dropped.contains(&verdict.dropped),
        "{} records are named as dropped, {lost} polls of the journal are not stored",
        verdict.dropped
    );
    verdict
}

/// Takes out of the journal what a small queue did not keep, and says how many polls that were.
fn take_lost(journal: &mut oracle::Journal, stored: &Polls) -> u64 {
    let mut lost = 0;
    let meters: Vec<_> = journal
        .polls
        .keys()
        .filter(|meter| meter.0 == SMALL)
        .cloned()
        .collect();
    for meter in meters {
        let until_ms = journal.history_until_ms(&meter);
        let kept = stored.get(&meter);
        let is_kept = |at_ms: &i64| kept.is_some_and(|kept| kept.contains_key(at_ms));
        journal.polls.entry(meter).or_default().retain(|at_ms, _| {
            let is_lost = *at_ms < until_ms && !is_kept(at_ms);
            lost += u64::from(is_lost);
            !is_lost
        });
    }
    lost
}

/// A device polls the present too, and while its clock is a day behind it stamps that as the past, as any computer would. The history's
/// rounds stand at whole steps.
fn only_of_history(journal: &oracle::Journal, polls: &mut Polls) {
    for (meter, polls) in polls {
        let until_ms = journal.history_until_ms(meter);
        polls.retain(|at_ms, _| *at_ms < until_ms && at_ms % HISTORY_STEP_MS == 0);
    }
}

/// Why anything is held, as the command line tells it; what the gateway has in its own quarantine was rejected.
fn held_reasons(installation: &Installation) -> BTreeSet<String> {
    let said = Command::new(TARAZ)
        .args(["quarantine", "list", "--config", "taraz.toml"])
        .current_dir(installation.folder())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(text.contains(": 0 items that ingest rejected"), "{text}");
    // h1..h9  sari-01  meter 1  implausible_time  9 records  …
    let held = text.lines().filter(|line| line.trim_start().starts_with('h'));
    held.filter_map(|line| {
        Some(
            line.split("  ")
                .filter(|word| !word.is_empty())
                .nth(3)?
                .to_owned(),
        )
    })
    .collect()
}
