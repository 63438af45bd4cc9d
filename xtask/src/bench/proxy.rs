//! A TCP proxy between the devices and the gateway's door that counts what goes through.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::wire::{Packets, Traffic};

const BUFFER_LEN: usize = 65_536;

type Shared = Arc<Mutex<Traffic>>;

/// Runs until the program ends.
pub(crate) struct Proxy {
    port: u16,
    up: Shared,
    down: Shared,
}

impl Proxy {
    /// Takes connections at a free port and passes them on to the port `to` of 127.0.0.1.
    ///
    /// # Errors
    /// When there is no port.
    pub(crate) fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for the proxy")?;
        let port = listener.local_addr()?.port();
        let (up, down) = (Shared::default(), Shared::default());
        let counters = (Arc::clone(&up), Arc::clone(&down));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A gateway that does not serve: the device's connection is closed, and it tries again.
                let _ = connect(stream, to, &counters);
            }
        });
        Ok(Self { port, up, down })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What went from devices to the gateway, and what came back.
    pub(crate) fn traffic(&self) -> (Traffic, Traffic) {
        let read = |shared: &Shared| *shared.lock().unwrap_or_else(PoisonError::into_inner);
        (read(&self.up), read(&self.down))
    }
}

fn connect(device: TcpStream, to: u16, (up, down): &(Shared, Shared)) -> std::io::Result<()> {
    let gateway = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    device.set_nodelay(true)?;
    gateway.set_nodelay(true)?;
    pass(device.try_clone()?, gateway.try_clone()?, Arc::clone(up));
    pass(gateway, device, Arc::clone(down));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, counter: Shared) {
    std::thread::spawn(move || {
        let mut packets = Packets::default();
        let mut buffer = vec![0; BUFFER_LEN];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            if to.write_all(bytes).is_err() {
                break;
            }
            let traffic = packets.take(bytes);
            counter
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(traffic);
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_both_ways_and_are_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap().port()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        let (mut peer, _) = server.accept().unwrap();
        client.write_all(&[0xc0, 0]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        peer.write_all(&[0xd0, 0, 0xd0, 0]).unwrap();
        drop(peer);
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!((got.len(), back.len()), (2, 4));
        let (up, down) = proxy.traffic();
        assert_eq!((up.bytes, down.bytes), (2, 4));
    }
}
