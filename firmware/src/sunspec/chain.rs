//! Finding the chain of models and walking it.

use taraz_telemetry::PollStatus;

use super::models::{Model, Subject};
use super::mppt::{HEAD_LEN, MPPT_ID};
use crate::modbus::{BusError, ReadFunction, ReadRegisters, Registers};

/// Where a chain may begin (*SunSpec Device Information Model Specification*, "Device Modbus Address Location": 40000,
/// 50000 or 0), in the order they are tried.
pub const BASES: [u16; 3] = [40_000, 50_000, 0];
/// The most models that are walked; real devices have up to about thirty.
pub const MODELS_MAX: u8 = 64;

/// "SunS".
const MARKER: u32 = 0x5375_6E53;
const MARKER_LEN: u16 = 2;
/// ID and length in front of every model.
const HEADER_LEN: u16 = 2;
/// The ID behind the last model.
const END_ID: u16 = 0xFFFF;
/// Illegal function, illegal data address, illegal data value: this device has nothing at this address.
const NOTHING_HERE_CODES: core::ops::RangeInclusive<u8> = 1..=3;

/// Where one model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The address of its ID.
    pub(crate) address: u16,
    pub(crate) id: u16,
    /// Its register L.
    pub(crate) len: u16,
}

impl Place {
    /// Whether what was read from `address` on still begins with this model.
    pub(crate) fn is_at(&self, registers: Registers<'_>) -> bool {
        registers.u16(0) == Some(self.id) && registers.u16(1) == Some(self.len)
    }

    /// A read of some of its registers, counted from its ID.
    pub(crate) const fn read(&self, offset: u16, count: u16) -> ReadRegisters {
        ReadRegisters {
            function: ReadFunction::Holding,
            start: self.address.saturating_add(offset),
            count,
        }
    }
}

/// The models that are read of one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) main: Place,
    pub(crate) model: &'static Model,
    pub(crate) mppt: Option<Place>,
}

/// How a walk goes on.
#[derive(Debug)]
pub(crate) enum Next {
    Read(ReadRegisters),
    Found(Chain),
    Failed(PollStatus),
}

#[derive(Clone, Copy, Debug)]
enum At {
    Base,
    Model { address: u16, walked: u8 },
}

/// A search under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survey {
    at: At,
    base: u8,
    bases_left: u8,
    inverter: Option<Place>,
    meter: Option<Place>,
    mppt: Option<Place>,
}

impl Survey {
    /// Begins at one of [`BASES`] (any number; it is taken modulo their count).
    pub(crate) fn new(base: u8) -> (Self, ReadRegisters) {
        // Three bases.
        #[allow(clippy::cast_possible_truncation)]
        let count = BASES.len() as u8;
        let survey = Self {
            at: At::Base,
            base: base % count,
            bases_left: count - 1,
            inverter: None,
            meter: None,
            mppt: None,
        };
        (survey, survey.read_base())
    }

    /// The marker was found: whatever follows, this is a SunSpec device.
    pub(crate) const fn has_marker(&self) -> bool {
        matches!(self.at, At::Model { .. })
    }

    /// The base that is, or was, looked at.
    pub(crate) const fn base(&self) -> u8 {
        self.base
    }

    /// Where to begin when this survey failed with `status`: a device that is silent about addresses it does not have
    /// would otherwise never be found.
    pub(crate) fn base_after(&self, status: PollStatus) -> u8 {
        let silent = status == PollStatus::Timeout && matches!(self.at, At::Base);
        self.base.wrapping_add(u8::from(silent))
    }

    /// Goes on with the answer to the last read.
    pub(crate) fn answer(&mut self, answer: Result<Registers<'_>, BusError>) -> Next {
        match (self.at, answer) {
            (At::Base, Ok(registers)) if registers.u32(0) == Some(MARKER) => self.read_model(
                u32::from(BASES[usize::from(self.base)]) + u32::from(MARKER_LEN),
                0,
            ),
            (At::Base, Ok(_)) => self.next_base(),
            (At::Base, Err(BusError::Exception(code))) if NOTHING_HERE_CODES.contains(&code) => {
                self.next_base()
            }
            (At::Model { address, walked }, Ok(registers)) => self.model(address, walked, registers),
            (_, Err(error)) => Next::Failed(error.status()),
        }
    }

    fn next_base(&mut self) -> Next {
        if self.bases_left == 0 {
            return Next::Failed(PollStatus::NotUnderstood);
        }
        self.bases_left -= 1;
        self.base = (self.base + 1) % 3;
        Next::Read(self.read_base())
    }

    fn read_base(&self) -> ReadRegisters {
        ReadRegisters {
            function: ReadFunction::Holding,
            start: BASES[usize::from(self.base)],
            count: MARKER_LEN,
        }
    }

    fn read_model(&mut self, address: u32, walked: u8) -> Next {
        // The header's second register must have an address too.
        let Some(address) = u16::try_from(address).ok().filter(|&address| address < u16::MAX) else {
            return Next::Failed(PollStatus::NotUnderstood);
        };
        self.at = At::Model { address, walked };
        Next::Read(ReadRegisters {
            function: ReadFunction::Holding,
            start: address,
            count: HEADER_LEN,
        })
    }

    fn model(&mut self, address: u16, walked: u8, registers: Registers<'_>) -> Next {
        let (Some(id), Some(len)) = (registers.u16(0), registers.u16(1)) else {
            return Next::Failed(PollStatus::NotUnderstood);
        };
        if id == END_ID {
            return self.end();
        }
        if id == 0 || walked == MODELS_MAX || !self.note(Place { address, id, len }) {
            return Next::Failed(PollStatus::NotUnderstood);
        }
        self.read_model(
            u32::from(address) + u32::from(HEADER_LEN) + u32::from(len),
            walked + 1,
        )
    }

    /// Remembers the first model of each kind. False when it is one of ours and too short to be it.
    fn note(&mut self, place: Place) -> bool {
        let (slot, extent) = match Model::of(place.id) {
            Some(model) if model.subject == Subject::Inverter => (&mut self.inverter, model.extent),
            Some(model) => (&mut self.meter, model.extent),
            None if place.id == MPPT_ID => (&mut self.mppt, HEAD_LEN),
            None => return true,
        };
        let end = u32::from(place.address) + u32::from(HEADER_LEN) + u32::from(place.len);
        if place.len.saturating_add(HEADER_LEN) < extent || end > u32::from(u16::MAX) + 1 {
            return false;
        }
        slot.get_or_insert(place);
        true
    }

    fn end(&self) -> Next {
        let mppt = self.inverter.and(self.mppt);
        match self
            .inverter
            .or(self.meter)
            .and_then(|main| Some((main, Model::of(main.id)?)))
        {
            Some((main, model)) => Next::Found(Chain { main, model, mppt }),
            None => Next::Failed(PollStatus::NotUnderstood),
        }
    }
}
