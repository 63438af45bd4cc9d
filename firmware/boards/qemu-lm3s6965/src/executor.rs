//! Embassy's executor, asleep in WFI.
//!
//! Its stock thread executor waits with WFE, which QEMU runs as no operation: a core of the host would spin.

use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

/// Something became ready since the last round.
static PENDED: AtomicBool = AtomicBool::new(false);

/// Called by wakers, from interrupts too.
#[allow(unsafe_code, reason = "the executor finds its pender by this name")]
// SAFETY: the signature is the one that embassy-executor declares.
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    PENDED.store(true, Ordering::SeqCst);
}

/// Runs tasks for ever; `init` spawns the first.
#[allow(unsafe_code, reason = "the raw executor and the interrupt mask")]
pub(crate) fn run(init: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    init(executor.spawner());
    loop {
        // SAFETY: the only call of `poll` for this executor, never from within one of its tasks.
        unsafe { executor.poll() };
        // With interrupts masked nothing becomes ready between the look and the sleep; WFI wakes for a masked one, too.
        cortex_m::interrupt::disable();
        if !PENDED.swap(false, Ordering::SeqCst) {
            cortex_m::asm::wfi();
        }
        // SAFETY: no critical section is open here.
        unsafe { cortex_m::interrupt::enable() };
    }
}
