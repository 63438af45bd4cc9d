//! Datagrams to and from the time server.

use embassy_net::udp::{BindError, RecvError, SendError, UdpSocket};
use embassy_net::{IpAddress, IpEndpoint, Stack};
use embassy_time::with_timeout;
use taraz_firmware::{SNTP_LEN, TimeSource};

use crate::broker::{CONFIG_WAIT, resolve};

/// One host and port, over one socket.
pub struct TimeServer {
    stack: Stack<'static>,
    socket: UdpSocket<'static>,
    host: &'static str,
    port: u16,
    /// Where the last request went.
    server: Option<IpAddress>,
}

impl core::fmt::Debug for TimeServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TimeServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why nothing could be sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeServerError {
    /// The board has no address.
    NoNetwork,
    /// The host's name has no address, or nobody answers for it.
    NoAddress,
    /// No port of our own.
    Bind(BindError),
    /// It could not be sent.
    Send(SendError),
}

impl TimeServer {
    /// Exchanges with `host`, a name or an address. The socket's buffers must hold a datagram of [`SNTP_LEN`] each.
    #[must_use]
    pub const fn new(
        stack: Stack<'static>,
        socket: UdpSocket<'static>,
        host: &'static str,
        port: u16,
    ) -> Self {
        Self {
            stack,
            socket,
            host,
            port,
            server: None,
        }
    }
}

impl TimeSource for TimeServer {
    type Error = TimeServerError;

    async fn exchange(
        &mut self,
        request: &[u8; SNTP_LEN],
        answer: &mut [u8; SNTP_LEN],
    ) -> Result<usize, TimeServerError> {
        with_timeout(CONFIG_WAIT, self.stack.wait_config_up())
            .await
            .map_err(|_| TimeServerError::NoNetwork)?;
        let server = resolve(self.stack, self.host)
            .await
            .ok_or(TimeServerError::NoAddress)?;
        // Closing forgets what has not been read, and every request leaves from a port of its own: an answer can't be
        // forged without seeing the request.
        self.socket.close();
        self.socket.bind(0).map_err(TimeServerError::Bind)?;
        self.server = Some(server);
        self.socket
            .send_to(request, IpEndpoint::new(server, self.port))
            .await
            .map_err(TimeServerError::Send)?;
        self.receive(answer).await
    }

    async fn receive(&mut self, answer: &mut [u8; SNTP_LEN]) -> Result<usize, TimeServerError> {
        loop {
            let (len, from) = match self.socket.recv_from(answer).await {
                Ok((len, from)) => (len, from.endpoint),
                // Longer than an answer needs to be; what follows is not looked at.
                Err(RecvError::Truncated) => continue,
            };
            if Some(from.addr) == self.server && from.port == self.port {
                return Ok(len);
            }
        }
    }
}
