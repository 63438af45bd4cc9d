//! The ledger of the whole fleet, kept up to date from the store.
//!
//! What devices said is read once and remembered; a refresh reads only what is new. What is received and held comes whole with each
//! refresh, from the same state of the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use taraz_telemetry::Incarnation;

use super::Observed;
use super::ledger::{Here, account};
use super::view::{DeviceGaps, sum};
use crate::store::{AllHere, NamingPage, Store, StoreError};

/// A handle on the ledger; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    book: Arc<Mutex<Book>>,
    shown: Arc<Mutex<Option<Arc<Vec<DeviceGaps>>>>>,
}

/// What the devices said, by device and incarnation.
#[derive(Debug, Default)]
pub(crate) struct Book {
    cursor: i64,
    observed: HashMap<i64, BTreeMap<Incarnation, Observed>>,
}

impl Gaps {
    /// Every device of the store in the order of ids, as of the last refresh; `None` before the first one.
    #[must_use]
    pub fn devices(&self) -> Option<Arc<Vec<DeviceGaps>>> {
        lock(&self.shown).clone()
    }

    /// Reads what is new from the store, which blocks on the disk. The first time it reads what all devices ever said.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`]; what was shown stays.
    pub fn refresh(&self, store: &Store) -> Result<Arc<Vec<DeviceGaps>>, StoreError> {
        let mut book = lock(&self.book);
        let devices = loop {
            // A page at a time, so that no state of the store has to be kept for long; the ledger comes from the last one's.
            let read = store.snapshot(|snapshot| {
                let page = snapshot.naming_records(book.cursor)?;
                let here = page.is_last.then(|| snapshot.here()).transpose()?;
                Ok((page, here))
            })?;
            book.learn(read.0);
            if let Some(here) = read.1 {
                break Arc::new(book.devices(here));
            }
        };
        *lock(&self.shown) = Some(Arc::clone(&devices));
        Ok(devices)
    }
}

impl Book {
    /// Takes a page of records in.
    pub(crate) fn learn(&mut self, page: NamingPage) {
        self.cursor = page.cursor;
        for record in page.records {
            self.observed
                .entry(record.device)
                .or_default()
                .entry(record.incarnation)
                .or_default()
                .learn(
                    record.row,
                    (record.boot, record.sequence),
                    record.time_ms,
                    &record.record,
                );
        }
    }

    /// Where the next page begins.
    pub(crate) const fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The ledger of every device, in the order of ids.
    pub(crate) fn devices(&self, here: AllHere) -> Vec<DeviceGaps> {
        let none = BTreeMap::new();
        let mut devices: Vec<_> = here
            .devices
            .into_iter()
            .map(|(key, device)| {
                let observed = self.observed.get(&key).unwrap_or(&none);
                let boots = boots_of(observed, &device.incarnations);
                DeviceGaps {
                    device: device.name,
                    counts: sum(&boots),
                    held_by_reason: device.held_by_reason.into_iter().collect(),
                    conflicts: device.conflicts,
                    boots,
                }
            })
            .collect();
        devices.sort_by(|a, b| a.device.cmp(&b.device));
        devices
    }
}

/// All incarnations of a device in the order in which they were first heard of; one of which no such record is here yet comes last,
/// and nobody can tell whether another came after it.
fn boots_of(
    observed: &BTreeMap<Incarnation, Observed>,
    here: &BTreeMap<Incarnation, Here>,
) -> Vec<super::BootGaps> {
    let (nothing_said, nothing_here) = (Observed::default(), Here::default());
    let mut incarnations: Vec<_> = observed.keys().chain(here.keys()).copied().collect();
    let heard = |incarnation: &Incarnation| observed.get(incarnation).and_then(|one| one.first_heard);
    incarnations.sort_by_key(|incarnation| (heard(incarnation).unwrap_or(i64::MAX), *incarnation));
    incarnations.dedup();
    let newest = incarnations.iter().filter_map(heard).max();
    let of_one = |incarnation: &Incarnation| {
        let is_superseded = heard(incarnation).is_some_and(|row| newest > Some(row));
        account(
            *incarnation,
            observed.get(incarnation).unwrap_or(&nothing_said),
            here.get(incarnation).unwrap_or(&nothing_here),
            is_superseded,
        )
    };
    incarnations.iter().flat_map(of_one).collect()
}

/// A panic of another holder leaves what it had learnt; learning it again makes no difference.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
