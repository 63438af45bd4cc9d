//! A time server for the emulated board, which has no way to one of the internet's: an SNTP answer (RFC 4330, 4) with the
//! computer's time.

use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

const PACKET_LEN: usize = 48;
/// No leap second, version 4, server.
const FLAGS: u8 = 0x24;
/// One step away from a clock.
const STRATUM: u8 = 2;
/// 2^-20 s, about a microsecond.
const PRECISION: u8 = 0xec;
/// From 1900 to 1970.
const ERA_S: u64 = 2_208_988_800;

/// Answers on a free port until the program ends; gives the port.
///
/// # Errors
/// When there is none.
pub(super) fn start() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("a port for the time server")?;
    let port = socket.local_addr()?.port();
    std::thread::spawn(move || {
        let mut request = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut request) {
            if let Some(request) = request[..len].first_chunk() {
                // Who does not get it asks again.
                let _ = socket.send_to(&answer(request, SystemTime::now()), from);
            }
        }
    });
    Ok(port)
}

fn answer(request: &[u8; PACKET_LEN], now: SystemTime) -> [u8; PACKET_LEN] {
    let now = timestamp(now);
    let mut answer = [0; PACKET_LEN];
    answer[..4].copy_from_slice(&[FLAGS, STRATUM, 6, PRECISION]);
    answer[12..16].copy_from_slice(b"HOST");
    answer[16..24].copy_from_slice(&now);
    answer[24..32].copy_from_slice(&request[40..48]);
    answer[32..40].copy_from_slice(&now);
    answer[40..48].copy_from_slice(&now);
    answer
}

/// Seconds since 1900, of era 0, and their fraction in 2^-32 s.
fn timestamp(at: SystemTime) -> [u8; 8] {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (((since.as_secs() + ERA_S) << 32) | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_returns_the_question_and_tells_the_time() {
        let mut request = [0; PACKET_LEN];
        request[40..48].copy_from_slice(b"question");
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        let answer = answer(&request, at);
        assert_eq!(&answer[24..32], b"question");
        // 1970-01-01 00:00:01.5 is 2,208,988,801.5 s after 1900.
        assert_eq!(answer[40..48], [0x83, 0xaa, 0x7e, 0x81, 0x80, 0, 0, 0]);
    }
}
