//! Model 160, "Multiple MPPT Inverter Extension": a head with the scale factors, then one block for each input.

use heapless::Vec;
use taraz_telemetry::{MPPT_MAX, Mppt};

use super::value::{Kind, raw_value, scale_factor};
use crate::modbus::{READ_REGISTERS_MAX, Registers};

/// Its ID.
pub(crate) const MPPT_ID: u16 = 160;
/// Registers from its ID to the first input's block.
pub(crate) const HEAD_LEN: u16 = 10;
/// Registers of one input's block.
pub(crate) const MODULE_LEN: u16 = 20;

const CURRENT_SCALE_AT: u16 = 2;
const VOLTAGE_SCALE_AT: u16 = 3;
const POWER_SCALE_AT: u16 = 4;
const COUNT_AT: usize = 8;
const CURRENT_AT: usize = 9;
const VOLTAGE_AT: usize = 10;
const POWER_AT: usize = 11;
const COUNT_ABSENT: u16 = 0xFFFF;

/// How many inputs' blocks fit one read together with the head.
pub(crate) const MODULES_WITH_HEAD_MAX: u16 = (READ_REGISTERS_MAX - HEAD_LEN) / MODULE_LEN;

/// What the head says: how values are scaled, and how many inputs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    current_scale: Option<i16>,
    voltage_scale: Option<i16>,
    power_scale: Option<i16>,
    modules: u16,
}

impl Head {
    /// Reads the head of a model of length `len` (its register L).
    pub(crate) fn new(model: Registers<'_>, len: u16) -> Self {
        let stated = model.u16(COUNT_AT).filter(|&count| count != COUNT_ABSENT);
        Self {
            current_scale: scale_factor(model, Some(CURRENT_SCALE_AT)),
            voltage_scale: scale_factor(model, Some(VOLTAGE_SCALE_AT)),
            power_scale: scale_factor(model, Some(POWER_SCALE_AT)),
            modules: stated.unwrap_or(u16::MAX).min(modules(len)),
        }
    }

    /// How many inputs there are, at most [`MPPT_MAX`].
    pub(crate) const fn modules(&self) -> u16 {
        self.modules
    }

    /// Reads the inputs whose blocks begin at `at` and appends them until all are there or the registers end.
    pub(crate) fn append(&self, registers: Registers<'_>, at: u16, inputs: &mut Vec<Mppt, MPPT_MAX>) {
        let blocks = registers.len().saturating_sub(usize::from(at)) / usize::from(MODULE_LEN);
        for block in 0..blocks {
            let start = usize::from(at) + block * usize::from(MODULE_LEN);
            if inputs.len() >= usize::from(self.modules) || inputs.push(self.input(registers, start)).is_err()
            {
                return;
            }
        }
    }

    fn input(&self, registers: Registers<'_>, start: usize) -> Mppt {
        let value = |at, scale: Option<i16>, places| {
            raw_value(registers, start + at, Kind::Uint16, i32::from(scale?) + places)
        };
        Mppt {
            voltage_dv: value(VOLTAGE_AT, self.voltage_scale, 1).and_then(|v| u32::try_from(v).ok()),
            current_ca: value(CURRENT_AT, self.current_scale, 2).and_then(|v| i32::try_from(v).ok()),
            power_w: value(POWER_AT, self.power_scale, 0).and_then(|v| i32::try_from(v).ok()),
        }
    }
}

/// How many inputs a model of length `len` can hold, at most [`MPPT_MAX`].
pub(crate) fn modules(len: u16) -> u16 {
    // MPPT_MAX is 8.
    #[allow(clippy::cast_possible_truncation)]
    let most = MPPT_MAX as u16;
    (len.saturating_sub(HEAD_LEN - 2) / MODULE_LEN).min(most)
}
