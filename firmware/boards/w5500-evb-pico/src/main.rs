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

use core::cell::RefCell;
use core::pin::pin;

use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_net::{Runner, Stack, StackResources};
use embassy_rp::clocks::RoscRng;
use embassy_rp::flash::{Blocking, Flash};
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{DMA_CH0, DMA_CH1, FLASH, SPI0, UART0, UART1};
use embassy_rp::spi::{Async, Config as SpiConfig, Spi};
use embassy_rp::uart::{BufferedInterruptHandler, BufferedUartTx};
use embassy_rp::{bind_interrupts, dma};
use embassy_time::Delay;
use embedded_hal_bus::spi::ExclusiveDevice;
use static_cell::{ConstStaticCell, StaticCell};
use taraz_board::{
    Begun, BoardHealth, BoardHost, BoardLink, CLOCK_TASK, EthernetSocket, LINK_TASK, LateEthernet,
    METERS_TASK, NETWORK_SOCKETS, NETWORK_TASK, Narrator, Setup, SetupError, SharedFlash, TimeServer,
    W5500_SPI_HZ_MAX, W5500Lines, announce_network, begin, guard, link, network_config, prepare,
    pump_console, serve_console, sntp, stack_high_water_bytes, wait_for_help, wait_until_said,
};
use taraz_firmware::{
    BusDesk, Device, EmbassyTimer, FieldBus, FieldBusSettings, FlashQueue, Seed, Sntp, hardware_address,
};
use taraz_telemetry::board_marker;

use uart::{BusUart, ConsoleReader};
use watchdog::PicoWatchdog;

const FLASH_LEN: usize = 2 * 1024 * 1024;
/// The last sector of the first MiB (`memory.x` keeps the program below it).
const PAGE_AT: u32 = 0x000f_f000;
/// The second MiB.
const QUEUE: core::ops::Range<u32> = 0x0010_0000..0x0020_0000;
/// What the ring oscillator gives for the seed: its single bits are poor, so there are many.
const SEED_WORDS: usize = 16;

type Lines = W5500Lines<
    ExclusiveDevice<Spi<'static, SPI0, Async>, Output<'static>, Delay>,
    Input<'static>,
    Output<'static>,
>;
type PicoFlash = Flash<'static, FLASH, Blocking, FLASH_LEN>;
type BoardFlash = SharedFlash<PicoFlash>;
type BoardDevice = Device<FlashQueue<BoardFlash>, Narrator>;
type BoardBus = FieldBus<'static, BusUart, Output<'static>, EmbassyTimer>;

bind_interrupts!(struct Irqs {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
    UART1_IRQ => BufferedInterruptHandler<UART1>;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>, dma::InterruptHandler<DMA_CH1>;
});

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static FLASH: StaticCell<RefCell<PicoFlash>> = StaticCell::new();
    static HOST: StaticCell<BoardHost<PicoFlash>> = StaticCell::new();
    static DESK: ConstStaticCell<BusDesk> = ConstStaticCell::new(BusDesk::new());
    let chip = embassy_rp::init(embassy_rp::config::Config::default());
    let (reader, writer) = uart::console(chip.UART0, chip.PIN_0, chip.PIN_1, Irqs);
    spawner.spawn(console_output(writer).expect("spawned once"));
    let watchdog = PicoWatchdog::new(chip.WATCHDOG);
    let begun = begin(board_marker!("w5500-evb-pico"), watchdog.reset_cause());
    // How the last run ended shall be read even if this one ends at once.
    wait_until_said().await;
    let (clock, mosi, miso) = (chip.PIN_18, chip.PIN_19, chip.PIN_16);
    let (dma_tx, dma_rx) = (chip.DMA_CH0, chip.DMA_CH1);
    let spi = Spi::new(chip.SPI0, clock, mosi, miso, dma_tx, dma_rx, Irqs, spi_config());
    let Ok(spi) = ExclusiveDevice::new(spi, Output::new(chip.PIN_17, Level::High), Delay);
    let lines = W5500Lines {
        spi,
        interrupt: Input::new(chip.PIN_21, Pull::Up),
        reset: Output::new(chip.PIN_20, Level::High),
    };
    let bus = BusParts {
        uart: uart::bus(chip.UART1, chip.PIN_4, chip.PIN_5, Irqs),
        driver_enable: Output::new(chip.PIN_6, Level::Low),
        desk: &*DESK.take(),
    };
    let desk = bus.desk;
    let flash = SharedFlash::new(FLASH.init(RefCell::new(Flash::new_blocking(chip.FLASH))));
    let host = &*HOST.init(BoardHost::new(&begun, Some(flash), PAGE_AT));
    let device = spawn_device(spawner, &begun, flash, host, bus, lines, watchdog);
    spawner.spawn(console(reader, device.ok(), desk, host).expect("spawned once"));
    if let Err(problem) = device {
        wait_for_help(problem).await;
    }
}

/// Mode 0, as it comes; the next rate below the limit that the chip's clock divides into.
fn spi_config() -> SpiConfig {
    let mut config = SpiConfig::default();
    config.frequency = W5500_SPI_HZ_MAX;
    config
}

/// What the bus is made of.
struct BusParts {
    uart: BusUart,
    driver_enable: Output<'static>,
    desk: &'static BusDesk,
}

