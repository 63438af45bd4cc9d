//! Polls of whole devices: what their registers mean.

use std::vec::Vec;

use taraz_telemetry::{Mppt, PollStatus, Quantities};

use super::image::{Image, expected_inverter, input, inverter, meter, mppt, nothing, poll};
use super::mppt::HEAD_LEN;
use super::{BASES, UNSTABLE_RETRIES_MAX};
use crate::meters::poll_blocking;
use crate::modbus::{BusError, ReadFunction, ReadRegisters};

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
