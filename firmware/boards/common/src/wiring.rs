//! From a board's drivers to a device: the same on every board.
//!
//! A board brings [`Wired`], what its pins lead to; [`start`] makes everything of it that needs a configuration page, and
//! [`device_tasks!`](crate::device_tasks) the tasks that run it. These and the [`Room`] can't be generic: embassy's
//! executor and a static want their types named.

use core::cell::RefCell;
use core::pin::pin;

use embassy_futures::join::join;
use embassy_net::{Runner, Stack, StackResources};
use embassy_net_driver::Driver;
use embedded_hal::digital::OutputPin;
use embedded_storage::nor_flash::NorFlash;
use static_cell::{ConstStaticCell, StaticCell};
use taraz_firmware::{
    BusDesk, Device, EmbassyTimer, FieldBus, FieldBusSettings, FlashQueue, Found, PageSectors, Queue,
    QueueOwner, Seed, SerialLine, Sntp, hardware_address,
};
use taraz_telemetry::FlashMap;

use crate::flash::SharedFlash;
use crate::guard::{Watchdog, guard};
use crate::host::BoardHost;
use crate::narrator::Narrator;
use crate::network::{NETWORK_SOCKETS, network_config};
use crate::say;
use crate::setup::{Begun, Failed, Setup, SetupError, prepare};
use crate::stack::stack_high_water_bytes;
use crate::tasks::{BoardHealth, BoardLink, NETWORK_TASK, link, sntp};
use crate::time_server::TimeServer;

/// The network hardware of a board.
pub trait BoardNetwork {
    /// Its frames.
    type Driver: Driver;
    /// What has to run beside the stack.
    type Beside;
    /// The driver can tell whether a cable is plugged in.
    const SEES_CABLE: bool;

    /// The driver, with this Ethernet address, and the rest.
    ///
    /// # Panics
    /// Called twice: there is one network.
    fn split(self, address: [u8; 6]) -> (Self::Driver, Self::Beside);

    /// Runs the rest for ever; it may end where there is nothing to do.
    fn run(beside: Self::Beside) -> impl Future<Output = ()>;
}

/// What the pins of a board lead to.
#[derive(Debug)]
pub struct Wired<U, D, N, W> {
    /// The UART of the bus.
    pub uart: U,
    /// The RS-485 driver: high while sending.
    pub driver_enable: D,
    /// The network hardware.
    pub network: N,
    /// The watchdog, off.
    pub watchdog: W,
    /// What is random about this start.
    pub seed: Seed,
}

/// The device of a board with this flash.
pub type BoardDevice<F> = Device<FlashQueue<SharedFlash<F>>, Narrator>;
/// The bus of a board with this UART and this pin.
pub type BoardBus<U, D> = FieldBus<'static, U, D, EmbassyTimer>;

/// Where a device lives for as long as the program runs.
pub struct Room<F: NorFlash + 'static, U: SerialLine + 'static, D: OutputPin + 'static> {
    flash: StaticCell<RefCell<F>>,
    host: StaticCell<BoardHost<F>>,
    device: StaticCell<BoardDevice<F>>,
    bus: StaticCell<BoardBus<U, D>>,
}

impl<F: NorFlash, U: SerialLine, D: OutputPin> core::fmt::Debug for Room<F, U, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

impl<F: NorFlash, U: SerialLine, D: OutputPin> Default for Room<F, U, D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: NorFlash, U: SerialLine, D: OutputPin> Room<F, U, D> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            flash: StaticCell::new(),
            host: StaticCell::new(),
            device: StaticCell::new(),
            bus: StaticCell::new(),
        }
    }
}

/// What runs whether or not there is a configuration page.
pub struct Base<F: 'static> {
    /// How the program began.
    pub begun: Begun,
    /// Where page and queue stand.
    pub map: &'static FlashMap,
    /// The flash of both; `None` where it can't be opened.
    pub flash: Option<SharedFlash<F>>,
    /// What the console sees of the board.
    pub host: &'static BoardHost<F>,
    /// What the console asks of the bus.
    pub desk: &'static BusDesk,
}

impl<F> core::fmt::Debug for Base<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Base")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

impl<F: NorFlash> Base<F> {
    /// Of a board that has begun.
    ///
    /// # Panics
    /// Called twice.
    pub fn new<U: SerialLine, D: OutputPin>(
        room: &'static Room<F, U, D>,
        begun: Begun,
        map: &'static FlashMap,
        flash: Option<F>,
    ) -> Self {
        static DESK: ConstStaticCell<BusDesk> = ConstStaticCell::new(BusDesk::new());
        let flash = flash.map(|flash| SharedFlash::new(room.flash.init(RefCell::new(flash))));
        let page = PageSectors { at: map.pages_at };
        let host = room.host.init(BoardHost::new(&begun, flash, page));
        Self {
            begun,
            map,
            flash,
            host,
            desk: DESK.take(),
        }
    }
}

