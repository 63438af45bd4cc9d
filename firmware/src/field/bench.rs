//! For tests: units on a simulated line, and a clock that jumps.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use embassy_futures::yield_now;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

use super::SerialLine;
use crate::detect::{LineSettings, Parity};
use crate::modbus::{BusTimer, crc16};

/// What a unit does with a request that it understands, besides answering it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It answers.
    #[default]
    Sound,
    /// It answers nothing.
    Dead,
    /// It answers nothing to a read of registers that it does not have.
    ShyOfExceptions,
    /// Its CRC is wrong.
    Damaged,
    /// It stands behind a gateway that says it is not there.
    BehindGateway,
}

/// One unit.
#[derive(Clone, Debug)]
pub(crate) struct SimUnit {
    pub(crate) address: u8,
    pub(crate) line: LineSettings,
    pub(crate) manner: Manner,
    /// By function and address.
    pub(crate) registers: BTreeMap<(u8, u16), u16>,
    /// The most registers of one read.
    pub(crate) read_max: u16,
    pub(crate) delay_us: u64,
}

impl SimUnit {
    pub(crate) fn new(address: u8, line: LineSettings) -> Self {
        Self {
            address,
            line,
            manner: Manner::Sound,
            registers: BTreeMap::new(),
            read_max: 125,
            delay_us: 20_000,
        }
    }

    pub(crate) fn put(&mut self, function: u8, start: u16, values: &[u16]) {
        for (at, &value) in (start..).zip(values) {
            self.registers.insert((function, at), value);
        }
    }

    fn answer(&self, function: u8, start: u16, count: u16) -> Option<Vec<u8>> {
        let refused = |code| vec![self.address, function | 0x80, code];
        let content = if self.manner == Manner::BehindGateway {
            refused(11)
        } else if count > self.read_max {
            refused(3)
        } else {
            let values: Option<Vec<u16>> = (start..start.saturating_add(count))
                .map(|at| self.registers.get(&(function, at)).copied())
                .collect();
            match values {
                Some(values) => {
                    let mut content = vec![self.address, function, u8::try_from(count * 2).unwrap()];
                    content.extend(values.iter().flat_map(|value| value.to_be_bytes()));
                    content
                }
                None if self.manner == Manner::ShyOfExceptions => return None,
                None => refused(2),
            }
        };
        let mut crc = crc16(&content);
        match self.manner {
            Manner::Dead => return None,
            Manner::Damaged => crc ^= 0x5555,
            Manner::Sound | Manner::ShyOfExceptions | Manner::BehindGateway => {}
        }
        Some([&content[..], &crc.to_le_bytes()].concat())
    }
}

/// What everybody on the line shares.
#[derive(Debug, Default)]
pub(crate) struct SimLine {
    pub(crate) units: RefCell<Vec<SimUnit>>,
    pub(crate) now_us: Cell<u64>,
    /// Whoever hears a speed that is not its own disturbs the line.
    pub(crate) garbles: Cell<bool>,
    /// The UART reports framing errors instead of noise.
    pub(crate) framing_errors: Cell<bool>,
    set: Cell<Option<LineSettings>>,
    coming: RefCell<Vec<(u64, Vec<u8>)>>,
    /// When which request was sent at which setting.
    pub(crate) requests: RefCell<Vec<(u64, LineSettings, Vec<u8>)>>,
}

impl SimLine {
    pub(crate) fn new(units: Vec<SimUnit>) -> Rc<Self> {
        Rc::new(Self {
            units: RefCell::new(units),
            ..Self::default()
        })
    }

    pub(crate) fn serial(self: &Rc<Self>) -> SimSerial {
        SimSerial(Rc::clone(self))
    }

    pub(crate) fn timer(self: &Rc<Self>) -> SimTimer {
        SimTimer(Rc::clone(self))
    }

    pub(crate) fn request(&self, bytes: &[u8]) {
        let set = self
            .set
            .get()
            .expect("the line is set up before anything is sent");
        self.requests
            .borrow_mut()
            .push((self.now_us.get(), set, bytes.to_vec()));
        let (function, start) = (bytes[1], u16::from_be_bytes([bytes[2], bytes[3]]));
        let count = u16::from_be_bytes([bytes[4], bytes[5]]);
        let units = self.units.borrow();
        let same = |unit: &&SimUnit| unit.line.baud == set.baud && unit.line.parity == set.parity;
        let mut answers = units
            .iter()
            .filter(same)
            .filter(|unit| unit.address == bytes[0])
            .filter_map(|unit| Some((unit.delay_us, unit.answer(function, start, count)?)));
        let mut answer = answers.next();
        for (_, other) in answers {
            // Two drivers at once: a dominant bit wins.
            let (_, first) = answer.as_mut().unwrap();
            first
                .iter_mut()
                .zip(&other)
                .for_each(|(byte, other)| *byte &= other);
        }
        if answer.is_none() && self.garbles.get() && !units.iter().all(|unit| same(&unit)) {
            answer = Some((5_000, vec![0x80, 0xF8, 0x00, 0x78]));
        }
        let line_us = 11_000_000 / u64::from(set.baud);
        let sent_us = self.now_us.get() + line_us * bytes.len() as u64;
        self.now_us.set(sent_us);
        if let Some((delay_us, bytes)) = answer {
            let at_us = sent_us + delay_us + line_us * bytes.len() as u64;
            self.coming.borrow_mut().push((at_us, bytes));
        }
    }

