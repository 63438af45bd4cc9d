//! The chip's UARTs: the bus on UARTE 0, the console on UARTE 1. embassy's buffered driver keeps what arrives in a ring,
//! whoever may be reading, and counts every character as it comes.

use embassy_nrf::buffered_uarte::{BufferedUarteRx, BufferedUarteTx, Error as UartError};
use embassy_nrf::pac;
use embassy_nrf::pac::uarte::vals::{Baudrate, ConfigParity, Stop};
use embedded_io_async::{Error, ErrorKind, ErrorType, Read, Write};
use taraz_firmware::{Parity, SerialLine};

/// What goes wrong on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BusUartError {
    /// More came than the ring holds.
    #[error("the ring is full")]
    Overrun,
    /// The chip has no such speed or parity.
    #[error("the UART can't run at this speed or with odd parity")]
    Unsupported,
}

impl Error for BusUartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Overrun => ErrorKind::Other,
            Self::Unsupported => ErrorKind::Unsupported,
        }
    }
}

impl From<UartError> for BusUartError {
    fn from(_: UartError) -> Self {
        Self::Overrun
    }
}

/// Both directions of the bus.
pub(crate) struct BusUart {
    pub(crate) rx: BufferedUarteRx<'static>,
    pub(crate) tx: BufferedUarteTx<'static>,
}

impl SerialLine for BusUart {
    /// A character is counted when it has come, and the count is read a moment later.
    const NOTICE_CHARACTERS: u32 = 1;

    fn configure(&mut self, baud: u32, parity: Parity, stop_bits: u8) -> Result<(), BusUartError> {
        let rate = rate(baud).ok_or(BusUartError::Unsupported)?;
        // 6.34.10.23: parity is even or excluded.
        let parity = match parity {
            Parity::None => ConfigParity::Excluded,
            Parity::Even => ConfigParity::Included,
            Parity::Odd => return Err(BusUartError::Unsupported),
        };
        self.tx.set_baudrate(rate);
        pac::UARTE0.config().modify(|config| {
            config.set_parity(parity);
            config.set_stop(if stop_bits > 1 { Stop::Two } else { Stop::One });
        });
        Ok(())
    }
}

fn rate(baud: u32) -> Option<Baudrate> {
    Some(match baud {
        1_200 => Baudrate::Baud1200,
        2_400 => Baudrate::Baud2400,
        4_800 => Baudrate::Baud4800,
        9_600 => Baudrate::Baud9600,
        14_400 => Baudrate::Baud14400,
        19_200 => Baudrate::Baud19200,
        28_800 => Baudrate::Baud28800,
        38_400 => Baudrate::Baud38400,
        57_600 => Baudrate::Baud57600,
        76_800 => Baudrate::Baud76800,
        115_200 => Baudrate::Baud115200,
        _ => return None,
    })
}

impl ErrorType for BusUart {
    type Error = BusUartError;
}

impl Read for BusUart {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BusUartError> {
        Ok(self.rx.read(buffer).await?)
    }
}

impl Write for BusUart {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, BusUartError> {
        Ok(self.tx.write(bytes).await?)
    }

    /// The ring is emptied by ENDTX, "last TX byte transmitted" (6.34.10.10).
    async fn flush(&mut self) -> Result<(), BusUartError> {
        Ok(self.tx.flush().await?)
    }
}