/// A device that waits for its tasks.
pub struct Started<F: NorFlash + 'static, U: 'static, D: 'static, N: BoardNetwork, W> {
    /// The device.
    pub device: &'static BoardDevice<F>,
    /// Its bus.
    pub bus: &'static mut BoardBus<U, D>,
    /// Its session with the broker.
    pub link: &'static mut BoardLink,
    /// Its clock.
    pub sntp: &'static mut Sntp<TimeServer>,
    /// Its network.
    pub network: StartedNetwork<N>,
    /// Its watchdog, on.
    pub watchdog: W,
    /// The health of its tasks.
    pub health: &'static BoardHealth,
}

impl<F: NorFlash, U, D, N: BoardNetwork, W> core::fmt::Debug for Started<F, U, D, N, W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// A network that waits for its task.
pub struct StartedNetwork<N: BoardNetwork> {
    runner: Runner<'static, N::Driver>,
    beside: N::Beside,
}

impl<N: BoardNetwork> core::fmt::Debug for StartedNetwork<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StartedNetwork").finish_non_exhaustive()
    }
}

/// Everything that needs a configuration page. The watchdog runs from here on.
///
/// # Errors
/// [`Failed`]: there is nothing to start with.
///
/// # Panics
/// Called again after it succeeded.
pub fn start<F: NorFlash, U: SerialLine, D: OutputPin, N: BoardNetwork, W: Watchdog>(
    room: &'static Room<F, U, D>,
    base: &Base<F>,
    wired: Wired<U, D, N, W>,
) -> Result<Started<F, U, D, N, W>, Failed<W>> {
    let Wired {
        uart,
        driver_enable,
        network,
        mut watchdog,
        seed,
    } = wired;
    watchdog.start();
    let Some(mut flash) = base.flash else {
        let problem = SetupError::Flash;
        return Err(Failed { problem, watchdog });
    };
    let sectors = PageSectors {
        at: base.map.pages_at,
    };
    let made = prepare(&mut flash, sectors, &base.begun, seed);
    let setup = match made {
        Ok(setup) => setup,
        Err(problem) => return Err(Failed { problem, watchdog }),
    };
    let owner = QueueOwner::of(&setup.page.device);
    let incarnation = setup.seed.draw_u32("incarnation");
    let alive = &mut || watchdog.feed();
    // Here, in front of everything else that is made: opening takes the most stack of all.
    let opened = FlashQueue::open(flash, base.map.queue.clone(), owner, incarnation, alive);
    let device = match opened {
        Ok(queue) => make_device(&room.device, queue, base, &setup),
        Err(error) => {
            say!("queue: {error}");
            let problem = SetupError::Queue;
            return Err(Failed { problem, watchdog });
        }
    };
    let bus = make_bus(&room.bus, uart, driver_enable, &setup, base.desk);
    let (stack, network) = make_network(network, &setup);
    base.host.set_network(stack, N::SEES_CABLE);
    Ok(Started {
        device,
        bus,
        link: link(stack, &setup),
        sntp: sntp(stack, &setup),
        network,
        watchdog,
        health: setup.health,
    })
}

// Each of these is a function of its own so that what it builds is on the stack alone.

#[inline(never)]
fn make_device<F: NorFlash>(
    room: &'static StaticCell<BoardDevice<F>>,
    queue: FlashQueue<SharedFlash<F>>,
    base: &Base<F>,
    setup: &Setup,
) -> &'static BoardDevice<F> {
    let found = queue.recovery().found;
    if found != Found::Own {
        say!("queue: formatted: {found}");
    }
    room.init_with(|| Device::new(setup.device_parts(&base.begun, queue), setup.identity))
}

#[inline(never)]
fn make_bus<U: SerialLine, D: OutputPin>(
    room: &'static StaticCell<BoardBus<U, D>>,
    uart: U,
    driver_enable: D,
    setup: &Setup,
    desk: &'static BusDesk,
) -> &'static mut BoardBus<U, D> {
    let settings = FieldBusSettings::from_page(setup.page);
    room.init_with(|| FieldBus::new(uart, driver_enable, EmbassyTimer, settings, desk))
}

#[inline(never)]
fn make_network<N: BoardNetwork>(hardware: N, setup: &Setup) -> (Stack<'static>, StartedNetwork<N>) {
    static RESOURCES: StaticCell<StackResources<NETWORK_SOCKETS>> = StaticCell::new();
    let address = hardware_address(&setup.page.device);
    let resources = RESOURCES.init_with(StackResources::new);
    let config = network_config(&setup.page.network);
    let (driver, beside) = hardware.split(address);
    let (stack, runner) = embassy_net::new(driver, config, resources, setup.seed.draw("network"));
    (stack, StartedNetwork { runner, beside })
}

/// Runs a network for ever.
pub async fn run_network<N: BoardNetwork>(network: StartedNetwork<N>, health: &BoardHealth) {
    let StartedNetwork { mut runner, beside } = network;
    let run = pin!(join(runner.run(), N::run(beside)));
    health.watch(NETWORK_TASK, run).await;
}

/// Feeds the watchdog while every task is alive, and tells the device how far its stack grew.
pub async fn watch<F: NorFlash>(watchdog: impl Watchdog, device: &BoardDevice<F>, health: &BoardHealth) -> ! {
    let measure = || device.note_stack_high_water(stack_high_water_bytes());
    guard(watchdog, health, measure).await
}
