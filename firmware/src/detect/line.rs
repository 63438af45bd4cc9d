//! The settings of a line that meters use.

use core::fmt;

pub use taraz_telemetry::PageParity as Parity;

/// Speed and framing of a serial line, eight data bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineSettings {
    /// In baud.
    pub baud: u32,
    /// The parity bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

impl LineSettings {
    /// With one stop bit.
    #[must_use]
    pub const fn new(baud: u32, parity: Parity) -> Self {
        Self {
            baud,
            parity,
            stop_bits: 1,
        }
    }
}

/// As technicians write it: `9600 8N1`.
impl fmt::Display for LineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} 8{parity}{}", self.baud, self.stop_bits)
    }
}

/// What is tried, the likeliest first: nearly every inverter and meter leaves its factory with 9600 8N1 (SunSpec, Growatt,
/// Eastron); 19200 8E1 is the default of *MODBUS over Serial Line* V1.02 (2.5.1: "The default parity mode must be even
/// parity", 2.4.1: "the default baud rate is 19.2 kbps").
///
/// Two stop bits are not tried apart: a receiver needs one, and a unit that sends two is understood by one that expects one.
pub const DETECT_LINES: [LineSettings; 21] = {
    use Parity::{Even, None, Odd};
    [
        LineSettings::new(9_600, None),
        LineSettings::new(19_200, Even),
        LineSettings::new(9_600, Even),
        LineSettings::new(19_200, None),
        LineSettings::new(38_400, None),
        LineSettings::new(115_200, None),
        LineSettings::new(57_600, None),
        LineSettings::new(4_800, None),
        LineSettings::new(2_400, None),
        LineSettings::new(38_400, Even),
        LineSettings::new(4_800, Even),
        LineSettings::new(2_400, Even),
        LineSettings::new(115_200, Even),
        LineSettings::new(57_600, Even),
        LineSettings::new(9_600, Odd),
        LineSettings::new(19_200, Odd),
        LineSettings::new(38_400, Odd),
        LineSettings::new(4_800, Odd),
        LineSettings::new(2_400, Odd),
        LineSettings::new(57_600, Odd),
        LineSettings::new(115_200, Odd),
    ]
};
