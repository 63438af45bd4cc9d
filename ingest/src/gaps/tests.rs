//! The ledger against a model of a device that knows of every record what really became of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use taraz_telemetry::{
    Boot, Clock, DROPPED_RANGES_MAX, Diagnostics, Dropped, FirmwareVersion, Incarnation, RangeSet, Record,
    Recovered, ResetCause, Sequence, Stamp, Start,
};

use super::ledger::{Here, account};
use super::*;

type Place = (Incarnation, Boot, Sequence);

const STAMP: Stamp = Stamp {
    ms: 1_000,
    clock: Clock::Unsynced,
};

/// One thing that happens to a device; the numbers choose among what there is.
#[derive(Clone, Debug)]
enum Op {
    Read,
    Diagnose,
    /// A pending record is stored and acknowledged.
    Deliver(usize),
    /// A pending record is stored, and the acknowledgement is lost.
    DeliverUnacknowledged(usize),
    /// The ring overwrites its oldest records, named first.
    Overwrite(usize),
    /// A pending record is gone and nobody says so.
    Vanish(usize),
    Reboot,
    /// The queue is formatted.
    Wipe,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Read),
        3 => Just(Op::Diagnose),
        6 => any::<usize>().prop_map(Op::Deliver),
        1 => any::<usize>().prop_map(Op::DeliverUnacknowledged),
        1 => (1..6_usize).prop_map(Op::Overwrite),
        1 => any::<usize>().prop_map(Op::Vanish),
        1 => Just(Op::Reboot),
    ]
}

/// What really is.
#[derive(Default)]
struct Device {
    incarnation: Incarnation,
    boot: Boot,
    next: Sequence,
    /// Every record ever written; readings as `None`.
    written: BTreeMap<Place, Option<Record>>,
    pending: BTreeSet<Place>,
    /// In the order of their arrival.
    arrived: Vec<Place>,
}

impl Device {
    fn new() -> Self {
        let mut device = Self::default();
        device.start(None);
        device
    }

    fn write(&mut self, record: Option<Record>) {
        let place = (self.incarnation, self.boot, self.next);
        self.next += 1;
        self.written.insert(place, record);
        self.pending.insert(place);
    }

    fn start(&mut self, recovered: Option<Recovered>) {
        self.boot += 1;
        self.next = 0;
        self.write(Some(Record::Start(Start {
            stamp: STAMP,
            reset_cause: ResetCause::PowerOn,
            recovered,
            firmware: FirmwareVersion::try_from("0.1.0").unwrap(),
        })));
    }

    fn diagnose(&mut self) {
        let queue_records = u32::try_from(self.pending.len()).unwrap();
        self.write(Some(Record::Diagnostics(Diagnostics {
            stamp: STAMP,
            uptime_s: 1,
            queue_records,
            queue_capacity_records: 1_000,
            dropped_records: 0,
            link_connects: 1,
            stack_high_water_bytes: None,
            meters: std::iter::empty().collect(),
        })));
    }

    fn nth_pending(&self, n: usize) -> Option<Place> {
        self.pending
            .iter()
            .nth(n.checked_rem(self.pending.len())?)
            .copied()
    }

    fn arrive(&mut self, place: Place) {
        if !self.arrived.contains(&place) {
            self.arrived.push(place);
        }
    }

