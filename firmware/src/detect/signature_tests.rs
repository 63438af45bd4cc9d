//! Signatures against each other, against noise, and at their edges.

use proptest::prelude::*;

use super::signature::{is_growatt, is_sdm630, is_si_rs485};
use crate::modbus::Registers;

fn matches(bytes: &[u8]) -> [bool; 3] {
    let first = |count: usize| Registers::new(&bytes[..(2 * count).min(bytes.len())]);
    [is_sdm630(first(72)), is_growatt(first(45)), is_si_rs485(first(9))]
}

#[test]
fn nothing_and_what_is_all_the_same_is_nobody() {
    assert_eq!(matches(&[]), [false; 3]);
    for byte in [0x00, 0x80, 0xFF] {
        assert_eq!(matches(&[byte; 144]), [false; 3], "{byte:#04x}");
    }
}

#[test]
fn a_frozen_and_a_hot_cell_are_the_same_sensor() {
    for cell_dc in [-249_i16, 0, 1, 749] {
        let above = |zero: i16| (cell_dc + zero).cast_unsigned();
        let registers = [
            0,
            above(250),
            0,
            0,
            0,
            above(1_000),
            0,
            cell_dc.cast_unsigned(),
            0,
        ];
        let bytes: std::vec::Vec<u8> = registers.iter().flat_map(|r| r.to_be_bytes()).collect();
        assert_eq!(matches(&bytes), [false, false, true], "{cell_dc}");
    }
}

proptest! {
    /// Registers of anything: at most one signature fits, and noise almost never one.
    #[test]
    fn signatures_exclude_each_other(bytes in proptest::collection::vec(any::<u8>(), 0..=144)) {
        let hits = matches(&bytes).iter().filter(|hit| **hit).count();
        prop_assert!(hits <= 1);
    }
}
