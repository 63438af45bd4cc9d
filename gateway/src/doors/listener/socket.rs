//! The listening socket, with room for a herd: devices that all come back in the same moment.

use std::net::SocketAddr;

use mio::net::TcpListener;
use tokio::net::TcpSocket;

/// Connections that wait to be accepted. The system takes no more than `net.core.somaxconn` (4,096 since Linux 5.4). What comes
/// above it is dropped without a word and tried again by the peer's TCP after 1, 3, 7, 15 s: with the 128 of the standard library
/// a herd of 10,000 waits that long, and so does every live device among it.
const BACKLOG: u32 = 4_096;

/// Binds the address and listens there. Needs a tokio runtime around it, for the moment.
///
/// # Errors
/// What the system says.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // The port of a gateway that was killed a moment ago, with its connections still known to the system.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?.into_std()?;
    Ok(TcpListener::from_std(listener))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Fewer than the open files of most shells, more than the standard library's 128.
    const CONNECTIONS: usize = 300;
    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_herd_is_connected_before_anybody_is_accepted() {
        let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let allowed: usize = somaxconn.trim().parse().unwrap();
        assert!(
            allowed >= CONNECTIONS,
            "set net.core.somaxconn to {CONNECTIONS} or more"
        );
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| std::net::TcpStream::connect_timeout(&address, LIMIT);
        let connected: Result<Vec<_>, _> = (0..CONNECTIONS).map(connect).collect();
        assert_eq!(connected.unwrap().len(), CONNECTIONS);
        // Each is there, and not only believed to be by its own side.
        assert!((0..CONNECTIONS).all(|_| listener.accept().is_ok()));
    }
}
