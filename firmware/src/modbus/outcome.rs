//! How an exchange ends, and what is counted meanwhile.

use taraz_telemetry::PollStatus;

/// Why an exchange gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nothing answered in time: check address, wiring, speed and whether the meter has power.
    #[error("no answer in time; check address, wiring, baud rate and the meter's power")]
    Timeout,
    /// What came was damaged or cut short on every try, or the line never fell silent.
    #[error("only damaged answers; check termination, baud rate, parity and that there is one master")]
    BadFrame,
    /// The meter refused with this Modbus exception code.
    #[error("the meter refused with Modbus exception {0}")]
    Exception(u8),
    /// The transport itself failed (a closed connection, an unplugged adaptor); see [`super::Bus::is_lost`].
    #[error("the transport to the bus failed; it must be opened again")]
    Lost,
}

impl BusError {
    /// How a poll that ended so is reported.
    #[must_use]
    pub const fn status(self) -> PollStatus {
        match self {
            Self::Timeout | Self::Lost => PollStatus::Timeout,
            Self::BadFrame => PollStatus::BadFrame,
            Self::Exception(code) => PollStatus::Exception(code),
        }
    }
}

/// What happened on the bus since the start. Saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusCounters {
    /// Exchanges begun.
    pub exchanges: u32,
    /// Answers with a wrong CRC.
    pub crc_errors: u32,
    /// Answers that were cut short.
    pub short_answers: u32,
    /// Requests without an answer in time, each try counted.
    pub timeouts: u32,
    /// Modbus exceptions.
    pub exceptions: u32,
    /// Requests sent again.
    pub retries: u32,
    /// Bytes that belonged to no answer of ours.
    pub stray_bytes: u32,
}
