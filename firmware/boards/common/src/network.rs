//! The network's configuration.

use embassy_net::{Config, DhcpConfig, Ipv4Address, Ipv4Cidr, StaticConfigV4};
use heapless::Vec;
use taraz_telemetry::PageNetwork;

/// Sockets of a board: DHCP, DNS, the broker, the time server.
pub(crate) const NETWORK_SOCKETS: usize = 4;

/// As the page says.
pub(crate) fn network_config(network: &PageNetwork) -> Config {
    match *network {
        PageNetwork::Dhcp => Config::dhcpv4(DhcpConfig::default()),
        PageNetwork::Static {
            address,
            prefix_len,
            gateway,
            dns,
        } => {
            let present = |address: [u8; 4]| (address != [0; 4]).then(|| Ipv4Address::from(address));
            Config::ipv4_static(StaticConfigV4 {
                address: Ipv4Cidr::new(Ipv4Address::from(address), prefix_len),
                gateway: present(gateway),
                dns_servers: present(dns).into_iter().collect::<Vec<_, 3>>(),
            })
        }
    }
}
