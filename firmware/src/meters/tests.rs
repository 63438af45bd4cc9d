//! Meters with register maps of their vendors' own.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use taraz_telemetry::{MeterAddress, MeterDriver, Mppt, PollStatus, Quantities};

use super::{Meter, READS_PER_POLL_MAX, poll_blocking};
use crate::modbus::{BusError, ReadFunction, ReadRegisters};

fn meter(driver: MeterDriver) -> Meter {
    Meter::new(MeterAddress::new(1).unwrap(), driver)
}

/// Answers reads of one table from a list of (address, registers); what is not listed is 0.
fn answer(
    table: ReadFunction,
    values: Vec<(u16, Vec<u16>)>,
) -> impl FnMut(ReadRegisters, &mut [u16]) -> Result<(), BusError> {
    move |read, registers| {
        if read.function != table {
            return Err(BusError::Exception(1));
        }
        registers.fill(0);
        for (address, stated) in &values {
            for (index, &register) in stated.iter().enumerate() {
                let at = (usize::from(*address) + index).checked_sub(usize::from(read.start));
                if let Some(slot) = at.and_then(|at| registers.get_mut(at)) {
                    *slot = register;
                }
            }
        }
        Ok(())
    }
}

fn float(value: f32) -> Vec<u16> {
    let bytes = value.to_be_bytes();
    vec![
        u16::from_be_bytes([bytes[0], bytes[1]]),
        u16::from_be_bytes([bytes[2], bytes[3]]),
    ]
}

