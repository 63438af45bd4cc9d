//! Which bytes are the answer to a request, which belong to somebody else, which are damaged.

use super::crc::is_sealed;
use super::request::{EXCEPTION_BIT, Sealed, WRITE_MULTIPLE};

/// An exception answer: unit, function, code, CRC.
const EXCEPTION_LEN: usize = 5;
/// Unit, function, byte count and CRC around the registers of a read's answer.
const READ_OVERHEAD_LEN: usize = 5;
/// Where the registers of a read's answer begin.
pub(crate) const READ_DATA_AT: usize = 3;
/// A write's answer: unit, function, start, count, CRC.
const WRITE_ANSWER_LEN: usize = 8;
/// Read Coils to Read Input Registers: answers with a byte count.
const READ_FUNCTIONS: core::ops::RangeInclusive<u8> = 1..=4;
/// Write Single Coil, Write Single Register, Write Multiple Coils: answers of eight bytes.
const WRITE_FUNCTIONS: [u8; 4] = [0x05, 0x06, 0x0F, WRITE_MULTIPLE];

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The answer, whole and sealed, of this many bytes.
    Answer(usize),
    /// The unit refuses with this code.
    Exception(u8),
    /// The beginning of a frame that may become any of the others.
    Incomplete,
    /// The answer by its head, but its CRC does not fit.
    Damaged,
    /// A whole, sealed frame of this many bytes that answers another request.
    Foreign(usize),
    /// No frame begins here.
    Noise,
}

/// Looks at the front of `bytes` with the eyes of `request`.
pub(crate) fn check(request: &Sealed, bytes: &[u8]) -> Found {
    let refused = is_refusal(request, bytes);
    let ours = refused || request.answer_begins(bytes);
    let Some(len) = frame_len(bytes) else {
        return if bytes.len() < READ_DATA_AT {
            Found::Incomplete
        } else {
            Found::Noise
        };
    };
    let Some(frame) = bytes.get(..len) else {
        return Found::Incomplete;
    };
    match (ours, is_sealed(frame)) {
        (true, true) if refused => Found::Exception(frame[2]),
        (true, true) => Found::Answer(len),
        (true, false) => Found::Damaged,
        (false, true) => Found::Foreign(len),
        (false, false) => Found::Noise,
    }
}

/// Whether `bytes` are an answer to `request`, or its beginning, as far as they go.
pub(crate) fn begins_answer(request: &Sealed, bytes: &[u8]) -> bool {
    match *bytes {
        [] => true,
        [unit] => unit == request.unit(),
        [unit, function] => unit == request.unit() && function & !EXCEPTION_BIT == request.function(),
        _ => is_refusal(request, bytes) || request.answer_begins(bytes),
    }
}

fn is_refusal(request: &Sealed, bytes: &[u8]) -> bool {
    bytes.len() >= 2 && bytes[0] == request.unit() && bytes[1] == request.function() | EXCEPTION_BIT
}

/// How long the frame is that begins with `bytes`, by its function; `None` when that can't be told (yet).
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (&function, &third) = (bytes.get(1)?, bytes.get(2)?);
    match function {
        f if f & EXCEPTION_BIT != 0 => Some(EXCEPTION_LEN),
        f if READ_FUNCTIONS.contains(&f) => Some(READ_OVERHEAD_LEN + usize::from(third)),
        f if WRITE_FUNCTIONS.contains(&f) => Some(WRITE_ANSWER_LEN),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::MeterAddress;

    use super::super::{BusRequest, ReadFunction, ReadRegisters, crc16};
    use super::*;

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut frame = content.to_vec();
        frame.extend(crc16(content).to_le_bytes());
        frame
    }

    fn read_three() -> Sealed {
        let read = ReadRegisters {
            function: ReadFunction::Holding,
            start: 0x6B,
            count: 3,
        };
        Sealed::new(MeterAddress::new(0x11).unwrap(), BusRequest::Read(read))
    }

    /// MODBUS Application Protocol V1.1b3, 6.3, the example's response: 03 06 02 2B 00 00 00 64.
    #[test]
    fn the_answer_of_the_specification() {
        let answer = sealed(&[0x11, 0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64]);
        assert_eq!(answer[9..], [0xC8, 0xBA]);
        assert_eq!(check(&read_three(), &answer), Found::Answer(11));
        for cut in 0..answer.len() {
            assert_eq!(
                check(&read_three(), &answer[..cut]),
                Found::Incomplete,
                "cut at {cut}"
            );
        }
    }

    /// 6.12, the example's response: 10 00 01 00 02.
    #[test]
    fn the_write_answer_of_the_specification() {
        let write = Sealed::new(
            MeterAddress::new(0x11).unwrap(),
            BusRequest::Write {
                start: 1,
                values: &[0x000A, 0x0102],
            },
        );
        assert_eq!(
            check(&write, &sealed(&[0x11, 0x10, 0x00, 0x01, 0x00, 0x02])),
            Found::Answer(8)
        );
        assert_eq!(
            check(&write, &sealed(&[0x11, 0x10, 0x00, 0x01, 0x00, 0x03])),
            Found::Foreign(8)
        );
        assert_eq!(check(&write, &sealed(&[0x11, 0x90, 0x02])), Found::Exception(2));
    }

    #[test]
    fn what_is_not_ours_is_told_apart() {
        let request = read_three();
        assert_eq!(check(&request, &sealed(&[0x11, 0x83, 0x02])), Found::Exception(2));
        let other_unit = sealed(&[0x12, 0x03, 0x06, 0, 1, 0, 2, 0, 3]);
        let other_function = sealed(&[0x11, 0x04, 0x06, 0, 1, 0, 2, 0, 3]);
        let longer = sealed(&[0x11, 0x03, 0x08, 0, 1, 0, 2, 0, 3, 0, 4]);
        for foreign in [other_unit, other_function, longer] {
            assert_eq!(check(&request, &foreign), Found::Foreign(foreign.len()));
        }
        assert_eq!(
            check(&request, &[0x11, 0x03, 0x06, 0, 1, 0, 2, 0, 3, 0, 0]),
            Found::Damaged
        );
        assert_eq!(check(&request, &[0x11, 0x2B, 0x0E]), Found::Noise);
    }
}
