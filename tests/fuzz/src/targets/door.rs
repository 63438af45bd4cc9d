//! The gateway's door: sessions that are right, and what is left of them after damage.

use std::collections::{BTreeSet, HashSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_gateway::RunningGateway;
use taraz_telemetry::{DeviceId, DeviceKey};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::mqtt::{self, Client, DISCONNECT, PINGREQ, PINGRESP, V3, V5};
use super::rig::{self, Recorder};
use crate::harness::Target;

/// So many that none signs in too often.
const DEVICES: usize = 400;
/// After so many executions a device that is well must be served.
const CONTROL_EVERY: u64 = 64;
/// Each look at a quiet connection, and how many of them are enough.
const QUIET: Duration = Duration::from_millis(3);
const QUIET_MAX: u32 = 5;
/// How long anything that must happen may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Fuzzes the MQTT listener.
pub(crate) struct Doors {
    devices: Vec<(DeviceId, DeviceKey)>,
    at: SocketAddr,
    recorder: Recorder,
    executions: u64,
    stop: CancellationToken,
    _gateway: RunningGateway,
    _runtime: Runtime,
}

impl Doors {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let (fleet, _) = rig::fleet(folder, DEVICES)?;
        let runtime = rig::runtime()?;
        let (recorder, stop) = (Recorder::default(), CancellationToken::new());
        let gateway = rig::gateway(&runtime, &folder.join("gateway"), fleet, recorder.clone(), &stop)?;
        Ok(Self {
            devices: (0..DEVICES).map(rig::device).collect::<Result<_>>()?,
            at: gateway.mqtt_addr.context("a gateway with a door")?,
            recorder,
            executions: 0,
            stop,
            _gateway: gateway,
            _runtime: runtime,
        })
    }

    /// Sends the bytes, closes, and gives what came back.
    fn session(&self, input: &[u8]) -> Result<Vec<u8>, String> {
        let mut stream = TcpStream::connect(self.at).map_err(|error| format!("connecting: {error}"))?;
        let set = stream.set_nodelay(true);
        set.and_then(|()| stream.set_read_timeout(Some(QUIET)))
            .map_err(|error| error.to_string())?;
        // In two pieces: packets arrive cut anywhere.
        let (first, second) = input.split_at(input.len() / 3);
        let mut received = Vec::new();
        // It may close in the middle: what was damaged is no business of the rest.
        let _ = stream.write_all(first).and_then(|()| stream.write_all(second));
        let mut quiet = 0;
        let begun = Instant::now();
        let mut is_closing = false;
        loop {
            let mut buffer = [0; 4_096];
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(received),
                Ok(len) => received.extend_from_slice(&buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    quiet += 1
                }
                // It closed before it had read everything.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Ok(received);
                }
                Err(error) => return Err(error.to_string()),
            }
            let is_answered = received.ends_with(&[PINGRESP, 0]);
            if !is_closing && (is_answered || quiet >= QUIET_MAX) {
                is_closing = true;
                let _ = stream.shutdown(Shutdown::Write);
            }
            if begun.elapsed() > LIMIT {
                return Err("the door does not close a connection that was closed from outside".to_owned());
            }
        }
    }

    /// A device that is well publishes a frame: it is acknowledged, and goes to ingest.
    fn control(&self) -> Result<(), String> {
        let at = usize::try_from(self.executions / CONTROL_EVERY).unwrap_or(0) % DEVICES;
        let (device, key) = &self.devices[at];
        let incarnation = u32::MAX - u32::try_from(self.executions & 0xFFFF_FFFF).unwrap_or(0);
        let version = if self.executions & 64 == 0 { V3 } else { V5 };
        let mut client = Client::open(self.at, version, device, key)?;
        client.publish(&rig::frame(key, device, incarnation, 1, 0, 2))?;
        let begun = Instant::now();
        while !self.recorder.has(device.as_str(), incarnation, 1, 0) {
            if begun.elapsed() > LIMIT {
                return Err("what was acknowledged does not go to ingest".to_owned());
            }
            std::thread::sleep(QUIET);
        }
        Ok(())
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Target for Doors {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let (device, key) = &self.devices[random.random_range(0..DEVICES)];
        let version = if random.random() { V3 } else { V5 };
        let will = random.random_ratio(1, 4).then_some(&b"offline"[..]);
        let mut bytes = mqtt::connect(version, device, key, will);
        for id in 1..=random.random_range(1..8) {
            let (up, ack) = (format!("taraz/1/{device}/up"), format!("taraz/1/{device}/ack"));
            bytes.extend(match random.random_range(0..8) {
                0 => mqtt::subscribe(version, id, &ack),
                1 => mqtt::unsubscribe(version, id, &ack),
                2 => mqtt::publish(version, &format!("taraz/1/{device}/state"), id, b"online"),
                3 => PINGREQ.to_vec(),
                _ => {
                    let (incarnation, first) = (random.random_range(0..1_000), random.random_range(0..1_000));
                    let count = random.random_range(1..5);
                    let frame = rig::frame(key, device, incarnation, 1, first, count);
                    mqtt::publish(version, &up, id, &frame)
                }
            });
        }
        if random.random_ratio(1, 6) {
            bytes.extend_from_slice(&DISCONNECT);
        }
        bytes.extend_from_slice(&PINGREQ);
        bytes
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        self.executions += 1;
        let received = self.session(input)?;
        let packets = mqtt::packets(&received).map_err(|what| format!("the door sent {what}"))?;
        if self.executions.is_multiple_of(CONTROL_EVERY) {
            self.control()
                .map_err(|what| format!("a device that is well: {what}"))?;
        }
        if let Some(wrong) = self.recorder.wrong() {
            return Err(wrong);
        }
        // The order is the client's; which kinds came, and what the CONNACK said, is what differs.
        let mut kinds = BTreeSet::new();
        for (first, body) in packets {
            kinds.insert(match first >> 4 {
                2 => format!("CONNACK {}", body.get(1).copied().unwrap_or(0)),
                3 => "PUBLISH".to_owned(),
                4 => format!("PUBACK {}", body.get(2).copied().unwrap_or(0)),
                9 => format!("SUBACK {}", body.last().copied().unwrap_or(0)),
                11 => "UNSUBACK".to_owned(),
                13 => "PINGRESP".to_owned(),
                14 => format!("DISCONNECT {}", body.first().copied().unwrap_or(0)),
                other => return Err(format!("the door sent a packet of type {other}")),
            });
        }
        let kinds: Vec<_> = kinds.into_iter().collect();
        Ok(if kinds.is_empty() {
            "closed".to_owned()
        } else {
            kinds.join(", ")
        })
    }
}

/// (device, incarnation, boot, sequence).
pub(super) type Identities = HashSet<(String, u32, u32, u32)>;
