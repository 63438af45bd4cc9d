//! By what a register map is known: values that stand in it in every state of the meter, and nowhere else.

use core::ops::RangeInclusive;

use crate::modbus::{ReadFunction, ReadRegisters, Registers};

/// Eastron SDM630: voltages at 0x00 to 0x05, power factor at 0x3E, frequency at 0x46, as IEEE 754 singles (*SDM630-Modbus V2
/// User Manual*, 1.2 "Input Registers"). The meter refuses more than 80 registers.
pub(super) const SDM630_READ: ReadRegisters = input(0, 72);
/// Growatt, either generation: status at 0, grid frequency at 13 (V3.05) or 37 (Protocol II V1.20), the first phase's voltage
/// behind it. At most 45 registers at a time.
pub(super) const GROWATT_READ: ReadRegisters = input(0, 45);
/// Growatt, holding registers 23 to 27: "Serial number", ten characters.
pub(super) const GROWATT_SERIAL_READ: ReadRegisters = ReadRegisters {
    function: ReadFunction::Holding,
    start: 23,
    count: 5,
};
/// IMT Si-RS485: irradiance at 0, the cell's temperature at 1, 5 and 7 with three different zeros (*MODBUS Specification
/// for Irradiance Sensors Si-RS485 Series*, March 2017).
pub(super) const SI_RS485_READ: ReadRegisters = input(0, 9);

/// A voltage between phase and neutral that a meter can be powered by, in V.
const MAINS_V: RangeInclusive<f32> = 40.0..=400.0;
const FREQUENCY_HZ: RangeInclusive<f32> = 45.0..=65.0;
/// The same in 0.01 Hz, and a phase's voltage in 0.1 V.
const FREQUENCY_CHZ: RangeInclusive<u16> = 4_500..=6_500;
const MAINS_DV: RangeInclusive<u16> = 400..=4_000;
/// "0: waiting, 1: normal, 3: fault"; storage inverters have states up to 9.
const GROWATT_STATUS_MAX: u16 = 9;
/// No string has more than 1,500 V, in 0.1 V.
const STRING_DV_MAX: u16 = 15_000;
/// 0.1 W/m²; "0 … 1500 W/m²", with room for what clouds add.
const IRRADIANCE_MAX: u16 = 20_000;
/// What the three statements of one temperature may differ by: they are rounded apart.
const TEMPERATURE_SLACK: i32 = 2;

const fn input(start: u16, count: u16) -> ReadRegisters {
    ReadRegisters {
        function: ReadFunction::Input,
        start,
        count,
    }
}

/// The answer to [`SDM630_READ`].
pub(super) fn is_sdm630(registers: Registers<'_>) -> bool {
    let float = |index| registers.u32(index).map(f32::from_bits).unwrap_or(f32::NAN);
    let phases = [0, 2, 4].map(float);
    phases.iter().all(|volts| (0.0..=400.0).contains(volts))
        && phases.iter().any(|volts| MAINS_V.contains(volts))
        && (-1.01..=1.01).contains(&float(0x3E))
        && FREQUENCY_HZ.contains(&float(0x46))
}

/// The answer to [`GROWATT_READ`]. An inverter that sees no grid can't be told from anything else.
pub(super) fn is_growatt(registers: Registers<'_>) -> bool {
    let at = |index| registers.u16(index).unwrap_or(u16::MAX);
    let grid =
        |frequency_at| FREQUENCY_CHZ.contains(&at(frequency_at)) && MAINS_DV.contains(&at(frequency_at + 1));
    at(0) <= GROWATT_STATUS_MAX && at(3) <= STRING_DV_MAX && (grid(13) || grid(37))
}

/// The answer to [`SI_RS485_READ`]. Sensors before firmware 1.52 state the temperature once and are not recognised.
pub(super) fn is_si_rs485(registers: Registers<'_>) -> bool {
    let at = |index| registers.u16(index).unwrap_or(u16::MAX);
    let cell = i32::from(at(1)) - 250;
    let again = i32::from(at(5)) - 1_000;
    let signed = i32::from(at(7).cast_signed());
    let same = |other: i32| (cell - other).abs() <= TEMPERATURE_SLACK;
    // At 7 stands 0 before firmware 1.53.
    at(0) <= IRRADIANCE_MAX && at(5) != 0 && same(again) && (at(7) == 0 || same(signed))
}
