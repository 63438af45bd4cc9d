//! Discovery, the walk of the chain, and polls of whole devices.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use taraz_telemetry::{Mppt, PollStatus, Quantities};

use super::chain::MODELS_MAX;
use super::image::{Image, meter, poll};
use super::models::Model;
use super::mppt::{HEAD_LEN, MODULE_LEN};
use super::{BASES, UNSTABLE_RETRIES_MAX};
use crate::meters::{Meter, READS_PER_POLL_MAX, poll_blocking};
use crate::modbus::{BusError, ReadFunction, ReadRegisters};

/// Nothing implemented, in every form that a point of 101 to 103 or 201 to 204 has.
fn nothing(len: usize) -> Vec<u16> {
    vec![0x8000; len]
}

/// A three-phase inverter making 12,345 W, with scale factors that differ.
fn inverter() -> Vec<u16> {
    let mut body = vec![0xFFFF; 50];
    let mut put =
        |offset: usize, values: &[u16]| body[offset - 2..offset - 2 + values.len()].copy_from_slice(values);
    put(2, &[5_400, 1_801, 1_802, 1_803, (-2_i16).cast_unsigned()]);
    put(
        7,
        &[4_001, 4_002, 4_003, 2_301, 2_302, 2_303, (-1_i16).cast_unsigned()],
    );
    put(
        14,
        &[
            12_345,
            0,
            5_002,
            (-2_i16).cast_unsigned(),
            1_240,
            1,
            (-300_i16).cast_unsigned(),
            0,
        ],
    );
    put(22, &[9_954, (-2_i16).cast_unsigned(), 0x0012, 0xD687, 1]);
    put(
        27,
        &[
            2_050,
            (-2_i16).cast_unsigned(),
            6_105,
            (-1_i16).cast_unsigned(),
            12_600,
            0,
        ],
    );
    put(
        33,
        &[
            0x8000,
            412,
            0x8000,
            0x8000,
            (-1_i16).cast_unsigned(),
            4,
            0,
            0,
            0x0040,
        ],
    );
    body
}

/// Model 160 with one block for each input: voltage, current, power.
fn mppt(scale: [i16; 3], inputs: &[[u16; 3]]) -> Vec<u16> {
    let mut body = vec![0; usize::from(HEAD_LEN) - 2];
    for (at, factor) in scale.iter().enumerate() {
        body[at] = factor.cast_unsigned();
    }
    body[6] = u16::try_from(inputs.len()).unwrap();
    for [voltage, current, power] in inputs {
        let mut block = vec![0; usize::from(MODULE_LEN)];
        (block[9], block[10], block[11]) = (*current, *voltage, *power);
        body.extend(block);
    }
    body
}

fn input(voltage_dv: u32, current_ca: i32, power_w: i32) -> Mppt {
    Mppt {
        voltage_dv: Some(voltage_dv),
        current_ca: Some(current_ca),
        power_w: Some(power_w),
    }
}

fn expected_inverter() -> Quantities {
    Quantities {
        ac_power_w: Some(12_345),
        energy_wh: Some(12_345_670),
        voltage_an_dv: Some(2_301),
        voltage_bn_dv: Some(2_302),
        voltage_cn_dv: Some(2_303),
        voltage_ab_dv: Some(4_001),
        voltage_bc_dv: Some(4_002),
        voltage_ca_dv: Some(4_003),
        current_a_ca: Some(1_801),
        current_b_ca: Some(1_802),
        current_c_ca: Some(1_803),
        frequency_mhz: Some(50_020),
        apparent_power_va: Some(12_400),
        reactive_power_var: Some(-300),
        power_factor_permille: Some(995),
        dc_current_ca: Some(2_050),
        dc_voltage_dv: Some(6_105),
        dc_power_w: Some(12_600),
        temperature_dc: Some(412),
        state: Some(4),
        events: Some(0x40),
        ..Quantities::default()
    }
}

#[test]
fn an_inverter_is_found_at_each_base_and_then_read_at_once() {
    for base in BASES {
        let mut image = Image::new(base);
        image.model(64_001, &[1, 2, 3]);
        let at = image.model(103, &inverter());
        let image = image.end();
        let mut meter = meter();
        let (result, reads) = poll(&mut meter, &image);
        assert_eq!(result, Ok(expected_inverter()), "base {base}");
        assert!(reads.len() <= 9, "{reads:?}");
        let (result, reads) = poll(&mut meter, &image);
        assert_eq!(result, Ok(expected_inverter()));
        assert_eq!(
            reads,
            [ReadRegisters {
                function: ReadFunction::Holding,
                start: at,
                count: 42
            }]
        );
    }
}

