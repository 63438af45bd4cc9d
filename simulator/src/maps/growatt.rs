//! Growatt string inverters.
//!
//! Growatt, "PV Inverter Modbus RS485 RTU Protocol" V3.05 (input registers, function 04, up to two inputs and three
//! phases) and "Inverter Modbus RTU Protocol II" V1.20 (the TL-X and MOD families: up to eight inputs, the AC side from
//! register 35 on). Both state the status at 0, DC power at 1 and the first two inputs at 3 to 10.

use taraz_telemetry::Field;

use super::{Block, READ_REGISTERS_MAX, put_text};
use crate::config::GrowattProtocol;
use crate::points::{Encoding, Point, What};
use crate::quantity::{MpptPart, Q};

const TENTHS_16: Encoding = Encoding::U16(-1);
const TENTHS_32: Encoding = Encoding::U32(-1);
const HUNDREDTHS_16: Encoding = Encoding::U16(-2);
/// 0.1 kWh.
const ENERGY: Encoding = Encoding::U32(2);

/// Where the AC side begins, the energies, the temperature, the voltages between phases, and how many registers answer.
struct Layout {
    ac: u16,
    today: u16,
    total: u16,
    temperature: u16,
    registers: usize,
    inputs_max: u8,
    read_max: u16,
    lines: Option<u16>,
}

/// "Maximum read data length is 45 words" (V3.05, 4).
const READ_V3_MAX: u16 = 45;

const fn layout(protocol: GrowattProtocol) -> Layout {
    match protocol {
        GrowattProtocol::V3_05 => Layout {
            ac: 11,
            today: 26,
            total: 28,
            temperature: 32,
            registers: 64,
            inputs_max: 2,
            read_max: READ_V3_MAX,
            lines: None,
        },
        GrowattProtocol::Ii => Layout {
            ac: 35,
            today: 53,
            total: 55,
            temperature: 93,
            registers: 125,
            inputs_max: 8,
            read_max: READ_REGISTERS_MAX,
            lines: Some(50),
        },
    }
}

/// Input registers and the holding registers that identify the inverter.
pub(crate) fn growatt(protocol: GrowattProtocol, inputs: u8, serial: &str) -> [Block; 2] {
    let layout = layout(protocol);
    let inputs = inputs.min(layout.inputs_max);
    let mut points = Vec::new();
    let mut point = |at, q, encoding, field: Option<Field>| {
        points.push(Point {
            at,
            q,
            encoding,
            what: field.map(What::Field),
        });
    };
    point(0, Q::St, Encoding::GrowattStatus, Some(Field::State));
    point(1, Q::Dcw, TENTHS_32, Some(Field::DcPowerW));
    point(layout.ac, Q::W, TENTHS_32, Some(Field::AcPowerW));
    point(layout.ac + 2, Q::Hz, HUNDREDTHS_16, Some(Field::FrequencyMhz));
    let phases = [
        (Q::PhvA, Field::VoltageAnDv, Q::AphA, Field::CurrentACa, Q::VaA),
        (Q::PhvB, Field::VoltageBnDv, Q::AphB, Field::CurrentBCa, Q::VaB),
        (Q::PhvC, Field::VoltageCnDv, Q::AphC, Field::CurrentCCa, Q::VaC),
    ];
    let mut at = layout.ac + 3;
    for (volts, volts_field, amps, amps_field, volt_amps) in phases {
        point(at, volts, TENTHS_16, Some(volts_field));
        point(at + 1, amps, TENTHS_16, Some(amps_field));
        point(at + 2, volt_amps, TENTHS_32, None);
        at += 4;
    }
    if let Some(at) = layout.lines {
        point(at, Q::PpvAb, TENTHS_16, Some(Field::VoltageAbDv));
        point(at + 1, Q::PpvBc, TENTHS_16, Some(Field::VoltageBcDv));
        point(at + 2, Q::PpvCa, TENTHS_16, Some(Field::VoltageCaDv));
    }
    point(layout.today, Q::WhToday, ENERGY, None);
    point(layout.total, Q::Wh, ENERGY, Some(Field::EnergyWh));
    point(
        layout.temperature,
        Q::TmpCab,
        TENTHS_16,
        Some(Field::TemperatureDc),
    );
    for input in 0..inputs {
        let at = 3 + 4 * u16::from(input);
        let parts = [
            (0, MpptPart::Voltage),
            (1, MpptPart::Current),
            (2, MpptPart::Power),
        ];
        points.extend(parts.map(|(offset, part)| Point {
            at: at + offset,
            q: Q::mppt(input, part),
            encoding: if part == MpptPart::Power {
                TENTHS_32
            } else {
                TENTHS_16
            },
            what: Some(What::Mppt(input, part)),
        }));
    }
    points.sort_by_key(|point| point.at);
    let template = vec![0; layout.registers];
    let input = Block {
        function: 4,
        start: 0,
        template,
        points,
        read_max: layout.read_max,
    };
    [input, holding(serial, inputs)]
}

/// Holding registers 0 to 44: firmware version at 9, serial number at 23, inputs and phases at 44 ("0x0203 is two MPPT
/// and 3ph output").
fn holding(serial: &str, inputs: u8) -> Block {
    let mut template = vec![0; 45];
    put_text(&mut template[9..12], "TZ1.0");
    put_text(&mut template[23..28], serial);
    template[44] = u16::from_be_bytes([inputs, 3]);
    Block {
        function: 3,
        start: 0,
        template,
        points: Vec::new(),
        read_max: READ_REGISTERS_MAX,
    }
}
