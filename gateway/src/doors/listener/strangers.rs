//! Connections that have not signed in: when the door is full, the oldest of the host with most of them makes room.
//!
//! Anybody can connect and say nothing. Who does so ten thousand times from one host displaces itself, not a device that needs an instant to
//! sign in; ten thousand devices behind one address displace nobody as long as there is room.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use super::turn::SessionId;

/// At most as many as there may be connections.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// In the order in which they came.
    of: HashMap<IpAddr, VecDeque<SessionId>>,
    /// How many a host has.
    hosts: BTreeSet<(usize, IpAddr)>,
}

impl Strangers {
    pub(super) fn add(&mut self, peer: IpAddr, id: SessionId) {
        self.change(peer, |sessions| sessions.push_back(id));
    }

    /// It has signed in, or has ended.
    pub(super) fn forget(&mut self, peer: IpAddr, id: SessionId) {
        self.change(peer, |sessions| {
            // They mostly leave in the order in which they came.
            if let Some(at) = sessions.iter().position(|session| *session == id) {
                sessions.remove(at);
            }
        });
    }

    /// Who has to make room.
    pub(super) fn first_to_go(&self) -> Option<SessionId> {
        let (_, host) = self.hosts.last()?;
        self.of.get(host)?.front().copied()
    }

    fn change(&mut self, peer: IpAddr, what: impl FnOnce(&mut VecDeque<SessionId>)) {
        let host = host(peer);
        let sessions = self.of.entry(host).or_default();
        self.hosts.remove(&(sessions.len(), host));
        what(sessions);
        let count = sessions.len();
        if count == 0 {
            self.of.remove(&host);
        } else {
            self.hosts.insert((count, host));
        }
    }
}

/// Who may have many addresses is one host: in IPv6 a network of 64 bits (RFC 4291, 2.5.1).
fn host(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> SessionId {
        SessionId::new(number, 0)
    }

    #[test]
    fn the_oldest_of_the_host_with_most_goes_first() {
        let mut strangers = Strangers::default();
        let [mad, good]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        assert_eq!(strangers.first_to_go(), None);
        strangers.add(good, id(1));
        for number in 2..5 {
            strangers.add(mad, id(number));
        }
        assert_eq!(strangers.first_to_go(), Some(id(2)));
        strangers.forget(mad, id(2));
        strangers.forget(mad, id(4));
        strangers.add(good, id(5));
        strangers.forget(good, id(77));
        assert_eq!(strangers.first_to_go(), Some(id(1)));
        for number in [1, 5] {
            strangers.forget(good, id(number));
        }
        strangers.forget(mad, id(3));
        assert_eq!((strangers.first_to_go(), strangers.of.len()), (None, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_host() {
        let mut strangers = Strangers::default();
        for (number, address) in
            (1..).zip(["2001:db8:1::1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8:1::2"])
        {
            strangers.add(address.parse().unwrap(), id(number));
        }
        strangers.add("2001:db8:1::3".parse().unwrap(), id(5));
        strangers.add("2001:db8:2::1".parse().unwrap(), id(6));
        assert_eq!(strangers.first_to_go(), Some(id(1)));
        assert_eq!(strangers.of.len(), 3);
    }
}
