//! Where the bus and the broker are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// MQTT's registered port (IANA).
const MQTT_PORT: u16 = 1_883;

/// A text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a bus.
    #[error("allowed: tcp://HOST:PORT or serial:PATH?baud=9600&parity=none|even|odd&stop_bits=1|2")]
    Bus,
    /// Not a broker.
    #[error("allowed: mqtt://HOST or mqtt://HOST:PORT")]
    Broker,
}

/// Where the meters answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusAddress {
    /// Modbus RTU frames over TCP.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A serial device.
    Serial {
        /// The device's file.
        path: PathBuf,
        /// Bits per second, 300 to 921600.
        baud: u32,
        /// Parity.
        parity: Parity,
        /// 1 or 2.
        stop_bits: u8,
    },
}

/// A serial line's parity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parity {
    /// None.
    #[default]
    None,
    /// Even, the Modbus default.
    Even,
    /// Odd.
    Odd,
}

impl FromStr for BusAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(rest) = text.strip_prefix("tcp://") {
            let (host, port) = host_and_port(rest, None).ok_or(AddressError::Bus)?;
            return Ok(Self::Tcp { host, port });
        }
        let rest = text.strip_prefix("serial:").ok_or(AddressError::Bus)?;
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        if path.is_empty() {
            return Err(AddressError::Bus);
        }
        let (mut baud, mut parity, mut stop_bits) = (9_600, Parity::None, 1);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=').ok_or(AddressError::Bus)? {
                ("baud", value) => baud = value.parse().map_err(|_| AddressError::Bus)?,
                ("parity", "none") => parity = Parity::None,
                ("parity", "even") => parity = Parity::Even,
                ("parity", "odd") => parity = Parity::Odd,
                ("stop_bits", "1") => stop_bits = 1,
                ("stop_bits", "2") => stop_bits = 2,
                _ => return Err(AddressError::Bus),
            }
        }
        if !(taraz_firmware::BAUD_MIN..=921_600).contains(&baud) {
            return Err(AddressError::Bus);
        }
        Ok(Self::Serial {
            path: PathBuf::from(path),
            baud,
            parity,
            stop_bits,
        })
    }
}

impl fmt::Display for BusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Serial {
                path,
                baud,
                parity,
                stop_bits,
            } => {
                let parity = match parity {
                    Parity::None => "none",
                    Parity::Even => "even",
                    Parity::Odd => "odd",
                };
                write!(
                    f,
                    "serial:{}?baud={baud}&parity={parity}&stop_bits={stop_bits}",
                    path.display()
                )
            }
        }
    }
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("mqtt://").ok_or(AddressError::Broker)?;
        let (host, port) = host_and_port(rest, Some(MQTT_PORT)).ok_or(AddressError::Broker)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}:{}", self.host, self.port)
    }
}

/// `host:port`, or `[address]:port` for IPv6.
fn host_and_port(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(bracketed) => {
            let (host, rest) = bracketed?;
            (
                host,
                rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() {
        default?
    } else {
        port.parse().ok().filter(|port| *port != 0)?
    };
    let plausible = !host.is_empty() && !host.contains(['/', '@', ' ', '?']);
    plausible.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses() {
        let tcp = BusAddress::Tcp {
            host: "127.0.0.1".into(),
            port: 5_020,
        };
        assert_eq!("tcp://127.0.0.1:5020".parse(), Ok(tcp));
        let serial = BusAddress::Serial {
            path: "/dev/ttyUSB0".into(),
            baud: 19_200,
            parity: Parity::Even,
            stop_bits: 1,
        };
        assert_eq!(
            "serial:/dev/ttyUSB0?baud=19200&parity=even".parse(),
            Ok(serial.clone())
        );
        assert_eq!(serial.to_string().parse(), Ok(serial));
        for wrong in [
            "",
            "tcp://",
            "tcp://host",
            "tcp://host:0",
            "tcp://host:99999",
            "serial:",
            "serial:/dev/x?baud=1",
            "serial:/dev/x?parity=mark",
            "serial:/dev/x?speed=9600",
            "udp://host:1",
        ] {
            assert_eq!(wrong.parse::<BusAddress>(), Err(AddressError::Bus), "{wrong}");
        }
    }

    #[test]
    fn brokers() {
        assert_eq!(
            "mqtt://broker".parse(),
            Ok(BrokerAddress {
                host: "broker".into(),
                port: 1_883
            })
        );
        assert_eq!(
            "mqtt://[::1]:1884".parse(),
            Ok(BrokerAddress {
                host: "::1".into(),
                port: 1_884
            })
        );
        for wrong in [
            "broker:1883",
            "mqtt://",
            "mqtt://user@host",
            "mqtt://host:x",
            "mqtts://host",
            "mqtt://[::1",
        ] {
            assert_eq!(
                wrong.parse::<BrokerAddress>(),
                Err(AddressError::Broker),
                "{wrong}"
            );
        }
    }
}
