//! A webhook receiver that keeps what it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::wait_for;

/// A larger body is an error of the sender.
const BODY_LEN_MAX: usize = 4 << 20;

/// A sender that is silent for this long is hung up on.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP server on loopback that answers every request with one status and keeps its JSON body.
pub struct Webhook {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    bodies: Mutex<Vec<Value>>,
    status: AtomicU16,
    ended: AtomicBool,
}

impl Webhook {
    /// Starts it on a free port; it answers 200.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port of 127.0.0.1");
        let address = listener.local_addr().expect("the address of a bound listener");
        let shared = Arc::new(Shared {
            bodies: Mutex::new(Vec::new()),
            status: AtomicU16::new(200),
            ended: AtomicBool::new(false),
        });
        let in_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if in_thread.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&in_thread);
                // One thread a connection: a sender may keep one open.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &shared)));
            }
        });
        Self { address, shared }
    }

    /// Where to send to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers with `status` from now on.
    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    /// Every JSON body so far, in the order of their arrival, whatever they were answered.
    #[must_use]
    pub fn bodies(&self) -> Vec<Value> {
        self.shared
            .bodies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a body that `wanted` accepts, and gives the first one.
    ///
    /// # Panics
    /// When `limit` is over: says `what` was waited for and how many others came.
    pub fn wait_for(&self, limit: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(limit, what, || {
            let bodies = self.bodies();
            let found = bodies.iter().find(|body| wanted(body)).cloned();
            found.ok_or_else(|| format!("{} bodies came: {bodies:?}", bodies.len()))
        })
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the listener so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(Head { length, last }) = read_head(&mut reader)? {
        if length > BODY_LEN_MAX {
            return writer
                .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let status = match serde_json::from_slice(&body) {
            Ok(value) => {
                shared
                    .bodies
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(value);
                shared.status.load(Ordering::SeqCst)
            }
            Err(_) => 400,
        };
        write!(writer, "HTTP/1.1 {status} Answer\r\ncontent-length: 0\r\n\r\n")?;
        if last {
            break;
        }
    }
    Ok(())
}

/// What matters of a request's head.
#[derive(Default)]
struct Head {
    /// The length of the body.
    length: usize,
    /// Whether the sender wants the connection closed after it.
    last: bool,
}

/// Reads a request's head, or gives `None` at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Head>> {
    let mut head = Head::default();
    let mut line = String::new();
    let mut first = true;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end();
        if text.is_empty() && !first {
            return Ok(Some(head));
        }
        first = false;
        let Some((name, value)) = text.split_once(':') else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.trim().parse().map_err(std::io::Error::other)?,
            "connection" => head.last = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request;

    #[test]
    fn bodies_are_kept_and_answered_as_told() {
        let webhook = Webhook::start();
        let send = |body: &[u8]| request("POST", webhook.address, "/", &[], body).unwrap().status;
        assert_eq!(send(br#"{"a": 1}"#), 200);
        webhook.answer(503);
        assert_eq!(send(br#"{"a": 2}"#), 503);
        assert_eq!(send(b"not json"), 400);
        assert_eq!(webhook.bodies().len(), 2);
        let second = webhook.wait_for(Duration::from_secs(5), "the second", |body| body["a"] == 2);
        assert_eq!(second["a"], 2);
    }
}
