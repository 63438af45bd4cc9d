//! Time for embassy: a counter that runs free, and a timer that fires once.
//!
//! Counting timer interrupts would lose time whenever the emulator's host is too busy to deliver them all. SysTick
//! instead runs free over its 24 bits as the time base (a wrap is noticed within 1.34 s, or lost), and timer 0 in its
//! 32-bit one-shot mode wakes for the next expiry.

use core::cell::RefCell;
use core::task::Waker;

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, SCB, SYST};
use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;
use lm3s6965::{Interrupt, interrupt};

use crate::registers::Registers;
use crate::sysctl::CORE_HZ;

/// SysTick's cycles from wrap to wrap.
const PERIOD: u64 = 1 << 24;
/// Ticks are to cycles as `TICKS` to `CYCLES`.
const CYCLES: u64 = 25;
const TICKS: u64 = 2;
const _: () = assert!(CORE_HZ as u64 * TICKS == TICK_HZ * CYCLES);

// SAFETY: the base address of timer 0 (data sheet, table 2-3).
#[allow(unsafe_code, reason = "names the peripheral's address")]
const TIMER: Registers = unsafe { Registers::at(0x4003_0000) };

// Data sheet, 9.4: configuration (0: one 32-bit timer), mode (1: one-shot), control (1: on), interrupt mask, clear, load.
const CFG: usize = 0x00;
const TAMR: usize = 0x04;
const CTL: usize = 0x0c;
const IMR: usize = 0x18;
const ICR: usize = 0x24;
const TAILR: usize = 0x28;

struct State {
    /// Wraps that the interrupt has counted.
    wraps: u64,
    /// The latest time told, in cycles.
    latest: u64,
    queue: Queue,
}

struct LmTimeDriver {
    state: Mutex<RefCell<State>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: LmTimeDriver = LmTimeDriver {
    state: Mutex::new(RefCell::new(State { wraps: 0, latest: 0, queue: Queue::new() })),
});

impl State {
    /// Cycles since the start, with interrupts masked.
    fn cycles(&mut self) -> u64 {
        let mut left = u64::from(SYST::get_current());
        let mut wraps = self.wraps;
        if SCB::is_pendst_pending() {
            // It wrapped before or after the counter was read, and nobody has counted that yet: read it again.
            left = u64::from(SYST::get_current());
            wraps += 1;
        }
        self.latest = self.latest.max(wraps * PERIOD + (PERIOD - 1 - left));
        self.latest
    }

    fn ticks(&mut self) -> u64 {
        self.cycles() * TICKS / CYCLES
    }

    /// Wakes what is due, and sets the timer for what is next.
    fn arm(&mut self) {
        loop {
            let now = self.ticks();
            let next = self.queue.next_expiration(now);
            TIMER.write(CTL, 0);
            if next == u64::MAX {
                return;
            }
            if let Some(ticks) = next.checked_sub(now).filter(|ticks| *ticks > 0) {
                let cycles = ticks.saturating_mul(CYCLES).div_ceil(TICKS);
                TIMER.write(TAILR, u32::try_from(cycles).unwrap_or(u32::MAX));
                TIMER.write(CTL, 1);
                return;
            }
        }
    }
}

impl Driver for LmTimeDriver {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.state.borrow_ref_mut(cs).ticks())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs: CriticalSection<'_>| {
            let mut state = self.state.borrow_ref_mut(cs);
            if state.queue.schedule_wake(at, waker) {
                state.arm();
            }
        });
    }
}

/// Starts the counter and lets the timer interrupt.
#[allow(unsafe_code, reason = "unmasks an interrupt")]
pub(crate) fn init(mut systick: SYST) {
    TIMER.write(CTL, 0);
    TIMER.write(CFG, 0);
    TIMER.write(TAMR, 1);
    TIMER.write(ICR, 0xf);
    TIMER.write(IMR, 1);
    // SAFETY: no critical section relies on this interrupt's mask.
    unsafe { NVIC::unmask(Interrupt::TIMER_0A) };
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload((1 << 24) - 1);
    systick.clear_current();
    systick.enable_counter();
    // It counts from zero, which would read as a whole period gone by, until its first cycle loads it.
    while SYST::get_current() == 0 {}
    SCB::clear_pendst();
    systick.enable_interrupt();
}

#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|cs| DRIVER.state.borrow_ref_mut(cs).wraps += 1);
}

#[interrupt]
fn TIMER_0A() {
    TIMER.write(ICR, 1);
    critical_section::with(|cs| DRIVER.state.borrow_ref_mut(cs).arm());
}
