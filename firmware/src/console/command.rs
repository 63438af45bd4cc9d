//! What a line means.

use taraz_telemetry::MeterAddress;

use crate::modbus::{READ_REGISTERS_MAX, ReadFunction, ReadRegisters};

/// A command and its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'l> {
    /// Nothing was typed.
    Nothing,
    /// What there is.
    Help,
    /// How the device, its clock, link and meters are.
    Status,
    /// A search of the bus.
    Scan {
        /// All 247 addresses.
        full: bool,
        /// All settings of the line, although one is known.
        lines: bool,
    },
    /// Registers as they stand on the bus.
    Read {
        /// Of whom.
        unit: MeterAddress,
        /// Which.
        read: ReadRegisters,
    },
    /// The configuration.
    Config,
    /// One value of it.
    Set {
        /// Which.
        name: &'l str,
        /// What.
        value: &'l str,
    },
    /// Writes what was set.
    Save,
    /// Forgets what was set and not saved.
    Undo,
    /// The network.
    Net,
    /// The records that wait.
    Queue,
    /// Starts anew.
    Reboot,
}

/// A line that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError<'l> {
    /// No such command.
    #[error("there is no \"{0}\"; `help` lists the commands")]
    Unknown(&'l str),
    /// A word too many.
    #[error("\"{0}\" is too much; `help` shows how it is written")]
    TooMuch(&'l str),
    /// Words are missing.
    #[error("it is written: {0}")]
    Usage(&'static str),
    /// A number that is none, or out of range.
    #[error("{what} is {allowed}, not \"{found}\"")]
    Value {
        /// Of what.
        what: &'static str,
        /// What it can be.
        allowed: &'static str,
        /// What was typed.
        found: &'l str,
    },
}

const READ_USAGE: &str = "read UNIT ADDRESS [COUNT] [holding|input]";
const CONFIG_USAGE: &str = "config, config set NAME VALUE, config save, config undo";
const COUNT_DEFAULT: u16 = 1;

impl<'l> Command<'l> {
    /// Reads a line.
    ///
    /// # Errors
    /// [`CommandError`] says what was expected.
    pub fn parse(line: &'l str) -> Result<Self, CommandError<'l>> {
        let line = line.trim();
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else {
            return Ok(Self::Nothing);
        };
        let command = match first {
            "help" | "?" => return Ok(Self::Help),
            "status" => Self::Status,
            "net" => Self::Net,
            "queue" => Self::Queue,
            "reboot" => Self::Reboot,
            "scan" => return scan(words),
            "read" => return read(words),
            "config" => return config(line, words),
            other => return Err(CommandError::Unknown(other)),
        };
        match words.next() {
            None => Ok(command),
            Some(word) => Err(CommandError::TooMuch(word)),
        }
    }
}

fn scan<'l>(words: impl Iterator<Item = &'l str>) -> Result<Command<'l>, CommandError<'l>> {
    let (mut full, mut lines) = (false, false);
    for word in words {
        match word {
            "full" => full = true,
            "lines" => lines = true,
            other => return Err(CommandError::TooMuch(other)),
        }
    }
    Ok(Command::Scan { full, lines })
}

fn read<'l>(mut words: impl Iterator<Item = &'l str>) -> Result<Command<'l>, CommandError<'l>> {
    let usage = CommandError::Usage(READ_USAGE);
    let unit = words.next().ok_or(usage)?;
    let start = words.next().ok_or(usage)?;
    let unit = number(unit)
        .and_then(|unit| u8::try_from(unit).ok())
        .and_then(MeterAddress::new)
        .ok_or(CommandError::Value {
            what: "the unit",
            allowed: "1 to 247",
            found: unit,
        })?;
    let start = number(start).ok_or(CommandError::Value {
        what: "the address",
        allowed: "0 to 65535 (or 0x0 to 0xffff), as it stands on the line",
        found: start,
    })?;
    let mut read = ReadRegisters {
        function: ReadFunction::Holding,
        start,
        count: COUNT_DEFAULT,
    };
    for word in words {
        match word {
            "holding" => read.function = ReadFunction::Holding,
            "input" => read.function = ReadFunction::Input,
            count => {
                let allowed = |count: &u16| (1..=READ_REGISTERS_MAX).contains(count);
                read.count = number(count).filter(allowed).ok_or(CommandError::Value {
                    what: "the count",
                    allowed: "1 to 125",
                    found: count,
                })?;
            }
        }
    }
    Ok(Command::Read { unit, read })
}

fn config<'l>(
    line: &'l str,
    mut words: impl Iterator<Item = &'l str>,
) -> Result<Command<'l>, CommandError<'l>> {
    let usage = CommandError::Usage(CONFIG_USAGE);
    match (words.next(), words.next()) {
        (None, _) => Ok(Command::Config),
        (Some("save"), None) => Ok(Command::Save),
        (Some("undo"), None) => Ok(Command::Undo),
        (Some("set"), Some(name)) => {
            // The value may have several words: it is what follows the name.
            let end = name.as_ptr() as usize - line.as_ptr() as usize + name.len();
            let value = line.get(end..).unwrap_or_default().trim();
            if value.is_empty() {
                return Err(usage);
            }
            Ok(Command::Set { name, value })
        }
        _ => Err(usage),
    }
}

/// Decimal, or hexadecimal with `0x`.
fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
