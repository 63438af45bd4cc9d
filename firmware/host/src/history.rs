//! The past, read from a simulated bus that follows the clock it is told.
//!
//! Before each round of polls the round's instant is written to unit [`FOLLOW_CLOCK_UNIT`]; then the meters are read with real
//! Modbus bytes and the readings are stamped with exactly that instant. A round is in the queue whole or not at all, with its
//! instant as the queue's mark, so an interrupted history goes on where it stopped.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use taraz_firmware::{BusLine, Device, MeterBus, Queue};
use taraz_telemetry::{
    Clock, MeterAddress, Outcome, PollFailure, PollStatus, RECORD_LEN_MAX, Reading, Record, ResetCause,
    Stamp, Start,
};
use tokio_util::sync::CancellationToken;

use crate::bus::HostBus;
use crate::config::{DeviceConfig, History};
use crate::observe::{Narrator, Progress};
use crate::queue::FileQueue;
use crate::run::RunError;

/// The unit that takes the time instead of giving values: four registers from 0, UTC ms as u64, big-endian.
pub const FOLLOW_CLOCK_UNIT: u8 = 247;
const FOLLOW_CLOCK_START: u16 = 0;

/// Rounds between two writes to the disk.
const ROUNDS_PER_COMMIT: u32 = 64;
/// How often the clock unit may stay silent before it is taken for missing.
const CLOCK_FAILURES_MAX: u32 = 5;
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// A history is to be read, or to be gone on with, in this queue.
pub(crate) fn is_unfinished(queue: &FileQueue, history: Option<History>) -> bool {
    let begun = queue.boot() == 1 && (queue.mark() > 0 || queue.next_sequence() == 0);
    history.is_some() && (queue.boot() == 0 || begun)
}

/// Reads the past until it has caught up with the present, or until the stop.
pub(crate) async fn read_past(
    config: &DeviceConfig,
    history: History,
    device: &Device<FileQueue, Narrator<'_>>,
    narrator: &Narrator<'_>,
    cancel: &CancellationToken,
) -> Result<(), RunError> {
    let mut past = Past::new(config, history, device);
    while past.next_ms <= utc_ms() {
        if cancel.is_cancelled() {
            break;
        }
        match past.round().await {
            Ok(()) => {}
            Err(RoundError::Bus) => {
                if past.bus_failures >= CLOCK_FAILURES_MAX && !past.bus.is_lost() {
                    return Err(RunError::NoFollowClock);
                }
                tokio::select! {
                    () = tokio::time::sleep(RETRY_WAIT) => {}
                    () = cancel.cancelled() => break,
                }
            }
            Err(RoundError::Run(error)) => return Err(error),
        }
        if past.staged_rounds >= ROUNDS_PER_COMMIT {
            past.commit()?;
            narrator.progress(past.progress());
            tokio::task::yield_now().await;
        }
    }
    past.commit()?;
    narrator.progress(past.progress());
    Ok(())
}

enum RoundError {
    /// The clock could not be set: nothing of the round is there.
    Bus,
    Run(RunError),
}

impl From<RunError> for RoundError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

struct Past<'d, 'p> {
    device: &'d Device<FileQueue, Narrator<'p>>,
    bus: HostBus,
    meters: Vec<MeterAddress>,
    step_ms: u64,
    from_ms: u64,
    next_ms: u64,
    /// The boot has no `Start` record yet.
    starts: bool,
    staged_rounds: u32,
    bus_failures: u32,
}

impl<'d, 'p> Past<'d, 'p> {
    fn new(config: &DeviceConfig, history: History, device: &'d Device<FileQueue, Narrator<'p>>) -> Self {
        let step_ms = u64::from(history.step_s) * 1_000;
        let aligned_ms = utc_ms() / step_ms * step_ms;
        let (mark_ms, starts) = device.with_queue(|queue| (queue.mark(), queue.next_sequence() == 0));
        let from_ms = aligned_ms.saturating_sub(u64::from(history.days) * 86_400_000);
        let next_ms = if mark_ms > 0 { mark_ms + step_ms } else { from_ms };
        // A simulated bus over TCP needs no silence between frames.
        let line = BusLine {
            silence_us: 0,
            turnaround_us: 0,
            ..crate::run::line(config)
        };
        let bus = HostBus::new(config.bus.clone(), line, &config.meters);
        let meters = config.meters.iter().map(|meter| meter.address).collect();
        Self {
            device,
            bus,
            meters,
            step_ms,
            from_ms,
            next_ms,
            starts,
            staged_rounds: 0,
            bus_failures: 0,
        }
    }

    /// Sets the clock, polls every meter, stages what came.
    async fn round(&mut self) -> Result<(), RoundError> {
        let now_ms = self.next_ms;
        if self.set_clock(now_ms).await.is_err() {
            self.bus_failures += 1;
            return Err(RoundError::Bus);
        }
        self.bus_failures = 0;
        let stamp = Stamp {
            ms: now_ms,
            clock: Clock::Synced,
        };
        let mut records = Vec::with_capacity(self.meters.len() + 1);
        if self.starts {
            records.push(encoded(&start(stamp))?);
        }
        for index in 0..self.meters.len() {
            let outcome = match self.bus.poll(index).await {
                Ok(quantities) => Outcome::Values(quantities),
                // The connection broke: its clock is gone with it.
                Err(_) if self.bus.is_lost() => return Err(RoundError::Bus),
                Err(status) => Outcome::Failed(PollFailure {
                    status,
                    count: 1,
                    span_ms: 0,
                }),
            };
            records.push(encoded(&Record::Reading(Reading {
                meter: self.meters[index],
                stamp,
                outcome,
            }))?);
        }
        self.device
            .with_queue(|queue| queue.stage(&records, now_ms))
            .map_err(RunError::from)?;
        self.starts = false;
        self.staged_rounds += 1;
        self.next_ms += self.step_ms;
        Ok(())
    }

    async fn set_clock(&mut self, now_ms: u64) -> Result<(), PollStatus> {
        // Shifted so that each register is the low half of what is left.
        #[allow(clippy::cast_possible_truncation)]
        let registers = [48, 32, 16, 0].map(|shift| (now_ms >> shift) as u16);
        let Some(unit) = MeterAddress::new(FOLLOW_CLOCK_UNIT) else {
            return Err(PollStatus::NotUnderstood);
        };
        self.bus.write(unit, FOLLOW_CLOCK_START, &registers).await
    }

    fn commit(&mut self) -> Result<(), RunError> {
        self.staged_rounds = 0;
        Ok(self.device.with_queue(FileQueue::commit)?)
    }

    fn progress(&self) -> Progress {
        let rounds =
            |to_ms: u64| u32::try_from(to_ms.saturating_sub(self.from_ms) / self.step_ms).unwrap_or(u32::MAX);
        Progress::History {
            done: rounds(self.next_ms),
            total: rounds(utc_ms() + self.step_ms),
        }
    }
}

fn start(stamp: Stamp) -> Record {
    let firmware = env!("CARGO_PKG_VERSION").try_into().unwrap_or_default();
    Record::Start(Start {
        stamp,
        reset_cause: ResetCause::PowerOn,
        recovered: None,
        firmware,
    })
}

fn encoded(record: &Record) -> Result<Vec<u8>, RunError> {
    let mut buffer = [0; RECORD_LEN_MAX];
    Ok(record.encode(&mut buffer).map_err(RunError::Record)?.to_vec())
}

/// The computer's clock.
pub(crate) fn utc_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
