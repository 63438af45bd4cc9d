//! Our own MQTT door: MQTT 5 and 3.1.1 over TCP, for devices only.
//!
//! A device signs in with its id and the password of its key, publishes under `taraz/1/{device}/up` and `/state`, and
//! may subscribe to its own `/ack` and `/cmd`. PUBACK comes after the commit, in order of receipt. There is no session
//! state across connections: what was not acknowledged is sent again by the device, and acknowledged again.

mod allowance;
mod dialogue;
mod engine;
mod farewell;
mod hub;
mod inbox;
mod keeper;
mod line;
mod protocol;
mod rebuffs;
mod session;
mod sessions;
mod socket;
mod strangers;
mod timers;
mod turn;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::{Poll, Waker};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Doorway;

pub use hub::{CONNECTS_MAX, SESSIONS_PER_DEVICE_MAX};
pub(crate) use hub::{DeviceState, Hub};
use inbox::Inbox;
use keeper::{INBOX, Keeper};

/// The longest packet that is read, in bytes; a frame with its topic is below 1,300. Told to MQTT 5 clients.
pub const PACKET_LEN_MAX: u32 = 4_096;
/// Frames of one connection that wait for their commit, unless the configuration says otherwise (`in_flight_max`); above it its socket
/// is not read. MQTT 5: Receive Maximum.
pub const IN_FLIGHT_DEFAULT: u16 = 128;
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

/// Bytes taken from a socket at once.
const READ_LEN: usize = 8 << 10;

/// The listening door: a thread of its own, and what it is told by.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Listener {
    /// Binds the address and serves there.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(
        address: SocketAddr,
        connections_max: usize,
        hub: Arc<Hub>,
        door: Doorway,
    ) -> std::io::Result<Self> {
        let socket = socket::listen(address)?;
        let address = socket.local_addr()?;
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), INBOX)?));
        let (stop, told) = (door.stop.clone(), Arc::clone(&inbox));
        let (sender, ended) = oneshot::channel();
        let serve = move || {
            let keeper = Keeper::new(poll, socket, connections_max, door, hub, told);
            if let Err(error) = keeper.and_then(Keeper::run) {
                tracing::error!(%error, "the MQTT listener can't go on");
            }
            // Nobody waits when the gateway did not start.
            let _ = sender.send(());
        };
        std::thread::Builder::new()
            .name("mqtt-door".to_owned())
            .spawn(serve)?;
        Ok(Self {
            address,
            inbox,
            stop,
            ended,
        })
    }

    /// The address with the port that was given.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Until the door has closed: when it is told to, or because its thread has ended.
    pub(crate) async fn run(mut self) {
        tokio::select! {
            () = self.stop.cancelled() => self.inbox.stop(),
            _ = &mut self.ended => return,
        }
        // However it ends.
        let _ = self.ended.await;
    }
}
