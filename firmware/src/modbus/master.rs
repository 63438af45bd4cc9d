//! The master without IO: what to do next on the line, given what came and when.
//!
//! One exchange at a time: [`BusMaster::begin`], then [`BusMaster::step`] until [`BusStep::Done`], telling [`BusMaster::sent`] and
//! [`BusMaster::received`] what happened in between. It always ends: every wait has an end, every retry is counted.

use heapless::Vec;
use taraz_telemetry::MeterAddress;

use super::check::{Found, READ_DATA_AT, begins_answer, check};
use super::line::{BusLine, LATE_ANSWER_FACTOR, QUIET_WAIT_MAX_US};
use super::outcome::{BusCounters, BusError};
use super::registers::Registers;
use super::request::{ADU_LEN_MAX, BusRequest, Sealed};

/// Room for the echo of a request and the longest answer.
const RECEIVE_MAX: usize = 2 * ADU_LEN_MAX;
/// "Acknowledge" and "Server Device Busy" (MODBUS Application Protocol V1.1b3, 7): asked again later, it may answer.
const CODES_WORTH_RETRYING: [u8; 2] = [0x05, 0x06];
/// How long a busy unit is left alone.
const BUSY_PAUSE_US: u64 = 100_000;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusStep {
    /// Nobody is expected to speak: wait until this instant (µs), handing over stray bytes all the same.
    Pause {
        /// When to call [`BusMaster::step`] again.
        until_us: u64,
    },
    /// Put [`BusMaster::frame`] on the line, then call [`BusMaster::sent`].
    Transmit,
    /// Somebody may answer: hand over what comes until this instant (µs).
    Listen {
        /// When to call [`BusMaster::step`] again if nothing came.
        until_us: u64,
    },
    /// The exchange is over; on success [`BusMaster::registers`] holds what was read.
    Done(Result<(), BusError>),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Idle,
    /// Waits for silence before a request.
    Quiet {
        give_up_us: u64,
    },
    /// The line is silent.
    Transmit {
        give_up_us: u64,
    },
    Listen {
        deadline_us: u64,
    },
    Done(Result<(), BusError>),
}

/// A request whose answer never came may still be answered.
#[derive(Clone, Copy, Debug)]
struct Late {
    unit: u8,
    function: u8,
    until_us: u64,
}

/// The state of one bus and of the exchange on it.
#[derive(Debug)]
pub struct BusMaster {
    line: BusLine,
    phase: Phase,
    request: Sealed,
    received: Vec<u8, RECEIVE_MAX>,
    answer: core::ops::Range<usize>,
    tries_left: u8,
    sent_us: u64,
    /// Whether an earlier try of this exchange may still be answered.
    owed: bool,
    /// Whether anything but an answer came since the request was sent.
    disturbed: bool,
    last_byte_us: u64,
    not_before_us: u64,
    late: Option<Late>,
    counters: BusCounters,
}

impl BusMaster {
    /// A master on a line of which nothing is known before `now_us`: it first keeps silence.
    #[must_use]
    pub fn new(line: BusLine, now_us: u64) -> Self {
        Self {
            line,
            phase: Phase::Idle,
            request: Sealed::default(),
            received: Vec::new(),
            answer: 0..0,
            tries_left: 0,
            sent_us: now_us,
            owed: false,
            disturbed: false,
            last_byte_us: now_us,
            not_before_us: 0,
            late: None,
            counters: BusCounters::default(),
        }
    }

    /// Begins an exchange; one that is still going on is forgotten.
    pub fn begin(&mut self, unit: MeterAddress, request: BusRequest<'_>, now_us: u64) {
        if let Phase::Listen { .. } = self.phase {
            self.expect_late();
        }
        self.owed = false;
        self.request = Sealed::new(unit, request);
        self.tries_left = self.line.retries;
        self.counters.exchanges = self.counters.exchanges.saturating_add(1);
        if let Some(late) = self.late
            && (late.unit, late.function) == (self.request.unit(), self.request.function())
        {
            // The answer still owed could be taken for the one to come: let it come first.
            self.not_before_us = self.not_before_us.max(late.until_us);
        }
        self.wait_for_silence(now_us);
    }

    /// What to do at `now_us`. Ask again after every [`Self::sent`], [`Self::received`] and when a wait is over.
    pub fn step(&mut self, now_us: u64) -> BusStep {
        match self.phase {
            Phase::Idle => BusStep::Done(Ok(())),
            Phase::Done(result) => BusStep::Done(result),
            Phase::Transmit { .. } => BusStep::Transmit,
            Phase::Quiet { give_up_us } => self.step_quiet(now_us, give_up_us),
            Phase::Listen { deadline_us } => self.step_listen(now_us, deadline_us),
        }
    }

