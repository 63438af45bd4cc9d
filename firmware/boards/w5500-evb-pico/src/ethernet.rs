//! The W5500 behind SPI 0.
//!
//! The device runs whether or not the chip answers: [`LateEthernet`] is a network whose link is down until it does.

use core::cell::Cell;
use core::task::{Context, Waker};

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_net_wiznet::chip::W5500;
use embassy_net_wiznet::{Device, Runner, State};
use embassy_rp::gpio::{Input, Output};
use embassy_rp::peripherals::SPI0;
use embassy_rp::spi::{Async, Config, Spi};
use embassy_time::{Delay, Timer};
use embedded_hal_async::spi::{Operation, SpiDevice};
use embedded_hal_bus::spi::ExclusiveDevice;
use static_cell::ConstStaticCell;
use taraz_board::say;

/// The chip is guaranteed for 33.3 MHz (W5500 data sheet, 5.5.4); this is the next lower rate that divides well.
const SPI_HZ: u32 = 20_000_000;
/// Frames waiting in each direction.
const FRAMES: usize = 4;
/// The longest frame without its checksum, as the driver has it.
const FRAME_LEN_MAX: usize = 1_514;
/// How often a chip that does not answer is asked.
const ABSENT_RETRY_MS: u64 = 2_000;
/// Data sheet, 5.5.1: reset low for 500 µs at least, then 1 ms until the PLL has locked.
const RESET_MS: u64 = 2;
/// A read of VERSIONR in the common block, and what it always holds (data sheet, 4.1).
const READ_VERSION: [u8; 3] = [0x00, 0x39, 0x00];
const VERSION: u8 = 4;

type Bus = ExclusiveDevice<Spi<'static, SPI0, Async>, Output<'static>, Delay>;
type ChipRunner = Runner<'static, W5500, Bus, Input<'static>, Output<'static>>;

/// The chip's lines.
pub(crate) struct Lines {
    pub(crate) spi: Spi<'static, SPI0, Async>,
    pub(crate) select: Output<'static>,
    pub(crate) interrupt: Input<'static>,
    pub(crate) reset: Output<'static>,
}

/// How the SPI is set: mode 0, as it comes.
pub(crate) fn spi_config() -> Config {
    let mut config = Config::default();
    config.frequency = SPI_HZ;
    config
}

/// Where the chip's network is handed over when it answers.
pub(crate) struct Socket {
    device: Cell<Option<Device<'static>>>,
    waker: Cell<Option<Waker>>,
}

impl Socket {
    pub(crate) const fn new() -> Self {
        Self {
            device: Cell::new(None),
            waker: Cell::new(None),
        }
    }

    /// Takes the chip into use as soon as it answers, and runs it.
    pub(crate) async fn run(&self, lines: Lines, address: [u8; 6]) -> ! {
        let (device, runner) = start(lines, address).await;
        self.device.set(Some(device));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        runner.run().await
    }
}

async fn start(lines: Lines, address: [u8; 6]) -> (Device<'static>, ChipRunner) {
    static STATE: ConstStaticCell<State<FRAMES, FRAMES>> = ConstStaticCell::new(State::new());
    let Lines {
        spi,
        select,
        interrupt,
        mut reset,
    } = lines;
    let Ok(mut bus) = ExclusiveDevice::new(spi, select, Delay);
    let mut said = false;
    loop {
        reset.set_low();
        Timer::after_millis(RESET_MS).await;
        reset.set_high();
        Timer::after_millis(RESET_MS).await;
        let found = version(&mut bus).await;
        if found == Some(VERSION) {
            break;
        }
        if !said {
            say!("net: expected a W5500 (version 4), found {found:?}; asking on");
            said = true;
        }
        Timer::after_millis(ABSENT_RETRY_MS).await;
    }
    match embassy_net_wiznet::new(address, STATE.take(), bus, interrupt, reset).await {
        Ok(started) => started,
        // It answered a moment ago. A fresh start brings both chips to a known state.
        Err(_) => taraz_board::restart(),
    }
}

async fn version(bus: &mut Bus) -> Option<u8> {
    let mut answer = [0];
    let mut read = [Operation::Write(&READ_VERSION), Operation::Read(&mut answer)];
    bus.transaction(&mut read).await.ok()?;
    Some(answer[0])
}

/// The network of a [`Socket`].
pub(crate) struct LateEthernet {
    socket: &'static Socket,
    address: [u8; 6],
    device: Option<Device<'static>>,
}

impl LateEthernet {
    pub(crate) const fn new(socket: &'static Socket, address: [u8; 6]) -> Self {
        Self {
            socket,
            address,
            device: None,
        }
    }

    /// The chip's network; without one, whoever asks is woken when there is one.
    fn device(&mut self, cx: &mut Context<'_>) -> Option<&mut Device<'static>> {
        if self.device.is_none() {
            self.device = self.socket.device.take();
        }
        if self.device.is_none() {
            self.socket.waker.set(Some(cx.waker().clone()));
        }
        self.device.as_mut()
    }
}

impl Driver for LateEthernet {
    type RxToken<'a> = <Device<'static> as Driver>::RxToken<'a>;
    type TxToken<'a> = <Device<'static> as Driver>::TxToken<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        self.device(cx)?.receive(cx)
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Self::TxToken<'_>> {
        self.device(cx)?.transmit(cx)
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.device(cx)
            .map_or(LinkState::Down, |device| device.link_state(cx))
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_LEN_MAX;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
