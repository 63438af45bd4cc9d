//! Free ports on loopback.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpListener;

/// Ports below belong to well-known services.
const LOWEST: u16 = 10_000;
/// Ports that are tried before giving up.
const ATTEMPTS_MAX: u32 = 1_000;

/// A port of 127.0.0.1 that nobody listened on just now. Another process may take it before you do: start what needs it
/// at once, and be ready to try again with another.
///
/// # Panics
/// When the system has no port left.
#[must_use]
pub fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// Several different free ports at once, each as [`free_port`].
///
/// # Panics
/// When the system has no port left.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until all are known, so that none is given twice.
    let listeners = [(); N].map(|()| listen());
    listeners.map(|listener| {
        listener
            .local_addr()
            .expect("the address of a bound listener")
            .port()
    })
}

/// Listens at a free port that the system gives to nobody who asks for any.
fn listen() -> TcpListener {
    let ports = LOWEST..lowest_of_system();
    for attempt in 0..ATTEMPTS_MAX {
        let drawn = RandomState::new().hash_one(attempt);
        let port =
            ports.start + u16::try_from(drawn % u64::from(ports.end - ports.start)).expect("below a port");
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
    panic!(
        "no free port of 127.0.0.1 from {} to {}",
        ports.start,
        ports.end - 1
    );
}

/// The lowest port that the system gives to whoever asks for any (Linux, `ip_local_port_range`).
fn lowest_of_system() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest = range.split_whitespace().next().and_then(|port| port.parse().ok());
    lowest.filter(|&port| port > LOWEST).unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_free() {
        let ports: [u16; 8] = free_ports();
        let mut different = ports.to_vec();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), ports.len());
        TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    }
}
