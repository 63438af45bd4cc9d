//! How the program before this one ended, told through memory that outlives a reset.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `TzLR` |
//! | 4 | how it ended |
//! | 5 | length of the text |
//! | 6–7 | CRC-16 of bytes 4 and 5 and the text, least significant byte first |
//! | 8– | text, UTF-8 |
//!
//! After power came on the memory holds anything: the mark and the CRC tell.

use core::fmt::{self, Write};

use heapless::String;
use taraz_telemetry::ResetCause;

use crate::modbus::crc16;

/// Length of the memory in bytes.
pub const RETAINED_LEN: usize = 256;
/// The longest text; what is longer is cut.
pub const RETAINED_TEXT_LEN_MAX: usize = RETAINED_LEN - TEXT_AT;

const MARK: [u8; 4] = *b"TzLR";
const KIND_AT: usize = 4;
const LEN_AT: usize = 5;
const CRC_AT: usize = 6;
const TEXT_AT: usize = 8;

const RUNNING: u8 = 1;
const REQUESTED: u8 = 2;
const PANICKED: u8 = 3;
const STALLED: u8 = 4;

/// How the last run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastRun {
    /// The memory tells nothing: the power was off.
    Unknown,
    /// It ran, and did not see its end coming: something else reset the chip.
    Running,
    /// Somebody asked for a restart.
    Requested,
    /// It panicked; with the message.
    Panicked(String<RETAINED_TEXT_LEN_MAX>),
    /// A task did not answer any more, and the watchdog was left unfed; with the task.
    Stalled(String<RETAINED_TEXT_LEN_MAX>),
}

impl LastRun {
    /// Reads the memory.
    #[must_use]
    pub fn read(memory: &[u8; RETAINED_LEN]) -> Self {
        let len = usize::from(memory[LEN_AT]);
        let Some(text) = memory[TEXT_AT..].get(..len) else {
            return Self::Unknown;
        };
        let stated = u16::from_le_bytes([memory[CRC_AT], memory[CRC_AT + 1]]);
        if memory[..KIND_AT] != MARK || stated != checksum(memory[KIND_AT], memory[LEN_AT], text) {
            return Self::Unknown;
        }
        let text = || {
            let text = core::str::from_utf8(text).unwrap_or("(damaged)");
            String::try_from(text).unwrap_or_default()
        };
        match memory[KIND_AT] {
            RUNNING => Self::Running,
            REQUESTED => Self::Requested,
            PANICKED => Self::Panicked(text()),
            STALLED => Self::Stalled(text()),
            _ => Self::Unknown,
        }
    }

    /// Writes it into the memory, for the next run.
    pub fn write(&self, memory: &mut [u8; RETAINED_LEN]) {
        let (kind, text) = match self {
            Self::Unknown => return memory.fill(0),
            Self::Running => (RUNNING, ""),
            Self::Requested => (REQUESTED, ""),
            Self::Panicked(text) => (PANICKED, text.as_str()),
            Self::Stalled(text) => (STALLED, text.as_str()),
        };
        let len = u8::try_from(text.len()).unwrap_or_default();
        memory[..KIND_AT].copy_from_slice(&MARK);
        memory[KIND_AT] = kind;
        memory[LEN_AT] = len;
        memory[CRC_AT..TEXT_AT].copy_from_slice(&checksum(kind, len, text.as_bytes()).to_le_bytes());
        memory[TEXT_AT..TEXT_AT + text.len()].copy_from_slice(text.as_bytes());
    }

    /// A panic with this message.
    #[must_use]
    pub fn panicked(message: fmt::Arguments<'_>) -> Self {
        Self::Panicked(cut(message))
    }

    /// A stall of this task.
    #[must_use]
    pub fn stalled(task: fmt::Arguments<'_>) -> Self {
        Self::Stalled(cut(task))
    }

    /// Why this run started, given what the chip itself says, if it says anything.
    #[must_use]
    pub fn reset_cause(&self, chip: Option<ResetCause>) -> ResetCause {
        match self {
            Self::Panicked(_) => ResetCause::Panic,
            Self::Requested => ResetCause::Requested,
            Self::Stalled(_) => ResetCause::Watchdog,
            Self::Unknown => chip.unwrap_or(ResetCause::PowerOn),
            // The memory outlived it and nobody asked: what is left is the watchdog.
            Self::Running => chip.unwrap_or(ResetCause::Watchdog),
        }
    }
}

fn checksum(kind: u8, len: u8, text: &[u8]) -> u16 {
    // A CRC of two parts without a copy: the text's CRC counts with the head.
    let [low, high] = crc16(text).to_le_bytes();
    crc16(&[kind, len, low, high])
}

fn cut(text: fmt::Arguments<'_>) -> String<RETAINED_TEXT_LEN_MAX> {
    struct Cut(String<RETAINED_TEXT_LEN_MAX>);
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.chars()
                .try_for_each(|c| self.0.push(c))
                .map_err(|_| fmt::Error)
        }
    }
    let mut cut = Cut(String::new());
    // It fails where it is full, and what fits stays.
    let _ = cut.write_fmt(text);
    cut.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(last: &LastRun) -> LastRun {
        let mut memory = [0xa5; RETAINED_LEN];
        last.write(&mut memory);
        LastRun::read(&memory)
    }

    #[test]
    fn what_is_written_is_read() {
        for last in [
            LastRun::Running,
            LastRun::Requested,
            LastRun::panicked(format_args!("panicked at src/main.rs:{}", 7)),
            LastRun::stalled(format_args!("meters")),
        ] {
            assert_eq!(through(&last), last);
        }
        assert_eq!(through(&LastRun::Unknown), LastRun::Unknown);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = "é".repeat(RETAINED_LEN);
        let last = LastRun::panicked(format_args!("x{long}"));
        let LastRun::Panicked(text) = through(&last) else {
            panic!("{last:?}")
        };
        assert_eq!(text.len(), RETAINED_TEXT_LEN_MAX - 1);
        assert!(long.contains(&text.as_str()[1..]));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let mut memory = [0; RETAINED_LEN];
        LastRun::panicked(format_args!("why")).write(&mut memory);
        for bit in 0..(TEXT_AT + 3) * 8 {
            let mut damaged = memory;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(LastRun::read(&damaged), LastRun::Unknown, "bit {bit}");
        }
        for fill in [0, 0xff, 0xcc] {
            assert_eq!(LastRun::read(&[fill; RETAINED_LEN]), LastRun::Unknown);
        }
    }

    #[test]
    fn the_program_knows_better_than_the_chip_why_it_ended() {
        let panicked = LastRun::panicked(format_args!("x"));
        assert_eq!(
            panicked.reset_cause(Some(ResetCause::Requested)),
            ResetCause::Panic
        );
        assert_eq!(LastRun::Unknown.reset_cause(None), ResetCause::PowerOn);
        assert_eq!(
            LastRun::Unknown.reset_cause(Some(ResetCause::BrownOut)),
            ResetCause::BrownOut
        );
        assert_eq!(LastRun::Running.reset_cause(None), ResetCause::Watchdog);
        assert_eq!(
            LastRun::Running.reset_cause(Some(ResetCause::PowerOn)),
            ResetCause::PowerOn
        );
        assert_eq!(LastRun::Requested.reset_cause(None), ResetCause::Requested);
    }
}
