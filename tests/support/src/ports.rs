//! Free ports on loopback.

use std::net::TcpListener;

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
    let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port of 127.0.0.1"));
    listeners.map(|listener| {
        listener
            .local_addr()
            .expect("the address of a bound listener")
            .port()
    })
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
