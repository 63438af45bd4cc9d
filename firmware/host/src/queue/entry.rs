//! One entry of a segment.
//!
//! ```text
//! length of the body u32 LE · CRC-32 of length and body u32 LE · body
//! body: kind u8, then
//!   1 head    incarnation u32 · boot u32 · next sequence u32 · mark u64
//!   2 boot    boot u32
//!   3 run     boot u32 · first sequence u32 · mark u64 · { length u16 · record } …
//!   4 release boot u32 · first u32 · last u32
//! ```
//! All integers little-endian.

use taraz_firmware::Position;
use taraz_telemetry::{Boot, Crc32, Incarnation, RECORD_LEN_MAX, Sequence};

/// Length and check sum in front of a body.
const FRAME_LEN: usize = 8;
/// The longest body: a run of a few thousand records.
pub(super) const BODY_LEN_MAX: usize = 1 << 20;
const RUN_HEAD_LEN: usize = 1 + 4 + 4 + 8;

const HEAD: u8 = 1;
const BOOT: u8 = 2;
const RUN: u8 = 3;
const RELEASE: u8 = 4;

/// The state with which a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) incarnation: Incarnation,
    pub(super) boot: Boot,
    pub(super) next: Sequence,
    pub(super) mark: u64,
}

/// An entry as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Head(Head),
    Boot(Boot),
    Run(Run<'a>),
    Release {
        boot: Boot,
        first: Sequence,
        last: Sequence,
    },
}

/// Consecutive records of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    pub(super) first: Position,
    pub(super) mark: u64,
    records: &'a [u8],
    /// Where `records` begins, counted from the entry's first byte.
    records_at: usize,
}

impl<'a> Run<'a> {
    /// Each record's place within the entry, and its length; stops at what is malformed.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, u16)> + 'a {
        let (records, records_at) = (self.records, self.records_at);
        let mut at = 0;
        core::iter::from_fn(move || {
            let len = u16::from_le_bytes(*records.get(at..)?.first_chunk()?);
            let start = at + 2;
            records.get(start..start + usize::from(len))?;
            at = start + usize::from(len);
            Some((records_at + start, len))
        })
    }
}

/// Reads the entry at the front of `bytes` and its whole length; `None` when it is torn, damaged or unknown.
pub(super) fn read(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let len = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let crc = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    if len == 0 || len > BODY_LEN_MAX {
        return None;
    }
    let body = bytes.get(FRAME_LEN..FRAME_LEN + len)?;
    if checksum(body) != crc {
        return None;
    }
    let (&kind, rest) = body.split_first()?;
    let word = |index: usize| Some(u32::from_le_bytes(*rest.get(index * 4..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*rest.get(at..)?.first_chunk()?));
    let entry = match kind {
        HEAD => Entry::Head(Head {
            incarnation: word(0)?,
            boot: word(1)?,
            next: word(2)?,
            mark: long(12)?,
        }),
        BOOT => Entry::Boot(word(0)?),
        RUN => Entry::Run(Run {
            first: Position {
                boot: word(0)?,
                sequence: word(1)?,
            },
            mark: long(8)?,
            records: rest.get(RUN_HEAD_LEN - 1..)?,
            records_at: FRAME_LEN + RUN_HEAD_LEN,
        }),
        RELEASE => Entry::Release {
            boot: word(0)?,
            first: word(1)?,
            last: word(2)?,
        },
        _ => return None,
    };
    Some((entry, FRAME_LEN + len))
}

/// Appends a head.
pub(super) fn write_head(out: &mut Vec<u8>, head: Head) {
    framed(out, |out| {
        out.push(HEAD);
        out.extend(head.incarnation.to_le_bytes());
        out.extend(head.boot.to_le_bytes());
        out.extend(head.next.to_le_bytes());
        out.extend(head.mark.to_le_bytes());
    });
}

/// Appends the beginning of a boot.
pub(super) fn write_boot(out: &mut Vec<u8>, boot: Boot) {
    framed(out, |out| {
        out.push(BOOT);
        out.extend(boot.to_le_bytes());
    });
}

/// Appends a release.
pub(super) fn write_release(out: &mut Vec<u8>, boot: Boot, first: Sequence, last: Sequence) {
    framed(out, |out| {
        out.push(RELEASE);
        out.extend(boot.to_le_bytes());
        out.extend(first.to_le_bytes());
        out.extend(last.to_le_bytes());
    });
}

/// Appends a run. Records longer than `RECORD_LEN_MAX` are refused before.
pub(super) fn write_run<'r>(
    out: &mut Vec<u8>,
    first: Position,
    mark: u64,
    records: impl Iterator<Item = &'r [u8]>,
) {
    framed(out, |out| {
        out.push(RUN);
        out.extend(first.boot.to_le_bytes());
        out.extend(first.sequence.to_le_bytes());
        out.extend(mark.to_le_bytes());
        for record in records {
            debug_assert!(record.len() <= RECORD_LEN_MAX);
            let len = u16::try_from(record.len()).unwrap_or_default();
            out.extend(len.to_le_bytes());
            out.extend(&record[..usize::from(len)]);
        }
    });
}

fn framed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; FRAME_LEN]);
    body(out);
    let len = u32::try_from(out.len() - at - FRAME_LEN).unwrap_or_default();
    let crc = checksum(&out[at + FRAME_LEN..]);
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    out[at + 4..at + FRAME_LEN].copy_from_slice(&crc.to_le_bytes());
}

/// The length is part of what is checked: a run of zeroes is no entry.
fn checksum(body: &[u8]) -> u32 {
    Crc32::new().bytes(body).sum() ^ u32::try_from(body.len()).unwrap_or_default().rotate_left(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_torn_or_damaged_entry_is_not() {
        let mut out = Vec::new();
        let first = Position { boot: 3, sequence: 9 };
        write_run(&mut out, first, 77, [&b"one"[..], b"three"].into_iter());
        let (Entry::Run(run), len) = read(&out).unwrap() else {
            panic!()
        };
        assert_eq!((run.first, run.mark, len), (first, 77, out.len()));
        let records: Vec<&[u8]> = run
            .records()
            .map(|(at, len)| &out[at..at + usize::from(len)])
            .collect();
        assert_eq!(records, [&b"one"[..], b"three"]);
        assert!((0..out.len()).all(|torn| read(&out[..torn]).is_none()));
        for at in 0..out.len() {
            let mut damaged = out.clone();
            damaged[at] ^= 0x10;
            assert!(read(&damaged).is_none(), "damaged at {at}");
        }
        assert!(read(&[0; 64]).is_none());
    }

    #[test]
    fn the_other_entries() {
        let head = Head {
            incarnation: 1,
            boot: 2,
            next: 3,
            mark: 4,
        };
        let mut out = Vec::new();
        write_head(&mut out, head);
        assert_eq!(read(&out).unwrap().0, Entry::Head(head));
        out.clear();
        write_boot(&mut out, 5);
        assert_eq!(read(&out).unwrap().0, Entry::Boot(5));
        out.clear();
        write_release(&mut out, 5, 6, 7);
        assert_eq!(
            read(&out).unwrap().0,
            Entry::Release {
                boot: 5,
                first: 6,
                last: 7
            }
        );
    }
}
