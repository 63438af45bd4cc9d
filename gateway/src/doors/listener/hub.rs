//! Who is connected: takeover of a client id, acknowledgements to a device's other sessions, its last known state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use taraz_telemetry::{DeviceId, RecordRange};

use super::allowance::Allowance;
use super::turn::SessionId;
use crate::metrics::Metrics;

/// Sessions that one device may have at a time (its own, and somebody looking on with `mosquitto_sub`).
pub const SESSIONS_PER_DEVICE_MAX: usize = 8;
/// So many takeovers of a device's sessions within [`TAKEOVERS_WITHIN_MS`] are no lost network any more.
const TAKEOVERS_MAX: u32 = 3;
/// CONNECTs that a device may have accepted within a minute: each costs keys and places.
pub const CONNECTS_MAX: u32 = 120;
/// How long a device's CONNECTs are counted together, in ms.
const CONNECTS_WITHIN_MS: u64 = 60 * 1_000;
/// How long takeovers of a device are counted together, in ms; it is also how often one that goes on is named again.
const TAKEOVERS_WITHIN_MS: u64 = 10 * 60 * 1_000;

/// The last thing that a device said on its `/state` topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeviceState {
    /// What it said; `offline` may be its last will.
    pub(crate) state: String,
    /// When, UTC ms.
    pub(crate) at_ms: u64,
}

/// All sessions of the listener.
#[derive(Debug)]
pub(crate) struct Hub {
    metrics: Metrics,
    device_frames_per_s_max: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    devices: HashMap<DeviceId, Sessions>,
    /// With the number of the session that stated it.
    states: HashMap<DeviceId, (u64, DeviceState)>,
    takeovers: HashMap<DeviceId, Takeovers>,
    connects: HashMap<DeviceId, Connects>,
    /// Kept when the last session ends, or signing in again would fill it: at most one of each registered device.
    allowances: HashMap<DeviceId, Allowance>,
}

/// How often a device signed in since some time.
#[derive(Clone, Copy, Debug, Default)]
struct Connects {
    since_ms: u64,
    count: u32,
}

impl Connects {
    /// One more; false when it is one too many.
    fn add(&mut self, now_ms: u64) -> bool {
        if now_ms.abs_diff(self.since_ms) > CONNECTS_WITHIN_MS {
            *self = Self {
                since_ms: now_ms,
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
        self.count <= CONNECTS_MAX
    }
}

/// Why a session gets no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// The device has too many sessions.
    TooMany,
    /// It signs in too often.
    TooOften,
}

/// How often a device's sessions were taken over since some time.
#[derive(Clone, Copy, Debug, Default)]
struct Takeovers {
    since_ms: u64,
    count: u32,
}

impl Takeovers {
    /// One more; true when it is the one that has to be told.
    fn add(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.since_ms) > TAKEOVERS_WITHIN_MS {
            *self = Self {
                since_ms: now_ms,
                count: 0,
            };
        }
        self.count += 1;
        self.count == TAKEOVERS_MAX
    }
}

#[derive(Debug, Default)]
struct Sessions {
    entries: Vec<Entry>,
    /// How many of them want acknowledgements: read at every commit, without the hub's lock.
    wanting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    client_id: String,
    session: SessionId,
    wants_acks: bool,
}

/// A session's place in the hub; given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Arc<Hub>,
    device: DeviceId,
    number: u64,
    wanting: Arc<AtomicUsize>,
    wants_acks: bool,
    /// What the device may send.
    pub(super) allowance: Allowance,
}

impl Hub {
    pub(crate) fn new(metrics: Metrics, device_frames_per_s_max: u32) -> Self {
        Self {
            metrics,
            device_frames_per_s_max,
            inner: Mutex::default(),
        }
    }

