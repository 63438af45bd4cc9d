//! One flash through thousands of lives, and what is known of its records: see [`super::fuzz`].

use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec::Vec;

use taraz_telemetry::{Anchor, Clock, RECORD_LEN_MAX, Record, RecordRange, ResetCause, Stamp, Start};

use super::model::{Known, Model};
use super::nor::{Death, Nor, NorError, Random, Tearing};
use super::{at, owner};
use crate::queue::flash::{FlashQueue, FlashQueueError};
use crate::queue::{Position, Queue, StoreError, store};

const STAMP: Stamp = Stamp {
    ms: 1,
    clock: Clock::Synced,
};
/// The devices that take turns on a flash.
const OWNERS: [&str; 2] = ["dev-1", "dev-2"];
/// One in so many lives is another device's.
const OWNER_ONE_IN: u32 = 100;

/// So many operations in a row may fail.
const FAILURES_MAX: u32 = 20;

/// How the flash fails.
#[derive(Clone, Copy)]
pub(super) struct Failing {
    /// One in so many writes and erasures.
    pub(super) one_in: u32,
    /// Pages that wear out in a campaign.
    pub(super) pages: usize,
}

pub(super) struct Campaign<const W: usize, const E: usize> {
    failing: Option<Failing>,
    /// Whose program runs.
    owner: usize,
    /// Whose ring the model is about.
    ring_owner: usize,
    /// Somebody else began to open it since.
    is_contested: bool,
    pub(super) incarnations: BTreeSet<u32>,
    pub(super) failed_openings: u64,
    pub(super) retired_max: u32,
    retired: u32,
    pub(super) seed: u64,
    random: Random,
    model: Model,
    incarnation: Option<u32>,
    newest_boot: u32,
    /// Whose append had not returned when the power went, and the first position it may have.
    caught: Option<(Position, Vec<u8>)>,
    /// Those of before that were not found: unstable bits may bring them back.
    ghosts: Vec<(Position, Vec<u8>)>,
    /// Reported as lost once, for as long as its place is seen.
    reported: Vec<(u32, u32)>,
    pub(super) written: u64,
    pub(super) cuts: u64,
    pub(super) cuts_in_openings: u64,
    pub(super) flash: Option<Nor<W, E>>,
    tearing: Tearing,
}

impl<const W: usize, const E: usize> Campaign<W, E> {
    pub(super) fn new(seed: u64, pages: usize, tearing: Tearing, failing: Option<Failing>) -> Self {
        let mut random = Random(seed);
        let mut flash = Nor::new(pages, random.next(), tearing);
        if seed.is_multiple_of(2) {
            flash = Nor::garbage(pages, random.next());
            flash.set_tearing(tearing);
        }
        flash.faults.one_in = failing.map_or(0, |failing| failing.one_in);
        Self {
            failing,
            owner: 0,
            ring_owner: 0,
            is_contested: false,
            incarnations: BTreeSet::new(),
            failed_openings: 0,
            retired_max: 0,
            retired: 0,
            seed,
            random,
            model: Model::default(),
            incarnation: None,
            newest_boot: 0,
            caught: None,
            ghosts: Vec::new(),
            reported: Vec::new(),
            written: 0,
            cuts: 0,
            cuts_in_openings: 0,
            flash: Some(flash),
            tearing,
        }
    }

