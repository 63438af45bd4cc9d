//! A W5500 behind any SPI.
//!
//! The device runs whether or not the chip answers: [`LateEthernet`] is a network whose link is down until it does.

use core::cell::Cell;
use core::task::{Context, Waker};

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_net_wiznet::chip::W5500;
use embassy_net_wiznet::{Device, Runner, State};
use embassy_time::Timer;
use embedded_hal::digital::OutputPin;
use embedded_hal_async::digital::Wait;
use embedded_hal_async::spi::{Operation, SpiDevice};
use static_cell::{ConstStaticCell, StaticCell};

use crate::wiring::BoardNetwork;

/// The chip is guaranteed for SPI clocks up to this, in Hz (W5500 data sheet, 5.5.4: "the minimum guaranteed speed of the
/// SCLK is 33.3 MHz").
pub const W5500_SPI_HZ_MAX: u32 = 33_300_000;
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

/// The chip's lines: an SPI of its own in mode 0 with the select line, the interrupt line (low: a frame has come), and the
/// reset line (low: reset).
#[derive(Debug)]
pub struct W5500Lines<S, I, R> {
    /// The SPI.
    pub spi: S,
    /// The interrupt line.
    pub interrupt: I,
    /// The reset line.
    pub reset: R,
}

impl<S: SpiDevice, I: Wait, R: OutputPin> BoardNetwork for W5500Lines<S, I, R> {
    type Driver = LateEthernet;
    type Beside = (Self, &'static EthernetSocket, [u8; 6]);
    const SEES_CABLE: bool = true;

    fn split(self, address: [u8; 6]) -> (LateEthernet, Self::Beside) {
        static SOCKET: StaticCell<EthernetSocket> = StaticCell::new();
        let socket = &*SOCKET.init_with(EthernetSocket::new);
        (LateEthernet::new(socket, address), (self, socket, address))
    }

    async fn run((lines, socket, address): Self::Beside) {
        socket.run(lines, address).await;
    }
}

/// Where the chip's network is handed over when it answers.
pub struct EthernetSocket {
    device: Cell<Option<Device<'static>>>,
    waker: Cell<Option<Waker>>,
}

impl core::fmt::Debug for EthernetSocket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EthernetSocket").finish_non_exhaustive()
    }
}

impl EthernetSocket {
    /// Nothing is plugged in.
    const fn new() -> Self {
        Self {
            device: Cell::new(None),
            waker: Cell::new(None),
        }
    }

    /// Takes the chip into use as soon as it answers, and runs it.
    async fn run<S: SpiDevice, I: Wait, R: OutputPin>(
        &self,
        lines: W5500Lines<S, I, R>,
        address: [u8; 6],
    ) -> ! {
        let (device, runner) = start(lines, address).await;
        self.device.set(Some(device));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        runner.run().await
    }
}

async fn start<S: SpiDevice, I: Wait, R: OutputPin>(
    lines: W5500Lines<S, I, R>,
    address: [u8; 6],
) -> (Device<'static>, Runner<'static, W5500, S, I, R>) {
    static STATE: ConstStaticCell<State<FRAMES, FRAMES>> = ConstStaticCell::new(State::new());
    let W5500Lines {
        mut spi,
        interrupt,
        mut reset,
    } = lines;
    let mut said = false;
    loop {
        // A reset line that fails leaves the chip's own reset at power-on.
        let _ = reset.set_low();
        Timer::after_millis(RESET_MS).await;
        let _ = reset.set_high();
        Timer::after_millis(RESET_MS).await;
        let found = version(&mut spi).await;
        if found == Some(VERSION) {
            break;
        }
        if !said {
            crate::say!("net: expected a W5500 (version 4) on the SPI, found {found:?}; asking on");
            said = true;
        }
        Timer::after_millis(ABSENT_RETRY_MS).await;
    }
    match embassy_net_wiznet::new(address, STATE.take(), spi, interrupt, reset).await {
        Ok(started) => started,
        // It answered a moment ago. A fresh start brings both chips to a known state.
        Err(_) => crate::retained::restart(),
    }
}

async fn version<S: SpiDevice>(spi: &mut S) -> Option<u8> {
    let mut answer = [0];
    let mut read = [Operation::Write(&READ_VERSION), Operation::Read(&mut answer)];
    spi.transaction(&mut read).await.ok()?;
    Some(answer[0])
}

/// The network of an [`EthernetSocket`].
pub struct LateEthernet {
    socket: &'static EthernetSocket,
    address: [u8; 6],
    device: Option<Device<'static>>,
}

impl core::fmt::Debug for LateEthernet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LateEthernet")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl LateEthernet {
    const fn new(socket: &'static EthernetSocket, address: [u8; 6]) -> Self {
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
