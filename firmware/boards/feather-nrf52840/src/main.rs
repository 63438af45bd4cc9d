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

use core::cell::RefCell;
use core::pin::pin;

use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_net::{Runner, Stack, StackResources};
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
use static_cell::{ConstStaticCell, StaticCell};
use taraz_board::{
    Begun, BoardHealth, BoardHost, BoardLink, CLOCK_TASK, EthernetSocket, LINK_TASK, LateEthernet,
    METERS_TASK, NETWORK_SOCKETS, NETWORK_TASK, Narrator, Setup, SetupError, SharedFlash, TimeServer,
    W5500Lines, announce_network, begin, guard, link, network_config, prepare, pump_console, serve_console,
    sntp, stack_high_water_bytes, wait_for_help, wait_until_said,
};
use taraz_firmware::{
    BusDesk, Device, EmbassyTimer, FieldBus, FieldBusSettings, FlashQueue, Seed, Sntp, hardware_address,
};
use taraz_telemetry::board_marker;

use uart::BusUart;
use watchdog::{FeatherWatchdog, take_reset_cause};

/// The sector behind the program (`memory.x`).
const PAGE_AT: u32 = 0x0006_6000;
/// What is left of the boot loader's room for users.
const QUEUE: core::ops::Range<u32> = 0x0006_7000..0x000a_d000;
/// An answer on the bus is at most 256 bytes; two fit.
const BUS_RX_LEN: usize = 512;
/// A request on the bus is at most 256 bytes; the console waits for what does not fit.
const UART_LEN: usize = 256;

type Lines =
    W5500Lines<ExclusiveDevice<Spim<'static>, Output<'static>, Delay>, Input<'static>, Output<'static>>;
type BoardFlash = SharedFlash<Nvmc<'static>>;
type BoardDevice = Device<FlashQueue<BoardFlash>, Narrator>;
type BoardBus = FieldBus<'static, BusUart, Output<'static>, EmbassyTimer>;

bind_interrupts!(struct Irqs {
    UARTE0 => InterruptHandler<UARTE0>;
    UARTE1 => InterruptHandler<UARTE1>;
    SPIM3 => spim::InterruptHandler<SPI3>;
});

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static FLASH: StaticCell<RefCell<Nvmc<'static>>> = StaticCell::new();
    static HOST: StaticCell<BoardHost<Nvmc<'static>>> = StaticCell::new();
    static DESK: ConstStaticCell<BusDesk> = ConstStaticCell::new(BusDesk::new());
    static CONSOLE_RX: ConstStaticCell<[u8; UART_LEN]> = ConstStaticCell::new([0; UART_LEN]);
    static CONSOLE_TX: ConstStaticCell<[u8; UART_LEN]> = ConstStaticCell::new([0; UART_LEN]);
    static BUS_RX: ConstStaticCell<[u8; BUS_RX_LEN]> = ConstStaticCell::new([0; BUS_RX_LEN]);
    static BUS_TX: ConstStaticCell<[u8; UART_LEN]> = ConstStaticCell::new([0; UART_LEN]);
    let cause = take_reset_cause();
    let mut clocks = embassy_nrf::config::Config::default();
    clocks.hfclk_source = HfclkSource::ExternalXtal;
    clocks.lfclk_source = LfclkSource::ExternalXtal;
    let chip = embassy_nrf::init(clocks);
    let console_uart = BufferedUarte::new(
        chip.UARTE1,
        chip.TIMER2,
        chip.PPI_CH2,
        chip.PPI_CH3,
        chip.PPI_GROUP1,
        chip.P0_05,
        chip.P0_04,
        Irqs,
        uarte::Config::default(),
        CONSOLE_RX.take(),
        CONSOLE_TX.take(),
    );
    let (reader, writer) = console_uart.split();
    spawner.spawn(console_output(writer).expect("spawned once"));
    let begun = begin(board_marker!("feather-nrf52840"), cause);
    // How the last run ended shall be read even if this one ends at once.
    wait_until_said().await;
    let mut spi_config = spim::Config::default();
    spi_config.frequency = Frequency::M16;
    let spi = Spim::new(chip.SPI3, Irqs, chip.P0_14, chip.P0_15, chip.P0_13, spi_config);
    let Ok(spi) = ExclusiveDevice::new(
        spi,
        Output::new(chip.P0_27, Level::High, OutputDrive::Standard),
        Delay,
    );
    let lines = W5500Lines {
        spi,
        interrupt: Input::new(chip.P0_26, Pull::Up),
        reset: Output::new(chip.P0_07, Level::High, OutputDrive::Standard),
    };
    let bus_uart = BufferedUarte::new(
        chip.UARTE0,
        chip.TIMER1,
        chip.PPI_CH0,
        chip.PPI_CH1,
        chip.PPI_GROUP0,
        chip.P0_24,
        chip.P0_25,
        Irqs,
        uarte::Config::default(),
        BUS_RX.take(),
        BUS_TX.take(),
    );
    let (rx, tx) = bus_uart.split();
    let bus = BusParts {
        uart: BusUart { rx, tx },
        driver_enable: Output::new(chip.P1_08, Level::Low, OutputDrive::Standard),
        desk: &*DESK.take(),
    };
    let desk = bus.desk;
    let mut noise = [0; 32];
    Rng::new_blocking(chip.RNG).blocking_fill_bytes(&mut noise);
    let flash = SharedFlash::new(FLASH.init(RefCell::new(Nvmc::new(chip.NVMC))));
    let host = &*HOST.init(BoardHost::new(&begun, Some(flash), PAGE_AT));
    let seed = Seed::new().with(&noise);
    let wired = Wired {
        bus,
        lines,
        watchdog: FeatherWatchdog::new(chip.WDT),
    };
    let device = spawn_device(spawner, &begun, flash, host, wired, seed);
    spawner.spawn(console(reader, device.ok(), desk, host).expect("spawned once"));
    if let Err(problem) = device {
        wait_for_help(problem).await;
    }
}

/// What the bus is made of.
struct BusParts {
    uart: BusUart,
    driver_enable: Output<'static>,
    desk: &'static BusDesk,
}

/// What the pins lead to.
struct Wired {
    bus: BusParts,
    lines: Lines,
    watchdog: FeatherWatchdog,
}

/// Everything that needs a configuration page.
fn spawn_device(
    spawner: Spawner,
    begun: &Begun,
    mut flash: BoardFlash,
    host: &BoardHost<Nvmc<'static>>,
    wired: Wired,
    seed: Seed,
) -> Result<(&'static BoardDevice, &'static BoardHealth), SetupError> {
    let Wired { bus, lines, watchdog } = wired;
    let setup = prepare(&mut flash, PAGE_AT, begun, seed)?;
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
async fn console_output(writer: BufferedUarteTx<'static>) -> ! {
    pump_console(writer).await
}

#[embassy_executor::task]
async fn console(
    reader: BufferedUarteRx<'static>,
    device: Option<(&'static BoardDevice, &'static BoardHealth)>,
    desk: &'static BusDesk,
    host: &'static BoardHost<Nvmc<'static>>,
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
async fn watch(device: &'static BoardDevice, watchdog: FeatherWatchdog, health: &'static BoardHealth) -> ! {
    let measure = || device.note_stack_high_water(stack_high_water_bytes());
    guard(watchdog, health, measure).await
}
