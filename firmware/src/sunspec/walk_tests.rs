//! Finding the chain, walking it, and finding it again.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use taraz_telemetry::PollStatus;

use super::BASES;
use super::chain::MODELS_MAX;
use super::image::{Image, expected_inverter, inverter, meter, nothing, poll};
use super::models::Model;
use crate::meters::{Meter, READS_PER_POLL_MAX, poll_blocking};
use crate::modbus::{BusError, ReadRegisters};

#[test]
fn the_first_inverter_of_a_chain_counts_and_goes_before_a_meter() {
    let mut other = inverter();
    other[12] = 1;
    let mut image = Image::new(40_000);
    image.model(203, &nothing(105));
    image.model(103, &inverter());
    image.model(101, &other);
    assert_eq!(poll(&mut meter(), &image.end()).0, Ok(expected_inverter()));
}

#[test]
fn a_device_without_sunspec_is_not_understood() {
    let zeros = |_: ReadRegisters, registers: &mut [u16]| {
        registers.fill(0);
        Ok(())
    };
    assert_eq!(poll_blocking(&mut meter(), zeros), Err(PollStatus::NotUnderstood));
    let refuses = |_: ReadRegisters, _: &mut [u16]| Err(BusError::Exception(2));
    assert_eq!(
        poll_blocking(&mut meter(), refuses),
        Err(PollStatus::NotUnderstood)
    );
    let fails = |_: ReadRegisters, _: &mut [u16]| Err(BusError::Exception(4));
    assert_eq!(poll_blocking(&mut meter(), fails), Err(PollStatus::Exception(4)));
    let mut image = Image::new(40_000);
    image.model(64_001, &[0; 4]);
    assert_eq!(poll(&mut meter(), &image.end()).0, Err(PollStatus::NotUnderstood));
}

#[test]
fn corrupt_lengths_end_the_walk_with_an_error() {
    let broken = |id: u16, len: u16| {
        let mut image = Image::new(40_000);
        let at = image.model(id, &inverter());
        let mut image = image.end();
        image.set(at + 1, &[len]);
        poll(&mut meter(), &image).0
    };
    assert_eq!(
        broken(103, 12),
        Err(PollStatus::NotUnderstood),
        "too short for what it must hold"
    );
    assert_eq!(
        broken(103, 0xFFFF),
        Err(PollStatus::NotUnderstood),
        "past the last address"
    );
    assert_eq!(
        broken(64_001, 0xFFF0),
        Err(PollStatus::NotUnderstood),
        "past the last address"
    );
    assert_eq!(
        broken(64_001, 1_000),
        Err(PollStatus::Exception(2)),
        "nothing there"
    );
    assert_eq!(broken(0, 50), Err(PollStatus::NotUnderstood), "no model has ID 0");
}

#[test]
fn a_chain_without_end_is_left() {
    let mut reads = 0;
    let endless = |read: ReadRegisters, registers: &mut [u16]| {
        reads += 1;
        let marker = read.start == 40_000;
        registers.copy_from_slice(if marker { &[0x5375, 0x6E53] } else { &[64_001, 0] });
        Ok(())
    };
    assert_eq!(
        poll_blocking(&mut meter(), endless),
        Err(PollStatus::NotUnderstood)
    );
    assert_eq!(reads, 2 + u32::from(MODELS_MAX));
}

fn with_inverter_behind(len: usize) -> Image {
    let mut image = Image::new(40_000);
    image.model(64_001, &vec![7; len]);
    image.model(103, &inverter());
    image.end()
}

#[test]
fn an_inverter_that_was_replaced_is_found_again_in_the_same_poll() {
    let mut meter = meter();
    assert!(poll(&mut meter, &with_inverter_behind(10)).0.is_ok());
    let (result, reads) = poll(&mut meter, &with_inverter_behind(24));
    assert_eq!(result, Ok(expected_inverter()));
    assert!(reads.len() > 2);
}

#[test]
fn a_refused_read_of_a_known_model_leads_to_a_new_survey() {
    let mut meter = meter();
    let image = with_inverter_behind(10);
    assert!(poll(&mut meter, &image).0.is_ok());
    let refused = poll_blocking(&mut meter, |_, _| Err(BusError::Exception(2)));
    assert_eq!(refused, Err(PollStatus::Exception(2)));
    let (result, reads) = poll(&mut meter, &image);
    assert!(result.is_ok());
    assert!(reads.len() > 2, "{reads:?}");
}