    fn overwrite(&mut self, count: usize) {
        let oldest: Vec<_> = self.pending.iter().take(count).copied().collect();
        let mut named: BTreeMap<Boot, RangeSet> = BTreeMap::new();
        for place in &oldest {
            named.entry(place.1).or_default().insert(place.2);
            if let Some(Some(Record::Dropped(older))) = self.written.get(place) {
                for &(boot, first, last) in &older.ranges {
                    named.entry(boot).or_default().insert_run(first, last);
                }
            }
        }
        let ranges: Vec<_> = named
            .iter()
            .flat_map(|(&boot, set)| set.runs().map(move |(first, last)| (boot, first, last)))
            .collect();
        for ranges in ranges.chunks(DROPPED_RANGES_MAX) {
            self.write(Some(Record::Dropped(Dropped {
                stamp: STAMP,
                ranges: ranges.iter().copied().collect(),
            })));
        }
        for place in oldest {
            self.pending.remove(&place);
        }
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Read => self.write(None),
            Op::Diagnose => self.diagnose(),
            Op::Deliver(n) => {
                if let Some(place) = self.nth_pending(n) {
                    self.arrive(place);
                    self.pending.remove(&place);
                }
            }
            Op::DeliverUnacknowledged(n) => {
                if let Some(place) = self.nth_pending(n) {
                    self.arrive(place);
                }
            }
            Op::Overwrite(count) => self.overwrite(count),
            Op::Vanish(n) => {
                if let Some(place) = self.nth_pending(n) {
                    self.pending.remove(&place);
                }
            }
            Op::Reboot => {
                let newest = self.written.range((self.incarnation, 0, 0)..).next_back();
                let recovered = newest.map(|(&(_, boot, sequence), _)| Recovered { boot, sequence });
                self.start(recovered);
            }
            Op::Wipe => {
                self.incarnation += 1;
                self.boot = 0;
                self.pending.clear();
                self.start(None);
            }
        }
    }

    fn deliver_all(&mut self) {
        while let Some(&place) = self.pending.first() {
            self.arrive(place);
            self.pending.remove(&place);
        }
    }

    /// Everything on the device arrives, and a last `Diagnostics` says so.
    fn settle(&mut self) {
        self.deliver_all();
        self.diagnose();
        self.deliver_all();
    }

    fn has_arrived(&self, place: &Place) -> bool {
        self.arrived.contains(place)
    }

    /// What records that have arrived name as lost.
    fn named(&self) -> BTreeSet<Place> {
        let mut named = BTreeSet::new();
        for place in &self.arrived {
            if let Some(Record::Dropped(dropped)) = &self.written[place] {
                for &(boot, first, last) in &dropped.ranges {
                    named.extend((first..=last).map(|sequence| (place.0, boot, sequence)));
                }
            }
        }
        named
    }

    /// Every record of which something that has arrived says that it was written: itself, a later one of its boot, a `Start` or a
    /// `Dropped` that names it or a later one of its boot.
    fn known(&self) -> BTreeSet<Place> {
        let mut witnesses: BTreeSet<Place> = self.arrived.iter().copied().collect();
        witnesses.extend(self.named());
        for place in &self.arrived {
            if let Some(Record::Start(Start {
                recovered: Some(newest),
                ..
            })) = &self.written[place]
            {
                witnesses.insert((place.0, newest.boot, newest.sequence));
            }
        }
        let is_known = |place: &&Place| {
            let later = **place..=(place.0, place.1, Sequence::MAX);
            witnesses.range(later).next().is_some()
        };
        self.written.keys().filter(is_known).copied().collect()
    }

    /// What is really gone and was not named by anything that has arrived.
    fn lost_unnamed(&self) -> u64 {
        let named = self.named();
        let lost = self.written.keys().filter(|place| {
            !self.has_arrived(place) && !self.pending.contains(place) && !named.contains(place)
        });
        lost.count() as u64
    }

    fn ledger(&self) -> GapCounts {
        let mut observed: HashMap<Incarnation, Observed> = HashMap::new();
        let mut here: BTreeMap<Incarnation, Here> = BTreeMap::new();
        for (row, &(incarnation, boot, sequence)) in (1..).zip(&self.arrived) {
            let here = here.entry(incarnation).or_default();
            here.received.entry(boot).or_default().insert(sequence);
            if let Some(record) = &self.written[&(incarnation, boot, sequence)] {
                let observed = observed.entry(incarnation).or_default();
                observed.learn(row, (boot, sequence), None, record);
            }
        }
        let mut counts = GapCounts::default();
        for (incarnation, here) in &here {
            let observed = observed.remove(incarnation).unwrap_or_default();
            for boot in account(*incarnation, &observed, here, *incarnation < self.incarnation) {
                assert_balances(&boot.counts);
                assert!(
                    boot.gaps.windows(2).all(|pair| pair[0].last < pair[1].first),
                    "{boot:?}"
                );
                counts.add(&boot.counts);
            }
        }
        counts
    }
}

