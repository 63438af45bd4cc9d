//! The device on WIZnet's W5500-EVB-Pico: pins, clocks, drivers, tasks.
//!
//! | pins | what |
//! |---|---|
//! | GP0, GP1 | console: out, in; 115200 baud, 8N1 |
//! | GP4, GP5, GP6 | RS-485 transceiver: out, in, driver enable (high while sending) |
//! | GP16–GP21 | W5500: MISO, select, clock, MOSI, reset, interrupt (wired on the board) |
#![no_std]
#![no_main]

mod uart;
mod watchdog;

use embassy_executor::Spawner;
use embassy_rp::clocks::RoscRng;
use embassy_rp::flash::{Blocking, Flash};
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{DMA_CH0, DMA_CH1, FLASH, SPI0, UART0, UART1};
use embassy_rp::spi::{Async, Config as SpiConfig, Spi};
use embassy_rp::uart::{BufferedInterruptHandler, BufferedUartTx};
use embassy_rp::{bind_interrupts, dma};
use embassy_time::Delay;
use embedded_hal_bus::spi::ExclusiveDevice;
use taraz_board::{W5500_SPI_HZ_MAX, W5500Lines, Wired, device_tasks, wait_for_help};
use taraz_firmware::Seed;
use taraz_telemetry::{FLASH_MAP_W5500_EVB_PICO, FlashMap, board_marker};

use uart::{BusUart, ConsoleReader};
use watchdog::PicoWatchdog;

static MAP: FlashMap = FLASH_MAP_W5500_EVB_PICO;
const FLASH_LEN: usize = 2 * 1024 * 1024;
/// What the ring oscillator gives for the seed: its single bits are poor, so there are many.
const SEED_WORDS: usize = 16;

type Lines = W5500Lines<
    ExclusiveDevice<Spi<'static, SPI0, Async>, Output<'static>, Delay>,
    Input<'static>,
    Output<'static>,
>;
type PicoFlash = Flash<'static, FLASH, Blocking, FLASH_LEN>;

device_tasks! {
    flash: PicoFlash,
    bus: BusUart, Output<'static>,
    console: ConsoleReader, BufferedUartTx,
    network: Lines,
    watchdog: PicoWatchdog,
}

bind_interrupts!(struct Irqs {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
    UART1_IRQ => BufferedInterruptHandler<UART1>;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>, dma::InterruptHandler<DMA_CH1>;
});

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let chip = embassy_rp::init(embassy_rp::config::Config::default());
    let (reader, writer) = uart::console(chip.UART0, chip.PIN_0, chip.PIN_1, Irqs);
    let watchdog = PicoWatchdog::new(chip.WATCHDOG);
    let cause = watchdog.reset_cause();
    let begun = tasks::begin(spawner, writer, board_marker!("w5500-evb-pico"), cause).await;
    let (clock, mosi, miso) = (chip.PIN_18, chip.PIN_19, chip.PIN_16);
    let (dma_tx, dma_rx) = (chip.DMA_CH0, chip.DMA_CH1);
    let spi = Spi::new(chip.SPI0, clock, mosi, miso, dma_tx, dma_rx, Irqs, spi_config());
    let Ok(spi) = ExclusiveDevice::new(spi, Output::new(chip.PIN_17, Level::High), Delay);
    let wired = Wired {
        uart: uart::bus(chip.UART1, chip.PIN_4, chip.PIN_5, Irqs),
        driver_enable: Output::new(chip.PIN_6, Level::Low),
        network: W5500Lines {
            spi,
            interrupt: Input::new(chip.PIN_21, Pull::Up),
            reset: Output::new(chip.PIN_20, Level::High),
        },
        watchdog,
        seed: seed(),
    };
    let flash = Flash::new_blocking(chip.FLASH);
    if let Err(failed) = tasks::run(spawner, begun, (&MAP, Some(flash)), wired, reader) {
        wait_for_help(failed).await;
    }
}

/// Mode 0, as it comes; the next rate below the limit that the chip's clock divides into.
fn spi_config() -> SpiConfig {
    let mut config = SpiConfig::default();
    config.frequency = W5500_SPI_HZ_MAX;
    config
}

fn seed() -> Seed {
    let mut rng = RoscRng;
    let noise: [u32; SEED_WORDS] = core::array::from_fn(|_| rng.next_u32());
    Seed::new().with_words(&noise)
}