    /// Seats a session and unseats the one that holds the same client id, which has to end.
    ///
    /// Client ids are told apart within a device, so that no device can end another's session.
    pub(super) fn sit(
        hub: &Arc<Self>,
        device: &DeviceId,
        client_id: &str,
        session: SessionId,
        now_ms: u64,
    ) -> Result<(Seat, Option<SessionId>), NoSeat> {
        let mut inner = hub.lock();
        if !inner.connects.entry(device.clone()).or_default().add(now_ms) {
            return Err(NoSeat::TooOften);
        }
        inner.next += 1;
        let number = inner.next;
        let sessions = inner.devices.entry(device.clone()).or_default();
        let wanting = Arc::clone(&sessions.wanting);
        let entries = &mut sessions.entries;
        let mut unseated = None;
        if let Some(at) = entries.iter().position(|entry| entry.client_id == client_id) {
            unseated = Some(entries.swap_remove(at).session);
            hub.metrics.connections.dec();
            let takeovers = inner.takeovers.entry(device.clone()).or_default();
            if takeovers.add(now_ms) {
                tracing::warn!(%device, client_id, "the device's session is taken over again and again: do two devices use this id?");
            }
        }
        let sessions = inner.devices.entry(device.clone()).or_default();
        let entries = &mut sessions.entries;
        if entries.len() >= SESSIONS_PER_DEVICE_MAX {
            return Err(NoSeat::TooMany);
        }
        // Nearly always the only one of its device.
        entries.reserve_exact(1);
        entries.push(Entry {
            number,
            client_id: client_id.to_owned(),
            session,
            wants_acks: false,
        });
        let allowance = || Allowance::new(hub.device_frames_per_s_max, Instant::now());
        let allowances = inner.allowances.entry(device.clone());
        let allowance = allowances.or_insert_with(allowance).clone();
        hub.metrics.connections.inc();
        let seat = Seat {
            hub: Arc::clone(hub),
            device: device.clone(),
            number,
            wanting,
            wants_acks: false,
            allowance,
        };
        Ok((seat, unseated))
    }