    /// One life; true when the opening itself was cut short.
    pub(super) fn live(&mut self) -> Result<(), String> {
        let mut flash = self.flash.take().ok_or("no flash")?;
        // Often soon, so that openings are cut too, and those after them.
        let words = match self.random.below(4) {
            0 => 12,
            1 => 60,
            _ => 300,
        };
        // A word of one byte is a smaller step than one of four.
        let words = if W < 4 { 4 * words } else { words };
        flash.power(Some(self.random.below(words)));
        let area = 0..flash.len();
        let random = u32::try_from(self.random.next() >> 32).unwrap_or_default();
        if self.random.below(OWNER_ONE_IN) == 0 {
            self.owner ^= 1;
        }
        self.wear(&mut flash);
        let owner = owner(OWNERS[self.owner]);
        // The flash has to outlive an opening that fails.
        let mut queue = match FlashQueue::open(&mut flash, area.clone(), owner, random, &mut || ()) {
            Ok(queue) => queue,
            Err(error) if error == FlashQueueError::Flash(NorError::Power) || self.may_fail(&error) => {
                self.is_contested |= self.owner != self.ring_owner;
                self.cuts += 1;
                self.cuts_in_openings += 1;
                self.failed_openings += u64::from(!flash.is_off);
                self.flash = Some(flash);
                return Ok(());
            }
            Err(error) => return Err(format!("the opening failed: {error}")),
        };
        self.retired = queue.retired_blocks();
        self.retired_max = self.retired_max.max(self.retired);
        let one_in = core::mem::take(&mut queue.flash_mut().faults.one_in);
        self.check(&mut queue)?;
        queue.flash_mut().faults.one_in = one_in;
        if self.random.below(2) == 0 {
            queue.lost_is_named();
        }
        let outcome = self.work(&mut queue);
        drop(queue);
        self.flash = Some(flash);
        self.cuts += 1;
        outcome
    }

    /// Sometimes a page wears out.
    fn wear(&mut self, flash: &mut Nor<W, E>) {
        let Some(failing) = self.failing else { return };
        // Two neighbours that come to be unwritable between two turns, though erasable, stop a full ring like an outage: those
        // wear out one after the other. The others may do so at any time.
        let is_known = self.retired as usize >= flash.faults.dead.len();
        if flash.faults.dead.len() < failing.pages && self.random.below(50) == 0 {
            let page = self.random.below(u32::try_from(flash.turns.len()).unwrap_or(1)) as usize;
            let deaths = [Death::Erase, Death::Zeros, Death::Write, Death::Ones];
            let death = deaths[self.random.below(if is_known { 4 } else { 2 }) as usize];
            flash.faults.dead.insert(page, death);
        }
    }

    /// The flash failed, as the test wants it.
    fn may_fail(&self, error: &FlashQueueError<NorError>) -> bool {
        use FlashQueueError::{Flash, NotErased, NotKept};
        self.failing.is_some()
            && matches!(
                error,
                Flash(NorError::Injected) | NotErased { .. } | NotKept { .. }
            )
    }

    /// Stores and releases until the power goes.
    fn work(&mut self, queue: &mut FlashQueue<&mut Nor<W, E>>) -> Result<(), String> {
        // Some lives acknowledge nothing, so that the ring fills up.
        let releases = self.random.below(4);
        let mut failures = 0;
        loop {
            let done = if self.random.below(8) < releases {
                self.release(queue)
            } else {
                self.store(queue)
            };
            match done {
                Ok(()) => {}
                Err(FlashQueueError::Flash(NorError::Power)) => return Ok(()),
                Err(error) if self.may_fail(&error) && failures < FAILURES_MAX => {
                    failures += 1;
                    self.ghosts.extend(self.caught.take());
                    continue;
                }
                Err(error) => return Err(format!("an operation failed: {error}")),
            }
            failures = 0;
        }
    }

    fn record(&mut self) -> Record {
        self.written += 1;
        let n = self.written;
        if self.random.below(3) > 0 {
            return Record::Anchor(Anchor {
                boot: 1,
                monotonic_ms: n,
                utc_ms: n << self.random.below(40),
                error_ms: 1,
            });
        }
        let mut firmware = heapless::String::new();
        for _ in 0..self.random.below(24) {
            let _ = firmware.push('1');
        }
        Record::Start(Start {
            stamp: Stamp { ms: n, ..STAMP },
            reset_cause: ResetCause::PowerOn,
            recovered: None,
            firmware,
        })
    }

