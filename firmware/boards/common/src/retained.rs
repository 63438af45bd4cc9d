//! The memory that a reset leaves alone, and the restart.
//!
//! A board's linker script keeps [`RETAINED_LEN`] bytes at `_retained` out of reach of the start-up code.

use taraz_firmware::{LastRun, RETAINED_LEN};

/// In words, as the memory is read and written.
const WORDS: usize = RETAINED_LEN / 4;

/// Gives access to the memory.
#[allow(unsafe_code, reason = "memory that the linker script sets aside")]
fn with_memory<T>(access: impl FnOnce(&mut [u8; RETAINED_LEN]) -> T) -> T {
    unsafe extern "C" {
        static mut _retained: [u32; WORDS];
    }
    let first = (&raw mut _retained).cast::<u32>();
    let mut copy = [0; RETAINED_LEN];
    critical_section::with(|_| {
        for (index, bytes) in copy.chunks_exact_mut(4).enumerate() {
            // SAFETY: the linker script gives these words to nothing else, any value is valid, and with interrupts masked
            // on the only core nobody else is here. Volatile: what was there before the start counts.
            bytes.copy_from_slice(&unsafe { first.add(index).read_volatile() }.to_le_bytes());
        }
        let outcome = access(&mut copy);
        for (index, bytes) in copy.chunks_exact(4).enumerate() {
            let word = bytes.first_chunk().copied().map_or(0, u32::from_le_bytes);
            // SAFETY: as above. Volatile: what is there after the end counts.
            unsafe { first.add(index).write_volatile(word) };
        }
        outcome
    })
}

/// How the run before ended; from now on it counts as running.
#[must_use]
pub(crate) fn take_last_run() -> LastRun {
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

/// Restarts the chip because it can't go on, and leaves word why.
pub(crate) fn restart_because(problem: core::fmt::Arguments<'_>) -> ! {
    leave(&LastRun::stalled(problem));
    cortex_m::peripheral::SCB::sys_reset()
}

/// Restarts the chip because somebody asked for it.
pub fn restart() -> ! {
    leave(&LastRun::Requested);
    cortex_m::peripheral::SCB::sys_reset()
}
