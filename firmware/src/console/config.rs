//! The configuration page in words: shown without the key, changed one value at a time.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use embedded_io_async::Write;
use heapless::{String, Vec};
use taraz_telemetry::{
    DevicePage, HOST_LEN_MAX, MeterAddress, MeterDriver, PAGE_METERS_MAX, PageError, PageNetwork, PageParity,
};

use super::terminal::{Terminal, say};

/// A value that was not taken. The page is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such name.
    #[error("there is no such value; `config` lists them")]
    Unknown,
    /// It belongs to the device's identity.
    #[error("board, device and key belong together and come with the image: `taraz device image`")]
    Identity,
    /// It is written otherwise.
    #[error("expected {0}")]
    Expected(&'static str),
    /// The page as a whole can't work with it.
    #[error(transparent)]
    Page(#[from] PageError),
}

const HOST: &str = "HOST or HOST:PORT";
const NETWORK: &str = "dhcp, or ADDRESS/BITS [ROUTER [DNS]], as in 192.168.1.20/24 192.168.1.1 192.168.1.1";
const METERS: &str =
    "auto, or ADDRESS:DRIVER,... with sunspec, sdm630, growatt or si_rs485, as in 1:sunspec,20:sdm630";
const DRIVERS: [MeterDriver; 4] = [
    MeterDriver::Sunspec,
    MeterDriver::Sdm630,
    MeterDriver::Growatt,
    MeterDriver::SiRs485,
];

/// Sets one value of a page.
pub(super) fn set(page: &mut DevicePage, name: &str, value: &str) -> Result<(), ConfigError> {
    let mut changed = page.clone();
    match name {
        "broker" => {
            (changed.broker_host, changed.broker_port) = host(value, changed.broker_port)?;
        }
        "sntp" => (changed.sntp_host, changed.sntp_port) = host(value, changed.sntp_port)?,
        "network" => changed.network = network(value)?,
        "bus.baud" => {
            changed.bus.baud = match value {
                "auto" => 0,
                _ => number(value, "a baud rate from 1200 to 115200, or auto")?,
            };
        }
        "bus.parity" => {
            changed.bus.parity = match value {
                "none" => PageParity::None,
                "even" => PageParity::Even,
                "odd" => PageParity::Odd,
                _ => return Err(ConfigError::Expected("none, even or odd")),
            };
        }
        "bus.stop_bits" => changed.bus.stop_bits = number(value, "1 or 2")?,
        "bus.timeout_ms" => changed.bus.response_timeout_ms = number(value, "20 to 10000")?,
        "poll_ms" => changed.poll_interval_ms = number(value, "200 to 86400000")?,
        "meters" => changed.meters = meters(value)?,
        "board" | "device" | "key" => return Err(ConfigError::Identity),
        _ => return Err(ConfigError::Unknown),
    }
    changed.check()?;
    *page = changed;
    Ok(())
}

/// Shows a page as its values are set; `changed` says that it is not saved.
pub(super) async fn show<W: Write>(
    terminal: &mut Terminal<W>,
    page: &DevicePage,
    changed: bool,
) -> Result<(), W::Error> {
    say!(terminal, "device          {} on {}", page.device, page.board);
    say!(
        terminal,
        "key             generation {}, not shown",
        page.key_generation
    );
    say!(terminal, "network         {}", NetworkText(&page.network));
    say!(
        terminal,
        "broker          {}:{}",
        page.broker_host,
        page.broker_port
    );
    say!(terminal, "sntp            {}:{}", page.sntp_host, page.sntp_port);
    match page.bus.baud {
        0 => say!(terminal, "bus.baud        auto"),
        baud => say!(terminal, "bus.baud        {baud}"),
    }
    let parity = match page.bus.parity {
        PageParity::None => "none",
        PageParity::Even => "even",
        PageParity::Odd => "odd",
    };
    say!(terminal, "bus.parity      {parity}");
    say!(terminal, "bus.stop_bits   {}", page.bus.stop_bits);
    say!(terminal, "bus.timeout_ms  {}", page.bus.response_timeout_ms);
    say!(terminal, "poll_ms         {}", page.poll_interval_ms);
    say!(terminal, "meters          {}", MetersText(&page.meters));
    if changed {
        say!(
            terminal,
            "changed and not saved: `config save` writes it, `config undo` forgets it"
        );
    }
    Ok(())
}

fn host(value: &str, port: u16) -> Result<(String<HOST_LEN_MAX>, u16), ConfigError> {
    let expected = ConfigError::Expected(HOST);
    let (host, port) = match value.split_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| expected)?),
        None => (value, port),
    };
    Ok((String::try_from(host).map_err(|_| expected)?, port))
}

fn network(value: &str) -> Result<PageNetwork, ConfigError> {
    let expected = ConfigError::Expected(NETWORK);
    if value == "dhcp" {
        return Ok(PageNetwork::Dhcp);
    }
    let mut words = value.split_ascii_whitespace();
    let (address, prefix) = words
        .next()
        .and_then(|word| word.split_once('/'))
        .ok_or(expected)?;
    let parse = |text: &str| Ipv4Addr::from_str(text).map(|address| address.octets());
    let optional = |word: Option<&str>| word.map_or(Ok([0; 4]), parse);
    let network = PageNetwork::Static {
        address: parse(address).map_err(|_| expected)?,
        prefix_len: prefix.parse().map_err(|_| expected)?,
        gateway: optional(words.next()).map_err(|_| expected)?,
        dns: optional(words.next()).map_err(|_| expected)?,
    };
    match words.next() {
        None => Ok(network),
        Some(_) => Err(expected),
    }
}

type PageMeters = Vec<(MeterAddress, MeterDriver), PAGE_METERS_MAX>;

fn meters(value: &str) -> Result<PageMeters, ConfigError> {
    let expected = ConfigError::Expected(METERS);
    let mut meters = PageMeters::new();
    if value == "auto" {
        return Ok(meters);
    }
    for meter in value.split(',') {
        let (address, driver) = meter.trim().split_once(':').ok_or(expected)?;
        let address = address.parse().ok().and_then(MeterAddress::new).ok_or(expected)?;
        let driver = DRIVERS.into_iter().find(|known| known.as_str() == driver);
        meters
            .push((address, driver.ok_or(expected)?))
            .map_err(|_| ConfigError::Expected("at most 8 meters"))?;
    }
    Ok(meters)
}

fn number<N: FromStr>(value: &str, expected: &'static str) -> Result<N, ConfigError> {
    value.parse().map_err(|_| ConfigError::Expected(expected))
}

struct NetworkText<'p>(&'p PageNetwork);

impl fmt::Display for NetworkText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            PageNetwork::Dhcp => f.write_str("dhcp"),
            PageNetwork::Static {
                address,
                prefix_len,
                gateway,
                dns,
            } => {
                let [address, gateway, dns] = [address, gateway, dns].map(Ipv4Addr::from);
                write!(f, "{address}/{prefix_len} {gateway} {dns}")
            }
        }
    }
}

struct MetersText<'p>(&'p PageMeters);

impl fmt::Display for MetersText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("auto");
        }
        for (index, (address, driver)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{address}:{}", driver.as_str())?;
        }
        Ok(())
    }
}
