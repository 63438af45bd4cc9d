//! A UART with interrupts on both sides: embedded-io-async's `Read` and `Write`.
//!
//! Data sheet, chapter 12 (an ARM PL011). What arrives goes from the FIFO of 16 bytes into a ring at once, whoever may be
//! reading; what is sent waits for room in the FIFO without spinning.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::Poll;

use cortex_m::peripheral::NVIC;
use critical_section::Mutex;
use embassy_sync::waitqueue::AtomicWaker;
use embassy_time::Timer;
use embedded_io_async::{ErrorType, Read, Write};
use heapless::Deque;
use lm3s6965::{Interrupt, interrupt};
use taraz_firmware::{Parity, SerialLine};

use crate::registers::Registers;
use crate::sysctl::CORE_HZ;

const DR: usize = 0x00;
const FR: usize = 0x18;
const IBRD: usize = 0x24;
const FBRD: usize = 0x28;
const LCRH: usize = 0x2c;
const CTL: usize = 0x30;
const IM: usize = 0x38;
const MIS: usize = 0x40;
const ICR: usize = 0x44;

const FR_BUSY: u32 = 1 << 3;
const FR_RX_EMPTY: u32 = 1 << 4;
const FR_TX_FULL: u32 = 1 << 5;
const LCRH_PARITY: u32 = 1 << 1;
const LCRH_EVEN: u32 = 1 << 2;
const LCRH_TWO_STOP_BITS: u32 = 1 << 3;
const LCRH_FIFOS: u32 = 1 << 4;
const LCRH_EIGHT_BITS: u32 = 0b11 << 5;
const CTL_ON: u32 = 1 << 0 | 1 << 8 | 1 << 9;
const INTERRUPT_RX: u32 = 1 << 4;
const INTERRUPT_TX: u32 = 1 << 5;
/// Bytes wait in the FIFO, too few for [`INTERRUPT_RX`], and none has come for 32 bit times.
const INTERRUPT_RX_TIMEOUT: u32 = 1 << 6;

/// What a person types, or pastes.
const CONSOLE_RING_LEN: usize = 128;
/// An answer on the bus is at most 256 bytes.
const BUS_RING_LEN: usize = 384;

/// One UART and what its interrupt shares with its halves; `N` bytes that arrived may wait.
pub(crate) struct Port<const N: usize> {
    registers: Registers,
    ring: Mutex<RefCell<Deque<u8, N>>>,
    overruns: Mutex<Cell<u32>>,
    readable: AtomicWaker,
    writable: AtomicWaker,
}

// SAFETY: the base addresses of UART 0 and 1 (data sheet, table 2-3).
#[allow(unsafe_code, reason = "names the peripherals' addresses")]
static CONSOLE: Port<CONSOLE_RING_LEN> = unsafe { Port::at(0x4000_c000) };
// SAFETY: as above.
#[allow(unsafe_code, reason = "names the peripherals' addresses")]
static BUS: Port<BUS_RING_LEN> = unsafe { Port::at(0x4000_d000) };

impl<const N: usize> Port<N> {
    /// # Safety
    /// `base` is the address of a UART.
    #[allow(unsafe_code, reason = "a wrong address breaks memory safety")]
    const unsafe fn at(base: usize) -> Self {
        Self {
            // SAFETY: promised by the caller.
            registers: unsafe { Registers::at(base) },
            ring: Mutex::new(RefCell::new(Deque::new())),
            overruns: Mutex::new(Cell::new(0)),
            readable: AtomicWaker::new(),
            writable: AtomicWaker::new(),
        }
    }

    /// Sets the line; what is being sent or received at this moment is spoilt.
    fn configure(&self, baud: u32, parity: Parity, stop_bits: u8) {
        // 12.2.2: the divisor is the clock over 16 times the rate, in 64ths, rounded.
        let divisor = (CORE_HZ * 4 + baud / 2) / baud.max(1);
        let parity = match parity {
            Parity::None => 0,
            Parity::Even => LCRH_PARITY | LCRH_EVEN,
            Parity::Odd => LCRH_PARITY,
        };
        let stop = if stop_bits > 1 { LCRH_TWO_STOP_BITS } else { 0 };
        self.registers.write(CTL, 0);
        self.registers.write(IBRD, divisor / 64);
        self.registers.write(FBRD, divisor % 64);
        // "The UARTIBRD and UARTFBRD registers only take effect when UARTLCRH is written."
        self.registers
            .write(LCRH, LCRH_EIGHT_BITS | LCRH_FIFOS | parity | stop);
        self.registers.write(IM, INTERRUPT_RX | INTERRUPT_RX_TIMEOUT);
        self.registers.write(CTL, CTL_ON);
    }

