//! An SNTP server on loopback that tells the time of this computer, shifted as a test wants it.
//!
//! Written from RFC 5905 alone (figure 8, the packet header), so that it is not the device's own code that answers it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The packet header without extensions.
const PACKET_LEN: usize = 48;
/// Seconds from 1900, where NTP begins, to 1970.
const UNIX_IN_NTP_S: u64 = 2_208_988_800;
/// Leap indicator 0, version 4, mode 4: server.
const SERVER_V4: u8 = 0x24;
/// How often the thread looks whether it shall end.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A server on a port of 127.0.0.1; it ends with its guard.
pub struct TimeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    offset_ms: AtomicI64,
    silent: AtomicBool,
    answered: AtomicU32,
    ended: AtomicBool,
}

impl TimeServer {
    /// Starts it on a free port with the right time.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free UDP port of 127.0.0.1");
        socket
            .set_read_timeout(Some(LOOK_INTERVAL))
            .expect("a read time-out");
        let address = socket.local_addr().expect("the address of a bound socket");
        let shared = Arc::new(Shared::default());
        let in_thread = Arc::clone(&shared);
        std::thread::spawn(move || serve(&socket, &in_thread));
        Self { address, shared }
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it is off by this much.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        self.shared.offset_ms.store(offset_ms, Ordering::SeqCst);
    }

    /// From now on it answers nobody, or everybody again.
    pub fn set_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// How many requests it has answered.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.shared.answered.load(Ordering::SeqCst)
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut request = [0; 512];
    while !shared.ended.load(Ordering::SeqCst) {
        let Ok((len, from)) = socket.recv_from(&mut request) else {
            continue;
        };
        if len < PACKET_LEN || shared.silent.load(Ordering::SeqCst) {
            continue;
        }
        let answer = answer(&request, ntp_now(shared.offset_ms.load(Ordering::SeqCst)));
        if socket.send_to(&answer, from).is_ok() {
            shared.answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Stratum 2, a precision of 2⁻¹⁰ s, the request's transmit time as origin, `now` as reference, receive and transmit time.
fn answer(request: &[u8], now: u64) -> [u8; PACKET_LEN] {
    let mut packet = [0; PACKET_LEN];
    packet[0] = SERVER_V4;
    packet[1] = 2;
    packet[2] = 6;
    packet[3] = 0xF6; // −10
    packet[12..16].copy_from_slice(&[127, 0, 0, 1]);
    packet[16..24].copy_from_slice(&now.to_be_bytes());
    packet[24..32].copy_from_slice(&request[40..48]);
    packet[32..40].copy_from_slice(&now.to_be_bytes());
    packet[40..48].copy_from_slice(&now.to_be_bytes());
    packet
}

/// Now as an NTP timestamp: seconds since 1900 and their 32-bit fraction.
fn ntp_now(offset_ms: i64) -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock behind 1970");
    let ms = i64::try_from(since_1970.as_millis()).expect("a clock of this age") + offset_ms;
    let ms = u64::try_from(ms).expect("a time behind 1970");
    let fraction = (ms % 1_000) * (1 << 32) / 1_000;
    ((ms / 1_000 + UNIX_IN_NTP_S) << 32) + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_with_the_time_and_the_cookie() {
        let server = TimeServer::start();
        server.set_offset_ms(86_400_000);
        let client = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut request = [0; PACKET_LEN];
        request[0] = 0x23;
        request[40..48].copy_from_slice(b"a cookie");
        client.send_to(&request, server.address()).unwrap();
        let mut packet = [0; 100];
        assert_eq!(client.recv(&mut packet).unwrap(), PACKET_LEN);
        assert_eq!(&packet[24..32], b"a cookie");
        let told_s = u64::from(u32::from_be_bytes(packet[40..44].try_into().unwrap()));
        let tomorrow_s = (ntp_now(86_400_000) >> 32) & 0xFFFF_FFFF;
        assert!(tomorrow_s.abs_diff(told_s) <= 5, "{told_s} against {tomorrow_s}");
        assert_eq!(server.answered(), 1);
    }
}
