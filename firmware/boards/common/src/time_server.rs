//! Datagrams to and from the time server.

use embassy_net::IpEndpoint;
use embassy_net::udp::{RecvError, UdpSocket};
use taraz_firmware::{ReachError, SNTP_LEN, TimeSource};

use crate::peer::Peer;

/// One host and port, over one socket.
pub struct TimeServer {
    peer: Peer,
    socket: UdpSocket<'static>,
    /// Where the last request went.
    asked: Option<IpEndpoint>,
}

impl core::fmt::Debug for TimeServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TimeServer")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl TimeServer {
    /// The socket's buffers must hold a datagram of [`SNTP_LEN`] each.
    pub(crate) const fn new(peer: Peer, socket: UdpSocket<'static>) -> Self {
        Self {
            peer,
            socket,
            asked: None,
        }
    }
}

impl TimeSource for TimeServer {
    async fn exchange(
        &mut self,
        request: &[u8; SNTP_LEN],
        answer: &mut [u8; SNTP_LEN],
    ) -> Result<usize, ReachError> {
        let server = self.peer.find().await?;
        // Closing forgets what has not been read, and every request leaves from a port of its own: an answer can't be
        // forged without seeing the request.
        self.socket.close();
        self.socket.bind(0).map_err(|_| ReachError::NoWay)?;
        self.asked = Some(server);
        self.socket
            .send_to(request, server)
            .await
            .map_err(|_| ReachError::NoWay)?;
        self.receive(answer).await
    }

    async fn receive(&mut self, answer: &mut [u8; SNTP_LEN]) -> Result<usize, ReachError> {
        loop {
            let (len, from) = match self.socket.recv_from(answer).await {
                Ok((len, from)) => (len, from.endpoint),
                // Longer than an answer needs to be; what follows is not looked at.
                Err(RecvError::Truncated) => continue,
            };
            if Some(from) == self.asked {
                return Ok(len);
            }
        }
    }
}
