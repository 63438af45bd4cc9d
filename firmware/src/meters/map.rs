//! Register maps of vendors: blocks to read, and what stands where in them.

use taraz_telemetry::{Field, PollStatus, Quantities};

use super::meter::MeterStep;
use crate::modbus::{BusError, ReadFunction, ReadRegisters, Registers};
use crate::scale;

/// How a number stands in registers, high register first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    U16,
    I16,
    U32,
    I32,
    /// IEEE 754 single; NaN is absent. Its exponent must not be negative.
    F32,
}

/// One value of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Its register's address on the line.
    pub(crate) address: u16,
    pub(crate) form: Form,
    /// The value times ten to this power is in our unit.
    pub(crate) exponent: i32,
    pub(crate) field: Field,
}

/// Registers that are read together.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) function: ReadFunction,
    pub(crate) start: u16,
    pub(crate) count: u16,
    /// A meter that refuses this block is read without it.
    pub(crate) optional: bool,
    pub(crate) entries: &'static [Entry],
}

impl Block {
    pub(crate) const fn read(&self) -> ReadRegisters {
        ReadRegisters {
            function: self.function,
            start: self.start,
            count: self.count,
        }
    }

    /// The number at an address in our unit.
    pub(crate) fn value(&self, registers: Registers<'_>, entry: &Entry) -> Option<i64> {
        number(
            registers,
            usize::from(entry.address.checked_sub(self.start)?),
            entry.form,
            entry.exponent,
        )
    }

    /// Takes every entry over.
    pub(crate) fn decode(&self, registers: Registers<'_>, quantities: &mut Quantities) {
        for entry in self.entries {
            if let Some(value) = self.value(registers, entry) {
                // What our unit can't hold is as absent as what the meter does not state.
                quantities.set(entry.field, value);
            }
        }
    }
}

/// A number at an index of what was read, times 10^`exponent`.
pub(crate) fn number(registers: Registers<'_>, index: usize, form: Form, exponent: i32) -> Option<i64> {
    match form {
        Form::U16 => scale::decimal(i64::from(registers.u16(index)?), exponent),
        Form::I16 => scale::decimal(i64::from(registers.u16(index)?.cast_signed()), exponent),
        Form::U32 => scale::decimal(i64::from(registers.u32(index)?), exponent),
        Form::I32 => scale::decimal(i64::from(registers.u32(index)?.cast_signed()), exponent),
        Form::F32 => scale::float(registers.u32(index)?, exponent.unsigned_abs()),
    }
}

/// The poll of a meter that is nothing but a map.
#[derive(Debug)]
pub(crate) struct MapPoll {
    blocks: &'static [Block],
    next: usize,
    quantities: Quantities,
}

impl MapPoll {
    pub(crate) fn new(blocks: &'static [Block]) -> Self {
        Self {
            blocks,
            next: 0,
            quantities: Quantities::default(),
        }
    }

    pub(crate) fn start(&mut self) -> MeterStep {
        self.next = 0;
        self.quantities = Quantities::default();
        self.step()
    }

    pub(crate) fn answer(&mut self, answer: Result<Registers<'_>, BusError>) -> MeterStep {
        let Some(block) = self.blocks.get(self.next) else {
            return MeterStep::Done(Err(PollStatus::NotUnderstood));
        };
        match answer {
            Ok(registers) => block.decode(registers, &mut self.quantities),
            Err(BusError::Exception(_)) if block.optional => {}
            Err(error) => return MeterStep::Done(Err(error.status())),
        }
        self.next += 1;
        self.step()
    }

    fn step(&mut self) -> MeterStep {
        match self.blocks.get(self.next) {
            Some(block) => MeterStep::Read(block.read()),
            None => MeterStep::Done(Ok(core::mem::take(&mut self.quantities))),
        }
    }
}
