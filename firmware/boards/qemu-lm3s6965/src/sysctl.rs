//! System control: the clock, the peripherals' clocks, and why the chip was reset.
//!
//! LM3S6965 data sheet, chapter 5 (System Control).

use taraz_telemetry::ResetCause;

use crate::registers::Registers;

/// The core's clock, in Hz: the PLL's 200 MHz over 16. The SysTick counter of 24 bits then wraps every 1.34 s, which
/// leaves the time driver that long to notice even when the emulator's host is busy.
pub(crate) const CORE_HZ: u32 = 12_500_000;

// SAFETY: the base address of system control (data sheet, table 2-3).
#[allow(unsafe_code, reason = "names the peripheral's address")]
const SYSCTL: Registers = unsafe { Registers::at(0x400F_E000) };

const RIS: usize = 0x050;
const RESC: usize = 0x05c;
const RCC: usize = 0x060;
const RCGC0: usize = 0x100;
const RCGC1: usize = 0x104;
const RCGC2: usize = 0x108;

const RIS_PLL_LOCKED: u32 = 1 << 6;

const RCC_MAIN_OSCILLATOR_OFF: u32 = 1 << 0;
const RCC_OSCILLATOR_MASK: u32 = 0b11 << 4;
const RCC_CRYSTAL_MASK: u32 = 0b1111 << 6;
const RCC_CRYSTAL_8_MHZ: u32 = 0xe << 6;
const RCC_BYPASS: u32 = 1 << 11;
const RCC_PLL_OFF: u32 = 1 << 13;
const RCC_USE_DIVISOR: u32 = 1 << 22;
const RCC_DIVISOR_MASK: u32 = 0b1111 << 23;
const RCC_DIVISOR_16: u32 = 0xf << 23;

/// Reads of the PLL's lock before it is taken for broken; the data sheet gives it 0.5 ms.
const PLL_LOCK_READS_MAX: u32 = 100_000;

/// Runs the core from the PLL (5.3, "Initialization and Configuration") and clocks every peripheral that is used.
pub(crate) fn init() {
    let mut rcc = SYSCTL.read(RCC);
    rcc = (rcc | RCC_BYPASS) & !RCC_USE_DIVISOR;
    SYSCTL.write(RCC, rcc);
    rcc &= !(RCC_MAIN_OSCILLATOR_OFF | RCC_OSCILLATOR_MASK | RCC_CRYSTAL_MASK | RCC_PLL_OFF);
    rcc |= RCC_CRYSTAL_8_MHZ;
    SYSCTL.write(RCC, rcc);
    rcc = (rcc & !RCC_DIVISOR_MASK) | RCC_DIVISOR_16 | RCC_USE_DIVISOR;
    SYSCTL.write(RCC, rcc);
    for _ in 0..PLL_LOCK_READS_MAX {
        if SYSCTL.read(RIS) & RIS_PLL_LOCKED != 0 {
            break;
        }
    }
    SYSCTL.write(RCC, rcc & !RCC_BYPASS);

    SYSCTL.set(RCGC0, 1 << 3); // watchdog
    SYSCTL.set(RCGC1, 1 << 16 | 0b11); // timer 0, UART 0 and 1
    SYSCTL.set(RCGC2, 1 << 30 | 1 << 28 | 1 << 5 | 1 << 3 | 1); // Ethernet PHY and MAC, ports F, D, A
    // A peripheral answers three cycles after its clock came on (5.2.4.2).
    cortex_m::asm::delay(3);
}

/// Why the chip was reset (RESC), which is cleared for the next time. The emulator leaves it at zero: `None`.
pub(crate) fn take_reset_cause() -> Option<ResetCause> {
    let cause = SYSCTL.read(RESC);
    SYSCTL.write(RESC, 0);
    // The bits are sticky: a power-on reset sets its own and may leave the others undefined.
    [
        (1 << 1, ResetCause::PowerOn),
        (1 << 2, ResetCause::BrownOut),
        (1 << 3, ResetCause::Watchdog),
        (1 << 4, ResetCause::Requested),
        (1, ResetCause::Unknown), // the reset pin
    ]
    .into_iter()
    .find_map(|(bit, reason)| (cause & bit != 0).then_some(reason))
}
