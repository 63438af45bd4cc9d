//! The device's polls, and what is done on the bus in between.

use embassy_futures::poll_once;
use embassy_futures::select::{Either3, select3};
use embassy_time::{Duration, Timer};
use taraz_telemetry::{PollStatus, Quantities};

use super::status::{MeterState, PollGlance};
use super::{Device, DeviceEvent, MeterBus, Observer};
use crate::poll::{Schedule, Turn};
use crate::queue::Queue;

/// How often the device reports how it is, in ms.
pub const DIAGNOSTICS_INTERVAL_MS: u64 = 15 * 60 * 1_000;
/// After this many polls without a pause, what else is wanted of the bus gets its turn, too.
const POLLS_IN_A_ROW_MAX: u32 = 16;

impl<Q: Queue, O: Observer> Device<Q, O> {
    pub(super) async fn poll_until_stopped<B: MeterBus>(&self, bus: &mut B) {
        let meters = self.core.borrow().meters.len();
        let mut schedule = Schedule::new(meters, self.settings.poll_interval_ms);
        let mut diagnostics_ms = 0;
        let mut polls_in_a_row = 0;
        while !self.stopping.get() {
            let now_ms = self.now_ms();
            self.follow(bus, &mut schedule);
            self.housekeep(now_ms, &mut diagnostics_ms);
            let turn = if bus.can_poll() {
                schedule.next(now_ms)
            } else {
                Turn::Wait { until_ms: u64::MAX }
            };
            let work_is_wanted = match turn {
                Turn::Poll(_) if polls_in_a_row >= POLLS_IN_A_ROW_MAX => {
                    polls_in_a_row = 0;
                    poll_once(bus.wanted()).is_ready()
                }
                Turn::Poll(index) => {
                    polls_in_a_row += 1;
                    self.core.borrow_mut().polling = Some(index);
                    let result = self.until_stopped(&self.poll_wake, bus.poll(index)).await;
                    self.core.borrow_mut().polling = None;
                    let Some(result) = result else {
                        break;
                    };
                    self.polled(bus, &mut schedule, index, now_ms, result);
                    false
                }
                Turn::Wait { until_ms } => {
                    polls_in_a_row = 0;
                    self.wait(bus, until_ms.min(diagnostics_ms)).await
                }
            };
            if work_is_wanted && self.until_stopped(&self.poll_wake, bus.work()).await.is_none() {
                break;
            }
        }
        self.core.borrow_mut().record_open_runs(&self.observer);
        self.link_wake.notify();
    }

    /// Waits until this instant at most. True when something else is wanted of the bus.
    async fn wait<B: MeterBus>(&self, bus: &mut B, until_ms: u64) -> bool {
        let overdue_ms = self.core.borrow().runs.next_overdue_ms().unwrap_or(u64::MAX);
        let until = self.started + Duration::from_millis(until_ms.min(overdue_ms));
        let first = select3(Timer::at(until), self.poll_wake.wait(), bus.wanted()).await;
        matches!(first, Either3::Third(()))
    }

    /// Takes over the meters that the bus has found.
    fn follow<B: MeterBus>(&self, bus: &B, schedule: &mut Schedule) {
        let mut core = self.core.borrow_mut();
        for &meter in bus.meters().iter().skip(core.meters.len()) {
            if core.meters.push(MeterState::new(meter)).is_ok() {
                schedule.add();
                self.observer.event(&DeviceEvent::MeterFound(meter));
            }
        }
    }

    fn polled<B: MeterBus>(
        &self,
        bus: &B,
        schedule: &mut Schedule,
        index: usize,
        began_ms: u64,
        result: Result<Quantities, PollStatus>,
    ) {
        let now_ms = self.now_ms();
        let core = &mut *self.core.borrow_mut();
        let Some(meter) = core.meters.get_mut(index) else {
            return;
        };
        meter.counters = bus.counters(index);
        let glance = |values: &Quantities| PollGlance {
            ac_power_w: values.ac_power_w,
            irradiance_dwm2: values.irradiance_dwm2,
        };
        meter.last = Some((now_ms, result.as_ref().map(glance).map_err(|status| *status)));
        let settings = meter.settings;
        self.observer.event(&DeviceEvent::Polled {
            index,
            result: &result,
        });
        schedule.polled(index, began_ms, now_ms, core.clock.utc_ms(now_ms), result.is_ok());
        core.record_poll(index, settings, now_ms, result, &self.observer);
        self.link_wake.notify();
    }

    fn housekeep(&self, now_ms: u64, diagnostics_ms: &mut u64) {
        let core = &mut *self.core.borrow_mut();
        core.retry(now_ms, &self.observer);
        core.record_overdue(now_ms, &self.observer);
        if now_ms >= *diagnostics_ms {
            *diagnostics_ms = now_ms + DIAGNOSTICS_INTERVAL_MS;
            core.record_diagnostics(now_ms, &self.observer);
            self.link_wake.notify();
        }
    }
}