    fn store(&mut self, queue: &mut FlashQueue<&mut Nor<W, E>>) -> Result<(), FlashQueueError<NorError>> {
        let record = self.record();
        let mut buffer = [0; RECORD_LEN_MAX];
        let bytes = record
            .encode(&mut buffer)
            .map_or_else(|_| Vec::new(), <[u8]>::to_vec);
        let first = at(queue.boot(), queue.next_sequence());
        let was_full = queue.is_full();
        self.caught = Some((first, bytes.clone()));
        let outcome = store(queue, &record, STAMP);
        let end = at(queue.boot(), queue.next_sequence());
        if was_full {
            // `Dropped` records were written in front of it; those that were not caught can be read back, with power.
            let mut buffer = [0; RECORD_LEN_MAX];
            let mut position = first;
            while position < end {
                if let Ok(Some(dropped)) = queue.read(position, &mut buffer) {
                    self.model.owe(position, dropped);
                }
                position = position.after();
            }
        }
        match outcome {
            Ok(stored) => {
                self.model.owe(at(queue.boot(), stored.sequence), &bytes);
                self.caught = None;
                Ok(())
            }
            Err(StoreError::Memory(error)) => Err(error),
            Err(StoreError::Record(_)) => Ok(()),
        }
    }

    fn release(&mut self, queue: &mut FlashQueue<&mut Nor<W, E>>) -> Result<(), FlashQueueError<NorError>> {
        // The newest ones, as the live lane does, or the oldest, as the other: a ring in which nobody ever takes the names of
        // what was lost has room for so many boots' only.
        let from = if self.random.below(2) == 0 {
            Position::START
        } else {
            at(
                self.newest_boot.saturating_sub(self.random.below(4)),
                self.random.below(6),
            )
        };
        let Some(first) = queue.next_pending(from)? else {
            return Ok(());
        };
        let range = RecordRange {
            incarnation: queue.incarnation(),
            boot: first.boot,
            first: first.sequence,
            last: first.sequence + self.random.below(12),
        };
        let freed = self.model.release(first, at(range.boot, range.last));
        let released = queue.release(range)?;
        if self.tearing == Tearing::Random {
            // A half written mark may read as released just now, and is then not written again.
            self.model.released(&freed);
        }
        if released as usize > freed.len() && self.tearing == Tearing::Random {
            return Err(FlashQueueError::Area("more was released than there was"));
        }
        Ok(())
    }

    /// Holds what an opening found against what is known.
    fn check(&mut self, queue: &mut FlashQueue<&mut Nor<W, E>>) -> Result<(), String> {
        self.check_owner(queue)?;
        if queue.boot() <= self.newest_boot {
            return Err(format!("boot {} again", queue.boot()));
        }
        let caught = self.caught.take();
        let wavers = self.tearing == Tearing::Unstable;
        let (mut found, mut unreadable) = (Vec::new(), 0);
        let mut next = Position::START;
        let mut buffer = [0; RECORD_LEN_MAX];
        while let Some(position) = queue.next_pending(next).map_err(|error| format!("{error}"))? {
            match queue
                .read(position, &mut buffer)
                .map_err(|error| format!("{error}"))?
            {
                Some(bytes) => found.push((position, Known::new(bytes))),
                None => unreadable += 1,
            }
            next = position.after();
        }
        let fails = self.failing.is_some();
        if !wavers && !fails && (unreadable > 0 || found.len() != queue.pending_records() as usize) {
            return Err(format!(
                "{unreadable} unreadable, {} of {}",
                found.len(),
                queue.pending_records()
            ));
        }
        for (position, known) in &found {
            if !self.is_known(*position, known, caught.as_ref(), queue.boot()) {
                let expected = self.model.bytes(*position);
                return Err(format!(
                    "{position:?} is {:02x?}, expected {expected:02x?}",
                    known.bytes
                ));
            }
        }
        if wavers {
            // What comes and goes was never promised.
            for (position, known) in &found {
                if self.model.bytes(*position).is_none() {
                    self.model.optional.insert(*position, known.clone());
                }
            }
        }
        for &range in queue.recovery().lost.as_slice() {
            let oldest = found.first().map(|(position, _)| *position);
            self.check_lost(range, caught.as_ref(), queue.boot(), oldest)?;
        }
        // The device names what it is told.
        self.model.name(queue.recovery().lost.as_slice());
        let mut more_from = queue.recovery().lost_more_from;
        while let Some(from) = more_from {
            let (lost, next) = queue.lost_from(from).map_err(|error| format!("{error}"))?;
            self.model.name(lost.as_slice());
            more_from = next;
        }
        self.model.settle(found, wavers)?;
        self.ghosts.extend(caught.filter(|_| wavers));
        self.newest_boot = queue.boot();
        self.model.forget(self.newest_boot);
        Ok(())
    }

