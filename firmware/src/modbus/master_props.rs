//! The master against damage, loss and noise at random.

use std::vec::Vec;

use proptest::prelude::*;

use super::bench::{Bench, Burst, LINE, answer, bench, burst, read, script};
use super::{BusError, BusLine};

/// Anything that may happen to bytes on a line.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u8),
    Drop(usize),
    Insert(usize, u8),
    Swap(usize),
    Cut(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<usize>(), 1..=255_u8).prop_map(|(at, mask)| Harm::Flip(at, mask)),
        any::<usize>().prop_map(Harm::Drop),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Harm::Insert(at, byte)),
        any::<usize>().prop_map(Harm::Swap),
        any::<usize>().prop_map(Harm::Cut),
    ]
}

fn harmed(frame: &[u8], harms: &[Harm]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    for harm in harms {
        let len = bytes.len();
        match *harm {
            Harm::Insert(at, byte) => bytes.insert(at % (len + 1), byte),
            _ if len < 2 => {}
            Harm::Flip(at, mask) => bytes[at % len] ^= mask,
            Harm::Drop(at) => drop(bytes.remove(at % len)),
            Harm::Swap(at) => bytes.swap(at % len, (at + 1) % len),
            Harm::Cut(at) => bytes.truncate(at % len),
        }
    }
    bytes
}

proptest! {
    /// Up to three bits or one run of 16 wrong: the CRC finds it for certain. The registers are right or there are none.
    #[test]
    fn a_damaged_answer_never_gives_other_registers(
        registers in prop::collection::vec(any::<u16>(), 1..40),
        at in any::<prop::sample::Index>(),
        masks in prop_oneof![(1..=255_u8, Just(0_u8)), (1..=255_u8, 1..=255_u8)],
        buffered in any::<bool>(),
    ) {
        let frame = answer(7, &registers);
        let mut damaged = frame.clone();
        let at = at.index(frame.len() - 1);
        damaged[at] ^= masks.0;
        damaged[at + 1] ^= masks.1;
        let line = if buffered { BusLine::buffered(9_600) } else { LINE };
        let count = u16::try_from(registers.len()).unwrap();
        let outcome = Bench::new(line.with_retries(0)).exchange(7, read(0, count), script(&[&[burst(9_000, damaged)]]));
        prop_assert!(outcome.result.is_err(), "{:?}", outcome);
    }

    /// Bytes lost, inserted, swapped or cut off: what is taken is the answer itself, or nothing.
    #[test]
    fn a_mangled_answer_gives_its_registers_or_none(
        registers in prop::collection::vec(any::<u16>(), 1..40),
        harms in prop::collection::vec(harm(), 1..4),
    ) {
        let frame = answer(7, &registers);
        let bytes = harmed(&frame, &harms);
        let intact = bytes.windows(frame.len()).any(|window| window == frame);
        let count = u16::try_from(registers.len()).unwrap();
        let outcome = Bench::new(LINE.with_retries(0)).exchange(7, read(0, count), script(&[&[burst(9_000, bytes)]]));
        match outcome.result {
            Ok(got) => prop_assert!(intact && got == registers),
            Err(error) => prop_assert!(error != BusError::Lost),
        }
    }

    /// Arbitrary bytes at arbitrary times: no panic, an end in bounded time, and no registers but from a sealed frame.
    #[test]
    fn arbitrary_bytes_end_in_bounded_time(
        bursts in prop::collection::vec((0..3_000_000_u64, prop::collection::vec(any::<u8>(), 0..300)), 0..12),
        count in 1..=125_u16,
        buffered in any::<bool>(),
    ) {
        let line = if buffered { BusLine::buffered(9_600) } else { LINE };
        let bursts: Vec<Burst> = bursts.into_iter().map(|(after_us, bytes)| burst(after_us, bytes)).collect();
        let outcome = Bench::new(line).exchange(7, read(0, count), script(&[&bursts]));
        prop_assert!(outcome.sent_us.len() <= 3);
        prop_assert!(outcome.ended_us < 3 * 3_000_000);
        if let Ok(registers) = outcome.result {
            prop_assert_eq!(registers.len(), usize::from(count));
        }
    }

    /// However an answer is cut into pieces without a gap, it is taken.
    #[test]
    fn any_chunking_gives_the_same(registers in prop::collection::vec(any::<u16>(), 1..125), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let frame = answer(7, &registers);
        let mut edges: Vec<usize> = cuts.iter().map(|cut| cut.index(frame.len())).chain([0, frame.len()]).collect();
        edges.sort_unstable();
        edges.dedup();
        let character_us = u64::from(LINE.character_us);
        let bursts: Vec<Burst> = edges
            .windows(2)
            .map(|edge| burst(10_000 + edge[1] as u64 * character_us, frame[edge[0]..edge[1]].to_vec()))
            .collect();
        let count = u16::try_from(registers.len()).unwrap();
        let outcome = bench().exchange(7, read(0, count), script(&[&bursts]));
        prop_assert_eq!(outcome.result, Ok(registers));
    }
}
