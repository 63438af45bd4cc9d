//! The device on an LM3S6965, as `qemu-system-arm -M lm3s6965evb` emulates it: pins, clocks, drivers, tasks.
#![no_std]
#![no_main]

mod ethernet;
mod executor;
mod flash;
mod gpio;
mod registers;
mod semihosting;
mod sysctl;
mod time_driver;
mod uart;
mod watchdog;

use core::cell::RefCell;
use core::pin::pin;

use embassy_executor::Spawner;
use embassy_net::{Runner, Stack, StackResources};
use static_cell::{ConstStaticCell, StaticCell};
use taraz_board::{
    Begun, BoardHealth, BoardHost, BoardLink, CLOCK_TASK, LINK_TASK, METERS_TASK, NETWORK_SOCKETS,
    NETWORK_TASK, Narrator, Setup, SetupError, SharedFlash, TimeServer, announce_network, begin, guard, link,
    network_config, prepare, pump_console, serve_console, sntp, stack_high_water_bytes, wait_for_help,
    wait_until_said,
};
use taraz_firmware::{
    BusDesk, Device, EmbassyTimer, FieldBus, FieldBusSettings, FlashQueue, Seed, Sntp, hardware_address,
};
use taraz_telemetry::board_marker;

use ethernet::Ethernet;
use flash::HostFlash;
use gpio::DriverEnable;
use uart::{BusUart, UartReader, UartWriter};
use watchdog::LmWatchdog;

type BoardFlash = SharedFlash<HostFlash>;
type BoardDevice = Device<FlashQueue<BoardFlash>, Narrator>;
type BoardBus = FieldBus<'static, BusUart, DriverEnable, EmbassyTimer>;

#[cortex_m_rt::entry]
fn main() -> ! {
    let peripherals = cortex_m::Peripherals::take().expect("taken once");
    sysctl::init();
    gpio::init_uarts();
    time_driver::init(peripherals.SYST);
    executor::run(|spawner| spawner.spawn(start(spawner).expect("spawned once")))
}

#[embassy_executor::task]
async fn start(spawner: Spawner) {
    static FLASH: StaticCell<RefCell<HostFlash>> = StaticCell::new();
    static HOST: StaticCell<BoardHost<HostFlash>> = StaticCell::new();
    static DESK: ConstStaticCell<BusDesk> = ConstStaticCell::new(BusDesk::new());
    let (reader, writer) = uart::console();
    spawner.spawn(console_output(writer).expect("spawned once"));
    let begun = begin(board_marker!("qemu-lm3s6965"), sysctl::take_reset_cause());
    // How the last run ended shall be read even if this one ends at once.
    wait_until_said().await;
    let flash = HostFlash::open().ok();
    let flash = flash.map(|flash| SharedFlash::new(FLASH.init(RefCell::new(flash))));
    let host = &*HOST.init(BoardHost::new(&begun, flash, HostFlash::PAGE_AT));
    let desk = &*DESK.take();
    let device = flash
        .ok_or(SetupError::Flash)
        .and_then(|flash| spawn_device(spawner, flash, &begun, host, desk));
    spawner.spawn(console(reader, device.ok(), desk, host).expect("spawned once"));
    if let Err(problem) = device {
        wait_for_help(problem).await;
    }
}

/// Everything that needs a configuration page.
fn spawn_device(
    spawner: Spawner,
    mut flash: BoardFlash,
    begun: &Begun,
    host: &BoardHost<HostFlash>,
    desk: &'static BusDesk,
) -> Result<(&'static BoardDevice, &'static BoardHealth), SetupError> {
    let seed = Seed::new().with_words(&semihosting::time_words());
    let setup = prepare(&mut flash, HostFlash::PAGE_AT, begun, seed)?;
    let health = setup.health;
    let device = make_device(flash, begun, &setup)?;
    let bus = make_bus(&setup, desk);
    let (stack, runner) = make_network(&setup);
    host.set_network(stack, false);
    spawner.spawn(network(runner, health).expect("spawned once"));
    spawner.spawn(announce(stack).expect("spawned once"));
    spawner.spawn(poll_meters(device, bus, health).expect("spawned once"));
    spawner.spawn(run_link(device, link(stack, &setup), health).expect("spawned once"));
    spawner.spawn(keep_clock(device, sntp(stack, &setup), health).expect("spawned once"));
    spawner.spawn(watch(device, health).expect("spawned once"));
    Ok((device, health))
}

// Each of these is a function of its own so that what it builds is on the stack alone.

#[inline(never)]
fn make_device(flash: BoardFlash, begun: &Begun, setup: &Setup) -> Result<&'static BoardDevice, SetupError> {
    static DEVICE: StaticCell<BoardDevice> = StaticCell::new();
    let queue = FlashQueue::open(flash, HostFlash::QUEUE, setup.seed.draw_u32("incarnation"))
        .map_err(|_| SetupError::Queue)?;
    Ok(DEVICE.init_with(|| Device::new(setup.device_parts(begun, queue), setup.identity)))
}

#[inline(never)]
fn make_bus(setup: &Setup, desk: &'static BusDesk) -> &'static mut BoardBus {
    static BUS: StaticCell<BoardBus> = StaticCell::new();
    let settings = FieldBusSettings::from_page(setup.page);
    let (uart, driver_enable) = (uart::bus(), DriverEnable::init());
    BUS.init_with(|| FieldBus::new(uart, driver_enable, EmbassyTimer, settings, desk))
}

#[inline(never)]
fn make_network(setup: &Setup) -> (Stack<'static>, Runner<'static, &'static mut Ethernet>) {
    static ETHERNET: ConstStaticCell<Ethernet> = ConstStaticCell::new(Ethernet::new());
    static RESOURCES: StaticCell<StackResources<NETWORK_SOCKETS>> = StaticCell::new();
    let ethernet = ETHERNET.take();
    ethernet.start(hardware_address(&setup.page.device));
    let resources = RESOURCES.init_with(StackResources::new);
    let config = network_config(&setup.page.network);
    embassy_net::new(ethernet, config, resources, setup.seed.draw("network"))
}

#[embassy_executor::task]
async fn console_output(writer: UartWriter) -> ! {
    pump_console(writer).await
}

#[embassy_executor::task]
async fn console(
    reader: UartReader,
    device: Option<(&'static BoardDevice, &'static BoardHealth)>,
    desk: &'static BusDesk,
    host: &'static BoardHost<HostFlash>,
) {
    serve_console(reader, device, desk, host).await;
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, &'static mut Ethernet>, health: &'static BoardHealth) -> ! {
    let run = pin!(runner.run());
    health.watch(NETWORK_TASK, run).await
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
async fn watch(device: &'static BoardDevice, health: &'static BoardHealth) -> ! {
    let measure = || device.note_stack_high_water(stack_high_water_bytes());
    guard(LmWatchdog::new(), health, measure).await
}
