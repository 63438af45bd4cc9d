//! The road between a device and its broker: a TCP proxy on loopback that can be slow, cut or blocked, or disturb what passes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::packets::{Packets, is_publish};

/// How often what stands still looks whether it may go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// What is passed on at once.
const CHUNK_LEN: usize = 1_024;

/// How the road is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Everything passes.
    Free,
    /// So many bytes a second pass, each way.
    Slow {
        /// At least 1.
        bytes_per_s: u32,
    },
    /// Connections are accepted and stay open, and nothing passes: half-open TCP.
    Blocked,
    /// Every connection is closed, and new ones are closed at once.
    Cut,
    /// On a road of packets: in one of so many, a bit is flipped.
    Corrupt {
        /// At least 1.
        one_in: u32,
    },
    /// On a road of packets: every message passes twice.
    Duplicate,
    /// On a road of packets: messages change places with what comes behind them.
    Reorder,
}

/// A proxy from a port of its own to a server; it serves until the test ends.
pub struct Road {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    traffic: Mutex<Traffic>,
    open: Mutex<Vec<TcpStream>>,
    up: AtomicU64,
    down: AtomicU64,
    /// MQTT packets pass whole.
    has_packets: bool,
    disturbed: AtomicU64,
    /// Packets of which one in so many was to be damaged.
    drawn: AtomicU64,
}