#[test]
fn a_long_silence_leads_to_a_new_survey_and_a_short_one_does_not() {
    for (failures, surveyed) in [(3, false), (20, true)] {
        let mut meter = meter();
        let image = with_inverter_behind(10);
        assert!(poll(&mut meter, &image).0.is_ok());
        for _ in 0..failures {
            assert_eq!(
                poll_blocking(&mut meter, |_, _| Err(BusError::Timeout)),
                Err(PollStatus::Timeout)
            );
        }
        // A base that was not answered makes room for the next one: at most three polls until it is found.
        let reads = (0..3)
            .map(|_| poll(&mut meter, &image))
            .find(|(result, _)| result.is_ok())
            .unwrap()
            .1;
        assert_eq!(reads.len() > 1, surveyed, "{failures} failures");
    }
}

#[test]
fn a_device_silent_about_addresses_it_does_not_have_is_found_by_the_third_poll() {
    let mut image = Image::new(0);
    image.model(103, &inverter());
    let image = image.end();
    let mut meter = meter();
    let polled = |meter: &mut Meter| {
        poll_blocking(meter, |read, registers| {
            image.read(read, registers).map_err(|_| BusError::Timeout)
        })
    };
    let results: Vec<_> = (0..3).map(|_| polled(&mut meter)).collect();
    assert_eq!(
        results,
        [
            Err(PollStatus::Timeout),
            Err(PollStatus::Timeout),
            Ok(expected_inverter())
        ]
    );
}

#[test]
fn a_silence_in_the_middle_of_the_walk_does_not_move_the_search_elsewhere() {
    let image = with_inverter_behind(10);
    let mut meter = meter();
    let mut reads = 0;
    let broken = poll_blocking(&mut meter, |read, registers| {
        reads += 1;
        if reads == 3 {
            Err(BusError::Timeout)
        } else {
            image.read(read, registers)
        }
    });
    assert_eq!(broken, Err(PollStatus::Timeout));
    let (result, reads) = poll(&mut meter, &image);
    assert!(result.is_ok());
    assert_eq!(reads[0].start, 40_000);
}

#[test]
fn every_family_fits_one_read() {
    for id in [101, 113, 203, 211] {
        let extent = Model::of(id).unwrap().extent;
        assert!(
            extent <= crate::modbus::READ_REGISTERS_MAX,
            "{}",
            format!("model {id}: {extent}")
        );
    }
}

proptest! {
    /// Whatever the registers say, a poll ends within the bound, and so does the next one.
    #[test]
    fn a_poll_of_random_registers_ends(
        seed in prop::collection::vec(any::<u16>(), 1..64),
        ids in prop::collection::vec(prop::sample::select(vec![1_u16, 101, 103, 111, 160, 203, 211, 64_001, 0xFFFF]), 1..8),
        marker_everywhere in any::<bool>(),
    ) {
        let mut meter = meter();
        for round in 0..3_u16 {
            let mut reads = 0_u32;
            let _ = poll_blocking(&mut meter, |read, registers| {
                reads += 1;
                for (index, register) in registers.iter_mut().enumerate() {
                    let at = usize::from(read.start.wrapping_add(round)) + index;
                    *register = seed[at % seed.len()];
                }
                if read.count == 2 && (marker_everywhere || BASES.contains(&read.start)) {
                    registers.copy_from_slice(&[0x5375, 0x6E53]);
                }
                if read.count == 2 && !BASES.contains(&read.start) {
                    registers[0] = ids[usize::from(read.start) % ids.len()];
                }
                Ok(())
            });
            prop_assert!(reads <= READS_PER_POLL_MAX, "{reads} reads");
        }
    }

    /// Any values of a known device decode without panic to the same thing twice.
    #[test]
    fn any_values_decode(body in prop::collection::vec(any::<u16>(), 124), id in prop::sample::select(vec![101_u16, 103, 111, 113, 201, 203, 211, 214])) {
        let mut image = Image::new(40_000);
        image.model(id, &body);
        let image = image.end();
        let mut meter = meter();
        let first = poll(&mut meter, &image).0;
        prop_assert!(first.is_ok());
        prop_assert_eq!(first, poll(&mut meter, &image).0);
    }
}
