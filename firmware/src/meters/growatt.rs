//! Growatt string inverters (MAX, MID, MAC, TL3-X, MIN, MIC).
//!
//! Source: *Growatt Inverter Modbus RTU Protocol II* V1.20 (2020-04-28), "Holding Reg" and "Input Reg" 0 to 124. Integers,
//! high register first, resolutions of 0.1 V, 0.1 A, 0.1 W, 0.01 Hz, 0.1 kWh and 0.1 °C.
//!
//! Holding register 44 tells how many trackers and phases there are; it is read once. Where it is not understood, two
//! trackers and three phases are assumed.

use taraz_telemetry::{Field, MPPT_MAX, Mppt, PollStatus, Quantities};

use super::map::{Block, Entry, Form, number};
use super::meter::MeterStep;
use crate::modbus::{BusError, ReadFunction, ReadRegisters, Registers};

/// "Minimum CMD period (RS485 Time out): 850ms. Wait for minimum 850ms to send a new CMD after last CMD" (3, "Device
/// Message Transmission Mode").
pub(crate) const REST_US: u32 = 850_000;
/// "TP: Input tracker num and output phase num. Eg: 0x0203 is two MPPT and 3ph output".
const TRACKERS_AND_PHASES: ReadRegisters = ReadRegisters {
    function: ReadFunction::Holding,
    start: 44,
    count: 1,
};
/// After this many failed polls in a row holding register 44 is read again: the inverter may have been replaced.
const FAILURES_MAX: u8 = 10;

const STATUS_AT: usize = 0;
/// The first tracker's voltage, current (one register each) and power (two); the next tracker's follow.
const TRACKER_AT: usize = 3;
const TRACKER_LEN: usize = 4;

/// Waiting, normal, fault; other numbers are states of storage inverters.
const STATUS_WAITING: u16 = 0;
const STATUS_NORMAL: u16 = 1;
const STATUS_FAULT: u16 = 3;
/// What SunSpec's `St` calls them: standby, MPPT, fault.
const STATE_STANDBY: u8 = 8;
const STATE_MPPT: u8 = 4;
const STATE_FAULT: u8 = 7;

static VALUES: Block = Block {
    function: ReadFunction::Input,
    start: 0,
    count: 94,
    optional: false,
    entries: &ENTRIES,
};

const fn entry(address: u16, form: Form, field: Field, exponent: i32) -> Entry {
    Entry {
        address,
        form,
        exponent,
        field,
    }
}

static ENTRIES: [Entry; 14] = [
    entry(1, Form::U32, Field::DcPowerW, -1),
    entry(35, Form::I32, Field::AcPowerW, -1),
    entry(37, Form::U16, Field::FrequencyMhz, 1),
    entry(38, Form::U16, Field::VoltageAnDv, 0),
    entry(39, Form::U16, Field::CurrentACa, 1),
    entry(42, Form::U16, Field::VoltageBnDv, 0),
    entry(43, Form::U16, Field::CurrentBCa, 1),
    entry(46, Form::U16, Field::VoltageCnDv, 0),
    entry(47, Form::U16, Field::CurrentCCa, 1),
    entry(50, Form::U16, Field::VoltageAbDv, 0),
    entry(51, Form::U16, Field::VoltageBcDv, 0),
    entry(52, Form::U16, Field::VoltageCaDv, 0),
    entry(55, Form::U32, Field::EnergyWh, 2),
    entry(93, Form::I16, Field::TemperatureDc, 0),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Layout,
    Values,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    trackers: usize,
    three_phase: bool,
}

/// A Growatt inverter and the poll under way.
#[derive(Debug)]
pub(crate) struct Growatt {
    layout: Option<Layout>,
    failures: u8,
    state: State,
}

impl Growatt {
    pub(crate) const fn new() -> Self {
        Self {
            layout: None,
            failures: 0,
            state: State::Idle,
        }
    }

    pub(crate) fn start(&mut self) -> MeterStep {
        if self.failures >= FAILURES_MAX {
            self.layout = None;
        }
        if self.layout.is_some() {
            self.read_values()
        } else {
            self.read_layout()
        }
    }

    pub(crate) fn answer(&mut self, answer: Result<Registers<'_>, BusError>) -> MeterStep {
        match (core::mem::replace(&mut self.state, State::Idle), answer) {
            (State::Layout, Ok(registers)) => self.found(Layout::stated(registers)),
            (State::Layout, Err(BusError::Exception(_))) => self.found(Layout::ASSUMED),
            (State::Values, Ok(registers)) => {
                self.failures = 0;
                MeterStep::Done(Ok(decode(registers, self.layout.unwrap_or(Layout::ASSUMED))))
            }
            (State::Idle, Ok(_)) => MeterStep::Done(Err(PollStatus::NotUnderstood)),
            (_, Err(error)) => {
                self.failures = self.failures.saturating_add(1);
                MeterStep::Done(Err(error.status()))
            }
        }
    }

    fn read_layout(&mut self) -> MeterStep {
        self.state = State::Layout;
        MeterStep::Read(TRACKERS_AND_PHASES)
    }

    fn found(&mut self, layout: Layout) -> MeterStep {
        self.layout = Some(layout);
        self.read_values()
    }

    fn read_values(&mut self) -> MeterStep {
        self.state = State::Values;
        MeterStep::Read(VALUES.read())
    }
}

impl Layout {
    const ASSUMED: Self = Self {
        trackers: 2,
        three_phase: true,
    };

    fn stated(registers: Registers<'_>) -> Self {
        let [trackers, phases] = registers.u16(0).unwrap_or_default().to_be_bytes();
        match (usize::from(trackers), phases) {
            (trackers @ 1..=MPPT_MAX, 1) => Self {
                trackers,
                three_phase: false,
            },
            (trackers @ 1..=MPPT_MAX, 3) => Self {
                trackers,
                three_phase: true,
            },
            _ => Self::ASSUMED,
        }
    }
}

fn decode(registers: Registers<'_>, layout: Layout) -> Quantities {
    let mut quantities = Quantities::default();
    VALUES.decode(registers, &mut quantities);
    if !layout.three_phase {
        (quantities.voltage_bn_dv, quantities.voltage_cn_dv) = (None, None);
        (quantities.current_b_ca, quantities.current_c_ca) = (None, None);
        (
            quantities.voltage_ab_dv,
            quantities.voltage_bc_dv,
            quantities.voltage_ca_dv,
        ) = (None, None, None);
    }
    quantities.state = match registers.u16(STATUS_AT) {
        Some(STATUS_WAITING) => Some(STATE_STANDBY),
        Some(STATUS_NORMAL) => Some(STATE_MPPT),
        Some(STATUS_FAULT) => Some(STATE_FAULT),
        _ => None,
    };
    for tracker in 0..layout.trackers {
        // At most MPPT_MAX trackers: there is room.
        let _ = quantities
            .mppt
            .push(input(registers, TRACKER_AT + tracker * TRACKER_LEN));
    }
    quantities
}

fn input(registers: Registers<'_>, at: usize) -> Mppt {
    Mppt {
        voltage_dv: number(registers, at, Form::U16, 0).and_then(|v| u32::try_from(v).ok()),
        current_ca: number(registers, at + 1, Form::U16, 1).and_then(|v| i32::try_from(v).ok()),
        power_w: number(registers, at + 2, Form::U32, -1).and_then(|v| i32::try_from(v).ok()),
    }
}
