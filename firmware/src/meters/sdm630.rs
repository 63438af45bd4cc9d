//! Eastron SDM630 (SDM630-Modbus, SDM630 V2, SDM630MCT): a three-phase meter with import and export registers.
//!
//! Source: *Eastron SDM630-Modbus V2 User Manual*, "Modbus Protocol Implementation", 1.2 "Input Registers", with the
//! register list of *SDM630MCT Modbus Protocol* V1.7. Function 04, IEEE 754 singles, high register first, two registers
//! each. Power is positive when it flows from terminal "in" to "out": wire the grid to "in", and import is positive.
//!
//! The meter refuses more than 40 parameters (80 registers) at a time, so what we carry takes two reads.

use taraz_telemetry::Field;

use super::map::{Block, Entry, Form};
use crate::modbus::ReadFunction;

/// The two reads of one poll.
pub(crate) static BLOCKS: [Block; 2] = [
    Block {
        function: ReadFunction::Input,
        start: 0x0000,
        count: 0x4C,
        optional: false,
        entries: &FIRST,
    },
    Block {
        function: ReadFunction::Input,
        start: 0x00C8,
        count: 0x1A,
        optional: true,
        entries: &SECOND,
    },
];

const fn entry(address: u16, field: Field, exponent: i32) -> Entry {
    Entry {
        address,
        form: Form::F32,
        exponent,
        field,
    }
}

static FIRST: [Entry; 16] = [
    // Phase to neutral volts.
    entry(0x0000, Field::VoltageAnDv, 1),
    entry(0x0002, Field::VoltageBnDv, 1),
    entry(0x0004, Field::VoltageCnDv, 1),
    // Amperes.
    entry(0x0006, Field::CurrentACa, 2),
    entry(0x0008, Field::CurrentBCa, 2),
    entry(0x000A, Field::CurrentCCa, 2),
    // Watts.
    entry(0x000C, Field::AcPowerAW, 0),
    entry(0x000E, Field::AcPowerBW, 0),
    entry(0x0010, Field::AcPowerCW, 0),
    // Totals of the system: W, VA, var, power factor as a ratio.
    entry(0x0034, Field::AcPowerW, 0),
    entry(0x0038, Field::ApparentPowerVa, 0),
    entry(0x003C, Field::ReactivePowerVar, 0),
    entry(0x003E, Field::PowerFactorPermille, 3),
    // Hz.
    entry(0x0046, Field::FrequencyMhz, 3),
    // kWh since the last reset.
    entry(0x0048, Field::ImportWh, 3),
    entry(0x004A, Field::ExportWh, 3),
];

static SECOND: [Entry; 4] = [
    // Line to line volts.
    entry(0x00C8, Field::VoltageAbDv, 1),
    entry(0x00CA, Field::VoltageBcDv, 1),
    entry(0x00CC, Field::VoltageCaDv, 1),
    // Neutral amperes.
    entry(0x00E0, Field::CurrentNCa, 2),
];