    /// The request was put on the line, its last byte at `now_us`.
    pub fn sent(&mut self, now_us: u64) {
        bump(&mut self.counters.requests);
        self.last_byte_us = now_us;
        self.sent_us = now_us;
        self.received.clear();
        self.disturbed = false;
        // A buffering adaptor takes the bytes before the line does.
        let on_the_line_us = if self.line.gap_us > self.line.silence_us {
            self.line_time_us(self.request.frame.len())
        } else {
            0
        };
        self.phase = Phase::Listen {
            deadline_us: now_us + on_the_line_us + u64::from(self.line.response_timeout_us),
        };
    }

    /// These bytes came, the last of them at `now_us`.
    pub fn received(&mut self, bytes: &[u8], now_us: u64) {
        if bytes.is_empty() {
            return;
        }
        let began_us = now_us.saturating_sub(self.line_time_us(bytes.len()));
        let gap_us = began_us.saturating_sub(self.last_byte_us);
        self.last_byte_us = now_us;
        match self.phase {
            Phase::Listen { .. } => {}
            Phase::Transmit { give_up_us } => {
                // It was in the UART already, or came just now: the line is not silent after all.
                self.phase = Phase::Quiet { give_up_us };
                return self.stray(bytes.len());
            }
            Phase::Idle | Phase::Quiet { .. } | Phase::Done(_) => return self.stray(bytes.len()),
        }
        if gap_us > u64::from(self.line.gap_us) && !begins_answer(&self.request, &self.received) {
            // An answer is left to its CRC: whoever hands over its bytes may have been late.
            self.drop_unfinished();
        }
        for &byte in bytes {
            if self.received.is_full() {
                self.noise(1);
            }
            // There is room now.
            let _ = self.received.push(byte);
        }
        self.look(now_us);
    }

    /// The next exchange sends nothing before this instant.
    pub fn rest_until(&mut self, instant_us: u64) {
        self.not_before_us = self.not_before_us.max(instant_us);
    }

