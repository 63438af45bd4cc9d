//! A technician's terminal: lines in, answers out, over any serial port.
//!
//! In: bytes of a keyboard. Out: text with units, aligned, at most [`OUTPUT_LINE_LEN_MAX`] characters a line. [`LineEditor`] makes lines
//! of bytes, [`Command`] means something, [`run_console`] does it with the device, the [`BusDesk`](crate::BusDesk) and what the board
//! adds ([`ConsoleHost`]). Nothing is allocated and every line is bounded.
//!
//! What it never does: show the key, change the device's identity, use what was not saved, write to a meter.

mod command;
mod config;
mod editor;
mod host;
mod run;
mod scan;
mod show;
mod terminal;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod editor_tests;
#[cfg(test)]
mod sessions;

pub use command::{Command, CommandError};
pub use config::ConfigError;
pub use editor::{Edit, HISTORY_LINES, INPUT_LINE_LEN_MAX, InputLine, LineEditor};
pub use host::{ConsoleDevice, ConsoleHost, NetStatus, PageSaveError};
pub use run::run_console;
pub use terminal::OUTPUT_LINE_LEN_MAX;
