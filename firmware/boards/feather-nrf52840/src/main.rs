//! The device on Adafruit's Feather nRF52840 Express (Cortex-M4F) under its Ethernet FeatherWing (W5500): pins, clocks,
//! drivers, tasks. It builds and links; on the hardware it has not run yet.
//!
//! | pins | what |
//! |---|---|
//! | A0, A1 | console: out, in; 115200 baud, 8N1 |
//! | TX, RX, D5 | RS-485 transceiver: out, in, driver enable (high while sending) |
//! | SCK, MO, MI, D10 | W5500: clock, MOSI, MISO, select (wired by the wing) |
//! | D9 | W5500: interrupt; solder a wire to the wing's IRQ |
//! | D6 | W5500: reset; not needed where the wing's RST is the Feather's |
#![no_std]
#![no_main]

mod uart;
mod watchdog;

use embassy_executor::Spawner;
use embassy_nrf::buffered_uarte::{BufferedUarte, BufferedUarteRx, BufferedUarteTx, InterruptHandler};
use embassy_nrf::config::{HfclkSource, LfclkSource};
use embassy_nrf::gpio::{Input, Level, Output, OutputDrive, Pull};
use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::peripherals::{SPI3, UARTE0, UARTE1};
use embassy_nrf::rng::Rng;
use embassy_nrf::spim::{Frequency, Spim};
use embassy_nrf::{bind_interrupts, spim, uarte};
use embassy_time::Delay;
use embedded_hal_bus::spi::ExclusiveDevice;
use static_cell::ConstStaticCell;
use taraz_board::{W5500Lines, Wired, device_tasks, wait_for_help};
use taraz_firmware::Seed;
use taraz_telemetry::{FLASH_MAP_FEATHER_NRF52840, FlashMap, board_marker};

use uart::BusUart;
use watchdog::{FeatherWatchdog, take_reset_cause};

static MAP: FlashMap = FLASH_MAP_FEATHER_NRF52840;
/// An answer on the bus is at most 256 bytes; two fit.
const BUS_RX_LEN: usize = 512;
/// A request on the bus is at most 256 bytes; the console waits for what does not fit.
const UART_LEN: usize = 256;

type Lines =
    W5500Lines<ExclusiveDevice<Spim<'static>, Output<'static>, Delay>, Input<'static>, Output<'static>>;

device_tasks! {
    flash: Nvmc<'static>,
    bus: BusUart, Output<'static>,
    console: BufferedUarteRx<'static>, BufferedUarteTx<'static>,
    network: Lines,
    watchdog: FeatherWatchdog,
}

bind_interrupts!(struct Irqs {
    UARTE0 => InterruptHandler<UARTE0>;
    UARTE1 => InterruptHandler<UARTE1>;
    SPIM3 => spim::InterruptHandler<SPI3>;
});

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static CONSOLE_RX: ConstStaticCell<[u8; UART_LEN]> = ConstStaticCell::new([0; UART_LEN]);
    static CONSOLE_TX: ConstStaticCell<[u8; UART_LEN]> = ConstStaticCell::new([0; UART_LEN]);
    static BUS_RX: ConstStaticCell<[u8; BUS_RX_LEN]> = ConstStaticCell::new([0; BUS_RX_LEN]);
    static BUS_TX: ConstStaticCell<[u8; UART_LEN]> = ConstStaticCell::new([0; UART_LEN]);
    let cause = take_reset_cause();
    let mut clocks = embassy_nrf::config::Config::default();
    clocks.hfclk_source = HfclkSource::ExternalXtal;
    clocks.lfclk_source = LfclkSource::ExternalXtal;
    let chip = embassy_nrf::init(clocks);
    let line = uarte::Config::default;
    let (rx, tx) = (CONSOLE_RX.take(), CONSOLE_TX.take());
    let (one, other, group) = (chip.PPI_CH2, chip.PPI_CH3, chip.PPI_GROUP1);
    let (rxd, txd) = (chip.P0_05, chip.P0_04);
    let console_uart = BufferedUarte::new(
        chip.UARTE1,
        chip.TIMER2,
        one,
        other,
        group,
        rxd,
        txd,
        Irqs,
        line(),
        rx,
        tx,
    );
    let (reader, writer) = console_uart.split();
    let begun = tasks::begin(spawner, writer, board_marker!("feather-nrf52840"), cause).await;
    let (rx, tx) = (BUS_RX.take(), BUS_TX.take());
    let (one, other, group) = (chip.PPI_CH0, chip.PPI_CH1, chip.PPI_GROUP0);
    let (rxd, txd) = (chip.P0_24, chip.P0_25);
    let bus_uart = BufferedUarte::new(
        chip.UARTE0,
        chip.TIMER1,
        one,
        other,
        group,
        rxd,
        txd,
        Irqs,
        line(),
        rx,
        tx,
    );
    let (rx, tx) = bus_uart.split();
    let mut spi_config = spim::Config::default();
    spi_config.frequency = Frequency::M16;
    let spi = Spim::new(chip.SPI3, Irqs, chip.P0_14, chip.P0_15, chip.P0_13, spi_config);
    let Ok(spi) = ExclusiveDevice::new(
        spi,
        Output::new(chip.P0_27, Level::High, OutputDrive::Standard),
        Delay,
    );
    let mut noise = [0; 32];
    Rng::new_blocking(chip.RNG).blocking_fill_bytes(&mut noise);
    let wired = Wired {
        uart: BusUart { rx, tx },
        driver_enable: Output::new(chip.P1_08, Level::Low, OutputDrive::Standard),
        network: W5500Lines {
            spi,
            interrupt: Input::new(chip.P0_26, Pull::Up),
            reset: Output::new(chip.P0_07, Level::High, OutputDrive::Standard),
        },
        watchdog: FeatherWatchdog::new(chip.WDT),
        seed: Seed::new().with(&noise),
    };
    let flash = Nvmc::new(chip.NVMC);
    if let Err(failed) = tasks::run(spawner, begun, (&MAP, Some(flash)), wired, reader) {
        wait_for_help(failed).await;
    }
}
