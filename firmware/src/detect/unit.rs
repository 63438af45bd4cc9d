//! What was found.

use heapless::String;
use taraz_telemetry::{MeterAddress, MeterDriver};

use super::line::LineSettings;
use crate::modbus::Registers;

/// The longest text by which a unit calls itself (SunSpec model 1, `Mn`, `Md`, `SN`: 16 registers).
pub const UNIT_TEXT_LEN_MAX: usize = 32;

/// What a unit calls itself; empty where it does not say.
pub type UnitText = String<UNIT_TEXT_LEN_MAX>;

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A meter that can be read so.
    Meter(MeterDriver),
    /// A SunSpec device without a model that we read.
    OtherSunspec,
    /// It answers, and its registers are none that we know.
    Unknown,
    /// What came was damaged every time, though others on the line are understood: two units at one address, most likely.
    Damaged,
}

/// A unit that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedUnit {
    /// Where it answers.
    pub address: MeterAddress,
    /// What it is.
    pub kind: UnitKind,
    /// The line it answers on.
    pub line: LineSettings,
    /// Its maker.
    pub maker: UnitText,
    /// Its model.
    pub model: UnitText,
    /// Its serial number.
    pub serial: UnitText,
}

/// What the requests of a search came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectSummary {
    /// Requests made.
    pub requests: u32,
    /// Answers, refusals included.
    pub answers: u32,
    /// Requests to which something came that was no answer.
    pub damaged: u32,
    /// Units that were found and not kept: more than there is room for.
    pub left_out: u32,
}

/// Text as it stands in registers: two characters each, filled up with NUL or spaces.
pub(super) fn text(registers: Registers<'_>, range: core::ops::Range<usize>) -> UnitText {
    let mut text = UnitText::new();
    let bytes = range
        .filter_map(|index| registers.u16(index))
        .flat_map(u16::to_be_bytes);
    for byte in bytes.take_while(|&byte| byte != 0) {
        let shown = if byte.is_ascii_graphic() || byte == b' ' {
            char::from(byte)
        } else {
            '?'
        };
        if text.push(shown).is_err() {
            break;
        }
    }
    text.truncate(text.trim_end().len());
    text
}
