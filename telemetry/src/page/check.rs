//! What the values of a page must fulfil to work.

use core::net::Ipv4Addr;

use super::{DevicePage, PageBus, PageError, PageNetwork};

/// The slowest bus in baud.
pub const PAGE_BAUD_MIN: u32 = 1_200;
/// The fastest bus in baud: SunSpec and Modbus meters end here.
pub const PAGE_BAUD_MAX: u32 = 115_200;
/// The shortest time in ms that a meter is given to begin its answer.
pub const PAGE_RESPONSE_TIMEOUT_MS_MIN: u16 = 20;
/// The longest time in ms that a meter is given to begin its answer.
pub const PAGE_RESPONSE_TIMEOUT_MS_MAX: u16 = 10_000;
/// The shortest time in ms between two polls of a meter.
pub const PAGE_POLL_INTERVAL_MS_MIN: u32 = 200;
/// The longest time in ms between two polls of a meter: a day.
pub const PAGE_POLL_INTERVAL_MS_MAX: u32 = 86_400_000;

const PREFIX_LEN_MAX: u8 = 30;

impl DevicePage {
    /// Checks every value.
    ///
    /// # Errors
    /// [`PageError::Value`] names the first one that can't work.
    pub fn check(&self) -> Result<(), PageError> {
        expect(is_board_name(&self.board), "board", "1 to 24 of a-z, 0-9 and '-'")?;
        expect(self.key_generation > 0, "key_generation", "1 to 255")?;
        expect(self.broker_port > 0, "broker_port", "1 to 65535")?;
        expect(self.sntp_port > 0, "sntp_port", "1 to 65535")?;
        let host = "a host name or an IPv4 address, at most 64 characters";
        expect(is_host(&self.broker_host), "broker_host", host)?;
        expect(is_host(&self.sntp_host), "sntp_host", host)?;
        self.check_network()?;
        self.bus.check()?;
        expect(
            (PAGE_POLL_INTERVAL_MS_MIN..=PAGE_POLL_INTERVAL_MS_MAX).contains(&self.poll_interval_ms),
            "poll_interval_ms",
            "200 to 86400000",
        )?;
        let twice = |at: usize| {
            self.meters[..at]
                .iter()
                .any(|(other, _)| *other == self.meters[at].0)
        };
        expect(!(0..self.meters.len()).any(twice), "meters", "each address once")
    }

    /// Checks that the page was made for this board.
    ///
    /// # Errors
    /// [`PageError::Value`] for another board's page.
    pub fn check_board(&self, board: &str) -> Result<(), PageError> {
        expect(self.board == board, "board", "the name of the board it stands on")
    }

    fn check_network(&self) -> Result<(), PageError> {
        let PageNetwork::Static {
            address,
            prefix_len,
            gateway,
            dns,
        } = self.network
        else {
            return Ok(());
        };
        expect(
            (1..=PREFIX_LEN_MAX).contains(&prefix_len),
            "network.prefix_len",
            "1 to 30",
        )?;
        let mask = u32::MAX << (32 - u32::from(prefix_len));
        let is_station = |address: [u8; 4]| {
            let (bits, parsed) = (u32::from_be_bytes(address), Ipv4Addr::from(address));
            let is_one = bits & !mask != 0 && bits | mask != u32::MAX;
            is_one && !parsed.is_multicast() && !parsed.is_loopback() && address[0] != 0 && address[0] < 240
        };
        expect(
            is_station(address),
            "network.address",
            "the address of one station in its network",
        )?;
        let in_network = |other: [u8; 4]| {
            (u32::from_be_bytes(other) ^ u32::from_be_bytes(address)) & mask == 0 && is_station(other)
        };
        expect(
            gateway == [0; 4] || in_network(gateway) && gateway != address,
            "network.gateway",
            "another station of the device's own network, or 0.0.0.0 for none",
        )?;
        let parsed = Ipv4Addr::from(dns);
        expect(
            !parsed.is_multicast() && !parsed.is_broadcast() && !parsed.is_loopback(),
            "network.dns",
            "the address of a DNS server, or 0.0.0.0 for none",
        )?;
        let by_address = |host: &str| host.parse::<Ipv4Addr>().is_ok();
        expect(
            dns != [0; 4] || by_address(&self.broker_host) && by_address(&self.sntp_host),
            "network.dns",
            "a DNS server, because broker or time server are given by name",
        )
    }
}

impl PageBus {
    fn check(&self) -> Result<(), PageError> {
        expect(
            self.baud == 0 || (PAGE_BAUD_MIN..=PAGE_BAUD_MAX).contains(&self.baud),
            "bus.baud",
            "1200 to 115200, or 0 to detect it",
        )?;
        expect(matches!(self.stop_bits, 1 | 2), "bus.stop_bits", "1 or 2")?;
        expect(
            (PAGE_RESPONSE_TIMEOUT_MS_MIN..=PAGE_RESPONSE_TIMEOUT_MS_MAX).contains(&self.response_timeout_ms),
            "bus.response_timeout_ms",
            "20 to 10000",
        )
    }
}

pub(super) fn is_board_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(allowed)
}

/// A host name as RFC 1123, section 2.1 has it: labels of letters, digits and `-`, neither first nor last a `-`. A name
/// whose last label is a number can only be meant as an address, so it must be one.
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(allowed)
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return host.parse().is_ok_and(|address: Ipv4Addr| {
            !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
        });
    }
    host.split('.').all(is_label)
}

const fn expect(holds: bool, field: &'static str, allowed: &'static str) -> Result<(), PageError> {
    if holds {
        Ok(())
    } else {
        Err(PageError::Value { field, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for host in [
            "gateway",
            "a",
            "time.ir",
            "gw-1.sari.example",
            "10.0.2.2",
            "1a.2b",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "a b",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "0.0.0.0",
            "7",
            "ساری",
            "a:1",
            "[::1]",
            "255.255.255.255",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }
}
