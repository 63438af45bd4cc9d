//! A UART that can be set up.

use embassy_futures::yield_now;
use embedded_io_async::{ErrorType, Read, Write};

use crate::detect::{LineSettings, Parity};

/// A UART on an RS-485 line.
///
/// It must keep what arrives while a `read` that was started is dropped, and its `flush` must not return before the last bit
/// has left, or the driver is switched off too early.
pub trait SerialLine: Read + Write {
    /// How many characters after it stood on the line the UART may tell of one: what its FIFO gathers before it asks to be
    /// read, or its time-out for less.
    const NOTICE_CHARACTERS: u32 = 0;

    /// Sets speed and framing, eight data bits. What was received and not read yet may be lost. Asked for at every change
    /// and after a failure, never while something is sent.
    ///
    /// # Errors
    /// The UART can't run so; the line is used with what it had.
    fn configure(&mut self, baud: u32, parity: Parity, stop_bits: u8) -> Result<(), Self::Error>;

    /// Whether a `read` failed only because of what stood on the line: framing, parity, a break, too much at once. Then
    /// the UART goes on, and the damaged character is noise. By default every failure is.
    fn is_line_damage(error: &Self::Error) -> bool {
        let _ = error;
        true
    }
}

/// The UART as the bus reads it: what is damaged on the line comes as a character, which fails the CRC, and a setting that
/// did not change is not set again.
#[derive(Debug)]
pub(super) struct LinePort<S> {
    serial: S,
    set: Option<LineSettings>,
}

impl<S: SerialLine> LinePort<S> {
    pub(super) const fn new(serial: S) -> Self {
        Self { serial, set: None }
    }

    /// Sets the line up unless it is.
    pub(super) fn set(&mut self, line: LineSettings) {
        // A UART that refuses a rate is left as it is: then nothing answers on it, and the search goes on.
        if self.set != Some(line) {
            let configured = self.serial.configure(line.baud, line.parity, line.stop_bits);
            self.set = configured.is_ok().then_some(line);
        }
    }

    /// After a failure everything is set up anew.
    pub(super) const fn forget(&mut self) {
        self.set = None;
    }
}

impl<S: SerialLine> ErrorType for LinePort<S> {
    type Error = S::Error;
}

impl<S: SerialLine> Read for LinePort<S> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, S::Error> {
        match self.serial.read(buf).await {
            Err(error) if S::is_line_damage(&error) => {
                // A UART that fails for ever must leave time for everybody else.
                yield_now().await;
                let Some(first) = buf.first_mut() else {
                    return Ok(0);
                };
                *first = 0;
                Ok(1)
            }
            other => other,
        }
    }
}

impl<S: SerialLine> Write for LinePort<S> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, S::Error> {
        self.serial.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), S::Error> {
        self.serial.flush().await
    }
}
