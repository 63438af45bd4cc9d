//! For tests: a device's registers, and polls of it.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use taraz_telemetry::{MeterAddress, MeterDriver, Mppt, PollStatus, Quantities};

use super::mppt::{HEAD_LEN, MODULE_LEN};
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

/// Nothing implemented, in every form that a point of 101 to 103 or 201 to 204 has.
pub(crate) fn nothing(len: usize) -> Vec<u16> {
    vec![0x8000; len]
}

/// A three-phase inverter making 12,345 W, with scale factors that differ.
pub(crate) fn inverter() -> Vec<u16> {
    let mut body = vec![0xFFFF; 50];
    let mut put =
        |offset: usize, values: &[u16]| body[offset - 2..offset - 2 + values.len()].copy_from_slice(values);
    put(2, &[5_400, 1_801, 1_802, 1_803, (-2_i16).cast_unsigned()]);
    put(
        7,
        &[4_001, 4_002, 4_003, 2_301, 2_302, 2_303, (-1_i16).cast_unsigned()],
    );
    put(
        14,
        &[
            12_345,
            0,
            5_002,
            (-2_i16).cast_unsigned(),
            1_240,
            1,
            (-300_i16).cast_unsigned(),
            0,
        ],
    );
    put(22, &[9_954, (-2_i16).cast_unsigned(), 0x0012, 0xD687, 1]);
    put(
        27,
        &[
            2_050,
            (-2_i16).cast_unsigned(),
            6_105,
            (-1_i16).cast_unsigned(),
            12_600,
            0,
        ],
    );
    put(
        33,
        &[
            0x8000,
            412,
            0x8000,
            0x8000,
            (-1_i16).cast_unsigned(),
            4,
            0,
            0,
            0x0040,
        ],
    );
    body
}

/// Model 160 with one block for each input: voltage, current, power.
pub(crate) fn mppt(scale: [i16; 3], inputs: &[[u16; 3]]) -> Vec<u16> {
    let mut body = vec![0; usize::from(HEAD_LEN) - 2];
    for (at, factor) in scale.iter().enumerate() {
        body[at] = factor.cast_unsigned();
    }
    body[6] = u16::try_from(inputs.len()).unwrap();
    for [voltage, current, power] in inputs {
        let mut block = vec![0; usize::from(MODULE_LEN)];
        (block[9], block[10], block[11]) = (*current, *voltage, *power);
        body.extend(block);
    }
    body
}

pub(crate) fn input(voltage_dv: u32, current_ca: i32, power_w: i32) -> Mppt {
    Mppt {
        voltage_dv: Some(voltage_dv),
        current_ca: Some(current_ca),
        power_w: Some(power_w),
    }
}

pub(crate) fn expected_inverter() -> Quantities {
    Quantities {
        ac_power_w: Some(12_345),
        energy_wh: Some(12_345_670),
        voltage_an_dv: Some(2_301),
        voltage_bn_dv: Some(2_302),
        voltage_cn_dv: Some(2_303),
        voltage_ab_dv: Some(4_001),
        voltage_bc_dv: Some(4_002),
        voltage_ca_dv: Some(4_003),
        current_a_ca: Some(1_801),
        current_b_ca: Some(1_802),
        current_c_ca: Some(1_803),
        frequency_mhz: Some(50_020),
        apparent_power_va: Some(12_400),
        reactive_power_var: Some(-300),
        power_factor_permille: Some(995),
        dc_current_ca: Some(2_050),
        dc_voltage_dv: Some(6_105),
        dc_power_w: Some(12_600),
        temperature_dc: Some(412),
        state: Some(4),
        events: Some(0x40),
        ..Quantities::default()
    }
}
