//! A server: its name or address, found anew each time.

use embassy_net::dns::DnsQueryType;
use embassy_net::{IpAddress, IpEndpoint, Stack};
use embassy_time::{Duration, with_timeout};
use taraz_firmware::ReachError;

/// How long an address of our own is waited for before it counts as no network.
const CONFIG_WAIT: Duration = Duration::from_secs(4);
/// How long a DNS server may take; both together stay below the link's time-out for a connection.
const NAME_WAIT: Duration = Duration::from_secs(4);

/// One host and port.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    stack: Stack<'static>,
    host: &'static str,
    port: u16,
}

impl core::fmt::Debug for Peer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Peer {
    /// `host` is a name or an IPv4 address.
    pub(crate) const fn new(stack: Stack<'static>, host: &'static str, port: u16) -> Self {
        Self { stack, host, port }
    }

    /// Its address now.
    pub(crate) async fn find(&self) -> Result<IpEndpoint, ReachError> {
        with_timeout(CONFIG_WAIT, self.stack.wait_config_up())
            .await
            .map_err(|_| ReachError::NoNetwork)?;
        if let Ok(address) = self.host.parse() {
            return Ok(IpEndpoint::new(IpAddress::Ipv4(address), self.port));
        }
        let found = with_timeout(NAME_WAIT, self.stack.dns_query(self.host, DnsQueryType::A)).await;
        let first = found.ok().and_then(Result::ok);
        let first = first.and_then(|addresses| addresses.first().copied());
        first
            .map(|address| IpEndpoint::new(address, self.port))
            .ok_or(ReachError::NoName)
    }
}