    fn on_interrupt(&self) {
        let causes = self.registers.read(MIS);
        self.registers.write(ICR, causes);
        if causes & INTERRUPT_TX != 0 {
            self.registers.clear(IM, INTERRUPT_TX);
            self.writable.wake();
        }
        critical_section::with(|cs| {
            let mut ring = self.ring.borrow_ref_mut(cs);
            while self.registers.read(FR) & FR_RX_EMPTY == 0 {
                // A byte with a framing or parity error is handed on: the frame's CRC tells it.
                let [byte, ..] = self.registers.read(DR).to_le_bytes();
                if ring.push_back(byte).is_err() {
                    let overruns = self.overruns.borrow(cs);
                    overruns.set(overruns.get().saturating_add(1));
                }
            }
        });
        self.readable.wake();
    }

    async fn read(&self, buffer: &mut [u8]) -> usize {
        poll_fn(|context| {
            self.readable.register(context.waker());
            let len = critical_section::with(|cs| {
                let mut ring = self.ring.borrow_ref_mut(cs);
                let mut len = 0;
                for (room, byte) in buffer.iter_mut().zip(core::iter::from_fn(|| ring.pop_front())) {
                    *room = byte;
                    len += 1;
                }
                len
            });
            if len > 0 || buffer.is_empty() {
                Poll::Ready(len)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Puts into the FIFO what it takes, at least one byte.
    async fn write(&self, bytes: &[u8]) -> usize {
        poll_fn(|context| {
            self.writable.register(context.waker());
            let mut len = 0;
            for &byte in bytes {
                if self.registers.read(FR) & FR_TX_FULL != 0 {
                    break;
                }
                self.registers.write(DR, u32::from(byte));
                len += 1;
            }
            if len > 0 || bytes.is_empty() {
                return Poll::Ready(len);
            }
            critical_section::with(|_| self.registers.set(IM, INTERRUPT_TX));
            Poll::Pending
        })
        .await
    }

    /// Waits until the last stop bit has left; there is no interrupt for that.
    async fn flush(&self) {
        while self.registers.read(FR) & FR_BUSY != 0 {
            Timer::after_micros(100).await;
        }
    }
}

#[interrupt]
fn UART0() {
    CONSOLE.on_interrupt();
}

#[interrupt]
fn UART1() {
    BUS.on_interrupt();
}

/// Turns UART 0 into the console, 115200 baud, 8N1.
pub(crate) fn console() -> (UartReader, UartWriter) {
    let port = &CONSOLE;
    port.configure(115_200, Parity::None, 1);
    unmask(Interrupt::UART0);
    (UartReader(port), UartWriter(port))
}

/// Turns UART 1 into the bus.
pub(crate) fn bus() -> BusUart {
    let port = &BUS;
    port.configure(9_600, Parity::None, 1);
    unmask(Interrupt::UART1);
    BusUart(port)
}

#[allow(unsafe_code, reason = "unmasks an interrupt")]
fn unmask(interrupt: Interrupt) {
    // SAFETY: no critical section relies on this interrupt's mask.
    unsafe { NVIC::unmask(interrupt) };
}

/// What comes in.
pub(crate) struct UartReader(&'static Port<CONSOLE_RING_LEN>);
/// What goes out.
pub(crate) struct UartWriter(&'static Port<CONSOLE_RING_LEN>);
/// Both, with a line that can be set.
pub(crate) struct BusUart(&'static Port<BUS_RING_LEN>);

impl ErrorType for UartReader {
    type Error = Infallible;
}

impl Read for UartReader {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        Ok(self.0.read(buffer).await)
    }
}

impl ErrorType for UartWriter {
    type Error = Infallible;
}

impl Write for UartWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(self.0.write(bytes).await)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        self.0.flush().await;
        Ok(())
    }
}

impl ErrorType for BusUart {
    type Error = Infallible;
}

impl Read for BusUart {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        Ok(self.0.read(buffer).await)
    }
}

impl Write for BusUart {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(self.0.write(bytes).await)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        self.0.flush().await;
        Ok(())
    }
}

impl SerialLine for BusUart {
    fn configure(&mut self, baud: u32, parity: Parity, stop_bits: u8) -> Result<(), Infallible> {
        self.0.configure(baud, parity, stop_bits);
        Ok(())
    }
}
