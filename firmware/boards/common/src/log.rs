//! The console's output: lines of the log and what the console answers, through one bounded pipe.
//!
//! Nobody waits for a slow UART to log: a line that finds no room is left out, and the next one that fits says how many
//! were.

use core::convert::Infallible;
use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU32, Ordering};

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_time::{Duration, Instant, with_timeout};
use embedded_io_async::{ErrorType, Write};
use heapless::String;

/// Bytes that wait for the UART.
const PIPE_LEN: usize = 1_024;
/// The longest line of the log; what is longer is cut.
const LINE_LEN_MAX: usize = 200;
/// How many bytes go to the UART at a time.
const CHUNK_LEN: usize = 64;
/// How long a restart waits for the last words.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

static PIPE: Pipe<CriticalSectionRawMutex, PIPE_LEN> = Pipe::new();
static LEFT_OUT: AtomicU32 = AtomicU32::new(0);

/// Logs one line, with the time since the start in front.
pub fn say(text: fmt::Arguments<'_>) {
    let now_ms = Instant::now().as_millis();
    let left_out = LEFT_OUT.load(Ordering::Relaxed);
    if left_out > 0 {
        if !put(now_ms, format_args!("({left_out} lines left out)")) {
            LEFT_OUT.store(left_out.saturating_add(1), Ordering::Relaxed);
            return;
        }
        LEFT_OUT.store(0, Ordering::Relaxed);
    }
    if !put(now_ms, text) {
        LEFT_OUT.store(1, Ordering::Relaxed);
    }
}

/// Logs one line: `say!("net: {address}")`.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::say(format_args!($($text)*)) };
}

fn put(now_ms: u64, text: fmt::Arguments<'_>) -> bool {
    let mut line = Line(String::new());
    let (s, ms) = (now_ms / 1_000, now_ms % 1_000);
    // A line that is too long stays cut.
    let _ = write!(line, "[{s:>6}.{ms:03}] ");
    let _ = line.write_fmt(text);
    let bytes = line.end();
    if PIPE.free_capacity() < bytes.len() {
        return false;
    }
    let mut rest = bytes;
    // At the pipe's seam a write takes only a part.
    while let Ok(len @ 1..) = PIPE.try_write(rest) {
        rest = &rest[len..];
    }
    rest.is_empty()
}

/// A line with room for its end.
struct Line(String<{ LINE_LEN_MAX + 2 }>);

impl Line {
    fn end(&mut self) -> &[u8] {
        // There is always room: `write_str` leaves two bytes.
        let _ = self.0.push_str("\r\n");
        self.0.as_bytes()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // A message of several lines stays one.
            let c = if c.is_control() { ' ' } else { c };
            if self.0.len() + c.len_utf8() > LINE_LEN_MAX {
                return Err(fmt::Error);
            }
            self.0.push(c).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

/// Carries the output to the UART, for ever.
pub async fn pump_console(mut uart: impl Write) -> ! {
    let mut chunk = [0; CHUNK_LEN];
    loop {
        let len = PIPE.read(&mut chunk).await;
        // A UART that fails has nobody to tell.
        let _ = uart.write_all(&chunk[..len]).await;
    }
}

/// Waits until everything has been handed to the UART, at most two seconds.
pub async fn wait_until_said() {
    let empty = async {
        while !PIPE.is_empty() {
            embassy_time::Timer::after_millis(10).await;
        }
        // What is in the UART's FIFO, at 115200 baud.
        embassy_time::Timer::after_millis(20).await;
    };
    // What has not gone by then is lost.
    let _ = with_timeout(LAST_WORDS_MAX, empty).await;
}

/// What the console answers; it waits for room.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsoleWriter;

impl ErrorType for ConsoleWriter {
    type Error = Infallible;
}

impl Write for ConsoleWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(PIPE.write(bytes).await)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
