//! What the commands print. Whoever reads it may stop reading (`… | head`): the rest is then left out without a word, and the command
//! does the rest of its work. Anything else that keeps text from being written makes the command fail.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// Why the first text that could not be written was not.
static FAILED: OnceLock<String> = OnceLock::new();

/// Prints a line.
macro_rules! say {
    () => { $crate::out::line(format_args!("")) };
    ($($what:tt)*) => { $crate::out::line(format_args!($($what)*)) };
}
/// Tells the terminal a line beside what is printed.
macro_rules! tell {
    ($($what:tt)*) => { $crate::out::aside(format_args!($($what)*)) };
}
pub(crate) use {say, tell};

/// Prints text as it is, at once.
pub(crate) fn text(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    note(written);
}

pub(crate) fn line(what: Arguments<'_>) {
    note(writeln!(io::stdout().lock(), "{what}"));
}

pub(crate) fn aside(what: Arguments<'_>) {
    // Where that can't be written, there is nowhere to say so.
    let _ = writeln!(io::stderr().lock(), "{what}");
}

/// Why not everything could be printed; a reader who has left is no reason.
pub(crate) fn failed() -> Option<&'static str> {
    FAILED.get().map(String::as_str)
}

fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        // The first one is told.
        let _ = FAILED.set(error.to_string());
    }
}
