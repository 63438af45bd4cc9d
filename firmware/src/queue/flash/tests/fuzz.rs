//! Power cuts: at any word of any write and in any erasure, in the middle of openings too.
//!
//! A *life* is a start of the device that ends by a power cut. A *campaign* is a few thousand lives of one flash, from one
//! seed. After every opening the ring is held against what the device was told:
//! - every record whose append had returned is pending, was released, or is named by a `Dropped` record;
//! - what is pending is byte for byte what was appended; nothing else is, but what was being appended when the power went
//!   and `Dropped` records that the ring wrote itself;
//! - what a returned release freed does not come back; a boot, and so an identity, is never used twice;
//! - an opening succeeds; what it reports as lost is at most the record that was being appended;
//! - all pages take turns.
//!
//! `TARAZ_FLASH_CUTS` sets the number of power cuts of each of the tests (in all a million if it is not set), and
//! `TARAZ_FLASH_SEED` the first seed: `TARAZ_FLASH_CUTS=100000000 cargo test --release -p taraz-firmware power_cuts`.

use std::format;
use std::string::String;
use std::vec::Vec;

use taraz_telemetry::{Anchor, Clock, RECORD_LEN_MAX, Record, RecordRange, ResetCause, Stamp, Start};

use super::at;
use super::model::{Known, Model};
use super::nor::{Nor, NorError, Random, Tearing};
use crate::queue::flash::{FlashQueue, FlashQueueError};
use crate::queue::{Position, Queue, StoreError, store};

const STAMP: Stamp = Stamp {
    ms: 1,
    clock: Clock::Synced,
};
/// Cuts of one flash: enough for every page's turn to come a hundred times.
const CAMPAIGN_CUTS: u64 = 2_500;

struct Campaign<const W: usize, const E: usize> {
    seed: u64,
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
    written: u64,
    cuts: u64,
    cuts_in_openings: u64,
    flash: Option<Nor<W, E>>,
    tearing: Tearing,
}

impl<const W: usize, const E: usize> Campaign<W, E> {
    fn new(seed: u64, pages: usize, tearing: Tearing) -> Self {
        let mut random = Random(seed);
        let mut flash = Nor::new(pages, random.next(), tearing);
        if seed.is_multiple_of(2) {
            flash = Nor::garbage(pages, random.next());
            flash.set_tearing(tearing);
        }
        Self {
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
    fn live(&mut self) -> Result<(), String> {
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
        // The flash has to outlive an opening that fails.
        let mut queue = match FlashQueue::open(&mut flash, area.clone(), random) {
            Ok(queue) => queue,
            Err(FlashQueueError::Flash(NorError::Power)) => {
                self.cuts += 1;
                self.cuts_in_openings += 1;
                self.flash = Some(flash);
                return Ok(());
            }
            Err(error) => return Err(format!("the opening failed: {error}")),
        };
        self.check(&mut queue)?;
        let outcome = self.work(&mut queue);
        drop(queue);
        self.flash = Some(flash);
        self.cuts += 1;
        outcome
    }

    /// Stores and releases until the power goes.
    fn work(&mut self, queue: &mut FlashQueue<&mut Nor<W, E>>) -> Result<(), String> {
        // Some lives acknowledge nothing, so that the ring fills up.
        let releases = self.random.below(4);
        loop {
            let done = if self.random.below(8) < releases {
                self.release(queue)
            } else {
                self.store(queue)
            };
            match done {
                Ok(()) => {}
                Err(FlashQueueError::Flash(NorError::Power)) => return Ok(()),
                Err(error) => return Err(format!("an operation failed: {error}")),
            }
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
        let incarnation = *self.incarnation.get_or_insert(queue.incarnation());
        if incarnation != queue.incarnation() {
            return Err("the ring was formatted anew".into());
        }
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
        if !wavers && (unreadable > 0 || found.len() != queue.pending_records() as usize) {
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
            self.check_lost(range, caught.as_ref(), queue.boot())?;
        }
        self.model.settle(found, wavers)?;
        self.ghosts.extend(caught.filter(|_| wavers));
        self.newest_boot = queue.boot();
        self.model.forget(self.newest_boot);
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
        if is_reported || self.tearing == Tearing::Unstable {
            return Ok(());
        }
        Err(format!(
            "{boot}: {first} to {last} are named as lost; caught {caught:?}"
        ))
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// Cuts the power so often, in campaigns with a seed each.
fn cut<const W: usize, const E: usize>(pages: usize, cuts: u64, tearing: Tearing) {
    let cuts = setting("TARAZ_FLASH_CUTS").unwrap_or(cuts);
    let mut seed = setting("TARAZ_FLASH_SEED").unwrap_or(1);
    let (mut done, mut in_openings, mut records, mut erasures) = (0, 0, 0, 0u64);
    while done < cuts {
        let mut campaign = Campaign::<W, E>::new(seed, pages, tearing);
        while campaign.cuts < CAMPAIGN_CUTS {
            if let Err(error) = campaign.live() {
                panic!(
                    "seed {} ({W}-byte words, {pages} pages of {E} bytes, {tearing:?}), after {} cuts: {error}",
                    campaign.seed, campaign.cuts
                );
            }
        }
        let flash = campaign.flash.as_ref().expect("the flash");
        // Where a page's only mark wavers, its turn may come twice.
        let uneven_max = if tearing == Tearing::Unstable { 4 } else { 1 };
        let (least, most) = (
            flash.turns.iter().min().copied(),
            flash.turns.iter().max().copied(),
        );
        let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
        assert!(
            most - least <= uneven_max,
            "seed {seed}: worn unevenly: {:?}",
            flash.turns
        );
        assert!(least >= 10, "seed {seed}: {:?}", flash.turns);
        done += campaign.cuts;
        in_openings += campaign.cuts_in_openings;
        records += campaign.written;
        erasures += u64::from(flash.erasures);
        seed += 1;
    }
    println!(
        "{done} power cuts ({in_openings} within openings), {W}-byte words, {pages} pages of {E} bytes, torn bits {tearing:?}: \
         {records} records, {erasures} erasures, nothing lost"
    );
}

#[test]
fn power_cuts_with_words_of_four_bytes() {
    cut::<4, 512>(9, 500_000, Tearing::Random);
}

#[test]
fn power_cuts_with_words_of_one_byte() {
    cut::<1, 512>(9, 250_000, Tearing::Random);
}

#[test]
fn power_cuts_with_larger_pages() {
    cut::<4, 1024>(6, 150_000, Tearing::Random);
}

#[test]
fn power_cuts_with_words_of_sixteen_bytes() {
    cut::<16, 1024>(6, 50_000, Tearing::Random);
}

#[test]
fn power_cuts_that_leave_unstable_bits() {
    cut::<4, 512>(9, 100_000, Tearing::Unstable);
}
