//! The memory that a reset leaves alone, and the restart.
//!
//! A board's linker script keeps [`RETAINED_LEN`] bytes at `_retained` out of reach of the start-up code.

use taraz_firmware::{LastRun, RETAINED_LEN};

/// Gives access to the memory.
#[allow(unsafe_code, reason = "memory that the linker script sets aside")]
fn with_memory<T>(access: impl FnOnce(&mut [u8; RETAINED_LEN]) -> T) -> T {
    unsafe extern "C" {
        static mut _retained: [u8; RETAINED_LEN];
    }
    let mut copy = [0; RETAINED_LEN];
    critical_section::with(|_| {
        let memory = &raw mut _retained;
        // SAFETY: the linker script gives these bytes to nothing else, every byte is valid, and with interrupts masked on
        // the only core nobody else is here. Volatile: what was there before the start and what is there after the
        // end counts.
        copy = unsafe { memory.read_volatile() };
        let outcome = access(&mut copy);
        // SAFETY: as above.
        unsafe { memory.write_volatile(copy) };
        outcome
    })
}

/// How the run before ended; from now on it counts as running.
#[must_use]
pub fn take_last_run() -> LastRun {
    with_memory(|memory| {
        let last = LastRun::read(memory);
        LastRun::Running.write(memory);
        last
    })
}

/// Leaves word for the next run.
pub(crate) fn leave(last: &LastRun) {
    with_memory(|memory| last.write(memory));
}

/// Restarts the chip because somebody asked for it.
pub fn restart() -> ! {
    leave(&LastRun::Requested);
    cortex_m::peripheral::SCB::sys_reset()
}