    /// The last known state of every device that ever stated one.
    pub(crate) fn states(&self) -> Vec<(DeviceId, DeviceState)> {
        let inner = self.lock();
        let mut states: Vec<_> = inner
            .states
            .iter()
            .map(|(id, (_, state))| (id.clone(), state.clone()))
            .collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn want_acks(&mut self, wants: bool) {
        let mut inner = self.hub.lock();
        let entries = inner
            .devices
            .get_mut(&self.device)
            .map(|sessions| &mut sessions.entries);
        if let Some(entry) = entries
            .into_iter()
            .flatten()
            .find(|entry| entry.number == self.number)
        {
            entry.wants_acks = wants;
        }
        drop(inner);
        self.count(wants);
    }

    fn count(&mut self, wants: bool) {
        match (std::mem::replace(&mut self.wants_acks, wants), wants) {
            (false, true) => self.wanting.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.wanting.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// For the device's other sessions that want acknowledgements.
    pub(super) fn tell_others(&self, range: RecordRange, mail: &mut Vec<(SessionId, RecordRange)>) {
        if self.wanting.load(Ordering::Relaxed) <= usize::from(self.wants_acks) {
            return;
        }
        let inner = self.hub.lock();
        let entries = inner.devices.get(&self.device).map(|sessions| &sessions.entries);
        let others = |entry: &&Entry| entry.wants_acks && entry.number != self.number;
        let others = entries.into_iter().flatten().filter(others);
        mail.extend(others.map(|entry| (entry.session, range)));
    }

    /// Keeps what the device states, unless a newer session of it has stated something: the last will of a session
    /// that was taken over comes late.
    pub(super) fn set_state(&self, payload: &[u8], at_ms: u64) {
        let state = String::from_utf8_lossy(payload).into_owned();
        let mut inner = self.hub.lock();
        let entry = inner.states.entry(self.device.clone()).or_default();
        if entry.0 <= self.number {
            *entry = (self.number, DeviceState { state, at_ms });
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.count(false);
        let mut inner = self.hub.lock();
        let Some(sessions) = inner.devices.get_mut(&self.device) else {
            return;
        };
        if let Some(at) = sessions
            .entries
            .iter()
            .position(|entry| entry.number == self.number)
        {
            sessions.entries.swap_remove(at);
            self.hub.metrics.connections.dec();
        }
        if sessions.entries.is_empty() {
            inner.devices.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_takeover_is_a_lost_network_and_many_are_two_devices() {
        let mut takeovers = Takeovers::default();
        let minute = 60_000;
        let start = 1_800_000_000_000;
        // Once an hour: nobody is bothered.
        assert!((0..20).all(|hour| !takeovers.add(start + hour * 60 * minute)));
        // Every two seconds: told once in ten minutes.
        let start = start + 100 * 60 * minute;
        let told = (0..900).filter(|n| takeovers.add(start + n * 2_000)).count();
        assert_eq!(told, 3);
    }

    #[test]
    fn a_device_that_signs_in_again_and_again_has_to_wait() {
        let mut connects = Connects::default();
        let start = 1_800_000_000_000;
        assert!((0..u64::from(CONNECTS_MAX)).all(|n| connects.add(start + n)));
        assert!(!connects.add(start + 1_000));
        assert!(connects.add(start + CONNECTS_WITHIN_MS + 1));
    }

    fn sit(hub: &Arc<Hub>, device: &str, client_id: &str, place: u32) -> (Seat, Option<SessionId>) {
        let device = DeviceId::new(device).unwrap();
        Hub::sit(hub, &device, client_id, SessionId::new(place, 0), 1).unwrap()
    }

    #[test]
    fn signing_in_again_does_not_fill_the_allowance() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let hub = Arc::new(Hub::new(metrics, 100));
        let (first, _) = sit(&hub, "sari-01", "sari-01", 1);
        // A thousand seconds' worth: however slow this test is, nothing of it has come back.
        assert!(first.allowance.take(100_000, Instant::now()).is_some());
        drop(first);
        let (again, _) = sit(&hub, "sari-01", "sari-01", 2);
        assert!(again.allowance.take(1, Instant::now()).is_some());
        let (other, _) = sit(&hub, "sari-02", "a", 3);
        assert_eq!(other.allowance.take(1, Instant::now()), None);
    }

    #[test]
    fn a_session_that_takes_over_unseats_the_other_and_is_counted() {
        let registry = prometheus::Registry::new();
        let hub = Arc::new(Hub::new(Metrics::new(&registry).unwrap(), 100));
        let device = DeviceId::new("sari-01").unwrap();
        let (_first, unseated) = sit(&hub, "sari-01", "sari-01", 1);
        assert_eq!(unseated, None);
        let (_second, unseated) = sit(&hub, "sari-01", "sari-01", 2);
        assert_eq!(unseated, Some(SessionId::new(1, 0)));
        assert_eq!(hub.lock().takeovers[&device].count, 1);
        let (_beside, unseated) = sit(&hub, "sari-01", "looking-on", 3);
        assert_eq!(unseated, None, "another client id takes nothing over");
        assert_eq!(hub.lock().takeovers[&device].count, 1);
    }

    #[test]
    fn only_other_sessions_that_want_acknowledgements_hear_of_a_range() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let hub = Arc::new(Hub::new(metrics, 100));
        let (mut own, _) = sit(&hub, "sari-01", "own", 1);
        let (mut beside, _) = sit(&hub, "sari-01", "beside", 2);
        let (_silent, _) = sit(&hub, "sari-01", "silent", 3);
        let range = RecordRange {
            incarnation: 1,
            boot: 1,
            first: 1,
            last: 2,
        };
        let mut mail = Vec::new();
        own.want_acks(true);
        own.tell_others(range, &mut mail);
        assert!(mail.is_empty());
        beside.want_acks(true);
        own.tell_others(range, &mut mail);
        assert_eq!(mail, [(SessionId::new(2, 0), range)]);
    }
}
