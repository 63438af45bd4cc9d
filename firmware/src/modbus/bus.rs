//! The driver: a [`BusMaster`] over a UART, a driver-enable pin and a timer.

use core::convert::Infallible;
use core::future::Future;
use core::task::Poll;

use embassy_futures::poll_once;
use embassy_futures::select::{Either, select};
use embassy_time::{Instant, Timer};
use embedded_hal::digital::{ErrorType, OutputPin};
use embedded_io_async::{Read, Write};
use taraz_telemetry::MeterAddress;

use super::line::BusLine;
use super::master::{BusMaster, BusStep};
use super::outcome::{BusCounters, BusError};
use super::registers::Registers;
use super::request::{ADU_LEN_MAX, BusRequest, ReadRegisters};

/// How many bytes are taken from the UART at a time.
const CHUNK_LEN: usize = ADU_LEN_MAX;

/// The most chunks of old bytes that are taken before a request; what is left shows when it has been sent.
const DRAIN_READS_MAX: u32 = 8;
/// The longest rest between two requests.
const REST_MAX_US: u32 = 10_000_000;

/// Monotonic time for a bus, in µs since any fixed instant.
pub trait BusTimer {
    /// Now.
    fn now_us(&self) -> u64;

    /// Waits until `instant_us` while nobody is expected to speak (the silence between frames). A simulated clock may
    /// jump there at once.
    fn pause_until_us(&mut self, instant_us: u64) -> impl Future<Output = ()>;

    /// Waits until `instant_us` while somebody may answer. A simulated clock must give the peer real time before it
    /// jumps.
    fn listen_until_us(&mut self, instant_us: u64) -> impl Future<Output = ()>;
}

/// The clock of `embassy-time`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyTimer;

impl BusTimer for EmbassyTimer {
    fn now_us(&self) -> u64 {
        Instant::now().as_micros()
    }

    async fn pause_until_us(&mut self, instant_us: u64) {
        Timer::at(Instant::from_micros(instant_us)).await;
    }

    async fn listen_until_us(&mut self, instant_us: u64) {
        Timer::at(Instant::from_micros(instant_us)).await;
    }
}

/// For a line whose transceiver turns itself around, and for RTU over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDriverEnable;

impl ErrorType for NoDriverEnable {
    type Error = Infallible;
}

impl OutputPin for NoDriverEnable {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// One RS-485 bus. `S` is the UART, `D` the pin that enables the driver (high while sending), `T` the timer.
///
/// `S` must keep what arrives while a `read` that was started is dropped (embassy's buffered UARTs and tokio's sockets
/// do), and its `flush` must not return before the last bit has left, or the driver is switched off too early.
#[derive(Debug)]
pub struct Bus<S, D, T> {
    serial: S,
    driver_enable: D,
    timer: T,
    master: BusMaster,
    lost: bool,
}

impl<S: Read + Write, D: OutputPin, T: BusTimer> Bus<S, D, T> {
    /// A bus over an open UART.
    pub fn new(serial: S, driver_enable: D, timer: T, line: BusLine) -> Self {
        let master = BusMaster::new(line, timer.now_us());
        Self {
            serial,
            driver_enable,
            timer,
            master,
            lost: false,
        }
    }

    /// Reads registers of `unit`.
    ///
    /// # Errors
    /// [`BusError`] after the line's retries.
    pub async fn read(&mut self, unit: MeterAddress, read: ReadRegisters) -> Result<Registers<'_>, BusError> {
        self.exchange(unit, BusRequest::Read(read)).await?;
        Ok(self.master.registers())
    }

