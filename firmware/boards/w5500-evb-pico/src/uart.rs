//! The chip's UARTs: the console on UART 0, the bus on UART 1. embassy's buffered driver keeps what arrives in a ring,
//! whoever may be reading.

use core::convert::Infallible;

use embassy_rp::Peri;
use embassy_rp::clocks::clk_peri_freq;
use embassy_rp::interrupt::typelevel::{Binding, UART0_IRQ, UART1_IRQ};
use embassy_rp::pac;
use embassy_rp::peripherals::{PIN_0, PIN_1, PIN_4, PIN_5, UART0, UART1};
use embassy_rp::uart::{
    BufferedInterruptHandler, BufferedUart, BufferedUartRx, BufferedUartTx, Config, Error as UartError,
};
use embassy_time::Timer;
use embedded_io_async::{ErrorType, Read, Write};
use static_cell::ConstStaticCell;
use taraz_firmware::{Parity, SerialLine};

/// An answer on the bus is at most 256 bytes; two fit.
const BUS_RX_LEN: usize = 512;
/// A request on the bus is at most 256 bytes.
const BUS_TX_LEN: usize = 256;
/// A line that a technician types, and one that waits for the UART.
const CONSOLE_LEN: usize = 128;
/// How often a line that sends its last bytes is looked at, as there is no interrupt for their end. A meter at 115200 baud
/// may answer after 1,750 µs; by then the driver is off.
const FLUSH_LOOK_US: u64 = 100;
/// Of the receive FIFO's 32 places, so many are filled before it asks to be read: 1/8 (data sheet, 4.2.8, UARTIFLS).
/// For less it asks after 32 bit times, which are fewer than 4 characters.
const FIFO_LEVEL_CHARACTERS: u32 = 4;
const FIFO_LEVEL: u8 = 0b000;

/// UART 0 on GP0 (out) and GP1 (in), 115200 baud, 8N1: the console.
pub(crate) fn console(
    uart: Peri<'static, UART0>,
    tx: Peri<'static, PIN_0>,
    rx: Peri<'static, PIN_1>,
    irq: impl Binding<UART0_IRQ, BufferedInterruptHandler<UART0>>,
) -> (ConsoleReader, BufferedUartTx) {
    static TX: ConstStaticCell<[u8; CONSOLE_LEN]> = ConstStaticCell::new([0; CONSOLE_LEN]);
    static RX: ConstStaticCell<[u8; CONSOLE_LEN]> = ConstStaticCell::new([0; CONSOLE_LEN]);
    let uart = BufferedUart::new(uart, tx, rx, irq, TX.take(), RX.take(), Config::default());
    let (tx, rx) = uart.split();
    (ConsoleReader(rx), tx)
}

/// UART 1 on GP4 (out) and GP5 (in): the bus. It is configured before anything is asked.
pub(crate) fn bus(
    uart: Peri<'static, UART1>,
    tx: Peri<'static, PIN_4>,
    rx: Peri<'static, PIN_5>,
    irq: impl Binding<UART1_IRQ, BufferedInterruptHandler<UART1>>,
) -> BusUart {
    static TX: ConstStaticCell<[u8; BUS_TX_LEN]> = ConstStaticCell::new([0; BUS_TX_LEN]);
    static RX: ConstStaticCell<[u8; BUS_RX_LEN]> = ConstStaticCell::new([0; BUS_RX_LEN]);
    let uart = BufferedUart::new(uart, tx, rx, irq, TX.take(), RX.take(), Config::default());
    pac::UART1
        .uartifls()
        .modify(|levels| levels.set_rxiflsel(FIFO_LEVEL));
    let (tx, rx) = uart.split();
    BusUart { rx, tx }
}

/// What a technician types; a damaged character is left out.
pub(crate) struct ConsoleReader(BufferedUartRx);

impl ErrorType for ConsoleReader {
    type Error = Infallible;
}

impl Read for ConsoleReader {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            if let Ok(len) = Read::read(&mut self.0, buffer).await {
                return Ok(len);
            }
        }
    }
}

/// Both directions of the bus.
pub(crate) struct BusUart {
    rx: BufferedUartRx,
    tx: BufferedUartTx,
}

impl SerialLine for BusUart {
    const NOTICE_CHARACTERS: u32 = FIFO_LEVEL_CHARACTERS;

    fn configure(&mut self, baud: u32, parity: Parity, stop_bits: u8) -> Result<(), UartError> {
        // 4.2.7.1: the divisor is the clock over 16 times the rate, in 64ths; here rounded.
        let divisor = (clk_peri_freq() * 4 + baud / 2) / baud.max(1);
        let uart = pac::UART1;
        uart.uartcr().modify(|control| control.set_uarten(false));
        uart.uartibrd().write(|whole| whole.0 = divisor / 64);
        uart.uartfbrd().write(|fraction| fraction.0 = divisor % 64);
        // "The UARTIBRD and UARTFBRD registers […] are only updated when UARTLCR_H is written."
        uart.uartlcr_h().write(|line| {
            line.set_wlen(0b11);
            line.set_fen(true);
            line.set_stp2(stop_bits > 1);
            line.set_pen(parity != Parity::None);
            line.set_eps(parity == Parity::Even);
        });
        uart.uartcr().modify(|control| control.set_uarten(true));
        Ok(())
    }
}

impl ErrorType for BusUart {
    type Error = UartError;
}

impl Read for BusUart {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, UartError> {
        Read::read(&mut self.rx, buffer).await
    }
}

impl Write for BusUart {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, UartError> {
        Write::write(&mut self.tx, bytes).await
    }

    async fn flush(&mut self) -> Result<(), UartError> {
        Write::flush(&mut self.tx).await?;
        // The ring is empty; the FIFO and the shift register may not be.
        while self.tx.busy() {
            Timer::after_micros(FLUSH_LOOK_US).await;
        }
        Ok(())
    }
}
