//! The device without its hardware: Modbus master, SunSpec, meters, poll schedule, queue, clock and MQTT link.
#![cfg_attr(not(test), no_std)]

mod meters;
mod modbus;
mod scale;
mod sunspec;

pub use meters::{Meter, MeterStep, READS_PER_POLL_MAX, poll_blocking, poll_meter};
pub use modbus::{
    ADU_LEN_MAX, BAUD_MIN, Bus, BusCounters, BusError, BusLine, BusMaster, BusRequest, BusStep, BusTimer,
    EmbassyTimer, LATE_ANSWER_FACTOR, NoDriverEnable, QUIET_WAIT_MAX_US, READ_REGISTERS_MAX, RETRIES_MAX,
    ReadFunction, ReadRegisters, Registers, WRITE_REGISTERS_MAX, crc16,
};
pub use sunspec::{BASES as SUNSPEC_BASES, MODELS_MAX as SUNSPEC_MODELS_MAX, UNSTABLE_RETRIES_MAX};
