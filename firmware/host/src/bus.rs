//! The meters behind a bus that may not be there: opened when needed, opened again when it was lost.

use std::time::{Duration, Instant};

use taraz_firmware::{Bus, BusCounters, BusLine, Meter, MeterBus, MeterSettings, NoDriverEnable, poll_meter};
use taraz_telemetry::{MeterAddress, PollStatus, Quantities};

use crate::address::BusAddress;
use crate::transport::{HostIo, HostTimer, open_bus};

/// How long a bus that can't be opened is left alone.
const REOPEN_WAIT: Duration = Duration::from_secs(2);

/// A bus of this computer and its meters.
pub(crate) struct HostBus {
    address: BusAddress,
    line: BusLine,
    bus: Option<Bus<HostIo, NoDriverEnable, HostTimer>>,
    meters: Vec<Meter>,
    not_before: Option<Instant>,
    failing: bool,
}

impl HostBus {
    pub(crate) fn new(address: BusAddress, line: BusLine, meters: &[MeterSettings]) -> Self {
        let meters = meters
            .iter()
            .map(|meter| Meter::new(meter.address, meter.driver))
            .collect();
        Self {
            address,
            line,
            bus: None,
            meters,
            not_before: None,
            failing: false,
        }
    }

    /// Opens the bus unless it is open. False if it is not.
    pub(crate) async fn open(&mut self) -> bool {
        if self.bus.as_ref().is_some_and(|bus| !bus.is_lost()) {
            return true;
        }
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        match open_bus(&self.address).await {
            Ok(io) => {
                match &mut self.bus {
                    Some(bus) => bus.reopen(io),
                    None => self.bus = Some(Bus::new(io, NoDriverEnable, HostTimer::new(), self.line)),
                }
                if std::mem::take(&mut self.failing) {
                    tracing::info!(bus = %self.address, "the bus is open again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(bus = %self.address, %error, "the bus can't be opened; trying again");
                }
                self.not_before = Some(Instant::now() + REOPEN_WAIT);
                false
            }
        }
    }

    /// Writes registers; the status tells why not.
    pub(crate) async fn write(
        &mut self,
        unit: MeterAddress,
        start: u16,
        values: &[u16],
    ) -> Result<(), PollStatus> {
        if !self.open().await {
            return Err(PollStatus::Timeout);
        }
        let Some(bus) = &mut self.bus else {
            return Err(PollStatus::Timeout);
        };
        bus.write(unit, start, values)
            .await
            .map_err(|error| error.status())
    }

    /// The transport is gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.bus.as_ref().is_none_or(Bus::is_lost)
    }
}

impl MeterBus for HostBus {
    async fn poll(&mut self, index: usize) -> Result<Quantities, PollStatus> {
        if !self.open().await {
            return Err(PollStatus::Timeout);
        }
        match (&mut self.bus, self.meters.get_mut(index)) {
            (Some(bus), Some(meter)) => poll_meter(bus, meter).await,
            _ => Err(PollStatus::Timeout),
        }
    }

    fn counters(&self, index: usize) -> BusCounters {
        self.meters.get(index).map(Meter::counters).unwrap_or_default()
    }
}
