//! The poll of a SunSpec device: survey once, then read its models.

use taraz_telemetry::{PollStatus, Quantities};

use super::chain::{Chain, Next, Place, Survey};
use super::mppt::{HEAD_LEN, Head, MODULE_LEN, MODULES_WITH_HEAD_MAX, modules};
use crate::meters::MeterStep;
use crate::modbus::{BusError, Registers};

/// How often a poll is begun again because scale factors changed while it read.
pub const UNSTABLE_RETRIES_MAX: u8 = 2;
/// After this many failed polls in a row the device is surveyed anew: it may have been replaced.
const FAILURES_MAX: u8 = 10;

#[derive(Debug)]
enum State {
    Idle,
    Survey(Survey),
    Main(Chain),
    /// The head of model 160 with as many inputs as fit.
    MpptHead(Place),
    /// The inputs that did not fit.
    MpptRest(Place, Head),
    /// The head again: is the scale still the same?
    MpptAgain(Place, Head),
}

/// A SunSpec device and the poll under way.
#[derive(Debug)]
pub(crate) struct Sunspec {
    chain: Option<Chain>,
    base: u8,
    failures: u8,
    /// Whether this poll may still survey.
    may_survey: bool,
    unstable_retries: u8,
    state: State,
    quantities: Quantities,
}

/// What was learnt about a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SunspecMemory {
    chain: Option<Chain>,
    base: u8,
    failures: u8,
}

impl Sunspec {
    pub(crate) const fn remember(&self) -> SunspecMemory {
        SunspecMemory {
            chain: self.chain,
            base: self.base,
            failures: self.failures,
        }
    }

    pub(crate) fn recall(memory: SunspecMemory) -> Self {
        Self {
            chain: memory.chain,
            base: memory.base,
            failures: memory.failures,
            ..Self::new()
        }
    }

    pub(crate) fn new() -> Self {
        Self {
            chain: None,
            base: 0,
            failures: 0,
            may_survey: true,
            unstable_retries: 0,
            state: State::Idle,
            quantities: Quantities::default(),
        }
    }

    pub(crate) fn start(&mut self) -> MeterStep {
        self.may_survey = true;
        self.unstable_retries = 0;
        if self.failures >= FAILURES_MAX {
            self.chain = None;
        }
        match self.chain {
            Some(chain) => self.read_main(chain),
            None => self.survey(),
        }
    }

    pub(crate) fn answer(&mut self, answer: Result<Registers<'_>, BusError>) -> MeterStep {
        match (core::mem::replace(&mut self.state, State::Idle), answer) {
            (State::Survey(survey), answer) => self.surveyed(survey, answer),
            (State::Main(chain), Ok(registers)) => self.main(chain, registers),
            (State::MpptHead(place), Ok(registers)) => self.mppt_head(place, registers),
            (State::MpptRest(place, head), Ok(registers)) => {
                head.append(registers, 0, &mut self.quantities.mppt);
                self.state = State::MpptAgain(place, head);
                MeterStep::Read(place.read(0, HEAD_LEN))
            }
            (State::MpptAgain(place, head), Ok(registers)) => self.mppt_again(place, head, registers),
            (State::MpptHead(_), Err(BusError::Exception(_))) => {
                // What the inverter states as a whole stands without its inputs.
                self.done()
            }
            (_, Err(error)) => self.fail(error.status()),
            (State::Idle, Ok(_)) => self.fail(PollStatus::NotUnderstood),
        }
    }

    fn survey(&mut self) -> MeterStep {
        self.may_survey = false;
        self.chain = None;
        let (survey, read) = Survey::new(self.base);
        self.state = State::Survey(survey);
        MeterStep::Read(read)
    }

    fn surveyed(&mut self, mut survey: Survey, answer: Result<Registers<'_>, BusError>) -> MeterStep {
        match survey.answer(answer) {
            Next::Read(read) => {
                self.state = State::Survey(survey);
                MeterStep::Read(read)
            }
            Next::Found(chain) => {
                self.base = survey.base();
                self.chain = Some(chain);
                self.read_main(chain)
            }
            Next::Failed(status) => {
                self.base = survey.base_after(status);
                self.fail(status)
            }
        }
    }

    fn read_main(&mut self, chain: Chain) -> MeterStep {
        self.state = State::Main(chain);
        MeterStep::Read(chain.main.read(0, chain.model.extent))
    }

    fn main(&mut self, chain: Chain, registers: Registers<'_>) -> MeterStep {
        if !chain.main.is_at(registers) {
            return self.moved();
        }
        self.quantities = Quantities::default();
        for point in chain.model.points {
            if self.quantities.get(point.field).is_none()
                && let Some(value) = point.value(registers)
            {
                // What our unit can't hold is as absent as what the device does not state.
                self.quantities.set(point.field, value);
            }
        }
        match chain.mppt {
            Some(place) => self.read_mppt(place),
            None => self.done(),
        }
    }

    fn read_mppt(&mut self, place: Place) -> MeterStep {
        self.quantities.mppt.clear();
        self.state = State::MpptHead(place);
        let count = modules(place.len).min(MODULES_WITH_HEAD_MAX);
        MeterStep::Read(place.read(0, HEAD_LEN + count * MODULE_LEN))
    }

    fn mppt_head(&mut self, place: Place, registers: Registers<'_>) -> MeterStep {
        if !place.is_at(registers) {
            return self.moved();
        }
        let head = Head::new(registers, place.len);
        head.append(registers, HEAD_LEN, &mut self.quantities.mppt);
        let rest = head.modules().saturating_sub(MODULES_WITH_HEAD_MAX);
        if rest == 0 {
            return self.done();
        }
        self.state = State::MpptRest(place, head);
        MeterStep::Read(place.read(HEAD_LEN + MODULES_WITH_HEAD_MAX * MODULE_LEN, rest * MODULE_LEN))
    }

    fn mppt_again(&mut self, place: Place, head: Head, registers: Registers<'_>) -> MeterStep {
        if place.is_at(registers) && Head::new(registers, place.len) == head {
            return self.done();
        }
        if self.unstable_retries == UNSTABLE_RETRIES_MAX {
            return self.fail(PollStatus::Unstable);
        }
        self.unstable_retries += 1;
        match self.chain {
            Some(chain) => self.read_main(chain),
            None => self.fail(PollStatus::Unstable),
        }
    }

    /// The model is not where it was: another device, or another firmware.
    fn moved(&mut self) -> MeterStep {
        if self.may_survey {
            self.survey()
        } else {
            self.fail(PollStatus::NotUnderstood)
        }
    }

    fn done(&mut self) -> MeterStep {
        self.failures = 0;
        self.state = State::Idle;
        MeterStep::Done(Ok(core::mem::take(&mut self.quantities)))
    }

    fn fail(&mut self, status: PollStatus) -> MeterStep {
        self.failures = self.failures.saturating_add(1);
        if matches!(status, PollStatus::NotUnderstood | PollStatus::Exception(_)) {
            self.chain = None;
        }
        self.state = State::Idle;
        MeterStep::Done(Err(status))
    }
}
