//! How an exchange ends, and what is counted meanwhile.

use taraz_telemetry::{MeterAddress, MeterDiagnostics, PollStatus};

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

/// What happened on the bus, or in the polls of one meter, since the start. Saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusCounters {
    /// Exchanges begun.
    pub exchanges: u32,
    /// Requests sent, each try counted, and those that a line which never fell silent kept from being sent.
    pub requests: u32,
    /// Answers with a wrong CRC.
    pub crc_errors: u32,
    /// Answers that were cut short.
    pub short_answers: u32,
    /// Requests to which only noise came, or for which the line never fell silent.
    pub noise_answers: u32,
    /// Requests to which nothing came in time, each try counted.
    pub timeouts: u32,
    /// Modbus exceptions.
    pub exceptions: u32,
    /// Requests sent again.
    pub retries: u32,
    /// Bytes that belonged to no answer of ours.
    pub stray_bytes: u32,
}

impl BusCounters {
    /// Answers that were damaged in any way: what is wrong is the line, its speed or its parity, not the address.
    #[must_use]
    pub const fn damaged(&self) -> u32 {
        self.crc_errors
            .saturating_add(self.short_answers)
            .saturating_add(self.noise_answers)
    }

    /// Adds what happened between two states of the bus's counters.
    pub(crate) fn credit(&mut self, before: &Self, after: &Self) {
        let add = |mine: &mut u32, before: u32, after: u32| {
            *mine = mine.saturating_add(after.saturating_sub(before));
        };
        add(&mut self.exchanges, before.exchanges, after.exchanges);
        add(&mut self.requests, before.requests, after.requests);
        add(&mut self.crc_errors, before.crc_errors, after.crc_errors);
        add(&mut self.short_answers, before.short_answers, after.short_answers);
        add(&mut self.noise_answers, before.noise_answers, after.noise_answers);
        add(&mut self.timeouts, before.timeouts, after.timeouts);
        add(&mut self.exceptions, before.exceptions, after.exceptions);
        add(&mut self.retries, before.retries, after.retries);
        add(&mut self.stray_bytes, before.stray_bytes, after.stray_bytes);
    }

    /// As the contract states it for one meter.
    pub(crate) const fn diagnostics(&self, meter: MeterAddress) -> MeterDiagnostics {
        MeterDiagnostics {
            meter,
            requests: self.requests,
            crc_errors: self.damaged(),
            timeouts: self.timeouts,
            exceptions: self.exceptions,
        }
    }
}
