//! The present: the newest reading of every meter, and what follows from it.
//!
//! In: what each commit brought, and every few seconds the figures of today from the store. Out: a [`View`] as of an
//! instant, from memory. A value is `None` once three polls of its meter were missed; it never outlives its reading.

mod expected;
mod places;
mod present;
mod show;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, MeterAddress, Quantities};

use crate::analytics::PlantModel;
use crate::arrivals::Arrivals;
use crate::figures::{DaySchedules, Figures, Outlook};
use crate::gaps::Gaps;
use crate::store::{Store, StoreError};
use crate::view::View;

use places::Places;
#[cfg(test)]
pub(crate) use present::FIGURES_AGE_MS_MAX;
use present::{DeviceState, MeterState, Present, newest_ms};

/// A reading this far behind the newest is a backlog's.
const LATE_MS: i64 = 15 * 60_000;

/// A handle on the present; cheap to clone, never blocks on the disk.
#[derive(Clone, Debug)]
pub struct Live {
    fleet: Arc<Fleet>,
    places: Arc<Places>,
    /// What each plant's expectation is made with, in the registry's order.
    models: Arc<Vec<PlantModel>>,
    present: Arc<Mutex<Present>>,
    uploads: Arc<Mutex<DaySchedules>>,
    gaps: Gaps,
}

/// What the store remembers of the present when a program starts.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Device, meter, UTC ms, values.
    pub(crate) meters: Vec<(DeviceId, MeterAddress, i64, Quantities)>,
    /// Device, newest reading, last arrival, UTC ms.
    pub(crate) devices: Vec<(DeviceId, Option<i64>, Option<i64>)>,
}

impl Live {
    pub(crate) fn new(fleet: Arc<Fleet>, remembered: Remembered) -> Self {
        let places = Places::of(&fleet);
        let mut present = Present {
            meters: vec![None; places.meters_len()],
            devices: vec![DeviceState::default(); fleet.devices().count()],
            late_ms: vec![None; fleet.plants.len()],
            ..Present::default()
        };
        for (device, meter, time_ms, values) in remembered.meters {
            let found = fleet.device(&device);
            let place = found.and_then(|found| places.meter(&fleet, found.number, meter));
            if let Some(state) = place.and_then(|place| present.meters.get_mut(place)) {
                *state = Some(MeterState::new(time_ms, &values));
            }
        }
        for (device, last_reading_ms, last_received_ms) in remembered.devices {
            let number = fleet.device(&device).map(|found| found.number);
            if let Some(state) = number.and_then(|number| present.devices.get_mut(number)) {
                (state.last_reading_ms, state.last_received_ms) = (last_reading_ms, last_received_ms);
            }
        }
        let models = fleet.plants.iter().map(|plant| PlantModel::of(&fleet, plant));
        Self {
            models: Arc::new(models.collect()),
            fleet,
            places: Arc::new(places),
            present: Arc::new(Mutex::new(present)),
            uploads: Arc::default(),
            gaps: Gaps::default(),
        }
    }

    /// What became of every record that the devices have written.
    #[must_use]
    pub const fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// The present as of `now_ms` (UTC ms).
    #[must_use]
    pub fn view(&self, now_ms: i64) -> View {
        // The sun over thousands of plants takes its time: commits must not wait for it.
        let present = self.lock().clone();
        show::view(&self.fleet, &self.places, &self.models, &present, now_ms)
    }

    /// How many records of a clock that was not set wait for what could place them otherwise; `None` while figures are too old.
    pub(crate) fn settling_records(&self, now_ms: i64) -> Option<u64> {
        let present = self.lock();
        present
            .fresh_figures(now_ms)
            .map(|figures| figures.settling_records)
    }

    /// Takes in what a commit brought; devices and meters that the registry does not know are not shown.
    pub(crate) fn arrived(&self, arrivals: &Arrivals) {
        let mut present = self.lock();
        for (number, device) in arrivals.registered() {
            let Some(state) = present.devices.get_mut(number) else {
                continue;
            };
            state.last_reading_ms = state.last_reading_ms.max(device.newest_ms);
            state.last_received_ms = Some(arrivals.now_ms());
            if let Some(health) = &device.health
                && state
                    .health
                    .as_ref()
                    .is_none_or(|known| known.time_ms <= health.time_ms)
            {
                state.health = Some(Arc::new(health.clone()));
            }
        }
        self.follow(&mut present, arrivals);
        for meter in arrivals.meters() {
            let place = meter
                .number
                .and_then(|number| self.places.meter(&self.fleet, number, meter.address));
            let Some(state) = place.and_then(|place| present.meters.get_mut(place)) else {
                continue;
            };
            match state {
                Some(state) if meter.time_ms < state.time_ms => {}
                Some(state) => state.set(meter.time_ms, &meter.values),
                None => *state = Some(MeterState::new(meter.time_ms, &meter.values)),
            }
        }
    }

    /// Learns poll intervals from readings newer than the newest, and which plants send a backlog.
    fn follow(&self, present: &mut Present, arrivals: &Arrivals) {
        struct Seen {
            place: usize,
            plant: usize,
            /// The newest reading of the meter so far, if it had one.
            meter_ms: Option<i64>,
            /// Of its plant before this commit, or now.
            plant_ms: i64,
        }
        let seen = |meter: &crate::arrivals::MeterArrivals| {
            let number = meter.number?;
            let place = self.places.meter(&self.fleet, number, meter.address)?;
            let plant = self.places.plant_of(number)?;
            let states = present.meters.get(self.places.plant(plant)).unwrap_or_default();
            Some(Seen {
                place,
                plant,
                meter_ms: present.meters.get(place)?.as_ref().map(|state| state.time_ms),
                plant_ms: newest_ms(states).unwrap_or(i64::MIN).max(arrivals.now_ms()),
            })
        };
        let mut meters: Vec<Option<Seen>> = arrivals.meters().iter().map(seen).collect();
        for &(meter, time_ms) in arrivals.readings() {
            let Some(seen) = meters.get_mut(meter).and_then(Option::as_mut) else {
                continue;
            };
            if time_ms < seen.plant_ms - LATE_MS
                && let Some(late_ms) = present.late_ms.get_mut(seen.plant)
            {
                *late_ms = Some(arrivals.now_ms());
            }
            if let Some(newest_ms) = seen.meter_ms.filter(|newest_ms| time_ms > *newest_ms) {
                if let Some(Some(state)) = present.meters.get_mut(seen.place) {
                    state.learn(time_ms - newest_ms);
                }
                seen.meter_ms = Some(time_ms);
            }
        }
    }

    /// Computes the figures of today from the store, which blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]; the old figures stay until they are too old to be shown.
    pub fn refresh(&self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        let figures = Figures::compute(store, now_ms)?;
        self.lock().figures = Arc::new(figures);
        Ok(())
    }

    /// Computes from the store what is expected of today and how its sites balance, which blocks on the disk for longer than
    /// [`Self::refresh`].
    ///
    /// # Errors
    /// [`StoreError`]; the old outlook stays until it is too old to be shown.
    pub fn refresh_outlook(&self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let outlook = Outlook::compute(store, &mut uploads, now_ms)?;
        drop(uploads);
        self.lock().outlook = Arc::new(outlook);
        Ok(())
    }

    /// A panic of another holder can't leave it half-changed in a way that matters: every field is replaced whole.
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
