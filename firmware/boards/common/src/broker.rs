//! TCP connections to the broker, one at a time, over one socket with buffers of its own.

use core::cell::{RefCell, RefMut};

use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::{Error as TcpError, TcpSocket};
use embassy_net::{IpAddress, Stack};
use embassy_time::{Duration, with_timeout};
use embedded_io_async::{ErrorType, Read, Write};
use taraz_firmware::Connector;

/// How long an address from DHCP is waited for before it counts as no network.
pub(crate) const CONFIG_WAIT: Duration = Duration::from_secs(4);
/// How long the end of the connection before may take to reach the peer.
const RESET_WAIT: Duration = Duration::from_millis(200);

/// Opens connections to one host and port.
///
/// The socket has no time-out of its own: smoltcp's also ends a connection on which nothing has to be said, and the link
/// gives a silent one up by itself.
pub struct Broker {
    stack: Stack<'static>,
    socket: &'static RefCell<TcpSocket<'static>>,
    host: &'static str,
    port: u16,
}

impl core::fmt::Debug for Broker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Broker")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerError {
    /// The board has no address.
    NoNetwork,
    /// The host's name has no address, or nobody answers for it.
    NoAddress,
    /// Nobody listens there, or there is no way.
    NoConnection,
    /// The connection before is still in use.
    Busy,
}

impl Broker {
    /// Connections from `socket` to `host`, a name or an address.
    #[must_use]
    pub const fn new(
        stack: Stack<'static>,
        socket: &'static RefCell<TcpSocket<'static>>,
        host: &'static str,
        port: u16,
    ) -> Self {
        Self {
            stack,
            socket,
            host,
            port,
        }
    }
}

/// The IPv4 address of a name, or of an address written out.
pub(crate) async fn resolve(stack: Stack<'static>, host: &str) -> Option<IpAddress> {
    if let Ok(address) = host.parse() {
        return Some(IpAddress::Ipv4(address));
    }
    let addresses = stack.dns_query(host, DnsQueryType::A).await.ok()?;
    addresses.first().copied()
}

impl Connector for Broker {
    type Io = BrokerIo;
    type Error = BrokerError;

    async fn connect(&mut self) -> Result<BrokerIo, BrokerError> {
        with_timeout(CONFIG_WAIT, self.stack.wait_config_up())
            .await
            .map_err(|_| BrokerError::NoNetwork)?;
        let address = resolve(self.stack, self.host)
            .await
            .ok_or(BrokerError::NoAddress)?;
        // From here on the socket is reset whenever this is dropped.
        let mut io = self
            .socket
            .try_borrow_mut()
            .map(|socket| BrokerIo { socket })
            .map_err(|_| BrokerError::Busy)?;
        io.socket.abort();
        // The peer may be gone for good: not hearing of the end is its own affair.
        let _ = with_timeout(RESET_WAIT, io.socket.flush()).await;
        // A frame waits for nothing: it is whole when it is written.
        io.socket.set_nagle_enabled(false);
        io.socket
            .connect((address, self.port))
            .await
            .map_err(|_| BrokerError::NoConnection)?;
        Ok(io)
    }
}

/// An open connection; dropping it resets it.
pub struct BrokerIo {
    socket: RefMut<'static, TcpSocket<'static>>,
}

impl core::fmt::Debug for BrokerIo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BrokerIo").finish_non_exhaustive()
    }
}

impl Drop for BrokerIo {
    fn drop(&mut self) {
        self.socket.abort();
    }
}

impl ErrorType for BrokerIo {
    type Error = TcpError;
}

impl Read for BrokerIo {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TcpError> {
        self.socket.read(buffer).await
    }
}

impl Write for BrokerIo {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, TcpError> {
        self.socket.write(bytes).await
    }

    /// What is written leaves at once; waiting for the peer's TCP acknowledgement would gain nothing.
    async fn flush(&mut self) -> Result<(), TcpError> {
        Ok(())
    }
}
