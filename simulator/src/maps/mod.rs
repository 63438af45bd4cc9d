//! Register maps: how a simulated meter presents what it knows.
//!
//! A map is a few blocks of registers. Each has a template (what never changes) and points (what is written into it).

mod growatt;
mod sdm630;
mod si_rs485;
mod sunspec;
mod tables;

pub(crate) use growatt::growatt;
pub(crate) use sdm630::sdm630;
pub(crate) use si_rs485::si_rs485;
pub(crate) use sunspec::{SunspecShape, is_model, is_scale_factor, model_points, phases, sunspec};

use crate::points::Point;

/// A run of registers that are read with one Modbus function.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// 3 (holding registers) or 4 (input registers).
    pub(crate) function: u8,
    /// Protocol address of its first register, from 0.
    pub(crate) start: u16,
    pub(crate) template: Vec<u16>,
    /// In ascending order of their registers.
    pub(crate) points: Vec<Point>,
    /// The most registers that the meter gives in one answer.
    pub(crate) read_max: u16,
}

/// The most registers of one answer ("MODBUS Application Protocol Specification V1.1b3", 6.3 and 6.4: 0x7D).
pub(crate) const READ_REGISTERS_MAX: u16 = 125;

/// Writes text into registers, two characters each, zeros behind it.
fn put_text(registers: &mut [u16], text: &str) {
    let mut bytes = text.bytes();
    for register in registers {
        let (high, low) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
        *register = u16::from_be_bytes([high, low]);
    }
}
