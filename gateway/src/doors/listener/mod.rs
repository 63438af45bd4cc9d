//! Our own MQTT door: MQTT 5 and 3.1.1 over TCP, for devices only.
//!
//! A device signs in with its id and the password of its key, publishes under `taraz/1/{device}/up` and `/state`, and
//! may subscribe to its own `/ack` and `/cmd`. PUBACK comes after the commit, in order of receipt. There is no session
//! state across connections: what was not acknowledged is sent again by the device, and acknowledged again.

mod allowance;
mod dialogue;
mod engine;
mod hub;
mod protocol;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::metrics::ConnectRejected;

use super::Doorway;

pub use hub::{CONNECTS_MAX, SESSIONS_PER_DEVICE_MAX};
pub(crate) use hub::{DeviceState, Hub};
use protocol::ProtocolCore;
use session::Session;

/// The longest packet that is read, in bytes; a frame with its topic is below 1,300. Told to MQTT 5 clients.
pub const PACKET_LEN_MAX: u32 = 4_096;
/// Frames of one connection that wait for their commit; above it its socket is not read. MQTT 5: Receive Maximum.
pub const IN_FLIGHT_MAX: u16 = 128;
/// Bytes that wait for one client to read them; above it the client is too slow and is disconnected.
pub const OUTBOUND_LEN_MAX: usize = 64 << 10;
/// From TCP connect to CONNECT.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest keep-alive in s: MQTT 5 clients that ask for more, or for none, are told this one.
pub const KEEP_ALIVE_MAX_S: u16 = 600;
/// MQTT 3.1.1 clients without a keep-alive are taken for gone after this silence.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// What a device says on `/state`, in bytes.
pub const STATE_LEN_MAX: usize = 64;
/// A client id, in bytes.
const CLIENT_ID_LEN_MAX: usize = 128;
/// How long sessions wait for their commits, and for a client to read its last packet, when the door closes.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// After accept failed: usually too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The listening door.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    room: Arc<Semaphore>,
    hub: Arc<Hub>,
    door: Doorway,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn bind(
        address: SocketAddr,
        connections_max: usize,
        hub: Arc<Hub>,
        door: Doorway,
    ) -> std::io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self {
            socket,
            room: Arc::new(Semaphore::new(connections_max)),
            hub,
            door,
        })
    }

    /// The address with the port that was given.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until the door closes, then waits for its sessions.
    pub(crate) async fn run(self) {
        let sessions = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = self.door.stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &sessions),
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
        sessions.close();
        sessions.wait().await;
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, sessions: &TaskTracker) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            self.door.metrics.connect_rejected(ConnectRejected::TooMany);
            return;
        };
        // Acknowledgements are small and awaited; without this they would wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "can't set TCP_NODELAY");
        }
        let (door, hub) = (self.door.clone(), Arc::clone(&self.hub));
        sessions.spawn(async move {
            let _place: OwnedSemaphorePermit = place;
            Session::new(door, hub, stream, peer, ProtocolCore::new())
                .run()
                .await;
        });
    }
}
