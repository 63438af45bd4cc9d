//! What one unit is: SunSpec's marker and common model first, then the signature of each register map.

use taraz_telemetry::{MeterDriver, PollStatus};

use super::signature::{
    GROWATT_READ, GROWATT_SERIAL_READ, SDM630_READ, SI_RS485_READ, is_growatt, is_sdm630, is_si_rs485,
};
use super::unit::{UnitKind, UnitText, text};
use crate::modbus::{BusError, ReadFunction, ReadRegisters, Registers};
use crate::sunspec::{BASES, Next, Survey};

/// Model 1 from its ID to the end of `SN` (*SunSpec Device Information Model Specification*, model 1: `Mn` at 2, `Md` at 18,
/// `SN` at 50).
const COMMON_LEN: u16 = 66;
const COMMON_ID: u16 = 1;
/// Model 1 follows the marker.
const COMMON_OFFSET: u16 = 2;
const MAKER_AT: core::ops::Range<usize> = 2..18;
const MODEL_AT: core::ops::Range<usize> = 18..34;
const SERIAL_AT: core::ops::Range<usize> = 50..66;

#[derive(Clone, Copy, Debug)]
enum Stage {
    Survey(Survey),
    Common,
    Sdm630,
    Growatt,
    GrowattSerial,
    SiRs485,
    Done,
}

/// The look at one unit.
#[derive(Clone, Debug)]
pub(super) struct Identify {
    stage: Stage,
    read: ReadRegisters,
    asked_again: bool,
    surveys_left: u8,
    pub(super) kind: UnitKind,
    pub(super) maker: UnitText,
    pub(super) model: UnitText,
    pub(super) serial: UnitText,
}

impl Identify {
    pub(super) fn new() -> Self {
        let (survey, read) = Survey::new(0);
        Self {
            stage: Stage::Survey(survey),
            read,
            asked_again: false,
            surveys_left: 2,
            kind: UnitKind::Unknown,
            maker: UnitText::new(),
            model: UnitText::new(),
            serial: UnitText::new(),
        }
    }

    /// What to read next; `None` when the unit is known as well as it can be.
    pub(super) const fn read(&self) -> Option<ReadRegisters> {
        match self.stage {
            Stage::Done => None,
            _ => Some(self.read),
        }
    }

    /// Goes on with what came of the read.
    pub(super) fn answer(&mut self, answer: Result<Registers<'_>, BusError>) {
        let is_lost = matches!(answer, Err(BusError::Timeout | BusError::BadFrame));
        if is_lost && !core::mem::replace(&mut self.asked_again, true) {
            return;
        }
        self.asked_again = false;
        match (self.stage, answer) {
            (Stage::Survey(survey), answer) => self.surveyed(survey, answer),
            (Stage::Common, answer) => {
                if let Ok(registers) = answer
                    && registers.u16(0) == Some(COMMON_ID)
                {
                    self.maker = text(registers, MAKER_AT);
                    self.model = text(registers, MODEL_AT);
                    self.serial = text(registers, SERIAL_AT);
                }
                self.stage = Stage::Done;
            }
            (Stage::Sdm630, Ok(registers)) if is_sdm630(registers) => {
                self.end(UnitKind::Meter(MeterDriver::Sdm630));
            }
            (Stage::Sdm630, _) => self.go(Stage::Growatt, GROWATT_READ),
            (Stage::Growatt, Ok(registers)) if is_growatt(registers) => {
                self.kind = UnitKind::Meter(MeterDriver::Growatt);
                self.go(Stage::GrowattSerial, GROWATT_SERIAL_READ);
            }
            (Stage::Growatt, _) => self.go(Stage::SiRs485, SI_RS485_READ),
            (Stage::GrowattSerial, answer) => {
                let serial = answer.map(|registers| text(registers, 0..5)).unwrap_or_default();
                if serial.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    self.serial = serial;
                }
                self.stage = Stage::Done;
            }
            (Stage::SiRs485, Ok(registers)) if is_si_rs485(registers) => {
                self.end(UnitKind::Meter(MeterDriver::SiRs485));
            }
            (Stage::SiRs485 | Stage::Done, _) => self.stage = Stage::Done,
        }
    }

    fn surveyed(&mut self, mut survey: Survey, answer: Result<Registers<'_>, BusError>) {
        match survey.answer(answer) {
            Next::Read(read) => self.go(Stage::Survey(survey), read),
            Next::Found(_) => {
                self.kind = UnitKind::Meter(MeterDriver::Sunspec);
                self.read_common(survey.base());
            }
            Next::Failed(_) if survey.has_marker() => {
                self.kind = UnitKind::OtherSunspec;
                self.read_common(survey.base());
            }
            // Silent about addresses that it does not have: the next base may be its own.
            Next::Failed(PollStatus::Timeout) if self.surveys_left > 0 => {
                self.surveys_left -= 1;
                let (survey, read) = Survey::new(survey.base_after(PollStatus::Timeout));
                self.go(Stage::Survey(survey), read);
            }
            Next::Failed(_) => self.go(Stage::Sdm630, SDM630_READ),
        }
    }

    fn read_common(&mut self, base: u8) {
        let read = ReadRegisters {
            function: ReadFunction::Holding,
            start: BASES[usize::from(base)] + COMMON_OFFSET,
            count: COMMON_LEN,
        };
        self.go(Stage::Common, read);
    }

    fn go(&mut self, stage: Stage, read: ReadRegisters) {
        (self.stage, self.read) = (stage, read);
    }

    fn end(&mut self, kind: UnitKind) {
        (self.stage, self.kind) = (Stage::Done, kind);
    }
}