    /// What the last exchange read; empty after a write or a failure.
    #[must_use]
    pub fn registers(&self) -> Registers<'_> {
        self.master.registers()
    }

    /// Writes registers of `unit` from `start` on, function 16.
    ///
    /// # Errors
    /// [`BusError`] after the line's retries.
    pub async fn write(&mut self, unit: MeterAddress, start: u16, values: &[u16]) -> Result<(), BusError> {
        self.exchange(unit, BusRequest::Write { start, values }).await
    }

    /// Sends nothing for this long, at most 10 s: some meters need a rest between two requests.
    pub fn rest_us(&mut self, rest_us: u32) {
        self.master
            .rest_until(self.timer.now_us() + u64::from(rest_us.min(REST_MAX_US)));
    }

    /// What happened on the bus so far.
    #[must_use]
    pub const fn counters(&self) -> BusCounters {
        self.master.counters()
    }

    /// The transport failed: nothing is sent until [`Self::reopen`] brings a new one.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Goes on over a transport that was opened again.
    pub fn reopen(&mut self, serial: S) {
        self.serial = serial;
        self.lost = false;
    }

    /// Goes on over the same transport after it failed, as a UART does.
    pub(crate) const fn recover(&mut self) {
        self.lost = false;
    }

    /// Another speed or patience from the next exchange on.
    pub const fn set_line(&mut self, line: BusLine) {
        self.master.set_line(line);
    }

    /// The transport, to be set up.
    pub(crate) const fn serial(&mut self) -> &mut S {
        &mut self.serial
    }

    /// The timer.
    pub const fn timer(&mut self) -> &mut T {
        &mut self.timer
    }

    async fn exchange(&mut self, unit: MeterAddress, request: BusRequest<'_>) -> Result<(), BusError> {
        if self.lost {
            return Err(BusError::Lost);
        }
        // An exchange that was dropped while it sent has left the driver on.
        if self.driver_enable.set_low().is_err() {
            self.lost = true;
            return Err(BusError::Lost);
        }
        self.master.begin(unit, request, self.timer.now_us());
        loop {
            let went_well = match self.master.step(self.timer.now_us()) {
                BusStep::Done(result) => return result,
                BusStep::Transmit => match self.drain().await {
                    Some(0) => self.transmit().await,
                    drained => drained.map(|_| ()),
                },
                BusStep::Pause { until_us } => self.pause(until_us).await,
                BusStep::Listen { until_us } => self.listen(until_us).await,
            };
            if went_well.is_none() {
                self.lost = true;
                return Err(BusError::Lost);
            }
        }
    }

    async fn transmit(&mut self) -> Option<()> {
        self.driver_enable.set_high().ok()?;
        let written = self.serial.write_all(self.master.frame()).await;
        let flushed = self.serial.flush().await;
        // The driver is switched off in every case: a bus held by a driver left on is dead for everybody.
        self.driver_enable.set_low().ok()?;
        written.ok()?;
        flushed.ok()?;
        self.master.sent(self.timer.now_us());
        Some(())
    }

    /// Takes what the UART has received since anybody looked, at most [`DRAIN_READS_MAX`] chunks; gives their number.
    async fn drain(&mut self) -> Option<u32> {
        let mut chunk = [0; CHUNK_LEN];
        for reads in 0..DRAIN_READS_MAX {
            match poll_once(self.serial.read(&mut chunk)) {
                Poll::Ready(read) => self.take(&chunk, read.ok()?)?,
                Poll::Pending => return Some(reads),
            }
        }
        Some(DRAIN_READS_MAX)
    }

    async fn pause(&mut self, until_us: u64) -> Option<()> {
        let mut chunk = [0; CHUNK_LEN];
        match select(self.serial.read(&mut chunk), self.timer.pause_until_us(until_us)).await {
            Either::First(read) => self.take(&chunk, read.ok()?),
            Either::Second(()) => Some(()),
        }
    }

    async fn listen(&mut self, until_us: u64) -> Option<()> {
        let mut chunk = [0; CHUNK_LEN];
        match select(self.serial.read(&mut chunk), self.timer.listen_until_us(until_us)).await {
            Either::First(read) => self.take(&chunk, read.ok()?),
            Either::Second(()) => Some(()),
        }
    }

    /// Hands over what was read; `None` when the transport is at its end.
    fn take(&mut self, chunk: &[u8], len: usize) -> Option<()> {
        let bytes = chunk.get(..len).filter(|bytes| !bytes.is_empty())?;
        self.master.received(bytes, self.timer.now_us());
        Some(())
    }
}
