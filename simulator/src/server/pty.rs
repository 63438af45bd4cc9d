//! A pseudo-terminal as the line of a bus: bytes written to it reach the bus's RTU server, and its answers come back.
//!
//! The server ends a connection that sends what is no Modbus at all; the line then gets the next one, as a real bus
//! goes on after noise.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_serial::{SerialPort as _, SerialStream};
use tokio_util::sync::CancellationToken;

/// How long to wait before connecting again after it failed.
const RETRY: Duration = Duration::from_millis(100);

/// Both ends of a line. The far end stays open, so that the line lives on while nobody has it open.
pub(super) struct Line {
    near: SerialStream,
    far: SerialStream,
}

impl Line {
    pub(super) fn open() -> tokio_serial::Result<Self> {
        let (near, far) = SerialStream::pair()?;
        Ok(Self { near, far })
    }

    /// What a client opens: `/dev/pts/…`.
    pub(super) fn path(&self) -> Option<String> {
        self.far.name()
    }

    /// Carries bytes between the line and the bus until it is cancelled.
    pub(super) async fn carry(mut self, bus: SocketAddr, cancel: CancellationToken) {
        let carry = async {
            loop {
                let carried = match TcpStream::connect(bus).await {
                    Ok(mut stream) => {
                        let _ = stream.set_nodelay(true);
                        copy_bidirectional(&mut self.near, &mut stream).await.map(|_| ())
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = carried {
                    tracing::debug!(%bus, %error, "the line was interrupted");
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        cancel.run_until_cancelled(carry).await;
    }
}
