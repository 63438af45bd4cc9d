//! Growatt string inverters, both generations of their register map.
//!
//! Sources: *Growatt PV Inverter Modbus RS485 RTU Protocol* V3.05 (2013-04-25; TL, UE, MTL-S and other inverters of these
//! years) and *Growatt Inverter Modbus RTU Protocol II* V1.20 (2020-04-28; MAX, MID, MAC, TL3-X, MIN, MIC), "Input Reg",
//! function 04. Integers, high register first, resolutions of 0.1 V, 0.1 A, 0.1 W, 0.01 Hz, 0.1 kWh and 0.1 °C. Both have
//! status, DC power and the first inputs at 0 to 10; the AC side begins at 11 (V3) or 35 (II).
//!
//! Which one it is shows in the grid's frequency, which stands at 13 or at 37; an inverter that sees no grid tells neither,
//! and only what both maps share is taken. Holding register 44 says how many inputs and phases there are; where it says
//! nothing sensible, two inputs and three phases are assumed.

use taraz_telemetry::{Field, MPPT_MAX, Mppt, PollStatus, Quantities};

use super::map::{Block, Entry, Form, number};
use super::meter::MeterStep;
use crate::modbus::{BusError, ReadFunction, ReadRegisters, Registers};

/// "Minimum CMD period (RS485 Time out): 850ms. Wait for minimum 850ms to send a new CMD after last CMD".
pub(crate) const REST_US: u32 = 850_000;
/// "TP: Input tracker num and output phase num. Eg: 0x0203 is two MPPT and 3ph output".
const TRACKERS_AND_PHASES: ReadRegisters = ReadRegisters {
    function: ReadFunction::Holding,
    start: 44,
    count: 1,
};
/// After this many failed polls in a row the inverter is looked at anew: it may have been replaced.
const FAILURES_MAX: u8 = 10;

const STATUS_AT: usize = 0;
/// The first input's voltage, current (one register each) and power (two); the next input's follow.
const INPUT_AT: usize = 3;
const INPUT_LEN: usize = 4;
/// V3 has two inputs; what stands behind them there is the AC side.
const INPUTS_V3_MAX: usize = 2;
/// The grid's frequency, 0.01 Hz, and what it can be.
const FREQUENCY_V3_AT: usize = 13;
const FREQUENCY_II_AT: usize = 37;
const FREQUENCY_RANGE: core::ops::RangeInclusive<u16> = 4_500..=6_500;

/// Waiting, normal, fault; other numbers are states of storage inverters.
const STATUS_WAITING: u16 = 0;
const STATUS_NORMAL: u16 = 1;
const STATUS_FAULT: u16 = 3;
/// What SunSpec's `St` calls them: standby, MPPT, fault.
const STATE_STANDBY: u8 = 8;
const STATE_MPPT: u8 = 4;
const STATE_FAULT: u8 = 7;

/// What both maps share. V3 gives at most 45 registers at a time: "Maximum read data length is 45 words".
static COMMON: Block = block(45, &[entry(1, Form::U32, Field::DcPowerW, -1)]);

static V3: Block = block(
    33,
    &[
        entry(1, Form::U32, Field::DcPowerW, -1),
        entry(11, Form::I32, Field::AcPowerW, -1),
        entry(13, Form::U16, Field::FrequencyMhz, 1),
        entry(14, Form::U16, Field::VoltageAnDv, 0),
        entry(15, Form::U16, Field::CurrentACa, 1),
        entry(18, Form::U16, Field::VoltageBnDv, 0),
        entry(19, Form::U16, Field::CurrentBCa, 1),
        entry(22, Form::U16, Field::VoltageCnDv, 0),
        entry(23, Form::U16, Field::CurrentCCa, 1),
        entry(28, Form::U32, Field::EnergyWh, 2),
        entry(32, Form::I16, Field::TemperatureDc, 0),
    ],
);

static II: Block = block(
    94,
    &[
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
    ],
);

const fn block(count: u16, entries: &'static [Entry]) -> Block {
    Block {
        function: ReadFunction::Input,
        start: 0,
        count,
        optional: false,
        entries,
    }
}

