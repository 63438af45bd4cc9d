//! Which records go next.
//!
//! Two lanes over one queue. The *live* lane publishes what was appended last, at once. The *backfill* lane works from the
//! oldest pending record up to where the live lane began, in full frames. Each lane has its own bound of frames in flight, and
//! after [`LIVE_STREAK_MAX`] live frames in a row the others have a turn, so that neither starves the other.
//!
//! A frame in flight is published again when its time is over (jittered, doubling, bounded) and after a reconnection. It
//! ends when its records are no longer pending, which only [`Courier::acknowledge`] brings about, or an eviction.
//!
//! A frame that the gateway refuses must not stop the others: published [`PARK_ATTEMPTS`] times while others were
//! acknowledged, it gives up its place when its lane is full. What was parked so is tried again in laps, on a narrow lane of
//! its own.
//!
//! Invariant: every pending record in front of the backfill cursor is in flight or parked; every pending record between the backfill
//! cursor and the live cursor is unsent, or in flight on the live lane; none behind the live cursor was sent.

use taraz_telemetry::{Ack, Boot, DeviceId, DeviceKey, FRAME_LEN_MAX, RecordRange, Sequence};

use super::flights::{Flight, Flights};
use super::run::write_run;
use super::{
    BACKFILL_IN_FLIGHT_MAX, CourierSettings, Jitter, LIVE_IN_FLIGHT_MAX, LIVE_KEPT_RECORDS,
    LIVE_LAG_RECORDS_MAX, Lane, Outgoing, PARKED_IN_FLIGHT_MAX,
};
use crate::queue::{Position, Queue};

const IN_FLIGHT_MAX: usize = LIVE_IN_FLIGHT_MAX + BACKFILL_IN_FLIGHT_MAX + PARKED_IN_FLIGHT_MAX;
const LIVE_STREAK_MAX: u8 = 4;
/// A frame that was published this often while others were acknowledged makes room when its lane is full …
const PARK_ATTEMPTS: u32 = 4;
/// … and once parked, after this many.
const PARKED_ATTEMPTS: u32 = 2;
/// What is left of a frame of which a part was acknowledged follows this soon.
const REMAINDER_WAIT_MS: u64 = 1_000;

/// The state of both lanes.
#[derive(Clone, Debug)]
pub struct Courier {
    settings: CourierSettings,
    jitter: Jitter,
    backfill: Position,
    /// `None`: there is no live lane, everything is backfill.
    live: Option<Position>,
    full_frames_only: bool,
    live_streak: u8,
    flights: Flights<IN_FLIGHT_MAX>,
    /// How far the lap over the parked records has come, while there is one.
    parked: Option<Position>,
    /// Flights gave up their places: when the next lap begins.
    lap_ms: Option<u64>,
    last_ack_ms: Option<u64>,
    device: DeviceId,
    key: DeviceKey,
    /// Frames published again, since the start.
    repeated_frames: u32,
}

impl Courier {
    /// A courier that has sent nothing. Records appended to `live_boot` from now on go on the live lane; without it
    /// everything is backfill, and a frame waits until it is full.
    #[must_use]
    pub const fn new(
        device: DeviceId,
        key: DeviceKey,
        settings: CourierSettings,
        seed: u64,
        live_boot: Option<Boot>,
    ) -> Self {
        let live = match live_boot {
            Some(boot) => Some(Position { boot, sequence: 0 }),
            None => None,
        };
        Self {
            settings,
            jitter: Jitter::new(seed),
            backfill: Position::START,
            live,
            full_frames_only: live.is_none(),
            live_streak: 0,
            flights: Flights::new(),
            parked: None,
            lap_ms: None,
            last_ack_ms: None,
            device,
            key,
            repeated_frames: 0,
        }
    }

    /// From now on records of `boot` go on the live lane, from its first one on.
    pub const fn go_live(&mut self, boot: Boot) {
        self.live = Some(Position { boot, sequence: 0 });
        self.full_frames_only = false;
    }

