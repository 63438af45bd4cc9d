//! TCP connections to the broker, one at a time, over one socket with buffers of its own.

use core::cell::{RefCell, RefMut};

use embassy_net::tcp::{Error as TcpError, TcpSocket};
use embassy_time::{Duration, with_timeout};
use embedded_io_async::{ErrorType, Read, Write};
use taraz_firmware::{Connector, ReachError};

use crate::peer::Peer;

/// How long the end of the connection before may take to reach the peer.
const RESET_WAIT: Duration = Duration::from_millis(200);

/// Opens connections to one host and port.
///
/// The socket has no time-out of its own: smoltcp's also ends a connection on which nothing has to be said, and the link
/// gives a silent one up by itself.
pub struct Broker {
    peer: Peer,
    socket: &'static RefCell<TcpSocket<'static>>,
}

impl core::fmt::Debug for Broker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Broker")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Broker {
    pub(crate) const fn new(peer: Peer, socket: &'static RefCell<TcpSocket<'static>>) -> Self {
        Self { peer, socket }
    }
}

impl Connector for Broker {
    type Io = BrokerIo;

    async fn connect(&mut self) -> Result<BrokerIo, ReachError> {
        let endpoint = self.peer.find().await?;
        // From here on the socket is reset whenever this is dropped. The connection before was dropped before.
        let mut io = self
            .socket
            .try_borrow_mut()
            .map(|socket| BrokerIo { socket })
            .map_err(|_| ReachError::NoWay)?;
        io.socket.abort();
        // The peer may be gone for good: not hearing of the end is its own affair.
        let _ = with_timeout(RESET_WAIT, io.socket.flush()).await;
        // A frame waits for nothing: it is whole when it is written.
        io.socket.set_nagle_enabled(false);
        io.socket.connect(endpoint).await.map_err(|_| ReachError::NoWay)?;
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
