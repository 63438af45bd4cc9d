//! The watchdog timer: fed in time, or the chip is reset; and what the chip says about its last reset.

use embassy_rp::Peri;
use embassy_rp::pac;
use embassy_rp::peripherals::WATCHDOG;
use embassy_rp::watchdog::{ResetReason, Watchdog as RpWatchdog};
use embassy_time::Duration;
use taraz_board::Watchdog;
use taraz_telemetry::ResetCause;

/// The longest is 8.3 s (data sheet, 4.7.6: 24 bits of µs, counted down by two because of erratum RP2040-E1).
const TIMEOUT: Duration = Duration::from_secs(8);

/// Resets the chip after 8 s without being fed.
pub(crate) struct PicoWatchdog(RpWatchdog);

impl PicoWatchdog {
    /// Not started yet.
    pub(crate) fn new(watchdog: Peri<'static, WATCHDOG>) -> Self {
        Self(RpWatchdog::new(watchdog))
    }

    /// What the chip says about its last reset.
    pub(crate) fn reset_cause(&self) -> Option<ResetCause> {
        if let Some(reason) = self.0.reset_reason() {
            return Some(match reason {
                ResetReason::TimedOut => ResetCause::Watchdog,
                ResetReason::Forced => ResetCause::Requested,
            });
        }
        // 2.12.8: "Last reset was from the power-on reset or brown-out detection blocks": it can't tell the two apart.
        let chip = pac::VREG_AND_CHIP_RESET.chip_reset().read();
        chip.had_por().then_some(ResetCause::PowerOn)
    }
}

impl Watchdog for PicoWatchdog {
    fn start(&mut self) {
        self.0.start(TIMEOUT);
    }

    fn feed(&mut self) {
        self.0.feed(TIMEOUT);
    }
}
