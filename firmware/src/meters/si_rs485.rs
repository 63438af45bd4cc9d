//! IMT Solar (Ingenieurbüro Mencke & Tegtmeyer) Si-RS485 series: silicon irradiance sensors, with cell temperature and,
//! by type, an external temperature sensor and an anemometer.
//!
//! Source: *MODBUS Specification for Irradiance Sensors Si-RS485 Series* (March 2017, from firmware 1.51), function 04.
//! "If your sensor does not support this register, it will return the value 0": so a zero is taken for a value only when
//! the same quantity, stated a second time with an offset, says so too.

use taraz_telemetry::{PollStatus, Quantities};

use super::meter::MeterStep;
use crate::modbus::{BusError, ReadFunction, ReadRegisters, Registers};

const VALUES: ReadRegisters = ReadRegisters {
    function: ReadFunction::Input,
    start: 0,
    count: 9,
};

/// 0.1 W/m².
const IRRADIANCE_AT: usize = 0;
/// 0.1 m/s.
const WIND_SPEED_AT: usize = 3;
/// Cell temperature: 0.1 °C − 25 °C (every firmware), 0.1 °C − 100 °C (from 1.52), 0.1 °C signed (from 1.53).
const CELL: TemperatureAt = TemperatureAt {
    from_minus_25: 1,
    from_minus_100: 5,
    signed: 7,
};
/// External temperature, likewise.
const EXTERNAL: TemperatureAt = TemperatureAt {
    from_minus_25: 2,
    from_minus_100: 6,
    signed: 8,
};
/// "Phys. range −40 … +90 °C, data range 600 … 1900".
const FROM_MINUS_100_RANGE: core::ops::RangeInclusive<u16> = 600..=1900;
/// "Phys. range −25 … +75 °C, data range 0 … 1000"; 0 is what an absent sensor says.
const FROM_MINUS_25_RANGE: core::ops::RangeInclusive<u16> = 1..=1000;

struct TemperatureAt {
    from_minus_25: usize,
    from_minus_100: usize,
    signed: usize,
}

/// A sensor; it needs nothing remembered.
#[derive(Debug)]
pub(crate) struct SiRs485;

impl SiRs485 {
    pub(crate) const fn start() -> MeterStep {
        MeterStep::Read(VALUES)
    }

    pub(crate) fn answer(answer: Result<Registers<'_>, BusError>) -> MeterStep {
        MeterStep::Done(match answer {
            Ok(registers) => decode(registers).ok_or(PollStatus::NotUnderstood),
            Err(error) => Err(error.status()),
        })
    }
}

fn decode(registers: Registers<'_>) -> Option<Quantities> {
    Some(Quantities {
        irradiance_dwm2: Some(i32::from(registers.u16(IRRADIANCE_AT)?)),
        module_temperature_dc: temperature(registers, &CELL),
        ambient_temperature_dc: temperature(registers, &EXTERNAL),
        // A calm can't be told from a sensor without an anemometer.
        wind_speed_dms: registers
            .u16(WIND_SPEED_AT)
            .filter(|&speed| speed != 0)
            .map(u32::from),
        ..Quantities::default()
    })
}

fn temperature(registers: Registers<'_>, at: &TemperatureAt) -> Option<i32> {
    let stated = |index| registers.u16(index);
    if let Some(signed) = stated(at.signed).filter(|&raw| raw != 0) {
        return Some(i32::from(signed.cast_signed()));
    }
    if let Some(raw) = stated(at.from_minus_100).filter(|raw| FROM_MINUS_100_RANGE.contains(raw)) {
        return Some(i32::from(raw) - 1000);
    }
    let raw = stated(at.from_minus_25).filter(|raw| FROM_MINUS_25_RANGE.contains(raw))?;
    Some(i32::from(raw) - 250)
}
