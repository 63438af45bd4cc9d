//! A device that is nothing but a socket: MQTT 5 written byte by byte from the standard, frames through the contract's crate.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use taraz_telemetry::{
    Ack, Channel, Clock, DeviceId, DeviceKey, Diagnostics, FRAME_LEN_MAX, FrameWriter, MasterKey,
    MeterAddress, Outcome, Quantities, Reading, Record, RecordRange, Stamp,
};

/// How long a client waits for bytes before it looks at something else.
const TICK: Duration = Duration::from_millis(20);
/// Generous: two cores may be busy with other tests, and strace slows everything down.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A registry of so many devices, `dev-1` and so on, each with one inverter.
pub(crate) fn fleet_toml(devices: usize) -> String {
    let head = "[[district]]\nid = \"sari\"\nname = \"Sari\"\nname_fa = \"ساری\"\n\n\
                [[owner]]\nid = \"town\"\nname = \"Town\"\nname_fa = \"شهر\"\nkind = \"municipality\"\n";
    (1..=devices).fold(head.to_owned(), |text, n| {
        text + &format!(
            "\n[[plant]]\nid = \"plant-{n}\"\nname = \"Plant\"\nname_fa = \"نیروگاه\"\nowner = \"town\"\ndistrict = \"sari\"\n\
             latitude_deg = 36.5\nlongitude_deg = 53.0\naltitude_m = 20.0\ninverter_ac_w = 27600\ncommissioned = \"2024-03-20\"\n\
             arrays = [{{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }}]\n\
             [[plant.device]]\nid = \"dev-{n}\"\n[[plant.device.meter]]\naddress = 1\nrole = \"inverter\"\nrated_w = 27600\n"
        )
    })
}

/// Who writes frames.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    key: DeviceKey,
    next: u32,
    begun_ms: u64,
}

/// One frame, and the sequences in it.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) bytes: Vec<u8>,
    /// The bytes of each record, as they stand in every file.
    pub(crate) records: Vec<Vec<u8>>,
}

pub(crate) const INCARNATION: u32 = 0x7A6B_5C4D;
pub(crate) const BOOT: u32 = 3;

impl Device {
    pub(crate) fn new(master: &MasterKey, n: usize) -> Self {
        let id = DeviceId::new(&format!("dev-{n}")).unwrap();
        let key = master.device_key(&id, 1);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            id,
            key,
            next: 0,
            begun_ms: u64::try_from(now.unwrap().as_millis()).unwrap() - 3_600_000,
        }
    }

    /// The frame of the next `count` readings, a second apart, no two alike.
    pub(crate) fn frame(&mut self, count: u32) -> Written {
        let reading = |sequence: u32| {
            let values = Quantities {
                ac_power_w: Some(1_000 + i32::try_from(sequence % 20_000).unwrap()),
                energy_wh: Some(u64::from(sequence) * 7 + 1_000_000),
                ..Quantities::default()
            };
            Record::Reading(Reading {
                meter: MeterAddress::new(1).unwrap(),
                stamp: self.stamp(sequence),
                outcome: Outcome::Values(values),
            })
        };
        let records: Vec<_> = (self.next..self.next + count).map(reading).collect();
        self.write(&records)
    }

    /// The frame of a record by which it states that everything it wrote before was acknowledged.
    pub(crate) fn nothing_left(&mut self) -> Written {
        let diagnostics = Diagnostics {
            stamp: self.stamp(self.next),
            uptime_s: self.next,
            queue_records: 0,
            queue_capacity_records: 10_000,
            dropped_records: 0,
            link_connects: 1,
            stack_high_water_bytes: None,
            meters: Default::default(),
        };
        self.write(&[Record::Diagnostics(diagnostics)])
    }

    fn stamp(&self, sequence: u32) -> Stamp {
        Stamp {
            ms: self.begun_ms + u64::from(sequence) * 1_000,
            clock: Clock::Synced,
        }
    }

    fn write(&mut self, records: &[Record]) -> Written {
        let mut buffer = [0; FRAME_LEN_MAX];
        let first = self.next;
        let mut writer =
            FrameWriter::new(&mut buffer, self.key.generation(), INCARNATION, BOOT, first).unwrap();
        for record in records {
            writer.push(record).unwrap();
            self.next += 1;
        }
        let bytes = writer.finish(&self.key, &self.id).to_vec();
        let record_bytes = |record: &Record| record.encode(&mut [0; 400]).unwrap().to_vec();
        Written {
            first,
            last: self.next - 1,
            bytes,
            records: records.iter().map(record_bytes).collect(),
        }
    }

    /// How many records it has written.
    pub(crate) fn written(&self) -> u32 {
        self.next
    }

    pub(crate) fn topic(&self, channel: Channel) -> String {
        channel.topic(&self.id).as_str().to_owned()
    }
}

/// What a gateway sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Packet id and reason code.
    Puback(u16, u8),
    /// The device's own acknowledgement.
    Ack(Vec<RecordRange>),
    Other(u8),
}

