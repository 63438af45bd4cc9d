//! Panics and faults: a record for the next start, then a reset.

use core::panic::PanicInfo;

use taraz_firmware::LastRun;

use crate::retained::leave;

#[cfg_attr(target_os = "none", panic_handler)]
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "on a computer std has one")
)]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    leave(&LastRun::panicked(format_args!("{info}")));
    cortex_m::peripheral::SCB::sys_reset()
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
            "fault at {:#010x}, called from {:#010x}",
            frame[PC_AT], frame[LR_AT]
        ))),
        None => leave(&LastRun::panicked(format_args!(
            "stack overflow (stack pointer {stack_pointer:#010x})"
        ))),
    }
    cortex_m::peripheral::SCB::sys_reset()
}
