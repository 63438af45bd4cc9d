//! Pins: those of the UARTs, and the RS-485 driver enable.
//!
//! Data sheet, chapter 8 (General-Purpose Input/Outputs).

use core::convert::Infallible;

use embedded_hal::digital::{ErrorType, OutputPin};

use crate::registers::Registers;

// SAFETY: the base addresses of the ports (data sheet, table 2-3).
#[allow(unsafe_code, reason = "names the peripherals' addresses")]
const PORT_A: Registers = unsafe { Registers::at(0x4000_4000) };
// SAFETY: as above.
#[allow(unsafe_code, reason = "names the peripherals' addresses")]
const PORT_D: Registers = unsafe { Registers::at(0x4000_7000) };

const DIR: usize = 0x400;
const AFSEL: usize = 0x420;
const DEN: usize = 0x51c;

/// U0RX and U0TX are pins 0 and 1 of port A; U1RX and U1TX are pins 2 and 3 of port D.
pub(crate) fn init_uarts() {
    for (port, pins) in [(PORT_A, 0b0011), (PORT_D, 0b1100)] {
        port.set(AFSEL, pins);
        port.set(DEN, pins);
    }
}

/// The RS-485 transceiver's driver enable: pin 4 of port D, high while sending.
#[derive(Debug)]
pub(crate) struct DriverEnable(());

impl DriverEnable {
    const PIN: u32 = 1 << 4;
    /// Address bits 9 to 2 mask the data register: a write here changes this pin alone (8.2.1.2).
    const DATA: usize = (Self::PIN as usize) << 2;

    /// The pin as an output, low: the bus belongs to others.
    pub(crate) fn init() -> Self {
        PORT_D.write(Self::DATA, 0);
        PORT_D.clear(AFSEL, Self::PIN);
        PORT_D.set(DIR, Self::PIN);
        PORT_D.set(DEN, Self::PIN);
        Self(())
    }
}

impl ErrorType for DriverEnable {
    type Error = Infallible;
}

impl OutputPin for DriverEnable {
    fn set_high(&mut self) -> Result<(), Infallible> {
        PORT_D.write(Self::DATA, Self::PIN);
        Ok(())
    }

    fn set_low(&mut self) -> Result<(), Infallible> {
        PORT_D.write(Self::DATA, 0);
        Ok(())
    }
}
