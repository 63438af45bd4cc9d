//! What devices said about their own records, boiled down to what the ledger needs. The order in which it is learnt, and how often,
//! makes no difference.

use std::collections::BTreeMap;

use taraz_telemetry::{Boot, RangeSet, Record, Sequence};

use super::BootPeriod;

/// The most steps of [`Observed::queues`]; past it the latest is left out, so that rather too much is taken for pending.
const QUEUE_STEPS_MAX: usize = 1_024;

/// Where a record stands in a device's queue: by boot, then by sequence.
pub(super) type Position = (Boot, Sequence);

/// One formatting of a device's queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The place in the store of what was heard of it first; orders the formattings of one device.
    pub(super) first_heard: Option<i64>,
    pub(super) boots: BTreeMap<Boot, ObservedBoot>,
    /// Where the device said that so many records were pending. Only what bounds something: each step says more than the one before,
    /// for what was pending in front of a later place bounds what was in front of an earlier one too.
    pub(super) queues: BTreeMap<Position, u32>,
}

/// One boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObservedBoot {
    /// The highest sequence that another record names.
    pub(super) named_last: Option<Sequence>,
    /// What the device named as lost.
    pub(super) dropped: RangeSet,
    pub(super) period: Option<BootPeriod>,
}

impl Observed {
    /// Takes a stored record in; readings and anchors say nothing about other records. `row` is its place in the store.
    pub(crate) fn learn(&mut self, row: i64, at: (Boot, Sequence), time_ms: Option<i64>, record: &Record) {
        self.first_heard = Some(self.first_heard.map_or(row, |first| first.min(row)));
        let boot = self.boots.entry(at.0).or_default();
        if let Some(time_ms) = time_ms {
            let period = boot.period.get_or_insert(BootPeriod {
                first_ms: time_ms,
                last_ms: time_ms,
            });
            period.first_ms = period.first_ms.min(time_ms);
            period.last_ms = period.last_ms.max(time_ms);
        }
        match record {
            Record::Start(start) => {
                if let Some(recovered) = start.recovered {
                    self.boots
                        .entry(recovered.boot)
                        .or_default()
                        .name(recovered.sequence);
                }
            }
            Record::Dropped(dropped) => {
                for &(boot, first, last) in &dropped.ranges {
                    let boot = self.boots.entry(boot).or_default();
                    boot.name(last);
                    boot.dropped.insert_run(first, last);
                }
            }
            Record::Diagnostics(diagnostics) => self.bound(at, diagnostics.queue_records),
            Record::Reading(_) | Record::Anchor(_) => {}
        }
    }

    fn bound(&mut self, at: Position, queue_records: u32) {
        if self.queues.range(at..).any(|(_, &later)| later <= queue_records) {
            return;
        }
        // Of the steps in front of it, those that said as much or more bound nothing any more; they are the last ones.
        while let Some((&before, &more)) = self.queues.range(..at).next_back() {
            if more < queue_records {
                break;
            }
            self.queues.remove(&before);
        }
        self.queues.insert(at, queue_records);
        if self.queues.len() > QUEUE_STEPS_MAX {
            self.queues.pop_last();
        }
    }
}

impl ObservedBoot {
    fn name(&mut self, sequence: Sequence) {
        self.named_last = self.named_last.max(Some(sequence));
    }
}
