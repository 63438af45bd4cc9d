//! The Ethernet controller as a driver of embassy-net.
//!
//! Data sheet, chapter 16. Frames go through a FIFO by words, without DMA. The emulated controller has no PHY registers, so
//! the link counts as up; DHCP and the broker's silence tell a cable that is out.

use core::task::Context;

use cortex_m::peripheral::NVIC;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use lm3s6965::{Interrupt, interrupt};
use static_cell::ConstStaticCell;
use taraz_board::BoardNetwork;

use crate::registers::Registers;

// SAFETY: the base address of the Ethernet controller (data sheet, table 2-3).
#[allow(unsafe_code, reason = "names the peripheral's address")]
const MAC: Registers = unsafe { Registers::at(0x4004_8000) };

const RIS_IACK: usize = 0x00;
const IM: usize = 0x04;
const RCTL: usize = 0x08;
const TCTL: usize = 0x0c;
const DATA: usize = 0x10;
const IA0: usize = 0x14;
const IA1: usize = 0x18;
const NP: usize = 0x34;
const TR: usize = 0x38;

const INTERRUPT_RECEIVED: u32 = 1 << 0;
const INTERRUPT_SENT: u32 = 1 << 2;
const INTERRUPTS_ALL: u32 = 0x7f;
const RCTL_ON: u32 = 1 << 0;
const RCTL_MULTICAST: u32 = 1 << 1;
const RCTL_RESET_FIFO: u32 = 1 << 4;
const TCTL_ON: u32 = 1 << 0;
const TCTL_PAD: u32 = 1 << 1;
const TCTL_CRC: u32 = 1 << 2;
const TCTL_DUPLEX: u32 = 1 << 4;

/// Destination, source, type.
const HEADER_LEN: usize = 14;
/// IEEE 802.3: 1,500 bytes of data behind the header.
const FRAME_LEN_MAX: usize = HEADER_LEN + 1_500;
/// In front of a frame in either FIFO.
const LENGTH_LEN: usize = 2;
/// Behind a frame that was received.
const CHECK_LEN: usize = 4;
/// A frame with its length, in whole words.
const BUFFER_LEN: usize = (LENGTH_LEN + FRAME_LEN_MAX).next_multiple_of(4);

static WAKER: AtomicWaker = AtomicWaker::new();

/// The network of the board: the one controller.
#[derive(Debug)]
pub(crate) struct LmNetwork;

impl BoardNetwork for LmNetwork {
    type Driver = &'static mut Ethernet;
    type Beside = ();
    const SEES_CABLE: bool = false;

    fn split(self, address: [u8; 6]) -> (&'static mut Ethernet, ()) {
        static ETHERNET: ConstStaticCell<Ethernet> = ConstStaticCell::new(Ethernet::new());
        let ethernet = ETHERNET.take();
        ethernet.start(address);
        (ethernet, ())
    }

    async fn run((): ()) {}
}

/// The controller and room for one frame in each direction.
pub(crate) struct Ethernet {
    address: [u8; 6],
    received: [u8; BUFFER_LEN],
    to_send: [u8; BUFFER_LEN],
}

impl Ethernet {
    /// Off.
    const fn new() -> Self {
        Self {
            address: [0; 6],
            received: [0; BUFFER_LEN],
            to_send: [0; BUFFER_LEN],
        }
    }

    /// Sends and receives with this hardware address from now on.
    #[allow(unsafe_code, reason = "unmasks an interrupt")]
    fn start(&mut self, address: [u8; 6]) {
        self.address = address;
        let [a, b, c, d, e, f] = address;
        MAC.write(IA0, u32::from_le_bytes([a, b, c, d]));
        MAC.write(IA1, u32::from_le_bytes([e, f, 0, 0]));
        MAC.write(RCTL, RCTL_RESET_FIFO);
        MAC.write(RCTL, RCTL_ON | RCTL_MULTICAST);
        MAC.write(TCTL, TCTL_ON | TCTL_PAD | TCTL_CRC | TCTL_DUPLEX);
        MAC.write(RIS_IACK, INTERRUPTS_ALL);
        MAC.write(IM, INTERRUPT_RECEIVED);
        // SAFETY: no critical section relies on this interrupt's mask.
        unsafe { NVIC::unmask(Interrupt::ETHERNET) };
    }
}

#[interrupt]
fn ETHERNET() {
    // Masked until the driver has looked: the cause stays until the FIFO is empty.
    MAC.write(IM, 0);
    WAKER.wake();
}

/// A frame that waits in the FIFO.
pub(crate) struct Received<'a>(&'a mut [u8; BUFFER_LEN]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, take: F) -> R {
        // The first word: the length of all, itself and the check included, and the frame's first two bytes.
        let [low, high, first, second] = MAC.read(DATA).to_le_bytes();
        let len = usize::from(u16::from_le_bytes([low, high]));
        let buffer = self.0;
        buffer[..2].copy_from_slice(&[first, second]);
        let mut at = 2;
        for _ in 1..len.div_ceil(4) {
            let word = MAC.read(DATA).to_le_bytes();
            // A frame too long for Ethernet is read to its end and cut.
            if let Some(room) = buffer.get_mut(at..at + 4) {
                room.copy_from_slice(&word);
                at += 4;
            }
        }
        let frame_len = len.saturating_sub(LENGTH_LEN + CHECK_LEN).min(FRAME_LEN_MAX);
        take(&mut buffer[..frame_len])
    }
}

/// Room for a frame in the FIFO.
pub(crate) struct ToSend<'a>(&'a mut [u8; BUFFER_LEN]);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let buffer = self.0;
        let outcome = fill(&mut buffer[LENGTH_LEN..LENGTH_LEN + len]);
        // The length leaves out the header (16.2.1.2).
        let data_len = u16::try_from(len.saturating_sub(HEADER_LEN)).unwrap_or(u16::MAX);
        buffer[..LENGTH_LEN].copy_from_slice(&data_len.to_le_bytes());
        for word in buffer[..(LENGTH_LEN + len).next_multiple_of(4)].chunks_exact(4) {
            MAC.write(DATA, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        }
        MAC.write(TR, 1);
        outcome
    }
}

impl Driver for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Received<'_>, ToSend<'_>)> {
        WAKER.register(context.waker());
        if MAC.read(NP) == 0 {
            MAC.write(RIS_IACK, INTERRUPT_RECEIVED);
            MAC.set(IM, INTERRUPT_RECEIVED);
            // One that came meanwhile.
            if MAC.read(NP) == 0 {
                return None;
            }
        }
        Some((Received(&mut self.received), ToSend(&mut self.to_send)))
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<ToSend<'_>> {
        WAKER.register(context.waker());
        if MAC.read(TR) & 1 != 0 {
            MAC.write(RIS_IACK, INTERRUPT_SENT);
            MAC.set(IM, INTERRUPT_SENT);
            // It may have ended meanwhile.
            if MAC.read(TR) & 1 != 0 {
                return None;
            }
        }
        Some(ToSend(&mut self.to_send))
    }

    fn link_state(&mut self, _context: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_LEN_MAX;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
