//! For tests: a line with a clock of its own, which does to each request what a script says.

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use taraz_telemetry::MeterAddress;

use super::{BusError, BusLine, BusMaster, BusRequest, BusStep, ReadFunction, ReadRegisters, crc16};

/// Bytes that come this long after the request was sent (or after the exchange began, for stray ones).
#[derive(Clone, Debug)]
pub(super) struct Burst {
    pub(super) after_us: u64,
    pub(super) bytes: Vec<u8>,
}

/// What a line does to each request in turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// What comes before the first request could be sent.
    pub(super) stray: Vec<Burst>,
    /// What comes after each sending.
    pub(super) answers: VecDeque<Vec<Burst>>,
}

/// How one exchange went.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: Result<Vec<u16>, BusError>,
    /// When the request was sent, each time, µs.
    pub(super) sent_us: Vec<u64>,
    pub(super) ended_us: u64,
}

pub(super) struct Bench {
    pub(super) master: BusMaster,
    pub(super) now_us: u64,
    /// Bursts that are still to come, by their absolute time.
    pub(super) coming: Vec<(u64, Vec<u8>)>,
}

pub(super) const LINE: BusLine = BusLine::serial(9_600);
pub(super) const TIMEOUT_US: u64 = LINE.response_timeout_us as u64;
pub(super) const SILENCE_US: u64 = LINE.silence_us as u64;

pub(super) fn unit(address: u8) -> MeterAddress {
    MeterAddress::new(address).unwrap()
}

pub(super) const fn read(start: u16, count: u16) -> BusRequest<'static> {
    BusRequest::Read(ReadRegisters {
        function: ReadFunction::Holding,
        start,
        count,
    })
}

pub(super) fn sealed(content: &[u8]) -> Vec<u8> {
    let mut frame = content.to_vec();
    frame.extend(crc16(content).to_le_bytes());
    frame
}

/// The answer of a unit to a read of holding registers.
pub(super) fn answer(unit: u8, registers: &[u16]) -> Vec<u8> {
    let mut content = vec![unit, 3, u8::try_from(registers.len() * 2).unwrap()];
    content.extend(registers.iter().flat_map(|register| register.to_be_bytes()));
    sealed(&content)
}

pub(super) fn burst(after_us: u64, bytes: Vec<u8>) -> Burst {
    Burst { after_us, bytes }
}

pub(super) fn script(answers: &[&[Burst]]) -> Script {
    Script {
        stray: Vec::new(),
        answers: answers.iter().map(|bursts| bursts.to_vec()).collect(),
    }
}

impl Bench {
    pub(super) fn new(line: BusLine) -> Self {
        Self {
            master: BusMaster::new(line, 0),
            now_us: 0,
            coming: Vec::new(),
        }
    }

    pub(super) fn schedule(&mut self, bursts: Vec<Burst>) {
        self.coming.extend(
            bursts
                .into_iter()
                .map(|burst| (self.now_us + burst.after_us, burst.bytes)),
        );
        self.coming.sort_by_key(|(at, _)| *at);
    }

    /// Waits until an instant or the next burst, which is handed over.
    fn wait(&mut self, until_us: u64) {
        match self.coming.first() {
            Some((at, _)) if *at <= until_us => {
                let (at, bytes) = self.coming.remove(0);
                self.now_us = self.now_us.max(at);
                self.master.received(&bytes, self.now_us);
            }
            _ => self.now_us = self.now_us.max(until_us),
        }
    }

    pub(super) fn exchange(&mut self, address: u8, request: BusRequest<'_>, mut script: Script) -> Outcome {
        self.schedule(script.stray.drain(..).collect());
        self.master.begin(unit(address), request, self.now_us);
        let mut sent_us = Vec::new();
        for _ in 0..10_000 {
            match self.master.step(self.now_us) {
                BusStep::Done(result) => {
                    let result = result.map(|()| self.master.registers().iter().collect());
                    return Outcome {
                        result,
                        sent_us,
                        ended_us: self.now_us,
                    };
                }
                BusStep::Pause { until_us } | BusStep::Listen { until_us } => {
                    assert!(until_us > self.now_us, "a wait must lead on");
                    self.wait(until_us);
                }
                BusStep::Transmit => {
                    sent_us.push(self.now_us);
                    self.master.sent(self.now_us);
                    self.schedule(script.answers.pop_front().unwrap_or_default());
                }
            }
        }
        panic!("the exchange did not end");
    }
}

pub(super) fn bench() -> Bench {
    Bench::new(LINE)
}
