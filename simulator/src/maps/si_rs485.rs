//! IMT Solar Si-RS485TC: irradiance and temperature sensor in the plane of the array.
//!
//! IMT Solar, "MODBUS Specification for Irradiance Sensors Si-RS485 Series" (function 04): 0 irradiance in 0.1 W/m²,
//! 3 wind speed (not fitted: 0). Temperatures of cell and external sensor in 0.1 °C stand there three times: at 1 and 2
//! above −25 °C, at 5 and 6 above −100 °C, at 7 and 8 signed.

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
    let above = |at, q, zero| Point {
        at,
        q,
        encoding: Encoding::U16Above { exponent: -1, zero },
        what: None,
    };
    Block {
        function: 4,
        start: 0,
        template: vec![0; REGISTERS],
        points: vec![
            point(0, Q::Irradiance, Encoding::U16(-1), Field::IrradianceDwm2),
            above(1, Q::TmpModule, -250),
            above(2, Q::TmpAmbient, -250),
            above(5, Q::TmpModule, -1_000),
            above(6, Q::TmpAmbient, -1_000),
            point(7, Q::TmpModule, Encoding::I16(-1), Field::ModuleTemperatureDc),
            point(8, Q::TmpAmbient, Encoding::I16(-1), Field::AmbientTemperatureDc),
        ],
        read_max: READ_REGISTERS_MAX,
    }
}