    /// The request's bytes, to be sent on [`BusStep::Transmit`].
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.request.frame
    }

    /// What the last exchange read; empty after a write or a failure.
    #[must_use]
    pub fn registers(&self) -> Registers<'_> {
        Registers::new(self.received.get(self.answer.clone()).unwrap_or_default())
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> BusCounters {
        self.counters
    }

    /// The line's speed and patience.
    #[must_use]
    pub const fn line(&self) -> BusLine {
        self.line
    }

    /// Another speed or patience from the next exchange on.
    pub(crate) const fn set_line(&mut self, line: BusLine) {
        self.line = line;
    }

    fn step_quiet(&mut self, now_us: u64, give_up_us: u64) -> BusStep {
        let silent_us = (self.last_byte_us + u64::from(self.line.silence_us)).max(self.not_before_us);
        if now_us >= silent_us {
            self.phase = Phase::Transmit { give_up_us };
            return BusStep::Transmit;
        }
        if now_us >= give_up_us.max(self.not_before_us) {
            bump(&mut self.counters.requests);
            bump(&mut self.counters.noise_answers);
            return self.end(Err(BusError::BadFrame));
        }
        BusStep::Pause { until_us: silent_us }
    }

    fn step_listen(&mut self, now_us: u64, deadline_us: u64) -> BusStep {
        let broken_off_us = self.broken_off_us();
        if !self.received.is_empty() && now_us > broken_off_us {
            if self.received.len() >= READ_DATA_AT
                && begins_answer(&self.request, &self.received)
                && !self.maybe_echo()
            {
                bump(&mut self.counters.short_answers);
                self.noise(self.received.len());
                return self.retry(BusError::BadFrame, now_us);
            }
            self.drop_unfinished();
        }
        // An answer that has begun may end after the deadline, but not for ever.
        let limit_us = deadline_us + self.line_time_us(ADU_LEN_MAX);
        let until_us = if self.received.is_empty() {
            deadline_us
        } else {
            (broken_off_us + 1).max(deadline_us).min(limit_us)
        };
        if now_us < until_us {
            let next_us = if self.received.is_empty() {
                until_us
            } else {
                (broken_off_us + 1).min(until_us)
            };
            return BusStep::Listen { until_us: next_us };
        }
        self.drop_unfinished();
        self.expect_late();
        self.owed = true;
        let error = if self.disturbed {
            bump(&mut self.counters.noise_answers);
            BusError::BadFrame
        } else {
            bump(&mut self.counters.timeouts);
            BusError::Timeout
        };
        self.retry(error, now_us)
    }

    /// Looks for the answer in what was received.
    fn look(&mut self, now_us: u64) {
        for at in 0..self.received.len() {
            match check(&self.request, &self.received[at..]) {
                Found::Answer(len) => return self.accept(at, len),
                Found::Exception(code) => return self.refused(at, code, now_us),
                // A whole frame of somebody else may contain anything: it is skipped as a whole.
                Found::Foreign(_) => break,
                _ => {}
            }
        }
        while !self.received.is_empty() && !self.maybe_echo() {
            if self.received.starts_with(&self.request.frame) {
                self.discard(self.request.frame.len());
                continue;
            }
            match check(&self.request, &self.received) {
                Found::Answer(len) => return self.accept(0, len),
                Found::Exception(code) => return self.refused(0, code, now_us),
                Found::Incomplete => return,
                Found::Foreign(len) => self.noise(len),
                Found::Noise => self.noise(1),
                Found::Damaged => {
                    bump(&mut self.counters.crc_errors);
                    self.noise(self.received.len());
                    let _ = self.retry(BusError::BadFrame, now_us);
                    return;
                }
            }
        }
    }

    /// What was received may be the request itself, heard on a half-duplex line whose receiver stays on.
    fn maybe_echo(&self) -> bool {
        self.request.frame.starts_with(&self.received)
    }

    fn accept(&mut self, at: usize, len: usize) {
        let end = at + len;
        let before = if self.received.starts_with(&self.request.frame) {
            at - self.request.frame.len()
        } else {
            at
        };
        self.stray(before + self.received.len() - end);
        self.answer = match self.request.is_read() {
            true => at + READ_DATA_AT..end - 2,
            false => 0..0,
        };
        self.not_before_us = self.last_byte_us + u64::from(self.line.turnaround_us);
        let _ = self.end(Ok(()));
    }

    fn refused(&mut self, at: usize, code: u8, now_us: u64) {
        self.stray(at);
        self.received.clear();
        bump(&mut self.counters.exceptions);
        if CODES_WORTH_RETRYING.contains(&code) {
            self.not_before_us = now_us + BUSY_PAUSE_US;
            let _ = self.retry(BusError::Exception(code), now_us);
        } else {
            self.not_before_us = now_us + u64::from(self.line.turnaround_us);
            let _ = self.end(Err(BusError::Exception(code)));
        }
    }

    fn retry(&mut self, error: BusError, now_us: u64) -> BusStep {
        if self.tries_left == 0 {
            return self.end(Err(error));
        }
        self.tries_left -= 1;
        bump(&mut self.counters.retries);
        self.wait_for_silence(now_us);
        self.step(now_us)
    }

    fn wait_for_silence(&mut self, now_us: u64) {
        self.received.clear();
        self.answer = 0..0;
        self.phase = Phase::Quiet {
            give_up_us: now_us + u64::from(QUIET_WAIT_MAX_US),
        };
    }

    fn end(&mut self, result: Result<(), BusError>) -> BusStep {
        if self.owed && !matches!(result, Err(BusError::Timeout)) {
            // What came may have answered an earlier try, and the last one is answered yet.
            self.expect_late();
        }
        self.phase = Phase::Done(result);
        BusStep::Done(result)
    }

    /// The request sent last may be answered when nobody listens for it any more.
    fn expect_late(&mut self) {
        let patience_us = u64::from(self.line.response_timeout_us) * u64::from(LATE_ANSWER_FACTOR);
        let (unit, function) = (self.request.unit(), self.request.function());
        self.late = Some(Late {
            unit,
            function,
            until_us: self.sent_us + patience_us,
        });
    }

    /// When what was received so far can't be continued any more: its rest may already be on its way, in one piece.
    fn broken_off_us(&self) -> u64 {
        let echo = if self.maybe_echo() {
            self.request.frame.len()
        } else {
            0
        };
        let missing = (echo + self.request.answer_len()).saturating_sub(self.received.len());
        self.last_byte_us + u64::from(self.line.gap_us) + self.line_time_us(missing)
    }

    fn line_time_us(&self, bytes: usize) -> u64 {
        u64::from(self.line.character_us) * bytes as u64
    }

    /// What came before a silence is no part of what comes after it.
    fn drop_unfinished(&mut self) {
        if self.received.starts_with(&self.request.frame) {
            self.discard(self.request.frame.len());
        }
        self.noise(self.received.len());
    }

    fn noise(&mut self, count: usize) {
        self.disturbed |= count > 0;
        self.stray(count);
        self.discard(count);
    }

    fn discard(&mut self, count: usize) {
        let count = count.min(self.received.len());
        let kept = self.received.len() - count;
        self.received.rotate_left(count);
        self.received.truncate(kept);
    }

    fn stray(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.counters.stray_bytes = self.counters.stray_bytes.saturating_add(count);
    }
}

const fn bump(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
