//! A Modbus RTU master: bytes of a line in, registers out.
//!
//! [`BusMaster`] is the protocol without IO or clock: requests, CRC, silences, deadlines, retries, and which bytes are an
//! answer. [`Bus`] drives it over a UART (`embedded-io-async`), a driver-enable pin (`embedded-hal`) and a [`BusTimer`].
//!
//! What it never does: interpret registers, read a clock of its own, allocate, retry without bound.
//!
//! Sources: *MODBUS Application Protocol Specification* V1.1b3 and *MODBUS over Serial Line Specification and
//! Implementation Guide* V1.02 (modbus.org).

mod bus;
mod check;
mod crc;
mod line;
mod master;
mod outcome;
mod registers;
mod request;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod bus_tests;
#[cfg(test)]
mod master_props;
#[cfg(test)]
mod master_tests;

pub use bus::{Bus, BusTimer, EmbassyTimer, NoDriverEnable};
pub use crc::crc16;
pub use line::{
    BAUD_MIN, BusLine, LATE_ANSWER_FACTOR, NOTICE_CHARACTERS_MAX, QUIET_WAIT_MAX_US, RETRIES_MAX,
};
pub use master::{BusMaster, BusStep};
pub use outcome::{BusCounters, BusError};
pub use registers::Registers;
pub use request::{
    ADU_LEN_MAX, BusRequest, READ_REGISTERS_MAX, ReadFunction, ReadRegisters, WRITE_REGISTERS_MAX,
};
