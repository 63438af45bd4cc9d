//! The device on an LM3S6965, as `qemu-system-arm -M lm3s6965evb` emulates it: pins, clocks, drivers, tasks.
#![no_std]
#![no_main]
#![allow(dead_code, reason = "the meters' side is not spawned yet")]

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

use core::pin::pin;

use embassy_executor::Spawner;
use embassy_net::{Runner, StackResources};
use static_cell::{ConstStaticCell, StaticCell};
use taraz_board::{
    NETWORK_SOCKETS, announce_network, guard, network_config, pump_console, say, take_last_run,
};
use taraz_firmware::{Health, Seed};
use taraz_telemetry::PageNetwork;

use ethernet::Ethernet;
use uart::UartWriter;
use watchdog::LmWatchdog;

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
    let (_reader, writer) = uart::console();
    spawner.spawn(console(writer).expect("spawned once"));
    let last = take_last_run();
    say!("started: {:?}", last.reset_cause(sysctl::take_reset_cause()));
    static HEALTH: StaticCell<Health<1>> = StaticCell::new();
    let health = &*HEALTH.init(Health::new(["network"]));
    static ETHERNET: ConstStaticCell<Ethernet> = ConstStaticCell::new(Ethernet::new());
    let ethernet = ETHERNET.take();
    ethernet.start([2, 0, 0, 1, 2, 3]);
    static RESOURCES: StaticCell<StackResources<NETWORK_SOCKETS>> = StaticCell::new();
    let resources = RESOURCES.init(StackResources::new());
    let seed = Seed::new().with_words(&semihosting::time_words()).draw("network");
    let (stack, runner) = embassy_net::new(ethernet, network_config(&PageNetwork::Dhcp), resources, seed);
    spawner.spawn(network(runner, health).expect("spawned once"));
    spawner.spawn(watch(health).expect("spawned once"));
    announce_network(stack).await;
}

#[embassy_executor::task]
async fn watch(health: &'static Health<1>) -> ! {
    guard(LmWatchdog::new(), health, || ()).await
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, &'static mut Ethernet>, health: &'static Health<1>) -> ! {
    let run = pin!(runner.run());
    health.watch(0, run).await
}

#[embassy_executor::task]
async fn console(writer: UartWriter) -> ! {
    pump_console(writer).await
}
