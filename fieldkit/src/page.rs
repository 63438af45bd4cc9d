//! A device's configuration page: who it is from the registry, its key from the master key, the rest as stated.

use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, DevicePage, MasterKey, PageBus, PageError, PageNetwork, PageParity};

use crate::board::Board;

/// What a page needs beyond the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSettings {
    /// The broker, or the gateway's own door: host and TCP port.
    pub broker: (String, u16),
    /// The time server: host and UDP port.
    pub sntp: (String, u16),
    /// How the device gets its network address.
    pub network: PageNetwork,
    /// The line to the meters.
    pub bus: PageBus,
    /// How often each meter is read, in ms.
    pub poll_interval_ms: u32,
    /// Leave the registry's meters out, so that the device finds what answers on its bus.
    pub detect_meters: bool,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevicePageError {
    /// It is not in the registry.
    #[error("device \"{device}\" is not in the registry; {known}; `taraz device add` registers one")]
    Unregistered {
        /// Which.
        device: DeviceId,
        /// Which there are.
        known: String,
    },
    /// A host name is too long.
    #[error("{0}: a host name or address has at most 64 characters")]
    Host(String),
    /// More meters than a page holds.
    #[error("the registry has more meters for it than a page holds")]
    Meters,
    /// The board's UART has no odd parity.
    #[error("{0} can't have odd parity on its line: set the meters to none or even, or take another board")]
    OddParity(&'static str),
    /// A value that can't work.
    #[error(transparent)]
    Page(#[from] PageError),
}

/// The page of a registered device.
///
/// # Errors
/// [`DevicePageError`] when it is not registered or a value can't work.
pub fn device_page(
    fleet: &Fleet,
    master: &MasterKey,
    device: &DeviceId,
    board: &Board,
    settings: &PageSettings,
) -> Result<DevicePage, DevicePageError> {
    let registered = fleet
        .device(device)
        .ok_or_else(|| DevicePageError::Unregistered {
            device: device.clone(),
            known: known(fleet),
        })?;
    let generation = registered.device.key_generation;
    let host = |host: &str| heapless_string(host).ok_or_else(|| DevicePageError::Host(host.to_owned()));
    let mut page = DevicePage {
        board: heapless_string(board.name).ok_or(PageError::Malformed)?,
        device: device.clone(),
        key_generation: generation,
        key: *master.device_key(device, generation).bytes(),
        network: settings.network,
        broker_host: host(&settings.broker.0)?,
        broker_port: settings.broker.1,
        sntp_host: host(&settings.sntp.0)?,
        sntp_port: settings.sntp.1,
        bus: settings.bus,
        poll_interval_ms: settings.poll_interval_ms,
        meters: Default::default(),
    };
    if !settings.detect_meters {
        for meter in &registered.device.meters {
            let entry = (meter.address, meter.driver);
            page.meters.push(entry).map_err(|_| DevicePageError::Meters)?;
        }
    }
    if page.bus.baud != 0 && page.bus.parity == PageParity::Odd && !board.odd_parity {
        return Err(DevicePageError::OddParity(board.name));
    }
    page.check()?;
    Ok(page)
}

fn heapless_string<T: for<'a> TryFrom<&'a str>>(text: &str) -> Option<T> {
    T::try_from(text).ok()
}

fn known(fleet: &Fleet) -> String {
    let mut ids: Vec<_> = fleet
        .devices()
        .take(13)
        .map(|known| known.device.id.to_string())
        .collect();
    if ids.len() > 12 {
        ids[12] = "…".to_owned();
    }
    if ids.is_empty() {
        "it has none yet".to_owned()
    } else {
        format!("it has {}", ids.join(", "))
    }
}

/// A setting that can't be read; the message says how it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct SettingError(&'static str);

/// `HOST` or `HOST:PORT`.
///
/// # Errors
/// [`SettingError`] when the port is none.
pub fn parse_host(text: &str, default_port: u16) -> Result<(String, u16), SettingError> {
    const FORM: SettingError = SettingError("HOST or HOST:PORT, e.g. 192.168.7.2:1883");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|&port| port > 0).ok_or(FORM)?),
        None => (text, default_port),
    };
    if host.is_empty() || host.contains([':', '/']) {
        return Err(FORM);
    }
    Ok((host.to_owned(), port))
}

