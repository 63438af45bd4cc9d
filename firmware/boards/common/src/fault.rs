//! Panics and faults: a record for the next start, then a reset.
//!
//! With the feature `panic-text` the record has a panic's text and place; without it, the return addresses on the stack:
//! texts and places of all panics take 33 KB of a program. `addr2line -e PROGRAM ADDRESS…` gives the places from those.

use core::panic::PanicInfo;

use taraz_firmware::LastRun;
#[cfg(not(feature = "panic-text"))]
use taraz_firmware::Trail;

use crate::retained::leave;

#[cfg_attr(target_os = "none", panic_handler)]
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "on a computer std has one")
)]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    record(info);
    cortex_m::peripheral::SCB::sys_reset()
}

#[cfg(feature = "panic-text")]
fn record(info: &PanicInfo<'_>) {
    leave(&LastRun::panicked(format_args!("{info}")));
}

/// Nothing of `info` may be read, or all of it is in the program.
#[cfg(not(feature = "panic-text"))]
fn record(_info: &PanicInfo<'_>) {
    let (end, start) = crate::stack::bounds();
    let pointer = usize::try_from(cortex_m::register::msp::read()).unwrap_or(end);
    let words = (pointer.max(end)..start).step_by(4).map(|at| {
        // SAFETY: within the stack, aligned as its pointer is; nobody else runs.
        unsafe { (at as *const u32).read_volatile() }
    });
    let half_word = |at: u32| {
        // SAFETY: `find` asks within the code, at even addresses.
        unsafe { (at as *const u16).read_volatile() }
    };
    let trail = Trail::find(words, &crate::stack::code(), half_word);
    leave(&LastRun::panicked(format_args!("panicked at{trail}")));
}

// A fault because the stack is full must not need a stack: it begins at the top of a new one, and hands over the old
// one's pointer. Every other exception that nobody expects ends here, too.
#[cfg(target_os = "none")]
core::arch::global_asm!(
    ".section .HardFault.user, \"ax\"",
    ".global HardFault",
    ".type HardFault, %function",
    ".thumb_func",
    "HardFault:",
    "mrs r0, msp",
    "ldr r1, =_stack_start",
    "msr msp, r1",
    "bl taraz_hard_fault",
    ".size HardFault, . - HardFault",
);

/// What the chip pushed when the fault came: r0 to r3, r12, lr, pc, xpsr.
const FRAME_WORDS: usize = 8;
const LR_AT: usize = 5;
const PC_AT: usize = 6;

#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "there are no faults on a computer")
)]
#[allow(
    unsafe_code,
    reason = "called from the assembly above, and reads the old stack"
)]
// SAFETY: the name is unique, and the assembly above passes one word as the C convention has it.
#[unsafe(export_name = "taraz_hard_fault")]
extern "C" fn hard_fault(stack_pointer: usize) -> ! {
    let frame = crate::stack::contains(stack_pointer, FRAME_WORDS).then(|| {
        // SAFETY: the frame lies within the stack, aligned, and nobody else runs.
        unsafe { (stack_pointer as *const [u32; FRAME_WORDS]).read_volatile() }
    });
    match frame {
        Some(frame) => leave(&LastRun::panicked(format_args!(
            "fault at {:x} {:x}",
            frame[PC_AT], frame[LR_AT]
        ))),
        None => leave(&LastRun::panicked(format_args!(
            "stack overflow ({stack_pointer:x})"
        ))),
    }
    cortex_m::peripheral::SCB::sys_reset()
}
