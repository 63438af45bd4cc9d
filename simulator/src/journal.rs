//! The journal: one line of JSON for every read that was answered. It is the oracle of the end-to-end tests.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::device::ImageBlock;
use crate::points::{Stated, What};
use crate::quantity::MpptPart;

/// Bytes gathered before they are written.
const BUFFER_LEN: usize = 1 << 18;

/// The open journal.
pub(crate) struct Journal {
    inner: Mutex<Inner>,
}

struct Inner {
    file: BufWriter<File>,
    lines: u64,
    /// The first error; afterwards nothing more is written.
    failed: Option<io::Error>,
}

/// A read that was answered.
pub(crate) struct Answered<'a> {
    pub(crate) bus: &'a str,
    pub(crate) at_ms: i64,
    pub(crate) wall_ms: i64,
    pub(crate) unit: u8,
    pub(crate) function: u8,
    /// Protocol address of the first register.
    pub(crate) start: u16,
    pub(crate) registers: &'a [u16],
    pub(crate) block: &'a ImageBlock,
    /// The first register, counted from the beginning of the block.
    pub(crate) offset: u16,
}

impl Journal {
    /// Creates the file anew.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_LEN, File::create(path)?);
        Ok(Self {
            inner: Mutex::new(Inner {
                file,
                lines: 0,
                failed: None,
            }),
        })
    }

    /// Appends a line.
    pub(crate) fn write(&self, answered: &Answered<'_>) {
        let mut text = String::with_capacity(1_024);
        line(answered, &mut text);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.failed.is_some() {
            return;
        }
        inner.lines += 1;
        let lines = inner.lines;
        if let Err(error) = writeln!(inner.file, "{{\"n\":{lines},{text}}}") {
            inner.failed = Some(error);
        }
    }

    /// Writes out what is gathered. Gives the first error that writing met, once.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.failed.take() {
            Some(error) => {
                inner.failed = Some(io::Error::from(error.kind()));
                Err(error)
            }
            None => inner.file.flush(),
        }
    }
}

/// The members of a line behind `n`. Writing into a `String` can't fail.
fn line(answered: &Answered<'_>, out: &mut String) {
    let Answered {
        bus,
        at_ms,
        wall_ms,
        unit,
        function,
        start,
        registers,
        ..
    } = answered;
    let count = registers.len();
    let _ = write!(
        out,
        "\"bus\":\"{bus}\",\"at_ms\":{at_ms},\"wall_ms\":{wall_ms},\"unit\":{unit},\"function\":{function},\
         \"start\":{start},\"count\":{count},\"hex\":\""
    );
    for register in *registers {
        push_hex(*register, out);
    }
    out.push('"');
    let from = answered.offset;
    let to = from.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
    let stated = &answered.block.stated;
    let mut covered = stated
        .iter()
        .filter(|stated| stated.at >= from && stated.at + stated.registers <= to)
        .peekable();
    if covered.peek().is_some() {
        values(covered, out);
    }
    // A block with values may state none of them just now: then `values` is missing as for any other read.
}

fn push_hex(register: u16, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for shift in [12, 8, 4, 0] {
        out.push(char::from(DIGITS[usize::from(register >> shift & 0xF)]));
    }
}

fn values<'a>(covered: impl Iterator<Item = &'a Stated>, out: &mut String) {
    out.push_str(",\"values\":{");
    let empty = out.len();
    let mut inputs: Vec<(u8, [Option<i64>; 3])> = Vec::new();
    for stated in covered {
        match stated.what {
            What::Field(field) => {
                let comma = if out.len() == empty { "" } else { "," };
                let _ = write!(out, "{comma}\"{}\":{}", field.name(), stated.value);
            }
            What::Mppt(input, part) => {
                if inputs.last().is_none_or(|(last, _)| *last != input) {
                    inputs.push((input, [None; 3]));
                }
                if let Some((_, parts)) = inputs.last_mut() {
                    let place = match part {
                        MpptPart::Voltage => 0,
                        MpptPart::Current => 1,
                        MpptPart::Power => 2,
                    };
                    parts[place] = Some(stated.value);
                }
            }
        }
    }
    if let Some(&(first, _)) = inputs.first() {
        let comma = if out.len() == empty { "" } else { "," };
        let _ = write!(out, "{comma}\"mppt\":[");
        for (index, (_, parts)) in inputs.iter().enumerate() {
            out.push_str(if index == 0 { "[" } else { ",[" });
            for (index, part) in parts.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                let _ = match part {
                    Some(value) => write!(out, "{value}"),
                    None => out.write_str("null"),
                };
            }
            out.push(']');
        }
        out.push(']');
        if first > 0 {
            let _ = write!(out, ",\"mppt_first\":{first}");
        }
    }
    out.push('}');
}
