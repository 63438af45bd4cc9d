//! One meter on a bus.

use embedded_hal::digital::OutputPin;
use embedded_io_async::{Read, Write};
use taraz_telemetry::{MeterAddress, MeterDriver, PollStatus, Quantities};

use crate::modbus::{Bus, BusError, BusTimer, ReadRegisters, Registers};

/// What a poll needs next.
// A step is short-lived and never stored in numbers; boxing it would need an allocator.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterStep {
    /// Read these registers of the meter, then call [`Meter::answer`].
    Read(ReadRegisters),
    /// The poll is over.
    Done(Result<Quantities, PollStatus>),
}

/// One meter: where it answers, how it is read, and what was learnt about it.
#[derive(Debug)]
pub struct Meter {
    address: MeterAddress,
    driver: MeterDriver,
}

impl Meter {
    /// A meter of which nothing is known yet.
    #[must_use]
    pub const fn new(address: MeterAddress, driver: MeterDriver) -> Self {
        Self { address, driver }
    }

    /// Where it answers.
    #[must_use]
    pub const fn address(&self) -> MeterAddress {
        self.address
    }

    /// How it is read.
    #[must_use]
    pub const fn driver(&self) -> MeterDriver {
        self.driver
    }

    /// Begins a poll; one that was not finished is forgotten.
    pub fn start(&mut self) -> MeterStep {
        MeterStep::Done(Err(PollStatus::NotUnderstood))
    }

    /// Goes on with what came of the last [`MeterStep::Read`].
    pub fn answer(&mut self, answer: Result<Registers<'_>, BusError>) -> MeterStep {
        MeterStep::Done(answer.map(|_| Quantities::default()).map_err(BusError::status))
    }
}

/// Polls one meter: reads what its driver asks for until it has its quantities.
///
/// # Errors
/// [`PollStatus`]: why there are no values. A lost transport counts as [`PollStatus::Timeout`]; ask [`Bus::is_lost`].
pub async fn poll_meter<S, D, T>(bus: &mut Bus<S, D, T>, meter: &mut Meter) -> Result<Quantities, PollStatus>
where
    S: Read + Write,
    D: OutputPin,
    T: BusTimer,
{
    let mut step = meter.start();
    loop {
        match step {
            MeterStep::Done(result) => return result,
            MeterStep::Read(read) => step = meter.answer(bus.read(meter.address(), read).await),
        }
    }
}