fn long(value: u32) -> Vec<u16> {
    let [a, b, c, d] = value.to_be_bytes();
    vec![u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

fn sdm630() -> Vec<(u16, Vec<u16>)> {
    let values: [(u16, f32); 20] = [
        (0x00, 231.04),
        (0x02, 229.96),
        (0x04, 230.5),
        (0x06, 10.126),
        (0x08, 9.87),
        (0x0A, 0.0),
        (0x0C, 2_339.6),
        (0x0E, -2_269.5),
        (0x10, 0.4),
        (0x34, 70.1),
        (0x38, 4_650.0),
        (0x3C, -120.25),
        (0x3E, -0.985_6),
        (0x46, 50.012_5),
        (0x48, 1_234.567),
        (0x4A, 0.25),
        (0xC8, 400.1),
        (0xCA, 399.9),
        (0xCC, 400.0),
        (0xE0, 1.5),
    ];
    values
        .into_iter()
        .map(|(address, value)| (address, float(value)))
        .collect()
}

#[test]
fn an_sdm630_states_three_phases_import_and_export() {
    let result = poll_blocking(
        &mut meter(MeterDriver::Sdm630),
        answer(ReadFunction::Input, sdm630()),
    );
    let expected = Quantities {
        voltage_an_dv: Some(2_310),
        voltage_bn_dv: Some(2_300),
        voltage_cn_dv: Some(2_305),
        current_a_ca: Some(1_013),
        current_b_ca: Some(987),
        current_c_ca: Some(0),
        ac_power_a_w: Some(2_340),
        ac_power_b_w: Some(-2_270),
        ac_power_c_w: Some(0),
        ac_power_w: Some(70),
        apparent_power_va: Some(4_650),
        reactive_power_var: Some(-120),
        power_factor_permille: Some(-986),
        frequency_mhz: Some(50_013),
        import_wh: Some(1_234_567),
        export_wh: Some(250),
        voltage_ab_dv: Some(4_001),
        voltage_bc_dv: Some(3_999),
        voltage_ca_dv: Some(4_000),
        current_n_ca: Some(150),
        ..Quantities::default()
    };
    assert_eq!(result, Ok(expected));
}

#[test]
fn an_sdm630_is_asked_for_at_most_forty_parameters_at_a_time() {
    let mut reads = Vec::new();
    let mut answered = answer(ReadFunction::Input, sdm630());
    let _ = poll_blocking(&mut meter(MeterDriver::Sdm630), |read, registers| {
        reads.push((read.start, read.count));
        answered(read, registers)
    });
    assert_eq!(reads, [(0x00, 76), (0xC8, 26)]);
}

#[test]
fn an_sdm630_that_refuses_the_second_block_is_read_without_it() {
    let mut answered = answer(ReadFunction::Input, sdm630());
    let result = poll_blocking(&mut meter(MeterDriver::Sdm630), |read, registers| {
        if read.start == 0xC8 {
            Err(BusError::Exception(2))
        } else {
            answered(read, registers)
        }
    });
    let found = result.unwrap();
    assert_eq!(
        (found.import_wh, found.voltage_ab_dv, found.current_n_ca),
        (Some(1_234_567), None, None)
    );
}

#[test]
fn a_number_that_is_none_is_absent() {
    let mut values = sdm630();
    values[0].1 = vec![0x7FC0, 0];
    values[14].1 = vec![0x7F80, 0];
    let found = poll_blocking(
        &mut meter(MeterDriver::Sdm630),
        answer(ReadFunction::Input, values),
    )
    .unwrap();
    assert_eq!((found.voltage_an_dv, found.import_wh), (None, None));
    assert_eq!(found.voltage_bn_dv, Some(2_300));
}

fn growatt() -> Vec<(u16, Vec<u16>)> {
    vec![
        (0, vec![1]),
        (1, long(108_905)),
        (3, vec![6_105, 85]),
        (5, long(51_890)),
        (7, vec![6_210, 92]),
        (9, long(57_015)),
        (11, vec![6_000, 10]),
        (13, long(6_000)),
        (35, long(106_724)),
        (37, vec![5_001, 2_305, 154]),
        (42, vec![2_301, 155]),
        (46, vec![2_311, 156]),
        (50, vec![3_991, 3_992, 3_993]),
        (55, long(1_234_567)),
        (93, vec![452]),
    ]
}

fn expected_growatt() -> Quantities {
    let input = |voltage, current, power| Mppt {
        voltage_dv: Some(voltage),
        current_ca: Some(current),
        power_w: Some(power),
    };
    Quantities {
        state: Some(4),
        dc_power_w: Some(10_891),
        ac_power_w: Some(10_672),
        frequency_mhz: Some(50_010),
        voltage_an_dv: Some(2_305),
        voltage_bn_dv: Some(2_301),
        voltage_cn_dv: Some(2_311),
        current_a_ca: Some(1_540),
        current_b_ca: Some(1_550),
        current_c_ca: Some(1_560),
        voltage_ab_dv: Some(3_991),
        voltage_bc_dv: Some(3_992),
        voltage_ca_dv: Some(3_993),
        energy_wh: Some(123_456_700),
        temperature_dc: Some(452),
        mppt: [input(6_105, 850, 5_189), input(6_210, 920, 5_702)]
            .into_iter()
            .collect(),
        ..Quantities::default()
    }
}

/// Table, start and count of a read.
type Asked = (ReadFunction, u16, u16);

/// Polls a few times and gives the last result and what was read.
fn poll_growatt(polls: usize, values: &[(u16, Vec<u16>)]) -> (Result<Quantities, PollStatus>, Vec<Asked>) {
    let mut meter = meter(MeterDriver::Growatt);
    let mut reads = Vec::new();
    let mut last = Err(PollStatus::NotUnderstood);
    for _ in 0..polls {
        let mut answered = answer(ReadFunction::Input, values.to_vec());
        last = poll_blocking(&mut meter, |read, registers| {
            reads.push((read.function, read.start, read.count));
            answered(read, registers)
        });
    }
    (last, reads)
}

const LAYOUT: Asked = (ReadFunction::Holding, 44, 1);
const LOOK: Asked = (ReadFunction::Input, 0, 45);

#[test]
fn a_growatt_of_protocol_ii_is_recognised_by_where_its_frequency_stands() {
    let (result, reads) = poll_growatt(2, &growatt());
    assert_eq!(result, Ok(expected_growatt()));
    let values = (ReadFunction::Input, 0, 94);
    assert_eq!(reads, [LAYOUT, LOOK, values, values]);
}

/// The same inverter in the older map: the AC side from 11 on, no line to line voltages.
fn growatt_v3() -> Vec<(u16, Vec<u16>)> {
    let mut values = growatt();
    values.retain(|(address, _)| *address < 11);
    values.extend([
        (11, long(106_724)),
        (13, vec![5_001, 2_305, 154]),
        (18, vec![2_301, 155]),
        (22, vec![2_311, 156]),
        (28, long(1_234_567)),
        (32, vec![452]),
        // "Vac fault value": it must not be taken for a frequency.
        (37, vec![2_650]),
    ]);
    values
}

#[test]
fn a_growatt_of_protocol_3_is_recognised_too() {
    let (result, reads) = poll_growatt(2, &growatt_v3());
    let expected = Quantities {
        voltage_ab_dv: None,
        voltage_bc_dv: None,
        voltage_ca_dv: None,
        ..expected_growatt()
    };
    assert_eq!(result, Ok(expected));
    assert_eq!(reads, [LAYOUT, LOOK, (ReadFunction::Input, 0, 33)]);
}

#[test]
fn a_growatt_that_sees_no_grid_states_what_both_maps_share() {
    let values = [
        (0, vec![0]),
        (1, long(40)),
        (3, vec![3_105, 0]),
        (7, vec![3_210, 0]),
    ];
    let (result, reads) = poll_growatt(2, &values);
    let input = |voltage| Mppt {
        voltage_dv: Some(voltage),
        current_ca: Some(0),
        power_w: Some(0),
    };
    let expected = Quantities {
        state: Some(8),
        dc_power_w: Some(4),
        mppt: [input(3_105), input(3_210)].into_iter().collect(),
        ..Quantities::default()
    };
    assert_eq!(result, Ok(expected));
    assert_eq!(
        reads,
        [LAYOUT, LOOK, LOOK],
        "it is looked at until the grid is there"
    );
}

#[test]
fn a_growatt_that_refuses_is_looked_at_anew() {
    let mut meter = meter(MeterDriver::Growatt);
    assert!(poll_blocking(&mut meter, answer(ReadFunction::Input, growatt())).is_ok());
    let refused = poll_blocking(&mut meter, |_, _| Err(BusError::Exception(2)));
    assert_eq!(refused, Err(PollStatus::Exception(2)));
    let found = poll_blocking(&mut meter, answer(ReadFunction::Input, growatt_v3())).unwrap();
    assert_eq!((found.ac_power_w, found.voltage_ab_dv), (Some(10_672), None));
}

#[test]
fn a_growatt_that_tells_its_layout_is_taken_at_its_word() {
    let with_layout = |layout: u16| {
        let mut answered = answer(ReadFunction::Input, growatt());
        poll_blocking(&mut meter(MeterDriver::Growatt), |read, registers| {
            if read.function == ReadFunction::Holding {
                registers[0] = layout;
                return Ok(());
            }
            answered(read, registers)
        })
        .unwrap()
    };
    assert_eq!(with_layout(0x0303).mppt.len(), 3);
    let single = with_layout(0x0101);
    assert_eq!((single.mppt.len(), single.voltage_an_dv), (1, Some(2_305)));
    assert_eq!(
        (single.voltage_bn_dv, single.current_c_ca, single.voltage_ab_dv),
        (None, None, None)
    );
    for nonsense in [0, 0x0903, 0x0202, 0xFFFF] {
        assert_eq!(with_layout(nonsense), expected_growatt(), "{nonsense:#06x}");
    }
}

#[test]
fn a_growatt_waits_works_or_fails() {
    for (status, state) in [(0, Some(8)), (1, Some(4)), (3, Some(7)), (5, None)] {
        let mut values = growatt();
        values[0].1 = vec![status];
        let found = poll_blocking(
            &mut meter(MeterDriver::Growatt),
            answer(ReadFunction::Input, values),
        )
        .unwrap();
        assert_eq!(found.state, state, "status {status}");
    }
}

fn si(registers: [u16; 9]) -> Quantities {
    let values = vec![(0, registers.to_vec())];
    poll_blocking(
        &mut meter(MeterDriver::SiRs485),
        answer(ReadFunction::Input, values),
    )
    .unwrap()
}

#[test]
fn an_irradiance_sensor_with_everything() {
    let found = si([8_453, 662, 481, 32, 0, 1_412, 1_231, 412, 231]);
    let expected = Quantities {
        irradiance_dwm2: Some(8_453),
        module_temperature_dc: Some(412),
        ambient_temperature_dc: Some(231),
        wind_speed_dms: Some(32),
        ..Quantities::default()
    };
    assert_eq!(found, expected);
}

#[test]
fn an_irradiance_sensor_without_options_states_no_zeros() {
    let found = si([12, 250, 0, 0, 0, 1_000, 0, 0, 0]);
    let expected = Quantities {
        irradiance_dwm2: Some(12),
        module_temperature_dc: Some(0),
        ..Quantities::default()
    };
    assert_eq!(found, expected);
    let below_zero = (-57_i16).cast_unsigned();
    assert_eq!(
        si([0, 0, 0, 0, 0, 943, 0, below_zero, 0]).module_temperature_dc,
        Some(-57)
    );
}

#[test]
fn an_irradiance_sensor_of_old_firmware_states_its_cell_with_an_offset() {
    let found = si([3_000, 512, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        (found.module_temperature_dc, found.ambient_temperature_dc),
        (Some(262), None)
    );
}

#[test]
fn failures_are_told_as_they_are() {
    let drivers = [
        MeterDriver::Sunspec,
        MeterDriver::Sdm630,
        MeterDriver::Growatt,
        MeterDriver::SiRs485,
    ];
    let errors = [
        (BusError::Timeout, PollStatus::Timeout),
        (BusError::BadFrame, PollStatus::BadFrame),
        (BusError::Lost, PollStatus::Timeout),
    ];
    for driver in drivers {
        for (error, status) in errors {
            assert_eq!(
                poll_blocking(&mut meter(driver), |_, _| Err(error)),
                Err(status),
                "{driver:?}"
            );
        }
        assert_eq!(meter(driver).driver(), driver);
    }
    for driver in [MeterDriver::Sdm630, MeterDriver::Growatt, MeterDriver::SiRs485] {
        let refused = poll_blocking(&mut meter(driver), |_, _| Err(BusError::Exception(11)));
        assert_eq!(refused, Err(PollStatus::Exception(11)), "{driver:?}");
    }
}

proptest! {
    #[test]
    fn any_registers_decode_within_the_bound(
        seed in prop::collection::vec(any::<u16>(), 1..200),
        driver in prop::sample::select(vec![MeterDriver::Sdm630, MeterDriver::Growatt, MeterDriver::SiRs485]),
    ) {
        let mut reads = 0;
        let result = poll_blocking(&mut meter(driver), |read, registers| {
            reads += 1;
            for (index, register) in registers.iter_mut().enumerate() {
                *register = seed[(usize::from(read.start) + index) % seed.len()];
            }
            Ok(())
        });
        prop_assert!(result.is_ok());
        prop_assert!(reads <= READS_PER_POLL_MAX);
    }
}
