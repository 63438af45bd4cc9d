//! For tests: a device's registers, and polls of it.

use std::collections::BTreeMap;
use std::vec::Vec;

use taraz_telemetry::{MeterAddress, MeterDriver, PollStatus, Quantities};

use crate::meters::{Meter, poll_blocking};
use crate::modbus::{BusError, ReadFunction, ReadRegisters};

/// "Illegal data address".
pub(crate) const ILLEGAL_ADDRESS: u8 = 2;

/// Registers of a SunSpec device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) registers: BTreeMap<u16, u16>,
    end: u16,
}

impl Image {
    /// A chain at `base` with a common model, open to more models.
    pub(crate) fn new(base: u16) -> Self {
        let mut image = Self {
            registers: BTreeMap::new(),
            end: base,
        };
        image.append(&[0x5375, 0x6E53]);
        image.model(1, &[0; 66]);
        image
    }

    /// Appends a model and gives the address of its ID.
    pub(crate) fn model(&mut self, id: u16, body: &[u16]) -> u16 {
        let address = self.end;
        self.append(&[id, u16::try_from(body.len()).unwrap()]);
        self.append(body);
        address
    }

    /// Closes the chain.
    pub(crate) fn end(mut self) -> Self {
        self.append(&[0xFFFF, 0]);
        self
    }

    /// Overwrites registers.
    pub(crate) fn set(&mut self, address: u16, values: &[u16]) {
        for (offset, &value) in values.iter().enumerate() {
            self.registers
                .insert(address + u16::try_from(offset).unwrap(), value);
        }
    }

    fn append(&mut self, values: &[u16]) {
        self.set(self.end, values);
        self.end += u16::try_from(values.len()).unwrap();
    }

    /// Answers a read as a device does.
    pub(crate) fn read(&self, read: ReadRegisters, registers: &mut [u16]) -> Result<(), BusError> {
        if read.function != ReadFunction::Holding {
            return Err(BusError::Exception(1));
        }
        for (index, register) in registers.iter_mut().enumerate() {
            let address = usize::from(read.start) + index;
            let value = u16::try_from(address)
                .ok()
                .and_then(|address| self.registers.get(&address));
            *register = *value.ok_or(BusError::Exception(ILLEGAL_ADDRESS))?;
        }
        Ok(())
    }
}

/// A SunSpec meter of which nothing is known.
pub(crate) fn meter() -> Meter {
    Meter::new(MeterAddress::new(1).unwrap(), MeterDriver::Sunspec)
}

/// Polls an image and tells what was read, too.
pub(crate) fn poll(meter: &mut Meter, image: &Image) -> (Result<Quantities, PollStatus>, Vec<ReadRegisters>) {
    let mut reads = Vec::new();
    let result = poll_blocking(meter, |read, registers| {
        reads.push(read);
        image.read(read, registers)
    });
    (result, reads)
}