/// Everything that needs a configuration page.
fn spawn_device(
    spawner: Spawner,
    begun: &Begun,
    mut flash: BoardFlash,
    host: &BoardHost<PicoFlash>,
    bus: BusParts,
    lines: Lines,
    watchdog: PicoWatchdog,
) -> Result<(&'static BoardDevice, &'static BoardHealth), SetupError> {
    let mut rng = RoscRng;
    let noise: [u32; SEED_WORDS] = core::array::from_fn(|_| rng.next_u32());
    let setup = prepare(&mut flash, PAGE_AT, begun, Seed::new().with_words(&noise))?;
    let health = setup.health;
    let device = make_device(flash, begun, &setup)?;
    let bus = make_bus(bus, &setup);
    let (stack, runner, socket) = make_network(&setup);
    host.set_network(stack, true);
    let address = hardware_address(&setup.page.device);
    spawner.spawn(network(runner, socket, lines, address, health).expect("spawned once"));
    spawner.spawn(announce(stack).expect("spawned once"));
    spawner.spawn(poll_meters(device, bus, health).expect("spawned once"));
    spawner.spawn(run_link(device, link(stack, &setup), health).expect("spawned once"));
    spawner.spawn(keep_clock(device, sntp(stack, &setup), health).expect("spawned once"));
    spawner.spawn(watch(device, watchdog, health).expect("spawned once"));
    Ok((device, health))
}

// Each of these is a function of its own so that what it builds is on the stack alone.

#[inline(never)]
fn make_device(flash: BoardFlash, begun: &Begun, setup: &Setup) -> Result<&'static BoardDevice, SetupError> {
    static DEVICE: StaticCell<BoardDevice> = StaticCell::new();
    let incarnation = setup.seed.draw_u32("incarnation");
    let queue = FlashQueue::open(flash, QUEUE, incarnation).map_err(|_| SetupError::Queue)?;
    Ok(DEVICE.init_with(|| Device::new(setup.device_parts(begun, queue), setup.identity)))
}

#[inline(never)]
fn make_bus(parts: BusParts, setup: &Setup) -> &'static mut BoardBus {
    static BUS: StaticCell<BoardBus> = StaticCell::new();
    let settings = FieldBusSettings::from_page(setup.page);
    let BusParts {
        uart,
        driver_enable,
        desk,
    } = parts;
    BUS.init_with(|| FieldBus::new(uart, driver_enable, EmbassyTimer, settings, desk))
}

#[inline(never)]
fn make_network(
    setup: &Setup,
) -> (
    Stack<'static>,
    Runner<'static, LateEthernet>,
    &'static EthernetSocket,
) {
    static SOCKET: StaticCell<EthernetSocket> = StaticCell::new();
    static RESOURCES: StaticCell<StackResources<NETWORK_SOCKETS>> = StaticCell::new();
    let socket = &*SOCKET.init_with(EthernetSocket::new);
    let ethernet = LateEthernet::new(socket, hardware_address(&setup.page.device));
    let resources = RESOURCES.init_with(StackResources::new);
    let config = network_config(&setup.page.network);
    let (stack, runner) = embassy_net::new(ethernet, config, resources, setup.seed.draw("network"));
    (stack, runner, socket)
}

#[embassy_executor::task]
async fn console_output(writer: BufferedUartTx) -> ! {
    pump_console(writer).await
}

#[embassy_executor::task]
async fn console(
    reader: ConsoleReader,
    device: Option<(&'static BoardDevice, &'static BoardHealth)>,
    desk: &'static BusDesk,
    host: &'static BoardHost<PicoFlash>,
) {
    serve_console(reader, device, desk, host).await;
}

#[embassy_executor::task]
async fn network(
    mut runner: Runner<'static, LateEthernet>,
    socket: &'static EthernetSocket,
    lines: Lines,
    address: [u8; 6],
    health: &'static BoardHealth,
) {
    let run = pin!(join(runner.run(), socket.run(lines, address)));
    health.watch(NETWORK_TASK, run).await;
}

#[embassy_executor::task]
async fn announce(stack: Stack<'static>) -> ! {
    announce_network(stack).await
}

#[embassy_executor::task]
async fn poll_meters(device: &'static BoardDevice, bus: &'static mut BoardBus, health: &'static BoardHealth) {
    let poll = pin!(device.poll_meters(bus));
    health.watch(METERS_TASK, poll).await;
}

#[embassy_executor::task]
async fn run_link(device: &'static BoardDevice, link: &'static mut BoardLink, health: &'static BoardHealth) {
    let run = pin!(link.run(device));
    health.watch(LINK_TASK, run).await;
}

#[embassy_executor::task]
async fn keep_clock(
    device: &'static BoardDevice,
    sntp: &'static mut Sntp<TimeServer>,
    health: &'static BoardHealth,
) {
    let run = pin!(sntp.run(device));
    health.watch(CLOCK_TASK, run).await;
}

#[embassy_executor::task]
async fn watch(device: &'static BoardDevice, watchdog: PicoWatchdog, health: &'static BoardHealth) -> ! {
    let measure = || device.note_stack_high_water(stack_high_water_bytes());
    guard(watchdog, health, measure).await
}
