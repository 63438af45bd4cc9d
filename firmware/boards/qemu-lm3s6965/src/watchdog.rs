//! The watchdog timer: fed in time, or the chip is reset.
//!
//! Data sheet, chapter 10. It counts down twice: the first time it asks for an interrupt, which nobody takes; the second
//! time it resets the chip. Feeding clears the first and counts from the start.

use taraz_board::Watchdog;

use crate::registers::Registers;
use crate::sysctl::CORE_HZ;

// SAFETY: the base address of watchdog timer 0 (data sheet, table 2-3).
#[allow(unsafe_code, reason = "names the peripheral's address")]
const WATCHDOG: Registers = unsafe { Registers::at(0x4000_0000) };

const LOAD: usize = 0x000;
const CTL: usize = 0x008;
const ICR: usize = 0x00c;
const LOCK: usize = 0xc00;

const CTL_COUNT: u32 = 1 << 0;
const CTL_RESET: u32 = 1 << 1;
/// "Writing 0x1ACC.E551 to this register enables write access to all other registers."
const UNLOCK: u32 = 0x1acc_e551;

/// Resets the chip after 8 s without being fed.
#[derive(Debug)]
pub(crate) struct LmWatchdog(());

impl LmWatchdog {
    const TIMEOUT_S: u32 = 8;

    /// Not started yet.
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl Watchdog for LmWatchdog {
    fn start(&mut self) {
        WATCHDOG.write(LOCK, UNLOCK);
        WATCHDOG.write(LOAD, Self::TIMEOUT_S / 2 * CORE_HZ);
        WATCHDOG.write(CTL, CTL_RESET | CTL_COUNT);
    }

    fn feed(&mut self) {
        WATCHDOG.write(ICR, 1);
    }
}