impl Road {
    /// Starts it on a free port with free traffic to `to`.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(to: SocketAddr) -> Self {
        Self::begin(to, false)
    }

    /// As [`Road::start`], for MQTT: it knows where packets end, so that it can damage, repeat and exchange them.
    ///
    /// # Panics
    /// As [`Road::start`].
    #[must_use]
    pub fn start_mqtt(to: SocketAddr) -> Self {
        Self::begin(to, true)
    }

    fn begin(to: SocketAddr, has_packets: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port of 127.0.0.1");
        let address = listener.local_addr().expect("the address of a bound listener");
        let shared = Arc::new(Shared {
            to,
            traffic: Mutex::new(Traffic::Free),
            open: Mutex::default(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            has_packets,
            disturbed: AtomicU64::new(0),
            drawn: AtomicU64::new(0),
        });
        let in_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A server that does not serve: the connection is closed, as it would be without the road.
                let _ = in_thread.connect(stream);
            }
        });
        Self { address, shared }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the traffic from now on.
    pub fn set(&self, traffic: Traffic) {
        *lock(&self.shared.traffic) = traffic;
        if traffic == Traffic::Cut {
            for stream in lock(&self.shared.open).drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Bytes that went from the device to the server, and back.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.shared.up.load(Ordering::SeqCst),
            self.shared.down.load(Ordering::SeqCst),
        )
    }

    /// How many packets were damaged, repeated or exchanged.
    #[must_use]
    pub fn disturbed(&self) -> u64 {
        self.shared.disturbed.load(Ordering::SeqCst)
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.set(Traffic::Cut);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, device: TcpStream) -> std::io::Result<()> {
        if *lock(&self.traffic) == Traffic::Cut {
            return Ok(());
        }
        let server = TcpStream::connect(self.to)?;
        device.set_nodelay(true)?;
        server.set_nodelay(true)?;
        lock(&self.open).extend([device.try_clone()?, server.try_clone()?]);
        let (there, back) = (Arc::clone(self), Arc::clone(self));
        let (device_too, server_too) = (device.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || there.pass(device, server, &there.up));
        std::thread::spawn(move || back.pass(server_too, device_too, &back.down));
        Ok(())
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
        let mut buffer = [0; CHUNK_LEN];
        let mut packets = Packets::default();
        let mut waiting = None;
        'open: while let Ok(len @ 1..) = from.read(&mut buffer) {
            packets.push(&buffer[..len]);
            loop {
                let next = if self.has_packets {
                    packets.next_packet()
                } else {
                    packets.all()
                };
                let Some(packet) = next else { break };
                if !self.wait_for_passage(packet.len()) {
                    break 'open;
                }
                let bytes = self.disturb(packet, &mut waiting);
                if to.write_all(&bytes).is_err() {
                    break 'open;
                }
                counter.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    /// What passes in the place of a packet; a message may be kept waiting until the next packet has passed.
    fn disturb(&self, mut packet: Vec<u8>, waiting: &mut Option<Vec<u8>>) -> Vec<u8> {
        let traffic = *lock(&self.traffic);
        let count = || self.disturbed.fetch_add(1, Ordering::SeqCst);
        match traffic {
            Traffic::Reorder if waiting.is_none() && is_publish(&packet) => {
                count();
                *waiting = Some(packet);
                return Vec::new();
            }
            Traffic::Duplicate if is_publish(&packet) => {
                count();
                packet.extend_from_within(..);
            }
            Traffic::Corrupt { one_in } => {
                let random = rand_of(self.drawn.fetch_add(1, Ordering::SeqCst));
                if random.is_multiple_of(u64::from(one_in.max(1))) {
                    count();
                    let bit = usize::try_from(random >> 32).unwrap_or(0) % (packet.len() * 8);
                    packet[bit / 8] ^= 1 << (bit % 8);
                }
            }
            _ => {}
        }
        packet.extend(waiting.take().into_iter().flatten());
        packet
    }

    /// Returns when so many bytes may pass; false when the road is cut.
    fn wait_for_passage(&self, len: usize) -> bool {
        loop {
            let traffic = *lock(&self.traffic);
            match traffic {
                Traffic::Free | Traffic::Corrupt { .. } | Traffic::Duplicate | Traffic::Reorder => {
                    return true;
                }
                Traffic::Cut => return false,
                Traffic::Blocked => std::thread::sleep(LOOK_INTERVAL),
                Traffic::Slow { bytes_per_s } => {
                    std::thread::sleep(Duration::from_secs_f64(
                        len as f64 / f64::from(bytes_per_s.max(1)),
                    ));
                    return true;
                }
            }
        }
    }
}

/// The n-th of a row of numbers that look random (`SplitMix64`, Steele, Lea and Flood 2014).
fn rand_of(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_until;

    /// A server that sends back what it is sent.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut reader, &mut stream);
                });
            }
        });
        address
    }

    #[test]
    fn a_blocked_road_keeps_what_is_on_it_and_a_cut_one_ends_it() {
        let road = Road::start(echo());
        let mut client = TcpStream::connect(road.address()).unwrap();
        let mut back = [0; 4];
        client.write_all(b"free").unwrap();
        client.read_exact(&mut back).unwrap();
        road.set(Traffic::Blocked);
        client.write_all(b"late").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(client.read(&mut back).is_err(), "nothing passes");
        road.set(Traffic::Free);
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"late");
        wait_until(Duration::from_secs(10), "the bytes to be counted", || {
            road.bytes() == (8, 8)
        });
        road.set(Traffic::Cut);
        assert_eq!(client.read(&mut back).unwrap_or(0), 0, "it is closed");
        let mut next = TcpStream::connect(road.address()).unwrap();
        next.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(next.read(&mut back).unwrap_or(0), 0, "a new one is closed too");
    }

    #[test]
    fn a_road_of_packets_repeats_exchanges_and_damages_them() {
        let road = Road::start_mqtt(echo());
        let mut client = TcpStream::connect(road.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut pass = |traffic, sent: &[u8], len: usize| {
            road.set(traffic);
            client.write_all(sent).unwrap();
            let mut back = vec![0; len];
            client.read_exact(&mut back).unwrap();
            back
        };
        let (message, ping) = ([0x30, 2, 1, 2], [0xC0, 0]);
        let both = [&message[..], &ping].concat();
        assert_eq!(pass(Traffic::Free, &both, 6), both);
        // There and back, it is four of them.
        assert_eq!(pass(Traffic::Duplicate, &message, 16), message.repeat(4));
        // There the message waits for the ping, and back for what comes behind it.
        let three = [&message[..], &ping, &[0xD0, 0]].concat();
        let exchanged = [&ping[..], &[0xD0, 0], &message].concat();
        assert_eq!(pass(Traffic::Reorder, &three, 8), exchanged);
        let disturbed = road.disturbed();
        assert!(disturbed > 3);
        let rarely = Traffic::Corrupt { one_in: u32::MAX };
        assert_eq!(pass(rarely, &message, 4), message);
        assert_eq!(
            road.disturbed(),
            disturbed,
            "what passes as it was is not counted"
        );
        let damaged = pass(Traffic::Corrupt { one_in: 1 }, &[0x30, 5, 7, 7, 7, 7, 7], 7);
        assert_ne!(damaged, [0x30, 5, 7, 7, 7, 7, 7]);
        assert!(road.disturbed() > disturbed);
    }
}
