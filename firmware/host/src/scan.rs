//! A search of a bus that is plugged into this computer, with the device's own detection.

use std::io;

use taraz_firmware::{
    Bus, BusLine, Detect, DetectAsk, DetectPlan, DetectScope, DetectStep, DetectSummary, DetectedUnit,
    LineSettings, NoDriverEnable, Parity as LineParity,
};

use crate::address::{BusAddress, Parity};
use crate::transport::{HostIo, HostTimer, open_bus};

/// Behind a serial server the line is the server's own: one setting stands for it.
const TCP_LINE: LineSettings = LineSettings::new(9_600, LineParity::None);

/// Which units are asked, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// All addresses from 1 to 247, not only the likely ones.
    pub full: bool,
    /// All settings of a serial line, not only those of the address.
    pub lines: bool,
}

/// What a search tells while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanEvent {
    /// These settings of the line are tried now.
    Line(LineSettings),
    /// A unit was found.
    Unit(DetectedUnit),
}

/// Searches a bus. Dropping the future ends it.
///
/// # Errors
/// The bus can't be opened, or was lost on the way.
pub async fn scan(
    address: &BusAddress,
    options: ScanOptions,
    mut tell: impl FnMut(ScanEvent),
) -> io::Result<DetectSummary> {
    let line = match address {
        BusAddress::Tcp { .. } => Some(TCP_LINE),
        BusAddress::Serial { .. } if options.lines => None,
        BusAddress::Serial { .. } => settings(address),
    };
    let scope = if options.full {
        DetectScope::Full
    } else {
        DetectScope::Likely
    };
    let mut detect = Detect::new(DetectPlan { line, scope });
    let mut port = Port::open(address, detect.line()).await?;
    tell(ScanEvent::Line(detect.line()));
    let mut told = 0;
    while let DetectStep::Ask(ask) = detect.step() {
        if ask.line != port.line {
            port.set(address, ask.line).await?;
            tell(ScanEvent::Line(ask.line));
        }
        port.ask(&ask, &mut detect).await?;
        for unit in detect.found().iter().skip(told) {
            tell(ScanEvent::Unit(unit.clone()));
        }
        told = detect.found().len();
    }
    Ok(detect.summary())
}

/// The settings that an address states.
fn settings(address: &BusAddress) -> Option<LineSettings> {
    match *address {
        BusAddress::Tcp { .. } => None,
        BusAddress::Serial {
            baud,
            parity,
            stop_bits,
            ..
        } => Some(LineSettings {
            baud,
            parity: match parity {
                Parity::None => LineParity::None,
                Parity::Even => LineParity::Even,
                Parity::Odd => LineParity::Odd,
            },
            stop_bits,
        }),
    }
}

/// The address with other settings, where it has any.
fn with_settings(address: &BusAddress, line: LineSettings) -> BusAddress {
    match address {
        BusAddress::Tcp { .. } => address.clone(),
        BusAddress::Serial { path, .. } => BusAddress::Serial {
            path: path.clone(),
            baud: line.baud,
            parity: match line.parity {
                LineParity::None => Parity::None,
                LineParity::Even => Parity::Even,
                LineParity::Odd => Parity::Odd,
            },
            stop_bits: line.stop_bits,
        },
    }
}

/// A bus and the settings it was opened with.
struct Port {
    bus: Bus<HostIo, NoDriverEnable, HostTimer>,
    line: LineSettings,
}

impl Port {
    async fn open(address: &BusAddress, line: LineSettings) -> io::Result<Self> {
        let io = open_bus(&with_settings(address, line)).await?;
        let bus = Bus::new(io, NoDriverEnable, HostTimer::new(), BusLine::buffered(line.baud));
        Ok(Self { bus, line })
    }

    async fn set(&mut self, address: &BusAddress, line: LineSettings) -> io::Result<()> {
        *self = Self::open(address, line).await?;
        Ok(())
    }

    async fn ask(&mut self, ask: &DetectAsk, detect: &mut Detect) -> io::Result<()> {
        let line = BusLine::buffered(ask.line.baud)
            .with_response_timeout_ms(ask.timeout_ms)
            .with_retries(0);
        self.bus.set_line(line);
        let error = self.bus.read(ask.unit, ask.read).await.err();
        if self.bus.is_lost() {
            return Err(io::Error::other("the bus was lost: is it still plugged in?"));
        }
        if ask.rest_ms > 0 {
            self.bus.rest_us(ask.rest_ms * 1_000);
        }
        let answer = error.map_or_else(|| Ok(self.bus.registers()), Err);
        detect.answer(answer);
        Ok(())
    }
}