    /// When the next bytes come.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.coming.borrow().iter().map(|(at_us, _)| *at_us).min()
    }
}

impl SimLine {
    /// Bytes that have come by now.
    pub(crate) fn take_due(&self, now_us: u64) -> Option<Vec<u8>> {
        let mut coming = self.coming.borrow_mut();
        let at = coming.iter().position(|(at_us, _)| *at_us <= now_us)?;
        Some(coming.remove(at).1)
    }

    /// The UART runs so from now on; what was on its way is lost.
    pub(crate) fn set(&self, line: LineSettings) {
        self.set.set(Some(line));
        self.coming.borrow_mut().clear();
    }
}

pub(crate) struct SimSerial(Rc<SimLine>);

impl ErrorType for SimSerial {
    type Error = ErrorKind;
}

impl Read for SimSerial {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        loop {
            match self.0.take_due(self.0.now_us.get()) {
                Some(_) if self.0.framing_errors.get() => return Err(ErrorKind::InvalidData),
                Some(bytes) => {
                    buf[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                None => yield_now().await,
            }
        }
    }
}

impl Write for SimSerial {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        self.0.request(buf);
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl SerialLine for SimSerial {
    fn configure(&mut self, baud: u32, parity: Parity, stop_bits: u8) -> Result<(), ErrorKind> {
        self.0.set(LineSettings {
            baud,
            parity,
            stop_bits,
        });
        Ok(())
    }
}

/// Jumps to the next thing that happens.
pub(crate) struct SimTimer(Rc<SimLine>);

impl SimTimer {
    async fn jump(&mut self, until_us: u64) {
        while self.0.now_us.get() < until_us {
            let next_us = self.0.next_us().unwrap_or(until_us).min(until_us);
            self.0.now_us.set(next_us.max(self.0.now_us.get()));
            // Whoever reads takes what has come now.
            yield_now().await;
        }
    }
}

impl BusTimer for SimTimer {
    fn now_us(&self) -> u64 {
        self.0.now_us.get()
    }

    async fn pause_until_us(&mut self, instant_us: u64) {
        self.jump(instant_us).await;
    }

    async fn listen_until_us(&mut self, instant_us: u64) {
        self.jump(instant_us).await;
    }
}

/// A driver-enable pin that nobody looks at.
#[derive(Debug)]
pub(crate) struct Pin;

impl embedded_hal::digital::ErrorType for Pin {
    type Error = Infallible;
}

impl embedded_hal::digital::OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn float(unit: &mut SimUnit, at: u16, value: f32) {
    let [a, b, c, d] = value.to_bits().to_be_bytes();
    unit.put(4, at, &[u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
}

/// A grid meter importing 1,500 W.
pub(crate) fn sdm630(address: u8, line: LineSettings) -> SimUnit {
    let mut unit = SimUnit::new(address, line);
    unit.read_max = 80;
    unit.put(4, 0, &[0; 0x4E]);
    unit.put(4, 0xC8, &[0; 0x1A]);
    for (at, value) in [
        (0, 230.5),
        (2, 231.0),
        (4, 229.5),
        (0x34, 1_500.0),
        (0x3E, 0.98),
        (0x46, 50.01),
    ] {
        float(&mut unit, at, value);
    }
    unit
}

/// A SunSpec inverter making 4,321 W that says who it is.
pub(crate) fn sunspec(address: u8, line: LineSettings) -> SimUnit {
    let mut unit = SimUnit::new(address, line);
    let text = |unit: &mut SimUnit, at: u16, text: &str| {
        let bytes = text.bytes().chain(core::iter::repeat(0)).take(32);
        let bytes: Vec<u8> = bytes.collect();
        let registers: Vec<u16> = bytes
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        unit.put(3, at, &registers);
    };
    unit.put(3, 40_000, &[0x5375, 0x6E53, 1, 66]);
    unit.put(3, 40_004, &[0; 66]);
    text(&mut unit, 40_004, "Fronius");
    text(&mut unit, 40_020, "Symo 10.0-3-M");
    text(&mut unit, 40_052, "29301000123456");
    unit.put(3, 40_070, &[103, 50]);
    unit.put(3, 40_072, &[0x8000; 50]);
    unit.put(3, 40_070 + 14, &[4_321, 0]);
    unit.put(3, 40_122, &[0xFFFF, 0]);
    unit
}

/// A Growatt inverter of the second generation.
pub(crate) fn growatt(address: u8, line: LineSettings) -> SimUnit {
    let mut unit = SimUnit::new(address, line);
    unit.read_max = 125;
    unit.put(3, 0, &[0; 100]);
    unit.put(4, 0, &[0; 100]);
    unit.put(3, 23, &[0x4252, 0x4931, 0x3233, 0x3435, 0x3637]);
    unit.put(3, 44, &[0x0203]);
    unit.put(4, 0, &[1, 0, 25_000, 6_100]);
    unit.put(4, 37, &[5_001, 2_305]);
    unit
}

/// An irradiance sensor at 812.7 W/m² and 46.3 °C.
pub(crate) fn si_rs485(address: u8, line: LineSettings) -> SimUnit {
    let mut unit = SimUnit::new(address, line);
    unit.put(4, 0, &[8_127, 713, 531, 0, 0, 1_463, 1_281, 463, 281]);
    unit
}
