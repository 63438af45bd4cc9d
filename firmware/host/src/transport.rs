//! Byte streams of tokio as the firmware library wants them.

use std::io;
use std::time::{Duration, Instant};

use embedded_io_adapters::tokio_1::FromTokio;
use taraz_firmware::{BusLine, BusTimer, Connector, ReachError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_serial::SerialPortBuilderExt;

use crate::address::{BrokerAddress, BusAddress, Parity};

/// The rate assumed behind a serial server on TCP, for its silences.
const TCP_BAUD: u32 = 9_600;
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream of bytes, both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A stream that `embedded-io-async` code can use.
pub(crate) type HostIo = FromTokio<Box<dyn Stream>>;

/// Opens the bus.
pub(crate) async fn open_bus(address: &BusAddress) -> io::Result<HostIo> {
    match address {
        BusAddress::Tcp { host, port } => {
            let opening = TcpStream::connect((host.as_str(), *port));
            let stream = tokio::time::timeout(OPEN_TIMEOUT, opening).await??;
            stream.set_nodelay(true)?;
            Ok(FromTokio::new(Box::new(stream)))
        }
        BusAddress::Serial {
            path,
            baud,
            parity,
            stop_bits,
        } => {
            let parity = match parity {
                Parity::None => tokio_serial::Parity::None,
                Parity::Even => tokio_serial::Parity::Even,
                Parity::Odd => tokio_serial::Parity::Odd,
            };
            let stop_bits = if *stop_bits == 2 {
                tokio_serial::StopBits::Two
            } else {
                tokio_serial::StopBits::One
            };
            let port = tokio_serial::new(path.to_string_lossy(), *baud)
                .parity(parity)
                .stop_bits(stop_bits)
                .open_native_async()?;
            Ok(FromTokio::new(Box::new(port)))
        }
    }
}

/// The line behind an address.
pub(crate) fn line(address: &BusAddress, response_timeout_ms: u32, retries: u8) -> BusLine {
    let baud = match address {
        BusAddress::Tcp { .. } => TCP_BAUD,
        BusAddress::Serial { baud, .. } => *baud,
    };
    BusLine::buffered(baud)
        .with_response_timeout_ms(response_timeout_ms)
        .with_retries(retries)
}

/// The bus's clock.
#[derive(Debug)]
pub(crate) struct HostTimer {
    start: Instant,
}

impl HostTimer {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    async fn until(&self, instant_us: u64) {
        tokio::time::sleep_until((self.start + Duration::from_micros(instant_us)).into()).await;
    }
}

impl BusTimer for HostTimer {
    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    async fn pause_until_us(&mut self, instant_us: u64) {
        self.until(instant_us).await;
    }

    async fn listen_until_us(&mut self, instant_us: u64) {
        self.until(instant_us).await;
    }
}

/// Opens TCP connections to the broker.
#[derive(Debug)]
pub(crate) struct BrokerConnector {
    address: BrokerAddress,
}

impl BrokerConnector {
    pub(crate) const fn new(address: BrokerAddress) -> Self {
        Self { address }
    }
}

impl Connector for BrokerConnector {
    type Io = FromTokio<TcpStream>;

    async fn connect(&mut self) -> Result<Self::Io, ReachError> {
        let BrokerAddress { host, port } = &self.address;
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let addresses: Vec<_> = found.map_err(|_| ReachError::NoName)?.collect();
        let stream = TcpStream::connect(addresses.as_slice()).await;
        let stream = stream.map_err(|_| ReachError::NoWay)?;
        stream.set_nodelay(true).map_err(|_| ReachError::NoWay)?;
        Ok(FromTokio::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use embedded_io_async::{Read, Write};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_serial::{SerialPort, SerialStream};

    use super::*;

    #[tokio::test]
    async fn a_serial_device_carries_bytes_both_ways() {
        let (mut far, near) = SerialStream::pair().unwrap();
        let path = near.name().unwrap();
        let address: BusAddress = format!("serial:{path}?baud=19200&parity=even").parse().unwrap();
        drop(near);
        let mut bus = open_bus(&address).await.unwrap();
        bus.write_all(b"request").await.unwrap();
        let mut there = [0; 7];
        far.read_exact(&mut there).await.unwrap();
        far.write_all(b"answer").await.unwrap();
        let mut back = [0; 6];
        bus.read_exact(&mut back).await.unwrap();
        assert_eq!((&there, &back), (b"request", b"answer"));
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_error() {
        let address: BusAddress = "serial:/dev/no-such-line".parse().unwrap();
        assert!(open_bus(&address).await.is_err());
    }
}