/// `ADDRESS/PREFIX`, with `,gateway=ADDRESS` and `,dns=ADDRESS` where there are.
///
/// # Errors
/// [`SettingError`] for anything else.
pub fn parse_static(text: &str) -> Result<PageNetwork, SettingError> {
    const FORM: SettingError = SettingError(
        "ADDRESS/PREFIX[,gateway=ADDRESS][,dns=ADDRESS], e.g. 192.168.7.20/24,gateway=192.168.7.1,dns=192.168.7.1",
    );
    let ip = |text: &str| {
        text.parse()
            .map(|ip: std::net::Ipv4Addr| ip.octets())
            .map_err(|_| FORM)
    };
    let mut parts = text.split(',');
    let (own, prefix) = parts.next().and_then(|own| own.split_once('/')).ok_or(FORM)?;
    let (mut gateway, mut dns) = ([0; 4], [0; 4]);
    for part in parts {
        match part.split_once('=').ok_or(FORM)? {
            ("gateway", value) => gateway = ip(value)?,
            ("dns", value) => dns = ip(value)?,
            _ => return Err(FORM),
        }
    }
    Ok(PageNetwork::Static {
        address: ip(own)?,
        prefix_len: prefix.parse().map_err(|_| FORM)?,
        gateway,
        dns,
    })
}

/// How long a meter may take to begin its answer unless stated otherwise, in ms.
const RESPONSE_TIMEOUT_MS: u16 = 1_000;

/// `auto`, or `baud=9600` with `,parity=none|even|odd`, `,stop_bits=1|2` and `,timeout_ms=N`; `timeout_ms` may follow
/// `auto` too.
///
/// # Errors
/// [`SettingError`] for anything else.
pub fn parse_bus(text: &str) -> Result<PageBus, SettingError> {
    const FORM: SettingError =
        SettingError("auto, or baud=9600[,parity=none|even|odd][,stop_bits=1|2][,timeout_ms=1000]");
    let mut bus = PageBus {
        baud: 0,
        parity: PageParity::None,
        stop_bits: 1,
        response_timeout_ms: RESPONSE_TIMEOUT_MS,
    };
    let mut parts = text.split(',').peekable();
    let auto = parts.next_if_eq(&"auto").is_some();
    for part in parts {
        match part.split_once('=').ok_or(FORM)? {
            ("timeout_ms", value) => bus.response_timeout_ms = value.parse().map_err(|_| FORM)?,
            _ if auto => return Err(FORM),
            ("baud", value) => bus.baud = value.parse().ok().filter(|&baud| baud > 0).ok_or(FORM)?,
            ("parity", "none") => bus.parity = PageParity::None,
            ("parity", "even") => bus.parity = PageParity::Even,
            ("parity", "odd") => bus.parity = PageParity::Odd,
            ("stop_bits", value) => bus.stop_bits = value.parse().map_err(|_| FORM)?,
            _ => return Err(FORM),
        }
    }
    // A speed makes the line; the rest has its usual values.
    if auto == (bus.baud == 0) {
        Ok(bus)
    } else {
        Err(FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(parse_host("gw", 1883), Ok(("gw".to_owned(), 1883)));
        assert_eq!(
            parse_host("10.0.2.2:18830", 1883),
            Ok(("10.0.2.2".to_owned(), 18_830))
        );
        for text in ["", ":1", "a:", "a:0", "a:70000", "mqtt://a", "::1", "a:b:1"] {
            assert!(parse_host(text, 1).is_err(), "{text}");
        }
    }

    #[test]
    fn static_networks() {
        let plain = PageNetwork::Static {
            address: [192, 168, 7, 20],
            prefix_len: 24,
            gateway: [0; 4],
            dns: [0; 4],
        };
        assert_eq!(parse_static("192.168.7.20/24"), Ok(plain));
        let whole = PageNetwork::Static {
            address: [192, 168, 7, 20],
            prefix_len: 24,
            gateway: [192, 168, 7, 1],
            dns: [8, 8, 8, 8],
        };
        assert_eq!(
            parse_static("192.168.7.20/24,dns=8.8.8.8,gateway=192.168.7.1"),
            Ok(whole)
        );
        for text in [
            "",
            "192.168.7.20",
            "192.168.7/24",
            "a/24",
            "192.168.7.20/x",
            "192.168.7.20/24,router=1.2.3.4",
        ] {
            assert!(parse_static(text).is_err(), "{text}");
        }
    }

    #[test]
    fn buses() {
        let bus = parse_bus("auto").unwrap();
        assert_eq!((bus.baud, bus.response_timeout_ms), (0, 1_000));
        assert_eq!(parse_bus("auto,timeout_ms=300").unwrap().response_timeout_ms, 300);
        let bus = parse_bus("baud=19200,parity=even,stop_bits=2,timeout_ms=500").unwrap();
        let stated = (bus.baud, bus.parity, bus.stop_bits, bus.response_timeout_ms);
        assert_eq!(stated, (19_200, PageParity::Even, 2, 500));
        for text in [
            "",
            "baud=0",
            "parity=even",
            "auto,baud=9600",
            "baud=9600,parity=mark",
            "baud=9600,x=1",
            "9600",
        ] {
            assert!(parse_bus(text).is_err(), "{text}");
        }
    }
}
