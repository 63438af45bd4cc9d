//! One meter on a bus.

use embedded_hal::digital::OutputPin;
use embedded_io_async::{Read, Write};
use taraz_telemetry::{MeterAddress, MeterDriver, PollStatus, Quantities};

use super::growatt::{self, Growatt, GrowattMemory};
use super::map::MapPoll;
use super::sdm630;
use super::si_rs485::SiRs485;
use crate::modbus::{Bus, BusCounters, BusError, BusTimer, READ_REGISTERS_MAX, ReadRegisters, Registers};
use crate::sunspec::{BASES, MODELS_MAX, Sunspec, SunspecMemory, UNSTABLE_RETRIES_MAX};

/// The most reads of one poll: a survey of the longest chain after a model had moved, then every retry of its values.
// Three bases.
#[allow(clippy::cast_possible_truncation)]
pub const READS_PER_POLL_MAX: u32 =
    1 + BASES.len() as u32 + MODELS_MAX as u32 + 1 + 4 * (UNSTABLE_RETRIES_MAX as u32 + 1);

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
    driver: Driver,
    counters: BusCounters,
}

#[derive(Debug)]
// One per meter, kept for ever; boxing the largest would need an allocator.
#[allow(clippy::large_enum_variant)]
enum Driver {
    Sunspec(Sunspec),
    Sdm630(MapPoll),
    Growatt(Growatt),
    SiRs485,
}

/// What is kept of a meter between two polls: a tenth of the [`Meter`] that polls it, for boards with many meters.
#[derive(Clone, Copy, Debug)]
pub struct MeterMemory {
    address: MeterAddress,
    driver: DriverMemory,
    counters: BusCounters,
}

#[derive(Clone, Copy, Debug)]
enum DriverMemory {
    Sunspec(SunspecMemory),
    Sdm630,
    Growatt(GrowattMemory),
    SiRs485,
}

impl MeterMemory {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(address: MeterAddress, driver: MeterDriver) -> Self {
        Meter::new(address, driver).remember()
    }

    /// The meter, for its next poll.
    #[must_use]
    pub fn recall(self) -> Meter {
        let driver = match self.driver {
            DriverMemory::Sunspec(memory) => Driver::Sunspec(Sunspec::recall(memory)),
            DriverMemory::Sdm630 => Driver::Sdm630(MapPoll::new(&sdm630::BLOCKS)),
            DriverMemory::Growatt(memory) => Driver::Growatt(Growatt::recall(memory)),
            DriverMemory::SiRs485 => Driver::SiRs485,
        };
        Meter {
            address: self.address,
            driver,
            counters: self.counters,
        }
    }

    /// What became of the requests of its polls.
    #[must_use]
    pub const fn counters(&self) -> BusCounters {
        self.counters
    }
}

impl Meter {
    /// A meter of which nothing is known yet.
    #[must_use]
    pub fn new(address: MeterAddress, driver: MeterDriver) -> Self {
        let driver = match driver {
            MeterDriver::Sunspec => Driver::Sunspec(Sunspec::new()),
            MeterDriver::Sdm630 => Driver::Sdm630(MapPoll::new(&sdm630::BLOCKS)),
            MeterDriver::Growatt => Driver::Growatt(Growatt::new()),
            MeterDriver::SiRs485 => Driver::SiRs485,
        };
        Self {
            address,
            driver,
            counters: BusCounters::default(),
        }
    }

    /// What is worth keeping until the next poll.
    #[must_use]
    pub const fn remember(&self) -> MeterMemory {
        MeterMemory {
            address: self.address,
            driver: match &self.driver {
                Driver::Sunspec(sunspec) => DriverMemory::Sunspec(sunspec.remember()),
                Driver::Sdm630(_) => DriverMemory::Sdm630,
                Driver::Growatt(growatt) => DriverMemory::Growatt(growatt.remember()),
                Driver::SiRs485 => DriverMemory::SiRs485,
            },
            counters: self.counters,
        }
    }

    /// Where it answers.
    #[must_use]
    pub const fn address(&self) -> MeterAddress {
        self.address
    }

    /// How it is read.
    #[must_use]
    pub const fn driver(&self) -> MeterDriver {
        match self.driver {
            Driver::Sunspec(_) => MeterDriver::Sunspec,
            Driver::Sdm630(_) => MeterDriver::Sdm630,
            Driver::Growatt(_) => MeterDriver::Growatt,
            Driver::SiRs485 => MeterDriver::SiRs485,
        }
    }

    /// What became of the requests of its polls.
    #[must_use]
    pub const fn counters(&self) -> BusCounters {
        self.counters
    }

    /// How long the meter wants to be left alone between two requests, in µs.
    const fn rest_us(&self) -> u32 {
        match self.driver {
            Driver::Growatt(_) => growatt::REST_US,
            Driver::Sunspec(_) | Driver::Sdm630(_) | Driver::SiRs485 => 0,
        }
    }

    /// Begins a poll; one that was not finished is forgotten.
    pub fn start(&mut self) -> MeterStep {
        match &mut self.driver {
            Driver::Sunspec(sunspec) => sunspec.start(),
            Driver::Sdm630(map) => map.start(),
            Driver::Growatt(growatt) => growatt.start(),
            Driver::SiRs485 => SiRs485::start(),
        }
    }

    /// Goes on with what came of the last [`MeterStep::Read`]. Answered at most [`READS_PER_POLL_MAX`] times, it is done.
    pub fn answer(&mut self, answer: Result<Registers<'_>, BusError>) -> MeterStep {
        match &mut self.driver {
            Driver::Sunspec(sunspec) => sunspec.answer(answer),
            Driver::Sdm630(map) => map.answer(answer),
            Driver::Growatt(growatt) => growatt.answer(answer),
            Driver::SiRs485 => SiRs485::answer(answer),
        }
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
            MeterStep::Read(read) => {
                let before = bus.counters();
                let error = bus.read(meter.address(), read).await.err();
                meter.counters.credit(&before, &bus.counters());
                step = meter.answer(error.map_or_else(|| Ok(bus.registers()), Err));
            }
        }
        if matches!(step, MeterStep::Read(_)) {
            bus.rest_us(meter.rest_us());
        }
    }
}

/// Polls one meter through a closure that fills a slice with the registers asked for, or says why it can't: for another
/// transport, and for comparing what we read with what somebody else reads.
///
/// # Errors
/// [`PollStatus`]: why there are no values.
pub fn poll_blocking(
    meter: &mut Meter,
    mut read: impl FnMut(ReadRegisters, &mut [u16]) -> Result<(), BusError>,
) -> Result<Quantities, PollStatus> {
    const REGISTERS: usize = READ_REGISTERS_MAX as usize;
    let mut registers = [0; REGISTERS];
    let mut bytes = [0; 2 * REGISTERS];
    let mut step = meter.start();
    loop {
        let asked = match step {
            MeterStep::Done(result) => return result,
            MeterStep::Read(asked) => asked,
        };
        let count = usize::from(asked.count).min(REGISTERS);
        let answer = read(asked, &mut registers[..count]).map(|()| {
            for (pair, register) in bytes.chunks_exact_mut(2).zip(&registers[..count]) {
                pair.copy_from_slice(&register.to_be_bytes());
            }
            Registers::new(&bytes[..2 * count])
        });
        step = meter.answer(answer);
    }
}
