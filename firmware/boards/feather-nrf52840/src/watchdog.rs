//! The watchdog timer: fed in time, or the chip is reset; and what the chip says about its last reset.

use embassy_nrf::Peri;
use embassy_nrf::pac;
use embassy_nrf::peripherals::WDT;
use embassy_nrf::wdt::{Config, Watchdog as Wdt, WatchdogHandle};
use taraz_board::Watchdog;
use taraz_telemetry::ResetCause;

/// 8 s of the 32,768 Hz clock.
const TIMEOUT_TICKS: u32 = 8 * 32_768;

/// Resets the chip after 8 s without being fed.
pub(crate) struct FeatherWatchdog {
    timer: Option<Peri<'static, WDT>>,
    handle: Option<WatchdogHandle>,
}

impl FeatherWatchdog {
    /// Not started yet.
    pub(crate) const fn new(timer: Peri<'static, WDT>) -> Self {
        Self {
            timer: Some(timer),
            handle: None,
        }
    }
}

impl Watchdog for FeatherWatchdog {
    fn start(&mut self) {
        let mut config = Config::default();
        config.timeout_ticks = TIMEOUT_TICKS;
        // A restart by the program leaves it running, set as here.
        let started = self.timer.take().map(|timer| Wdt::try_new::<_, 1>(timer, config));
        if let Some(Ok((_, [handle]))) = started {
            self.handle = Some(handle);
        }
    }

    fn feed(&mut self) {
        if let Some(handle) = &mut self.handle {
            handle.pet();
        }
    }
}

/// What the chip says about its last reset.
pub(crate) fn take_reset_cause() -> Option<ResetCause> {
    let reasons = pac::POWER.resetreas().read();
    // "A field is cleared by writing '1' to it" (product specification, 5.3.7.7).
    pac::POWER.resetreas().write_value(reasons);
    if reasons.dog() {
        Some(ResetCause::Watchdog)
    } else if reasons.sreq() {
        // The boot loader hands over to the program by one, too: who asked for it is in the retained memory.
        None
    } else if reasons.resetpin() || reasons.lockup() {
        Some(ResetCause::Unknown)
    } else {
        // "If none of the reset sources are flagged, this indicates that the chip was reset from the on-chip reset
        // generator, which will indicate a power-on-reset or a brownout reset."
        Some(ResetCause::PowerOn)
    }
}
