//! What the master asks, and its bytes on the line.

use heapless::Vec;
use taraz_telemetry::MeterAddress;

use super::crc::crc16;

/// The longest frame of the line (MODBUS over Serial Line V1.02, 2.3: "The maximum size of a MODBUS RTU frame is 256
/// bytes").
pub const ADU_LEN_MAX: usize = 256;
/// The most registers of one read (MODBUS Application Protocol V1.1b3, 6.3 and 6.4: "Quantity of Registers […] 1 to 125").
pub const READ_REGISTERS_MAX: u16 = 125;
/// The most registers of one write (6.12: "Quantity of Registers […] 0x0001 to 0x007B").
pub const WRITE_REGISTERS_MAX: usize = 0x7B;

pub(crate) const READ_HOLDING: u8 = 0x03;
pub(crate) const READ_INPUT: u8 = 0x04;
pub(crate) const WRITE_MULTIPLE: u8 = 0x10;
/// A unit that refuses sets the high bit of the function (MODBUS Application Protocol V1.1b3, 7).
pub(crate) const EXCEPTION_BIT: u8 = 0x80;

/// Which table of registers is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadFunction {
    /// Holding registers, function 03.
    Holding,
    /// Input registers, function 04.
    Input,
}

impl ReadFunction {
    /// The function's code on the line.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Holding => READ_HOLDING,
            Self::Input => READ_INPUT,
        }
    }
}

/// A read of consecutive registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRegisters {
    /// From which table.
    pub function: ReadFunction,
    /// The first register's address as it stands on the line, from 0.
    pub start: u16,
    /// How many, 1 to [`READ_REGISTERS_MAX`]; other numbers are moved into this range.
    pub count: u16,
}

/// One request to one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusRequest<'a> {
    /// Functions 03 and 04.
    Read(ReadRegisters),
    /// ReadFunction 16 (0x10), write multiple registers.
    Write {
        /// The first register's address.
        start: u16,
        /// What to write, 1 to [`WRITE_REGISTERS_MAX`] registers; what is above is not sent.
        values: &'a [u16],
    },
}

/// An encoded request, and what its answer must look like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) frame: Vec<u8, ADU_LEN_MAX>,
}

impl Sealed {
    pub(crate) fn new(unit: MeterAddress, request: BusRequest<'_>) -> Self {
        let mut sealed = Self::default();
        sealed.put(&[unit.get()]);
        match request {
            BusRequest::Read(read) => {
                sealed.put(&[read.function.code()]);
                sealed.put(&read.start.to_be_bytes());
                sealed.put(&read.count.clamp(1, READ_REGISTERS_MAX).to_be_bytes());
            }
            BusRequest::Write { start, values } => {
                let values = &values[..values.len().min(WRITE_REGISTERS_MAX)];
                // At most WRITE_REGISTERS_MAX.
                #[allow(clippy::cast_possible_truncation)]
                let count = values.len() as u8;
                sealed.put(&[WRITE_MULTIPLE]);
                sealed.put(&start.to_be_bytes());
                sealed.put(&u16::from(count).to_be_bytes());
                sealed.put(&[count * 2]);
                values.iter().for_each(|value| sealed.put(&value.to_be_bytes()));
            }
        }
        let crc = crc16(&sealed.frame);
        sealed.put(&crc.to_le_bytes());
        sealed
    }

    pub(crate) fn unit(&self) -> u8 {
        self.frame.first().copied().unwrap_or_default()
    }

    pub(crate) fn function(&self) -> u8 {
        self.frame.get(1).copied().unwrap_or_default()
    }

    pub(crate) fn is_read(&self) -> bool {
        self.function() != WRITE_MULTIPLE
    }

    /// How long the answer is unless the unit refuses.
    pub(crate) fn answer_len(&self) -> usize {
        // Unit, function, byte count and CRC around the registers; or unit, function, start, count, CRC.
        if self.is_read() { 5 + 2 * self.count() } else { 8 }
    }

    /// How many registers are read or written.
    fn count(&self) -> usize {
        self.frame
            .get(4..6)
            .map_or(0, |count| usize::from(u16::from_be_bytes([count[0], count[1]])))
    }

    /// What the answer begins with once it is long enough: unit, function, then byte count (read) or start and count
    /// (write).
    pub(crate) fn answer_begins(&self, bytes: &[u8]) -> bool {
        if self.function() == WRITE_MULTIPLE {
            let head = 6.min(bytes.len());
            return self.frame.get(..head) == bytes.get(..head);
        }
        bytes.len() >= 3
            && bytes[0] == self.unit()
            && bytes[1] == self.function()
            && usize::from(bytes[2]) == self.count() * 2
    }

    // The longest request, 123 registers written, has 7 + 246 + 2 bytes: it always fits.
    fn put(&mut self, bytes: &[u8]) {
        let _ = self.frame.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(address: u8) -> MeterAddress {
        MeterAddress::new(address).unwrap()
    }

    fn read(function: ReadFunction, start: u16, count: u16) -> Sealed {
        Sealed::new(
            unit(0x11),
            BusRequest::Read(ReadRegisters {
                function,
                start,
                count,
            }),
        )
    }

    /// MODBUS Application Protocol V1.1b3, 6.3, example "read registers 108 – 110": 03 00 6B 00 03.
    #[test]
    fn the_read_of_the_specification() {
        assert_eq!(
            &read(ReadFunction::Holding, 0x6B, 3).frame[..],
            [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87]
        );
    }

    /// 6.4, example "read input register 9": 04 00 08 00 01.
    #[test]
    fn the_input_read_of_the_specification() {
        assert_eq!(
            &read(ReadFunction::Input, 8, 1).frame[1..6],
            [0x04, 0x00, 0x08, 0x00, 0x01]
        );
    }

    /// 6.12, example "write two registers starting at 2 to 00 0A and 01 02 hex": 10 00 01 00 02 04 00 0A 01 02.
    #[test]
    fn the_write_of_the_specification() {
        let sealed = Sealed::new(
            unit(0x11),
            BusRequest::Write {
                start: 1,
                values: &[0x000A, 0x0102],
            },
        );
        assert_eq!(
            &sealed.frame[..],
            [
                0x11, 0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02, 0xC6, 0xF0
            ]
        );
        assert!(sealed.answer_begins(&[0x11, 0x10, 0x00, 0x01, 0x00, 0x02]));
        assert!(!sealed.answer_begins(&[0x11, 0x10, 0x00, 0x02]));
    }

    #[test]
    fn counts_stay_within_one_frame() {
        assert_eq!(read(ReadFunction::Holding, 0, 0).count(), 1);
        assert_eq!(read(ReadFunction::Holding, 0, 126).count(), 125);
        let sealed = Sealed::new(
            unit(1),
            BusRequest::Write {
                start: 0,
                values: &[7; 200],
            },
        );
        assert_eq!((sealed.count(), sealed.frame.len()), (123, 255));
    }
}
