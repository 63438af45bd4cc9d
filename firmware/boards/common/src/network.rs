//! The network's configuration, and what is said about it.

use embassy_net::{Config, DhcpConfig, Ipv4Address, Ipv4Cidr, Stack, StaticConfigV4};
use heapless::Vec;
use taraz_telemetry::PageNetwork;

/// Sockets of a board: DHCP, DNS, the broker, the time server.
pub const NETWORK_SOCKETS: usize = 4;

/// As the page says.
#[must_use]
pub fn network_config(network: &PageNetwork) -> Config {
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

/// Says what address the board has, whenever that changes.
pub async fn announce_network(stack: Stack<'_>) -> ! {
    loop {
        stack.wait_config_up().await;
        if let Some(config) = stack.config_v4() {
            let gateway = config.gateway.unwrap_or(Ipv4Address::UNSPECIFIED);
            let dns = config.dns_servers.first().copied();
            let dns = dns.unwrap_or(Ipv4Address::UNSPECIFIED);
            crate::say!("net: {}, router {gateway}, DNS {dns}", config.address);
        }
        stack.wait_config_down().await;
        crate::say!("net: no address");
    }
}
