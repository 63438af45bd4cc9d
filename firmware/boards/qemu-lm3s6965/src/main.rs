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

use embassy_executor::Spawner;
use taraz_board::{Wired, device_tasks, wait_for_help};
use taraz_firmware::Seed;
use taraz_telemetry::{FLASH_MAP_QEMU_LM3S6965, FlashMap, board_marker};

use ethernet::LmNetwork;
use flash::HostFlash;
use gpio::DriverEnable;
use uart::{BusUart, UartReader, UartWriter};
use watchdog::LmWatchdog;

static MAP: FlashMap = FLASH_MAP_QEMU_LM3S6965;

device_tasks! {
    flash: HostFlash,
    bus: BusUart, DriverEnable,
    console: UartReader, UartWriter,
    network: LmNetwork,
    watchdog: LmWatchdog,
}

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
    let (reader, writer) = uart::console();
    let cause = sysctl::take_reset_cause();
    let begun = tasks::begin(spawner, writer, board_marker!("qemu-lm3s6965"), cause).await;
    let flash = HostFlash::open().ok();
    let wired = Wired {
        uart: uart::bus(),
        driver_enable: DriverEnable::init(),
        network: LmNetwork,
        watchdog: LmWatchdog::new(),
        seed: Seed::new().with_words(&semihosting::time_words()),
    };
    if let Err(failed) = tasks::run(spawner, begun, (&MAP, flash), wired, reader) {
        wait_for_help(failed).await;
    }
}