    /// Holds the ring's incarnation against what is known of it and of its owner.
    fn check_owner(&mut self, queue: &mut FlashQueue<&mut Nor<W, E>>) -> Result<(), String> {
        let incarnation = queue.incarnation();
        let is_other = self.owner != self.ring_owner;
        if self.incarnation == Some(incarnation) {
            self.is_contested = false;
            return if is_other {
                Err(format!("{} goes on with the other's ring", OWNERS[self.owner]))
            } else {
                Ok(())
            };
        }
        if self.incarnation.is_some() && !is_other && !self.is_contested {
            return Err("the ring was formatted anew".into());
        }
        if !self.incarnations.insert(incarnation) || queue.pending_records() > 0 {
            return Err(format!("{} has another's records", OWNERS[self.owner]));
        }
        (self.incarnation, self.ring_owner, self.is_contested) = (Some(incarnation), self.owner, false);
        (self.model, self.newest_boot, self.caught) = (Model::default(), 0, None);
        self.ghosts.clear();
        self.reported.clear();
        Ok(())
    }

    /// The record was appended, or was being appended, or is the ring's own `Dropped`, at the end of the boot before (which may
    /// be one whose opening was cut).
    fn is_known(
        &self,
        position: Position,
        known: &Known,
        caught: Option<&(Position, Vec<u8>)>,
        boot: u32,
    ) -> bool {
        let is_own = !known.names.is_empty();
        if let Some(bytes) = self.model.bytes(position) {
            return bytes == known.bytes;
        }
        let was_caught = caught.into_iter().chain(&self.ghosts).any(|(first, bytes)| {
            position.boot == first.boot && position >= *first && (*bytes == known.bytes || is_own)
        });
        was_caught || is_own && position.boot < boot
    }

    /// Only what was being appended may be reported as lost, then and again.
    fn check_lost(
        &mut self,
        (boot, first, last): (u32, u32, u32),
        caught: Option<&(Position, Vec<u8>)>,
        newest: u32,
        oldest: Option<Position>,
    ) -> Result<(), String> {
        // A boot that wrote nothing leaves out its first number when the ring has to name something in it.
        let is_unborn = last == 0 && boot < newest && self.model.bytes(at(boot, 0)).is_none();
        let is_caught =
            caught.is_some_and(|(at, _)| boot == at.boot && first >= at.sequence && first == last);
        if is_unborn || is_caught {
            self.reported.push((boot, first));
            return Ok(());
        }
        let is_reported = (first..=last).all(|sequence| self.reported.contains(&(boot, sequence)));
        // A flash that fails may cost what nobody was promised, and the oldest page, if no other place could be erased; what
        // stands behind a record that is there is not given up.
        let may_be_lost = |sequence| {
            let position = at(boot, sequence);
            !self.model.owed.contains_key(&position) || oldest.is_none_or(|oldest| position < oldest)
        };
        let is_of_failures = self.failing.is_some() && (first..=last).all(may_be_lost);
        if is_reported || self.tearing == Tearing::Unstable || is_of_failures {
            return Ok(());
        }
        Err(format!(
            "{boot}: {first} to {last} are named as lost; caught {caught:?}"
        ))
    }
}
