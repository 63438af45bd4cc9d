//! The tasks of every board, and what they are made of.

use core::cell::RefCell;

use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use static_cell::{ConstStaticCell, StaticCell};
use taraz_firmware::{Health, LINK_RX_LEN, Link, SNTP_LEN, Sntp, link_tx_len};

use crate::broker::Broker;
use crate::peer::Peer;
use crate::setup::Setup;
use crate::time_server::TimeServer;

/// The task that runs the network.
pub(crate) const NETWORK_TASK: usize = 0;
/// The task that polls the meters.
pub const METERS_TASK: usize = 1;
/// The task that keeps the session with the broker.
pub const LINK_TASK: usize = 2;
/// The task that keeps the clock.
pub const CLOCK_TASK: usize = 3;
/// The task that serves the console.
pub(crate) const CONSOLE_TASK: usize = 4;

/// The health of a board's tasks.
pub type BoardHealth = Health<5>;
/// The session of a board.
pub type BoardLink = Link<'static, Broker>;

/// Publications without PUBACK at a time.
const PUBLICATIONS_MAX: usize = 2;
/// What the broker may send before it is read.
const TCP_RX_LEN: usize = 1_024;
/// What is sent and not acknowledged by TCP: one publication of the longest frame.
const TCP_TX_LEN: usize = 1_408;

/// The tasks' names.
pub(crate) fn health() -> BoardHealth {
    Health::new(["network", "meters", "link", "clock", "console"])
}

/// The session with the broker.
///
/// # Panics
/// Called twice.
#[inline(never)]
pub(crate) fn link(stack: Stack<'static>, setup: &Setup) -> &'static mut BoardLink {
    static LINK: StaticCell<BoardLink> = StaticCell::new();
    static TCP_RX: ConstStaticCell<[u8; TCP_RX_LEN]> = ConstStaticCell::new([0; TCP_RX_LEN]);
    static TCP_TX: ConstStaticCell<[u8; TCP_TX_LEN]> = ConstStaticCell::new([0; TCP_TX_LEN]);
    static SOCKET: StaticCell<RefCell<TcpSocket<'static>>> = StaticCell::new();
    static RX: ConstStaticCell<[u8; LINK_RX_LEN]> = ConstStaticCell::new([0; LINK_RX_LEN]);
    static TX: ConstStaticCell<[u8; link_tx_len(PUBLICATIONS_MAX)]> =
        ConstStaticCell::new([0; link_tx_len(PUBLICATIONS_MAX)]);
    let socket = TcpSocket::new(stack, TCP_RX.take(), TCP_TX.take());
    let socket = SOCKET.init(RefCell::new(socket));
    let page = setup.page;
    let broker = Broker::new(Peer::new(stack, &page.broker_host, page.broker_port), socket);
    LINK.init_with(|| {
        Link::new(
            broker,
            setup.identity,
            setup.settings.link,
            setup.seed.draw("link"),
            RX.take(),
            TX.take(),
        )
        .expect("the buffers have the lengths that the link asks for")
    })
}

/// The client of the time server.
///
/// # Panics
/// Called twice.
#[inline(never)]
pub(crate) fn sntp(stack: Stack<'static>, setup: &Setup) -> &'static mut Sntp<TimeServer> {
    static SNTP: StaticCell<Sntp<TimeServer>> = StaticCell::new();
    type Metadata = ConstStaticCell<[PacketMetadata; 2]>;
    static RX: ConstStaticCell<[u8; 2 * SNTP_LEN]> = ConstStaticCell::new([0; 2 * SNTP_LEN]);
    static TX: ConstStaticCell<[u8; SNTP_LEN]> = ConstStaticCell::new([0; SNTP_LEN]);
    static RX_METADATA: Metadata = ConstStaticCell::new([PacketMetadata::EMPTY; 2]);
    static TX_METADATA: Metadata = ConstStaticCell::new([PacketMetadata::EMPTY; 2]);
    let socket = UdpSocket::new(
        stack,
        RX_METADATA.take(),
        RX.take(),
        TX_METADATA.take(),
        TX.take(),
    );
    let page = setup.page;
    let server = TimeServer::new(Peer::new(stack, &page.sntp_host, page.sntp_port), socket);
    SNTP.init_with(|| Sntp::new(server, setup.seed.draw("sntp")))
}