#[test]
fn the_inputs_of_model_160_come_with_the_inverter() {
    let mut image = Image::new(40_000);
    image.model(103, &inverter());
    let body = mppt([-2, -1, 0], &[[6_105, 1_020, 6_200], [6_090, 1_030, 0xFFFF]]);
    let at = image.model(160, &body);
    let image = image.end();
    let (result, reads) = poll(&mut meter(), &image);
    let found = result.unwrap();
    let second = Mppt {
        voltage_dv: Some(6_090),
        current_ca: Some(1_030),
        power_w: None,
    };
    assert_eq!(found.mppt, [input(6_105, 1_020, 6_200), second]);
    assert_eq!(
        *reads.last().unwrap(),
        ReadRegisters {
            function: ReadFunction::Holding,
            start: at,
            count: 50
        }
    );
}

#[test]
fn a_long_model_160_is_read_in_two_and_its_scale_checked_again() {
    let inputs: Vec<[u16; 3]> = (0..8).map(|n| [6_000 + n, 100 + n, 600 + n]).collect();
    let mut image = Image::new(40_000);
    image.model(113, &[0; 60]);
    let at = image.model(160, &mppt([-2, -1, 0], &inputs));
    let image = image.end();
    let mut meter = meter();
    let found = poll(&mut meter, &image).0.unwrap();
    let expected: Vec<Mppt> = (0..8)
        .map(|n| input(6_000 + n, 100 + n.cast_signed(), 600 + n.cast_signed()))
        .collect();
    assert_eq!(found.mppt, *expected);
    let (_, reads) = poll(&mut meter, &image);
    let spans: Vec<(u16, u16)> = reads
        .iter()
        .skip(1)
        .map(|read| (read.start - at, read.count))
        .collect();
    assert_eq!(spans, [(0, 110), (110, 60), (0, 10)]);
}

/// Polls a device whose current scale factor of model 160 changes with every read of its head.
fn poll_unsteady(steady_after: u32) -> (Result<Quantities, PollStatus>, u32) {
    let mut image = Image::new(40_000);
    image.model(103, &inverter());
    let at = image.model(160, &mppt([-2, -1, 0], &[[6_000, 100, 600]; 8]));
    let mut image = image.end();
    let mut heads = 0;
    let result = poll_blocking(&mut meter(), |read, registers| {
        image.read(read, registers)?;
        if read.start == at && read.count >= HEAD_LEN {
            heads += 1;
            if heads < steady_after {
                image.set(
                    at + 2,
                    &[if heads % 2 == 1 {
                        (-1_i16).cast_unsigned()
                    } else {
                        (-2_i16).cast_unsigned()
                    }],
                );
            }
        }
        Ok(())
    });
    (result, heads)
}

#[test]
fn a_scale_factor_that_changes_meanwhile_discards_the_poll() {
    let (result, heads) = poll_unsteady(u32::MAX);
    assert_eq!(result, Err(PollStatus::Unstable));
    assert_eq!(heads, 2 * (u32::from(UNSTABLE_RETRIES_MAX) + 1));
}

#[test]
fn a_scale_factor_that_settles_gives_the_values_that_belong_to_it() {
    let (result, heads) = poll_unsteady(2);
    assert_eq!(heads, 4);
    // The factor went from −2 to −1 after the first head: 100 counts are 10 A now, not 1 A.
    assert_eq!(result.unwrap().mppt[7], input(6_000, 1_000, 600));
}

#[test]
fn scale_factors_beyond_ten_or_missing_make_their_values_absent() {
    for (factor, power) in [
        (0_i16, Some(12_345)),
        (1, Some(123_450)),
        (-3, Some(12)),
        (-10, Some(0)),
        (10, None),
    ] {
        assert_eq!(poll_with_power_scale(factor).ac_power_w, power, "10^{factor}");
    }
    for factor in [11, -11, i16::MIN, i16::MAX] {
        assert_eq!(poll_with_power_scale(factor).ac_power_w, None, "{factor}");
        assert_eq!(poll_with_power_scale(factor).energy_wh, Some(12_345_670));
    }
}

