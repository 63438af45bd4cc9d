//! IMT Solar Si-RS485TC: irradiance and temperature sensor in the plane of the array.
//!
//! IMT Solar, "Specification MODBUS protocol Si-RS485" (function 04, Read Input Registers): 0 irradiance in 0.1 W/m²,
//! 3 wind speed in 0.1 m/s (optional), 7 cell temperature and 8 external temperature in 0.1 °C, signed.

use taraz_telemetry::Field;

use super::{Block, READ_REGISTERS_MAX};
use crate::points::{Encoding, Point, What};
use crate::quantity::Q;

/// Registers that answer.
const REGISTERS: usize = 9;

/// The registers of the sensor.
pub(crate) fn si_rs485() -> Block {
    let point = |at, q, encoding, field| Point {
        at,
        q,
        encoding,
        what: Some(What::Field(field)),
    };
    Block {
        function: 4,
        start: 0,
        template: vec![0; REGISTERS],
        points: vec![
            point(0, Q::Irradiance, Encoding::U16(-1), Field::IrradianceDwm2),
            point(7, Q::TmpModule, Encoding::I16(-1), Field::ModuleTemperatureDc),
            point(8, Q::TmpAmbient, Encoding::I16(-1), Field::AmbientTemperatureDc),
        ],
        read_max: READ_REGISTERS_MAX,
    }
}
