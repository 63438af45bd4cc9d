//! What ingest, or anything in its place, answers to the gateway.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_gateway::{HttpUplink, Uplink as _, UplinkError};
use taraz_telemetry::{BatchVerdict, RejectedItem};
use tokio::runtime::Runtime;

use super::rig;
use crate::harness::Target;
use crate::records;

/// What stands between the head and the body of a message (RFC 9112, section 2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";
/// The body of every request.
const BODY: &[u8] = b"a batch";

/// Fuzzes `HttpUplink`.
pub(crate) struct Answers {
    runtime: Runtime,
    uplink: HttpUplink,
    /// What every connection is answered with.
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Answers {
    pub(crate) fn new() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let uplink = HttpUplink::new(&format!("http://{}", listener.local_addr()?), "token")?;
        let answer = Arc::default();
        let in_thread = Arc::clone(&answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client may have gone already: that is an outcome as well.
                let _ = answer_one(stream, &in_thread);
            }
        });
        Ok(Self {
            runtime: rig::runtime()?,
            uplink,
            answer,
        })
    }
}

fn answer_one(mut stream: TcpStream, answer: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1_024];
    while !request.ends_with(BODY) {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..len]);
    }
    let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    stream.write_all(&answer)?;
    stream.shutdown(Shutdown::Write)?;
    // Until the client has closed: a reset would take away what it has not read yet.
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

impl Target for Answers {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let status = [200, 200, 204, 301, 400, 401, 413, 422, 422, 429, 500, 503][random.random_range(0..12)];
        let rejected = (0..random.random_range(0..3)).map(|_| RejectedItem {
            position: records::number(random),
            reason: "an \"unknown\" device".to_owned(),
        });
        let rejected = if status == 200 {
            Vec::new()
        } else {
            rejected.collect()
        };
        let verdict = BatchVerdict {
            accepted: random.random_range(0..9),
            rejected,
        };
        let body = serde_json::to_string(&verdict).unwrap_or_default();
        let retry = if random.random_ratio(1, 4) {
            "Retry-After: 7\r\n"
        } else {
            ""
        };
        let head = if random.random() {
            format!("Content-Length: {}\r\n\r\n{body}", body.len())
        } else {
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            )
        };
        format!(
            "HTTP/1.1 {status} So\r\nConnection: close\r\nContent-Type: application/json\r\n{retry}{head}"
        )
        .into_bytes()
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        input.clone_into(&mut self.answer.lock().unwrap_or_else(PoisonError::into_inner));
        let told = self.runtime.block_on(self.uplink.deliver(BODY.to_vec()));
        let holds = |text: &[u8]| input.windows(text.len()).any(|window| window == text);
        match told {
            Ok(()) if !holds(b"\"accepted\"") || !holds(HEAD_END) || !holds(b" 2") => {
                Err("taken for delivered without a verdict".to_owned())
            }
            Ok(()) => Ok("delivered".to_owned()),
            Err(UplinkError::Rejected(items)) => {
                let invented = items
                    .iter()
                    .find(|item| !holds(item.position.to_string().as_bytes()));
                match invented {
                    Some(item) => Err(format!(
                        "position {} is rejected and was not named",
                        item.position
                    )),
                    None if items.is_empty() => Err("rejected, and no item of it".to_owned()),
                    None => Ok("rejected".to_owned()),
                }
            }
            Err(UplinkError::TooLarge) => Ok("too large".to_owned()),
            Err(UplinkError::Refused { status }) => Ok(format!("refused with {}xx", status / 100)),
            Err(UplinkError::Unavailable { retry_after, .. }) => Ok(match retry_after {
                Some(_) => "unavailable, with a time",
                None => "unavailable",
            }
            .to_owned()),
        }
    }
}