    /// The next frame to publish, if there is one now. `now_ms` is monotonic; `buffer` of [`FRAME_LEN_MAX`] bytes takes the
    /// longest frame.
    ///
    /// # Errors
    /// The queue's memory can't be read.
    pub fn next<'b, Q: Queue>(
        &mut self,
        now_ms: u64,
        queue: &mut Q,
        buffer: &'b mut [u8; FRAME_LEN_MAX],
    ) -> Result<Option<Outgoing<'b>>, Q::Error> {
        let others_first = self.live_streak >= LIVE_STREAK_MAX;
        let plan = if others_first {
            match self.other(now_ms, queue, buffer)? {
                None => self.fresh(Lane::Live, now_ms, queue, buffer)?,
                found => found,
            }
        } else {
            match self.fresh(Lane::Live, now_ms, queue, buffer)? {
                None => self.other(now_ms, queue, buffer)?,
                found => found,
            }
        };
        let Some(Plan { flight, len }) = plan else {
            return Ok(None);
        };
        self.live_streak = if flight.lane == Lane::Live {
            self.live_streak.saturating_add(1)
        } else {
            0
        };
        let range = RecordRange {
            incarnation: queue.incarnation(),
            boot: flight.boot,
            first: flight.first,
            last: flight.last,
        };
        Ok(Some(Outgoing {
            frame: &buffer[..len],
            range,
            lane: flight.lane,
            attempt: flight.attempts,
        }))
    }

    /// An acknowledgement that the gateway signed: frees its records and returns how many were pending.
    ///
    /// # Errors
    /// The queue's memory failed; the records will be sent, and acknowledged, again.
    pub fn acknowledge<Q: Queue>(&mut self, now_ms: u64, ack: &Ack, queue: &mut Q) -> Result<u32, Q::Error> {
        let mut released = 0;
        // After a silence, what had to wait longer and longer waits the ordinary time again.
        let timeout_ms = self.settings.ack_timeout_ms;
        let was_silent = self
            .last_ack_ms
            .is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= timeout_ms);
        self.last_ack_ms = Some(now_ms);
        for range in &ack.ranges {
            released += queue.release(*range)?;
        }
        let mut index = 0;
        while let Some(flight) = self.flights.get_mut(index) {
            let next = queue.next_pending(flight.start())?;
            match next.filter(|next| *next <= flight.end()) {
                None => self.flights.remove(index),
                Some(next) => {
                    if next.sequence != flight.first {
                        flight.first = next.sequence;
                        flight.due_ms = flight.due_ms.min(now_ms + REMAINDER_WAIT_MS);
                    }
                    if was_silent {
                        flight.due_ms = flight.due_ms.min(flight.sent_ms + timeout_ms).max(now_ms);
                    }
                    index += 1;
                }
            }
        }
        Ok(released)
    }

    /// A new session with the broker: what was in flight may have gone with the old one and is published again.
    pub fn reconnected(&mut self, now_ms: u64) {
        self.flights.iter_mut().for_each(|flight| flight.due_ms = now_ms);
    }

    /// When something has to be published again (monotonic ms).
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        [self.flights.next_due_ms(), self.lap_ms]
            .into_iter()
            .flatten()
            .min()
    }

    /// How many frames are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// How many frames were published again.
    #[must_use]
    pub const fn repeated_frames(&self) -> u32 {
        self.repeated_frames
    }

    /// Whose device this is.
    #[must_use]
    pub const fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The key that signs frames and checks acknowledgements.
    #[must_use]
    pub const fn key(&self) -> &DeviceKey {
        &self.key
    }

    fn other<Q: Queue>(
        &mut self,
        now_ms: u64,
        queue: &mut Q,
        buffer: &mut [u8],
    ) -> Result<Option<Plan>, Q::Error> {
        if let Some(plan) = self.repeat(now_ms, queue, buffer)? {
            return Ok(Some(plan));
        }
        if let Some(plan) = self.fresh(Lane::Parked, now_ms, queue, buffer)? {
            return Ok(Some(plan));
        }
        self.fresh(Lane::Backfill, now_ms, queue, buffer)
    }

    /// A flight whose time is over, once more.
    fn repeat<Q: Queue>(
        &mut self,
        now_ms: u64,
        queue: &mut Q,
        buffer: &mut [u8],
    ) -> Result<Option<Plan>, Q::Error> {
        while let Some(index) = self.flights.due(now_ms) {
            let Some(flight) = self.flights.get_mut(index) else {
                break;
            };
            let (start, end) = (flight.start(), flight.end());
            let Some(first) = queue.next_pending(start)?.filter(|first| *first <= end) else {
                self.flights.remove(index);
                continue;
            };
            if self.park(index, now_ms) {
                continue;
            }
            let Some(flight) = self.flights.get_mut(index) else {
                break;
            };
            flight.first = first.sequence;
            let Some(run) = write_run(
                queue,
                &self.key,
                &self.device,
                first,
                end.after(),
                None::<&Flights<IN_FLIGHT_MAX>>,
                buffer,
            )?
            else {
                // Damaged in the queue: nobody will ever read it.
                flight.first = first.sequence.saturating_add(1);
                if flight.first > flight.last || first == end {
                    self.flights.remove(index);
                }
                continue;
            };
            let Some(flight) = self.flights.get_mut(index) else {
                break;
            };
            // When a gap cuts the run short, the rest follows as soon as its first part is acknowledged.
            flight.attempts = flight.attempts.saturating_add(1);
            flight.sent_ms = now_ms;
            let doubled_ms = self.settings.ack_timeout_ms << (flight.attempts - 1).min(16);
            flight.due_ms = now_ms
                + self
                    .jitter
                    .around_ms(doubled_ms.min(self.settings.ack_timeout_ms_max));
            self.repeated_frames = self.repeated_frames.saturating_add(1);
            let sent = Flight {
                last: run.last,
                ..*flight
            };
            return Ok(Some(Plan {
                flight: sent,
                len: run.len,
            }));
        }
        Ok(None)
    }

    /// Takes a flight's place away, if others get through and it does not.
    fn park(&mut self, index: usize, now_ms: u64) -> bool {
        let last_ack_ms = self.last_ack_ms;
        let Some(flight) = self.flights.get_mut(index) else {
            return false;
        };
        let (lane, attempts) = (flight.lane, flight.attempts);
        let others_pass = last_ack_ms.is_some_and(|ack_ms| ack_ms > flight.sent_ms);
        let parks = match lane {
            Lane::Parked => attempts >= PARKED_ATTEMPTS,
            _ => attempts >= PARK_ATTEMPTS && self.flights.count(lane) >= lane.in_flight_max(),
        };
        if !(others_pass && parks) {
            return false;
        }
        self.flights.remove(index);
        self.lap_ms
            .get_or_insert(now_ms + self.settings.ack_timeout_ms_max);
        true
    }

    /// Records that were not sent yet.
    fn fresh<Q: Queue>(
        &mut self,
        lane: Lane,
        now_ms: u64,
        queue: &mut Q,
        buffer: &mut [u8],
    ) -> Result<Option<Plan>, Q::Error> {
        if self.flights.count(lane) >= lane.in_flight_max() {
            return Ok(None);
        }
        if lane == Lane::Parked && self.parked.is_none() && self.lap_ms.is_some_and(|lap_ms| lap_ms <= now_ms)
        {
            self.lap_ms = None;
            self.parked = Some(Position::START);
        }
        while let Some((first, end)) = self.unsent(lane, queue)? {
            let flights = Some(&self.flights);
            let Some(run) = write_run(queue, &self.key, &self.device, first, end, flights, buffer)? else {
                self.advance(lane, first.after());
                continue;
            };
            if lane == Lane::Backfill && self.full_frames_only && run.reached_end {
                return Ok(None);
            }
            let due_ms = now_ms + self.jitter.around_ms(self.settings.ack_timeout_ms);
            let flight = Flight {
                boot: first.boot,
                first: first.sequence,
                last: run.last,
                lane,
                attempts: 1,
                sent_ms: now_ms,
                due_ms,
            };
            self.advance(lane, flight.end().after());
            self.flights.push(flight);
            return Ok(Some(Plan { flight, len: run.len }));
        }
        Ok(None)
    }

    /// The first unsent record of a lane, and where the lane ends.
    fn unsent<Q: Queue>(
        &mut self,
        lane: Lane,
        queue: &mut Q,
    ) -> Result<Option<(Position, Position)>, Q::Error> {
        let end = Position {
            boot: Boot::MAX,
            sequence: Sequence::MAX,
        };
        if lane == Lane::Live {
            let Some(live) = self.skip_lag(queue) else {
                return Ok(None);
            };
            return Ok(queue.next_pending(live)?.map(|first| (first, end)));
        }
        let (mut cursor, end) = match (lane, self.parked) {
            (Lane::Parked, None) => return Ok(None),
            (Lane::Parked, Some(cursor)) => (cursor, self.backfill),
            _ => (self.backfill, self.live.unwrap_or(end)),
        };
        while let Some(first) = queue.next_pending(cursor)?.filter(|first| *first < end) {
            let Some(flight) = self.flights.covering(first) else {
                self.advance(lane, first);
                return Ok(Some((first, end)));
            };
            cursor = flight.end().after();
        }
        match lane {
            // The lap is over.
            Lane::Parked => self.parked = None,
            _ => self.backfill = cursor,
        }
        Ok(None)
    }

    /// The live cursor, moved on when it is too far behind.
    fn skip_lag<Q: Queue>(&mut self, queue: &Q) -> Option<Position> {
        let live = self.live.as_mut()?;
        let next = queue.next_sequence();
        if live.boot == queue.boot() && next.saturating_sub(live.sequence) > LIVE_LAG_RECORDS_MAX {
            live.sequence = next - LIVE_KEPT_RECORDS;
        }
        Some(*live)
    }

    fn advance(&mut self, lane: Lane, to: Position) {
        match lane {
            Lane::Live => self.live = self.live.map(|_| to),
            Lane::Backfill => self.backfill = to,
            Lane::Parked => self.parked = Some(to),
        }
    }
}

struct Plan {
    flight: Flight,
    len: usize,
}
