//! Lines of text out of a writer.

use core::fmt::{self, Write as _};

use embedded_io_async::Write;
use heapless::String;

/// The longest line of an answer; what is longer is cut, and ends in `…`.
pub const OUTPUT_LINE_LEN_MAX: usize = 160;
/// "…" and the line's end.
const END_LEN: usize = 3 + 2;

/// A terminal's screen.
#[derive(Debug)]
pub(super) struct Terminal<W> {
    writer: W,
}

impl<W: Write> Terminal<W> {
    pub(super) const fn new(writer: W) -> Self {
        Self { writer }
    }

    /// Writes bytes as they are.
    pub(super) async fn put(&mut self, text: &str) -> Result<(), W::Error> {
        self.writer.write_all(text.as_bytes()).await?;
        self.writer.flush().await
    }

    /// Writes one line.
    pub(super) async fn line(&mut self, text: fmt::Arguments<'_>) -> Result<(), W::Error> {
        let mut line = Line(String::new());
        if line.write_fmt(text).is_err() {
            // The room for it was kept.
            let _ = line.0.push('…');
        }
        let _ = line.0.push_str("\r\n");
        self.writer.write_all(line.0.as_bytes()).await?;
        self.writer.flush().await
    }
}

/// Text up to the limit, with room for its end.
struct Line(String<{ OUTPUT_LINE_LEN_MAX + END_LEN }>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len() + character.len_utf8() > OUTPUT_LINE_LEN_MAX {
                return Err(fmt::Error);
            }
            self.0.push(character).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

/// Writes a line: `say!(terminal, "{a} W")`, in a function that returns the writer's errors.
macro_rules! say {
    ($terminal:expr, $($text:tt)*) => { $terminal.line(format_args!($($text)*)).await? };
}
pub(super) use say;