const fn entry(address: u16, form: Form, field: Field, exponent: i32) -> Entry {
    Entry {
        address,
        form,
        exponent,
        field,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Layout,
    /// What both maps share, to see which it is.
    Look,
    Values(Generation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    V3,
    Ii,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    inputs: usize,
    three_phase: bool,
}

/// A Growatt inverter and the poll under way.
#[derive(Debug)]
pub(crate) struct Growatt {
    layout: Option<Layout>,
    generation: Option<Generation>,
    failures: u8,
    state: State,
}

/// What was learnt about an inverter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrowattMemory {
    layout: Option<Layout>,
    generation: Option<Generation>,
    failures: u8,
}

impl Growatt {
    pub(crate) const fn remember(&self) -> GrowattMemory {
        GrowattMemory {
            layout: self.layout,
            generation: self.generation,
            failures: self.failures,
        }
    }

    pub(crate) const fn recall(memory: GrowattMemory) -> Self {
        Self {
            layout: memory.layout,
            generation: memory.generation,
            failures: memory.failures,
            state: State::Idle,
        }
    }

    pub(crate) const fn new() -> Self {
        Self {
            layout: None,
            generation: None,
            failures: 0,
            state: State::Idle,
        }
    }

    pub(crate) fn start(&mut self) -> MeterStep {
        if self.failures >= FAILURES_MAX {
            (self.layout, self.generation) = (None, None);
        }
        match self.layout {
            Some(_) => self.read_values(),
            None => self.read(State::Layout, TRACKERS_AND_PHASES),
        }
    }

    pub(crate) fn answer(&mut self, answer: Result<Registers<'_>, BusError>) -> MeterStep {
        match (core::mem::replace(&mut self.state, State::Idle), answer) {
            (State::Layout, Ok(registers)) => self.found(Layout::stated(registers)),
            (State::Layout, Err(BusError::Exception(_))) => self.found(Layout::ASSUMED),
            (State::Look, Ok(registers)) => self.look(registers),
            (State::Values(Generation::V3), Ok(registers)) => self.done(&V3, registers, INPUTS_V3_MAX),
            (State::Values(Generation::Ii), Ok(registers)) => self.done(&II, registers, MPPT_MAX),
            (State::Idle, Ok(_)) => MeterStep::Done(Err(PollStatus::NotUnderstood)),
            (_, Err(error)) => self.fail(error),
        }
    }

    fn found(&mut self, layout: Layout) -> MeterStep {
        self.layout = Some(layout);
        self.read_values()
    }

    fn read_values(&mut self) -> MeterStep {
        match self.generation {
            None => self.read(State::Look, COMMON.read()),
            Some(Generation::V3) => self.read(State::Values(Generation::V3), V3.read()),
            Some(Generation::Ii) => self.read(State::Values(Generation::Ii), II.read()),
        }
    }

    fn look(&mut self, registers: Registers<'_>) -> MeterStep {
        let has_frequency = |at| {
            registers
                .u16(at)
                .is_some_and(|frequency| FREQUENCY_RANGE.contains(&frequency))
        };
        if has_frequency(FREQUENCY_V3_AT) {
            self.generation = Some(Generation::V3);
            return self.done(&V3, registers, INPUTS_V3_MAX);
        }
        if has_frequency(FREQUENCY_II_AT) {
            self.generation = Some(Generation::Ii);
            return self.read_values();
        }
        self.done(&COMMON, registers, INPUTS_V3_MAX)
    }

    fn read(&mut self, state: State, read: ReadRegisters) -> MeterStep {
        self.state = state;
        MeterStep::Read(read)
    }

    fn done(&mut self, block: &Block, registers: Registers<'_>, inputs_max: usize) -> MeterStep {
        self.failures = 0;
        let layout = self.layout.unwrap_or(Layout::ASSUMED);
        MeterStep::Done(Ok(decode(block, registers, layout, inputs_max)))
    }

    fn fail(&mut self, error: BusError) -> MeterStep {
        self.failures = self.failures.saturating_add(1);
        if matches!(error, BusError::Exception(_)) {
            (self.layout, self.generation) = (None, None);
        }
        MeterStep::Done(Err(error.status()))
    }
}

impl Layout {
    const ASSUMED: Self = Self {
        inputs: 2,
        three_phase: true,
    };

    fn stated(registers: Registers<'_>) -> Self {
        let [inputs, phases] = registers.u16(0).unwrap_or_default().to_be_bytes();
        match (usize::from(inputs), phases) {
            (inputs @ 1..=MPPT_MAX, 1) => Self {
                inputs,
                three_phase: false,
            },
            (inputs @ 1..=MPPT_MAX, 3) => Self {
                inputs,
                three_phase: true,
            },
            _ => Self::ASSUMED,
        }
    }
}

fn decode(block: &Block, registers: Registers<'_>, layout: Layout, inputs_max: usize) -> Quantities {
    let mut quantities = Quantities::default();
    block.decode(registers, &mut quantities);
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
    for index in 0..layout.inputs.min(inputs_max) {
        // At most MPPT_MAX inputs: there is room.
        let _ = quantities
            .mppt
            .push(input(registers, INPUT_AT + index * INPUT_LEN));
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
