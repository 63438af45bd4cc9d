//! The search: line settings, addresses, then the look at each unit that answered.

use heapless::Vec;
use taraz_telemetry::MeterAddress;

use super::identify::Identify;
use super::line::{DETECT_LINES, LineSettings};
use super::unit::{DetectSummary, DetectedUnit, UnitKind, UnitText};
use crate::modbus::{BusError, ReadFunction, ReadRegisters, Registers};
use crate::poll::METERS_MAX;

/// How long a unit may take to begin the answer to a probe, in ms. Meters need 20 to 100, old inverters 200.
pub const DETECT_TIMEOUT_MS: u32 = 300;
/// The same while a unit that answered is looked at.
const IDENTIFY_TIMEOUT_MS: u32 = 1_000;
/// How long such a unit is left alone between two requests, in ms: Growatt's "Minimum CMD period […] 850ms".
const IDENTIFY_REST_MS: u32 = 850;
/// Where units are by default or by habit: counted up from 1; 20, 100 and 200 by plant builders; 126 SMA's SunSpec unit;
/// 240 Fronius's meter; 247 the last.
pub const LIKELY_ADDRESSES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 100, 126, 200, 240, 247];
const ADDRESS_MAX: u8 = 247;

/// Any unit answers one of these, if only by refusing it: the first input registers, which every register map we know has,
/// and SunSpec's marker. All units are asked the first, then all the second: a unit is left alone in between.
const PROBES: [ReadRegisters; 2] = [
    ReadRegisters {
        function: ReadFunction::Input,
        start: 0,
        count: 2,
    },
    ReadRegisters {
        function: ReadFunction::Holding,
        start: 40_000,
        count: 2,
    },
];

/// Which addresses are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetectScope {
    /// [`LIKELY_ADDRESSES`].
    Likely,
    /// 1 to 247 on the line where a likely one answers; on every line if none does.
    Full,
    /// These.
    Only(Vec<MeterAddress, METERS_MAX>),
}

/// What to search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectPlan {
    /// The one line setting to use; `None` tries [`DETECT_LINES`] until somebody answers.
    pub line: Option<LineSettings>,
    /// Which addresses.
    pub scope: DetectScope,
}

/// A read to be made, without retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectAsk {
    /// With these settings of the line.
    pub line: LineSettings,
    /// Of this unit.
    pub unit: MeterAddress,
    /// What.
    pub read: ReadRegisters,
    /// How long to wait for the answer's begin, in ms.
    pub timeout_ms: u32,
    /// How long to send nothing after the answer, in ms.
    pub rest_ms: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectStep {
    /// Make this read, then call [`Detect::answer`].
    Ask(DetectAsk),
    /// The search is over; [`Detect::found`] has what it found.
    Done,
}

/// Addresses 0 to 255.
#[derive(Clone, Copy, Debug, Default)]
struct AddressSet([u32; 8]);

impl AddressSet {
    const fn contains(&self, address: u8) -> bool {
        self.0[address as usize / 32] >> (address % 32) & 1 == 1
    }

    const fn insert(&mut self, address: u8) {
        self.0[address as usize / 32] |= 1 << (address % 32);
    }

    /// The first address from `from` on.
    fn next(&self, from: u8) -> Option<u8> {
        (from..=ADDRESS_MAX).find(|&address| self.contains(address))
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }
}

#[derive(Clone, Debug)]
// One at a time, and boxing it would need an allocator.
#[allow(clippy::large_enum_variant)]
enum Phase {
    /// The probe of this number is asked at the address of this index.
    Probe {
        probe: u8,
        index: u8,
    },
    Identify {
        address: u8,
        unit: Identify,
    },
    Done,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Detect {
    plan: DetectPlan,
    /// All addresses are asked, not only the likely ones.
    full: bool,
    line_index: u8,
    phase: Phase,
    /// On the line that is tried.
    answered: AddressSet,
    damaged: AddressSet,
    found: Vec<DetectedUnit, METERS_MAX>,
    summary: DetectSummary,
}

impl Detect {
    /// A search that has asked nothing yet.
    #[must_use]
    pub fn new(plan: DetectPlan) -> Self {
        let mut detect = Self {
            plan,
            full: false,
            line_index: 0,
            phase: Phase::Probe { probe: 0, index: 0 },
            answered: AddressSet::default(),
            damaged: AddressSet::default(),
            found: Vec::new(),
            summary: DetectSummary::default(),
        };
        if detect.addresses() == 0 {
            detect.phase = Phase::Done;
        }
        detect
    }

    /// What to do next; the same until [`Self::answer`].
    #[must_use]
    pub fn step(&self) -> DetectStep {
        let (address, read, timeout_ms, rest_ms) = match &self.phase {
            Phase::Done => return DetectStep::Done,
            Phase::Probe { probe, index } => (
                self.address(*index),
                PROBES[usize::from(*probe)],
                DETECT_TIMEOUT_MS,
                0,
            ),
            Phase::Identify { address, unit } => match unit.read() {
                Some(read) => (Some(*address), read, IDENTIFY_TIMEOUT_MS, IDENTIFY_REST_MS),
                None => return DetectStep::Done,
            },
        };
        let Some(unit) = address.and_then(MeterAddress::new) else {
            return DetectStep::Done;
        };
        DetectStep::Ask(DetectAsk {
            line: self.line(),
            unit,
            read,
            timeout_ms,
            rest_ms,
        })
    }