/// A connection of a device.
pub(crate) struct Client {
    stream: TcpStream,
    device: Device,
    packet_id: u16,
    input: Vec<u8>,
}

impl Client {
    /// Signs in and subscribes to the device's `/ack`.
    pub(crate) fn connect(port: u16, device: &Device) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let mut client = Self {
            stream,
            device: device.clone(),
            packet_id: 0,
            input: Vec::new(),
        };
        let id = device.id.as_str();
        // Clean start, user name and password; keep-alive 60 s; no properties.
        let head = [&[0, 4][..], b"MQTT", &[5, 0b1100_0010, 0, 60, 0]].concat();
        let password = device.key.mqtt_password();
        let hello = [head, text(id), text(id), text(password.as_str())].concat();
        client.send(0x10, &hello)?;
        client.expect(0x20)?;
        let topic = device.topic(Channel::Ack);
        client.send(0x82, &[&[0, 1, 0][..], &text(&topic), &[0]].concat())?;
        client.expect(0x90)?;
        Ok(client)
    }

    /// Tries again until the gateway is there.
    pub(crate) fn reach(port: u16, device: &Device) -> Self {
        let deadline = Instant::now() + LIMIT;
        loop {
            match Self::connect(port, device) {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < deadline, "no gateway at port {port}: {error}"),
            }
            std::thread::sleep(TICK);
        }
    }

    /// Publishes at `QoS` 1; returns the packet id.
    pub(crate) fn publish(&mut self, frame: &[u8]) -> std::io::Result<u16> {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let topic = text(&self.device.topic(Channel::Up));
        let body = [&topic[..], &self.packet_id.to_be_bytes(), &[0], frame].concat();
        self.send(0x32, &body).map(|()| self.packet_id)
    }

    /// The next packet, or `None` when none comes within a moment.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Packet>> {
        loop {
            if let Some((kind, body)) = self.take() {
                return Ok(Some(self.read(kind, &body)));
            }
            let mut buffer = [0; 4_096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.input.extend_from_slice(&buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next packet within the limit.
    pub(crate) fn must_hear(&mut self) -> Packet {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(packet) = self.next().unwrap() {
                return packet;
            }
            assert!(Instant::now() < deadline, "{}: nothing came", self.device.id);
        }
    }

    /// Publishes one frame and waits until it has both acknowledgements.
    pub(crate) fn deliver(&mut self, frame: &Written) {
        let id = self.publish(&frame.bytes).unwrap();
        let (mut puback, mut ack) = (false, false);
        while !(puback && ack) {
            match self.must_hear() {
                Packet::Puback(got, code) => {
                    assert_eq!((got, code), (id, 0));
                    puback = true;
                }
                Packet::Ack(ranges) => {
                    ack |= ranges
                        .iter()
                        .any(|range| range.first <= frame.first && frame.last <= range.last);
                }
                Packet::Other(kind) => panic!("an unexpected packet {kind:02x}"),
            }
        }
    }

    /// Nothing comes for so long.
    pub(crate) fn nothing_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            assert_eq!(self.next().unwrap(), None, "something came");
        }
    }

    fn expect(&mut self, wanted: u8) -> std::io::Result<()> {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            match self.take() {
                Some((kind, body)) if kind == wanted && body.get(1).is_none_or(|code| *code < 0x80) => {
                    return Ok(());
                }
                Some((kind, body)) => {
                    return Err(std::io::Error::other(format!("packet {kind:02x} {body:02x?}")));
                }
                None => {}
            }
            let mut buffer = [0; 256];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.input.extend_from_slice(&buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    /// A whole packet from the front of what was read.
    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let (mut len, mut at) = (0_usize, 1);
        loop {
            let byte = *self.input.get(at)?;
            len |= usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.input.len() < at + len {
            return None;
        }
        let kind = self.input[0];
        let body = self.input[at..at + len].to_vec();
        self.input.drain(..at + len);
        Some((kind, body))
    }

    fn read(&self, kind: u8, body: &[u8]) -> Packet {
        match kind {
            0x40 => Packet::Puback(
                u16::from_be_bytes([body[0], body[1]]),
                body.get(2).copied().unwrap_or(0),
            ),
            0x30 => {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let properties = usize::from(body[2 + topic]);
                let payload = &body[3 + topic + properties..];
                let ack = Ack::decode(payload, &self.device.key, &self.device.id).unwrap();
                Packet::Ack(ack.ranges.into_iter().collect())
            }
            other => Packet::Other(other),
        }
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> std::io::Result<()> {
        let mut bytes = vec![kind];
        let mut len = body.len();
        loop {
            let digit = u8::try_from(len & 0x7F).unwrap();
            len >>= 7;
            bytes.push(if len > 0 { digit | 0x80 } else { digit });
            if len == 0 {
                break;
            }
        }
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes)
    }
}

fn text(text: &str) -> Vec<u8> {
    [
        &u16::try_from(text.len()).unwrap().to_be_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}