fn poll_with_power_scale(factor: i16) -> Quantities {
    let mut body = inverter();
    body[13] = factor.cast_unsigned();
    let mut image = Image::new(0);
    image.model(101, &body);
    poll(&mut meter(), &image.end()).0.unwrap()
}

#[test]
fn a_device_that_implements_nothing_gives_nothing() {
    for (id, len) in [
        (101, 50),
        (102, 50),
        (103, 50),
        (201, 105),
        (202, 105),
        (203, 105),
        (204, 105),
    ] {
        let mut image = Image::new(40_000);
        image.model(id, &nothing(len));
        let found = poll(&mut meter(), &image.end()).0.unwrap();
        assert_eq!(found, Quantities::default(), "model {id}");
    }
    for (id, len) in [(111, 60), (112, 60), (113, 60), (211, 124), (214, 124)] {
        let mut image = Image::new(40_000);
        let mut body: Vec<u16> = (0..len).map(|at| if at % 2 == 0 { 0x7FC0 } else { 0 }).collect();
        if id < 200 {
            body[46] = 0xFFFF;
            body[48] = 0xFFFF;
        }
        image.model(id, &body);
        assert_eq!(
            poll(&mut meter(), &image.end()).0,
            Ok(Quantities::default()),
            "model {id}"
        );
    }
}

#[test]
fn the_cabinet_temperature_goes_before_the_heat_sink() {
    let mut body = inverter();
    body[31] = 388;
    let mut image = Image::new(40_000);
    image.model(102, &body);
    assert_eq!(
        poll(&mut meter(), &image.end()).0.unwrap().temperature_dc,
        Some(388)
    );
}

#[test]
fn a_meter_states_import_and_export() {
    let mut body = nothing(105);
    body[16] = (-4_321_i16).cast_unsigned();
    body[17] = (-1_441_i16).cast_unsigned();
    body[20] = 0;
    body[31] = (-987_i16).cast_unsigned();
    body[35] = (-1_i16).cast_unsigned();
    body[36..38].copy_from_slice(&[0x0001, 0x86A0]);
    body[44..46].copy_from_slice(&[0, 250]);
    body[52] = 2;
    let mut image = Image::new(40_000);
    let at = image.model(203, &body);
    let image = image.end();
    let mut meter = meter();
    let expected = Quantities {
        ac_power_w: Some(-4_321),
        ac_power_a_w: Some(-1_441),
        power_factor_permille: Some(-987),
        export_wh: Some(10_000_000),
        import_wh: Some(25_000),
        ..Quantities::default()
    };
    assert_eq!(poll(&mut meter, &image).0, Ok(expected));
    assert_eq!(
        poll(&mut meter, &image).1,
        [ReadRegisters {
            function: ReadFunction::Holding,
            start: at,
            count: 55
        }]
    );
}

#[test]
fn a_float_meter_is_rounded_half_away_from_zero() {
    let mut body: Vec<u16> = (0..124).map(|at| if at % 2 == 0 { 0x7FC0 } else { 0 }).collect();
    let mut put = |offset: usize, value: f32| {
        body[offset - 2] = u16::try_from(value.to_bits() >> 16).unwrap();
        body[offset - 1] = u16::try_from(value.to_bits() & 0xFFFF).unwrap();
    };
    put(12, 230.25);
    put(26, 50.062_5);
    put(28, -1_234.5);
    put(52, 0.987_5);
    put(68, 123_456.0);
    let mut image = Image::new(50_000);
    image.model(213, &body);
    let found = poll(&mut meter(), &image.end()).0.unwrap();
    let expected = Quantities {
        voltage_an_dv: Some(2_303),
        frequency_mhz: Some(50_063),
        ac_power_w: Some(-1_235),
        power_factor_permille: Some(988),
        import_wh: Some(123_456),
        ..Quantities::default()
    };
    assert_eq!(found, expected);
}

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
fn an_inverter_is_read_without_inputs_that_it_refuses() {
    let mut image = Image::new(40_000);
    image.model(103, &inverter());
    let at = image.model(160, &mppt([-2, -1, 0], &[[1, 2, 3]]));
    let image = image.end();
    let result = poll_blocking(&mut meter(), |read, registers| {
        if read.start == at && read.count > 2 {
            Err(BusError::Exception(4))
        } else {
            image.read(read, registers)
        }
    });
    assert_eq!(result, Ok(expected_inverter()));
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
