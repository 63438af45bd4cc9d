//! Observations → ledger: a pure function.
//!
//! A boot has written every sequence from 0 to the highest that is known: received, named by a later `Start`, or named as dropped.
//! What is not here and not named as dropped is *pending* as long as the device's own counts allow it, else *unknown*:
//!
//! 1. Each `Diagnostics` says how many records were pending on the device when it was written. Of what is missing in front of it no
//!    more than that can still be pending; the rest is unknown. The counts say how many, not which: the oldest are named first.
//! 2. Once a later formatting of the device's queue is heard of, nothing of the earlier ones is on the device any more.
//! 3. Behind the last `Diagnostics` everything that is missing is pending.

use std::collections::{BTreeMap, VecDeque};

use taraz_telemetry::{Boot, Incarnation, RangeSet, Sequence};

use super::observed::{Observed, ObservedBoot, Position};
use super::view::{BootGaps, Fate, Gap, GapCounts};

/// What is stored of one incarnation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Here {
    /// What was received, by boot.
    pub(crate) received: BTreeMap<Boot, RangeSet>,
    /// How many of them are held back, by boot.
    pub(crate) held: BTreeMap<Boot, u64>,
}

/// A run of sequences of one boot.
#[derive(Clone, Copy, Debug)]
struct Run {
    boot: Boot,
    first: Sequence,
    last: Sequence,
}

impl Run {
    const fn len(&self) -> u64 {
        self.last as u64 - self.first as u64 + 1
    }

    const fn gap(&self, fate: Fate) -> Gap {
        Gap {
            first: self.first,
            last: self.last,
            fate,
            span: None,
        }
    }
}

/// The ledger of one incarnation, boot by boot. `is_superseded`: a later one of the same device is known.
pub(crate) fn account(
    incarnation: Incarnation,
    observed: &Observed,
    here: &Here,
    is_superseded: bool,
) -> Vec<BootGaps> {
    let mut boots: BTreeMap<Boot, BootGaps> = BTreeMap::new();
    let mut missing = Vec::new();
    let (nothing_said, nothing_here) = (ObservedBoot::default(), RangeSet::new());
    let known = observed.boots.keys().chain(here.received.keys());
    let newest = known.clone().max().copied();
    for &boot in known {
        if boots.contains_key(&boot) {
            continue;
        }
        let said = observed.boots.get(&boot).unwrap_or(&nothing_said);
        let received = here.received.get(&boot).unwrap_or(&nothing_here);
        let held = here.held.get(&boot).copied().unwrap_or(0);
        let mut one = BootGaps {
            incarnation,
            boot,
            counts: GapCounts::default(),
            ended: is_superseded || Some(boot) != newest,
            period: said.period,
            gaps: Vec::new(),
        };
        if let Some(last) = received.last().max(said.named_last) {
            one.counts.written = u64::from(last) + 1;
            one.counts.stored = received.len().saturating_sub(held);
            one.counts.held = received.len() - one.counts.stored;
            let (gone, open) = split(received, &said.dropped, last);
            one.gaps.extend(gone);
            missing.extend(open.map(|(first, last)| Run { boot, first, last }));
        }
        boots.insert(boot, one);
    }
    missing.sort_by_key(|run| (run.boot, run.first));
    for (run, fate) in judge(missing, &observed.queues, is_superseded) {
        if let Some(one) = boots.get_mut(&run.boot) {
            one.gaps.push(run.gap(fate));
        }
    }
    boots.into_values().map(finished).collect()
}

/// What is missing up to `last`: what was named as dropped, and the rest.
fn split(
    received: &RangeSet,
    dropped: &RangeSet,
    last: Sequence,
) -> (Vec<Gap>, std::vec::IntoIter<(Sequence, Sequence)>) {
    let mut accounted = received.clone();
    for (first, last) in dropped.runs() {
        accounted.insert_run(first, last);
    }
    let open: Vec<_> = accounted.gaps_to(last).collect();
    let mut not_dropped = received.clone();
    for &(first, last) in &open {
        not_dropped.insert_run(first, last);
    }
    let gone = not_dropped.gaps_to(last).map(|(first, last)| Gap {
        first,
        last,
        fate: Fate::Dropped,
        span: None,
    });
    (gone.collect(), open.into_iter())
}

/// Which of the missing runs (in order) are still pending, and which can't be.
fn judge(missing: Vec<Run>, queues: &BTreeMap<Position, u32>, is_superseded: bool) -> Vec<(Run, Fate)> {
    if is_superseded {
        return missing.into_iter().map(|run| (run, Fate::Unknown)).collect();
    }
    let mut judged = Vec::new();
    let mut pending: VecDeque<Run> = VecDeque::new();
    let mut pending_records = 0;
    let mut ahead: VecDeque<Run> = missing.into();
    for (&at, &queue_records) in queues {
        while let Some(run) = take_before(&mut ahead, at) {
            pending_records += run.len();
            pending.push_back(run);
        }
        let mut surplus = pending_records.saturating_sub(u64::from(queue_records));
        pending_records -= surplus;
        while surplus > 0 {
            let Some(oldest) = pending.pop_front() else { break };
            let (gone, left) = cut(oldest, surplus);
            surplus -= gone.len();
            judged.push((gone, Fate::Unknown));
            if let Some(left) = left {
                pending.push_front(left);
            }
        }
    }
    judged.extend(pending.into_iter().chain(ahead).map(|run| (run, Fate::Pending)));
    judged
}

/// Takes the first run, or its part, that stands in front of a place.
fn take_before(runs: &mut VecDeque<Run>, (boot, sequence): Position) -> Option<Run> {
    let run = *runs.front()?;
    if (run.boot, run.first) >= (boot, sequence) {
        return None;
    }
    runs.pop_front();
    if run.boot < boot || run.last < sequence {
        return Some(run);
    }
    runs.push_front(Run {
        first: sequence,
        ..run
    });
    Some(Run {
        last: sequence - 1,
        ..run
    })
}

/// The first `records` of a run, and what is left of it.
fn cut(run: Run, records: u64) -> (Run, Option<Run>) {
    match u32::try_from(records) {
        Ok(records) if u64::from(records) < run.len() => {
            let first = run.first + records;
            let gone = Run {
                last: first - 1,
                ..run
            };
            (gone, Some(Run { first, ..run }))
        }
        _ => (run, None),
    }
}

/// Counts what the gaps hold and puts them in order.
fn finished(mut boot: BootGaps) -> BootGaps {
    boot.gaps.sort_by_key(|gap| gap.first);
    for gap in &boot.gaps {
        let records = gap.records();
        match gap.fate {
            Fate::Pending => boot.counts.pending += records,
            Fate::Dropped => boot.counts.dropped += records,
            Fate::Unknown => boot.counts.unknown += records,
        }
    }
    boot
}
