//! Eastron SDM630: a three-phase meter.
//!
//! Eastron, "SDM630 Modbus Protocol" ("Input registers ... function code 04 ... IEEE 754 32-bit floating point, most
//! significant register first"). Addresses are those of the document's "Modbus Protocol Start Address Hex".

use taraz_telemetry::Field;

use super::Block;
use crate::points::{Encoding, Point, What};
use crate::quantity::Q;

/// "The maximum number of parameters that can be requested in one transaction is 40", each of two registers.
const READ_MAX: u16 = 80;
/// Registers that answer: up to "total VArh", 0x0158.
const REGISTERS: usize = 0x015A;

/// kWh in steps of 10 Wh: "Import Wh since last reset, kWh" with the display's two decimals.
const KWH: Encoding = Encoding::F32 { unit: 3, step: 1 };
const VOLTS: Encoding = Encoding::F32 { unit: 0, step: -1 };
const AMPS: Encoding = Encoding::F32 { unit: 0, step: -2 };
const THOUSANDTHS: Encoding = Encoding::F32 { unit: 0, step: -3 };
const WATTS: Encoding = Encoding::F32 { unit: 0, step: 0 };

const POINTS: &[(u16, Q, Encoding, Option<Field>)] = &[
    (0x0000, Q::PhvA, VOLTS, Some(Field::VoltageAnDv)),
    (0x0002, Q::PhvB, VOLTS, Some(Field::VoltageBnDv)),
    (0x0004, Q::PhvC, VOLTS, Some(Field::VoltageCnDv)),
    (0x0006, Q::AphA, AMPS, Some(Field::CurrentACa)),
    (0x0008, Q::AphB, AMPS, Some(Field::CurrentBCa)),
    (0x000A, Q::AphC, AMPS, Some(Field::CurrentCCa)),
    (0x000C, Q::WphA, WATTS, Some(Field::AcPowerAW)),
    (0x000E, Q::WphB, WATTS, Some(Field::AcPowerBW)),
    (0x0010, Q::WphC, WATTS, Some(Field::AcPowerCW)),
    (0x0012, Q::VaA, WATTS, None),
    (0x0014, Q::VaB, WATTS, None),
    (0x0016, Q::VaC, WATTS, None),
    (0x0018, Q::VarA, WATTS, None),
    (0x001A, Q::VarB, WATTS, None),
    (0x001C, Q::VarC, WATTS, None),
    (0x001E, Q::PfA, THOUSANDTHS, None),
    (0x0020, Q::PfB, THOUSANDTHS, None),
    (0x0022, Q::PfC, THOUSANDTHS, None),
    (0x002A, Q::Phv, VOLTS, None),
    (0x0030, Q::A, AMPS, None),
    (0x0034, Q::W, WATTS, Some(Field::AcPowerW)),
    (0x0038, Q::Va, WATTS, Some(Field::ApparentPowerVa)),
    (0x003C, Q::Var, WATTS, Some(Field::ReactivePowerVar)),
    (0x003E, Q::Pf, THOUSANDTHS, Some(Field::PowerFactorPermille)),
    (0x0046, Q::Hz, THOUSANDTHS, Some(Field::FrequencyMhz)),
    (0x0048, Q::Import, KWH, Some(Field::ImportWh)),
    (0x004A, Q::Export, KWH, Some(Field::ExportWh)),
    (0x00C8, Q::PpvAb, VOLTS, Some(Field::VoltageAbDv)),
    (0x00CA, Q::PpvBc, VOLTS, Some(Field::VoltageBcDv)),
    (0x00CC, Q::PpvCa, VOLTS, Some(Field::VoltageCaDv)),
    (0x00CE, Q::Ppv, VOLTS, None),
    (0x00E0, Q::An, AMPS, Some(Field::CurrentNCa)),
];

/// The registers of the meter.
pub(crate) fn sdm630() -> Block {
    let point = |&(at, q, encoding, field): &(u16, Q, Encoding, Option<Field>)| Point {
        at,
        q,
        encoding,
        what: field.map(What::Field),
    };
    Block {
        function: 4,
        start: 0,
        template: vec![0; REGISTERS],
        points: POINTS.iter().map(point).collect(),
        read_max: READ_MAX,
    }
}