    /// Goes on with what came of the read.
    pub fn answer(&mut self, answer: Result<Registers<'_>, BusError>) {
        self.count(answer.as_ref().err().copied());
        match &mut self.phase {
            Phase::Done => {}
            Phase::Probe { probe, index } => {
                let (probe, index) = (*probe, *index);
                self.probed(probe, index, answer.err());
            }
            Phase::Identify { address, unit } => {
                unit.answer(answer);
                if unit.read().is_none() {
                    let address = *address;
                    self.identified(address);
                }
            }
        }
    }

    /// The units found so far, by address; at most [`METERS_MAX`].
    #[must_use]
    pub fn found(&self) -> &[DetectedUnit] {
        &self.found
    }

    /// What its requests came to so far.
    #[must_use]
    pub const fn summary(&self) -> DetectSummary {
        self.summary
    }

    /// It is over.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// The setting of the line that is tried, or was tried last.
    #[must_use]
    pub fn line(&self) -> LineSettings {
        let index = usize::from(self.line_index).min(DETECT_LINES.len() - 1);
        self.plan.line.unwrap_or(DETECT_LINES[index])
    }

    fn addresses(&self) -> u8 {
        let len = match (&self.plan.scope, self.full) {
            (DetectScope::Only(addresses), _) => addresses.len(),
            (_, true) => usize::from(ADDRESS_MAX),
            (_, false) => LIKELY_ADDRESSES.len(),
        };
        u8::try_from(len).unwrap_or(ADDRESS_MAX)
    }

    fn address(&self, index: u8) -> Option<u8> {
        match (&self.plan.scope, self.full) {
            (DetectScope::Only(addresses), _) => {
                addresses.get(usize::from(index)).map(|address| address.get())
            }
            (_, true) => Some(index + 1),
            (_, false) => LIKELY_ADDRESSES.get(usize::from(index)).copied(),
        }
    }

    fn count(&mut self, error: Option<BusError>) {
        let summary = &mut self.summary;
        summary.requests = summary.requests.saturating_add(1);
        match error {
            None | Some(BusError::Exception(_)) => summary.answers = summary.answers.saturating_add(1),
            Some(BusError::BadFrame) => summary.damaged = summary.damaged.saturating_add(1),
            Some(BusError::Timeout | BusError::Lost) => {}
        }
    }

    fn probed(&mut self, probe: u8, index: u8, error: Option<BusError>) {
        if let Some(address) = self.address(index) {
            match error {
                // A gateway says so of a unit that is not there ("Gateway Path Unavailable", "Gateway Target Device Failed
                // to Respond").
                Some(BusError::Exception(10 | 11) | BusError::Timeout | BusError::Lost) => {}
                Some(BusError::BadFrame) => self.damaged.insert(address),
                None | Some(BusError::Exception(_)) => self.answered.insert(address),
            }
        }
        self.next_probe(probe, index.saturating_add(1));
    }

    /// The next address that has not answered on this line yet.
    fn next_probe(&mut self, probe: u8, from: u8) {
        let is_open = |index: &u8| {
            self.address(*index)
                .is_some_and(|address| !self.answered.contains(address))
        };
        if let Some(index) = (from..self.addresses()).find(is_open) {
            self.phase = Phase::Probe { probe, index };
        } else if usize::from(probe) + 1 < PROBES.len() {
            self.next_probe(probe + 1, 0);
        } else {
            self.line_probed();
        }
    }

    fn line_probed(&mut self) {
        let wants_full = self.plan.scope == DetectScope::Full && !self.full;
        if !self.answered.is_empty() {
            if wants_full {
                self.full = true;
                return self.next_probe(0, 0);
            }
            return self.identify(1);
        }
        self.damaged = AddressSet::default();
        self.line_index += 1;
        if self.plan.line.is_none() && usize::from(self.line_index) < DETECT_LINES.len() {
            return self.next_probe(0, 0);
        }
        if wants_full {
            self.full = true;
            self.line_index = 0;
            return self.next_probe(0, 0);
        }
        self.phase = Phase::Done;
    }

    /// Looks at the next unit from this address on; those that could not be understood are noted on the way.
    fn identify(&mut self, from: u8) {
        let answered = self.answered.next(from);
        let until = answered.unwrap_or(ADDRESS_MAX + 1);
        for address in from..until {
            if self.damaged.contains(address) {
                self.keep(address, UnitKind::Damaged, Default::default());
            }
        }
        self.phase = match answered {
            Some(address) => Phase::Identify {
                address,
                unit: Identify::new(),
            },
            None => Phase::Done,
        };
    }

    fn identified(&mut self, address: u8) {
        let phase = core::mem::replace(&mut self.phase, Phase::Done);
        if let Phase::Identify { unit, .. } = phase {
            self.keep(address, unit.kind, [unit.maker, unit.model, unit.serial]);
        }
        self.identify(address.saturating_add(1));
    }

    fn keep(&mut self, address: u8, kind: UnitKind, [maker, model, serial]: [UnitText; 3]) {
        let Some(address) = MeterAddress::new(address) else {
            return;
        };
        let unit = DetectedUnit {
            address,
            kind,
            line: self.line(),
            maker,
            model,
            serial,
        };
        if self.found.push(unit).is_err() {
            self.summary.left_out = self.summary.left_out.saturating_add(1);
        }
    }
}
