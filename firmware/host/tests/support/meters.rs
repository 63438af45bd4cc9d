//! Eastron SDM630 meters behind RTU over TCP, answering every input register pair with a float of known value, and the
//! unit that sets the clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Total system power, "SDM630 Modbus Protocol": input registers 30053 and 30054.
const TOTAL_POWER: u16 = 0x34;

/// A simulated bus. Stops when dropped.
pub struct Meters {
    addr: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    follow_clock: bool,
    /// Units 1 to 32, a bit each, that do not answer.
    dead: AtomicU32,
    refuse_connections: AtomicBool,
    reads: AtomicU32,
}

impl Meters {
    pub async fn start(follow_clock: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            follow_clock,
            dead: AtomicU32::new(0),
            refuse_connections: AtomicBool::new(false),
            reads: AtomicU32::new(0),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if !shared.refuse_connections.load(Ordering::SeqCst) {
                    tokio::spawn(serve(stream, Arc::clone(&shared)));
                }
            }
        });
        Self { addr, state, task }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn set_dead(&self, unit: u8, dead: bool) {
        if dead {
            self.state.dead.fetch_or(1 << unit, Ordering::SeqCst);
        } else {
            self.state.dead.fetch_and(!(1 << unit), Ordering::SeqCst);
        }
    }

    /// Connections are closed as soon as they are opened, open ones at their next request.
    pub fn set_down(&self, down: bool) {
        self.state.refuse_connections.store(down, Ordering::SeqCst);
    }

    pub fn reads(&self) -> u32 {
        self.state.reads.load(Ordering::SeqCst)
    }

    /// What a meter states as its power at an instant.
    pub fn power_w(unit: u8, at_ms: u64) -> i32 {
        i32::try_from(at_ms / 1_000 % 20_000).unwrap() + i32::from(unit) * 100_000
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut time_ms = None;
    let mut bytes = Vec::new();
    let mut chunk = [0; 256];
    loop {
        let Ok(len @ 1..) = stream.read(&mut chunk).await else {
            return;
        };
        bytes.extend_from_slice(&chunk[..len]);
        while let Some(request) = take_request(&mut bytes) {
            if state.refuse_connections.load(Ordering::SeqCst) {
                return;
            }
            let Some(answer) = answer(&request, &mut time_ms, &state) else {
                continue;
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

fn take_request(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = match bytes.get(1)? {
        0x10 => 9 + usize::from(*bytes.get(6)?),
        _ => 8,
    };
    if bytes.len() < len {
        return None;
    }
    let rest = bytes.split_off(len);
    let request = std::mem::replace(bytes, rest);
    let (content, crc) = request.split_at(len - 2);
    assert_eq!(crc, crc16(content).to_le_bytes(), "the master's CRC");
    Some(content.to_vec())
}

fn answer(request: &[u8], time_ms: &mut Option<u64>, state: &State) -> Option<Vec<u8>> {
    let (unit, function) = (request[0], request[1]);
    let start = u16::from_be_bytes([request[2], request[3]]);
    let count = u16::from_be_bytes([request[4], request[5]]);
    let mut answer = vec![unit, function];
    if (unit, function) == (247, 0x10) && state.follow_clock {
        assert_eq!((start, count), (0, 4));
        *time_ms = Some(u64::from_be_bytes(request[7..15].try_into().unwrap()));
        answer.extend_from_slice(&request[2..6]);
    } else if function == 4 && (1..32).contains(&unit) && state.dead.load(Ordering::SeqCst) & 1 << unit == 0 {
        state.reads.fetch_add(1, Ordering::SeqCst);
        let now_ms = time_ms
            .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
        answer.push(u8::try_from(count * 2).unwrap());
        for register in (start..start + count).step_by(2) {
            let value = if register == TOTAL_POWER {
                Meters::power_w(unit, now_ms) as f32
            } else {
                50.0
            };
            answer.extend_from_slice(&value.to_be_bytes());
        }
    } else {
        return None;
    }
    let crc = crc16(&answer);
    answer.extend_from_slice(&crc.to_le_bytes());
    Some(answer)
}

/// CRC-16/MODBUS, bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    let step = |crc: u16, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
    bytes
        .iter()
        .fold(0xFFFF, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), step))
}