fn assert_balances(counts: &GapCounts) {
    let sum: u64 = counts.states().iter().map(|(_, records)| records).sum();
    assert_eq!(counts.written, sum, "{counts:?}");
}

proptest! {
    #[test]
    fn an_honest_device_has_nothing_unknown_and_a_settled_one_nothing_pending(
        ops in proptest::collection::vec(op().prop_filter("honest", |op| !matches!(op, Op::Vanish(_))), 0..80),
    ) {
        let mut device = Device::new();
        for op in &ops {
            device.act(op);
            let counts = device.ledger();
            prop_assert_eq!(counts.stored, device.arrived.len() as u64);
            // A record that was overwritten is not known to be named before its name arrives.
            prop_assert!(counts.unknown <= device.lost_unnamed(), "{:?}", counts);
        }
        device.settle();
        let counts = device.ledger();
        prop_assert_eq!(counts.written, device.written.len() as u64);
        let named = device.named().iter().filter(|place| !device.has_arrived(place)).count();
        prop_assert_eq!((counts.pending, counts.unknown, counts.dropped), (0, 0, named as u64));
    }

    #[test]
    fn what_vanishes_is_unknown_once_the_rest_has_come(
        ops in proptest::collection::vec(prop_oneof![30 => op(), 1 => Just(Op::Wipe)], 0..80),
    ) {
        let mut device = Device::new();
        for op in &ops {
            device.act(op);
            // Never more than what is really gone.
            prop_assert!(device.ledger().unknown <= device.lost_unnamed());
        }
        device.settle();
        let counts = device.ledger();
        prop_assert_eq!(counts.pending, 0);
        // How far a boot came may be lost with what would have said it.
        let known = device.known();
        prop_assert_eq!(counts.written, known.len() as u64);
        let named = device.named();
        let unknown = known.iter().filter(|place| !device.has_arrived(place) && !named.contains(place));
        prop_assert_eq!(counts.unknown, unknown.count() as u64);
    }

    #[test]
    fn the_order_in_which_it_is_learnt_makes_no_difference(
        ops in proptest::collection::vec(op(), 0..80),
        seed in any::<u64>(),
    ) {
        let mut device = Device::new();
        ops.iter().for_each(|op| device.act(op));
        device.deliver_all();
        let mut naming: Vec<_> = (1_i64..)
            .zip(&device.arrived)
            .filter_map(|(row, place)| Some((row, (place.1, place.2), device.written[place].as_ref()?)))
            .collect();
        let learnt = |order: &[(i64, (Boot, Sequence), &Record)]| {
            let mut observed = Observed::default();
            for &(row, at, record) in order.iter().chain(order) {
                observed.learn(row, at, Some(row), record);
            }
            observed
        };
        let in_order = learnt(&naming);
        // A shuffle that the seed decides.
        naming.sort_by_key(|(row, ..)| (row.unsigned_abs() ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        prop_assert_eq!(learnt(&naming), in_order);
    }
}

fn run(received: &[(Boot, Sequence, Sequence)]) -> Here {
    let mut here = Here::default();
    for &(boot, first, last) in received {
        here.received.entry(boot).or_default().insert_run(first, last);
    }
    here
}

fn diagnostics(queue_records: u32) -> Record {
    let mut device = Device::new();
    device.diagnose();
    let Some(Some(Record::Diagnostics(mut one))) = device.written.into_values().next_back() else {
        unreachable!("it was just written")
    };
    one.queue_records = queue_records;
    Record::Diagnostics(one)
}

#[test]
fn what_a_device_still_has_is_pending_and_what_it_can_not_have_is_unknown() {
    let mut observed = Observed::default();
    observed.learn(1, (1, 20), None, &diagnostics(3));
    // 5 to 9 and 15 are missing: six; three of them the device still has.
    let here = run(&[(1, 0, 4), (1, 10, 14), (1, 16, 20)]);
    let ledger = account(7, &observed, &here, false);
    let gap = |first, last, fate| Gap {
        first,
        last,
        fate,
        span: None,
    };
    assert_eq!(
        ledger[0].gaps,
        [
            gap(5, 7, Fate::Unknown),
            gap(8, 9, Fate::Pending),
            gap(15, 15, Fate::Pending)
        ]
    );
    assert_eq!((ledger[0].counts.written, ledger[0].counts.stored), (21, 15));
    // A later formatting is known: nothing can be on the device any more.
    let ledger = account(7, &observed, &here, true);
    assert_eq!((ledger[0].counts.unknown, ledger[0].counts.pending), (6, 0));
    // Without a word from the device everything may still come.
    let ledger = account(7, &Observed::default(), &here, false);
    assert_eq!((ledger[0].counts.unknown, ledger[0].counts.pending), (0, 6));
}

#[test]
fn a_start_tells_how_far_the_boot_before_came() {
    let mut observed = Observed::default();
    let start = Record::Start(Start {
        stamp: STAMP,
        reset_cause: ResetCause::PowerOn,
        recovered: Some(Recovered {
            boot: 1,
            sequence: 99,
        }),
        firmware: FirmwareVersion::try_from("0.1.0").unwrap(),
    });
    observed.learn(1, (2, 0), Some(5_000), &start);
    let ledger = account(7, &observed, &run(&[(1, 0, 89), (2, 0, 0)]), false);
    assert_eq!((ledger[0].counts.written, ledger[0].counts.pending), (100, 10));
    assert_eq!((ledger[0].ended, ledger[1].ended), (true, false));
}

#[test]
fn a_period_chooses_gaps_and_leaves_the_balance_alone() {
    let ledger = account(
        7,
        &Observed::default(),
        &run(&[(1, 5, 9), (1, 15, 19), (1, 25, 29)]),
        false,
    );
    let mut device = DeviceGaps {
        counts: ledger[0].counts,
        boots: ledger,
        ..DeviceGaps::default()
    };
    let span = |after_ms, before_ms| Some(GapSpan { after_ms, before_ms });
    let spans = [
        span(None, None),
        span(Some(5_000), Some(7_000)),
        span(Some(9_000), None),
    ];
    for (gap, span) in device.boots[0].gaps.iter_mut().zip(spans) {
        gap.span = span;
    }
    assert_eq!(device.unplaced(), Unplaced { gaps: 1, records: 5 });
    let firsts = |from_ms, to_ms| {
        let mut device = device.clone();
        device.retain_within(from_ms, to_ms);
        assert_eq!(device.counts.written, 30);
        let gaps = device.boots.into_iter().flat_map(|boot| boot.gaps);
        gaps.map(|gap| gap.first).collect::<Vec<_>>()
    };
    assert_eq!(firsts(0, 5_000), [0; 0]);
    assert_eq!(firsts(0, 5_001), [10]);
    assert_eq!(firsts(7_000, 9_000), [10]);
    assert_eq!(firsts(7_001, 9_000), [0; 0]);
    assert_eq!(firsts(7_001, 9_001), [20]);
    assert_eq!(firsts(20_000, 30_000), [20], "it is open");
}

#[test]
fn held_records_are_here_and_in_a_state_of_their_own() {
    let mut here = run(&[(1, 0, 9)]);
    here.held.insert(1, 4);
    let ledger = account(7, &Observed::default(), &here, false);
    assert_eq!((ledger[0].counts.stored, ledger[0].counts.held), (6, 4));
    assert_balances(&ledger[0].counts);
}
