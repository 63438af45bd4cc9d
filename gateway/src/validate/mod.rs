//! (topic, bytes) → [`Accepted`], perhaps with records held, or [`Refused`](RefusedReason): the only decode.
//!
//! Authenticity first: topic, device, version, key generation, tag. Whoever passes is committed and acknowledged; then
//! plausibility decides which records are held back from analytics. Pure: the time is passed in.

mod plausible;
mod refusals;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use taraz_fleet::Fleet;
use taraz_telemetry::{
    Channel, DeviceId, DeviceKey, Frame, FrameError, Hold, MasterKey, Record, RecordId, RecordRange,
    parse_topic,
};

pub use plausible::FUTURE_MAX_MS;
pub(crate) use plausible::Limits;
pub(crate) use refusals::Refusals;
pub use refusals::{REFUSED_SAMPLES_MAX, RefusedReason, RefusedSample};

/// A frame whose newest record is younger is live, one whose records are all older is of a backlog.
const LIVE_AGE_MAX_MS: u64 = 10 * 60 * 1_000;

/// What the gateway knows of a registered device.
#[derive(Debug)]
pub(crate) struct KnownDevice {
    /// Its id.
    pub(crate) id: DeviceId,
    /// Its place in the registry, as good as its id as long as the process lives.
    pub(crate) number: u32,
    /// Its key of the registry's generation.
    pub(crate) key: DeviceKey,
    limits: Limits,
}

/// An authentic frame on its way into the spool.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// Who wrote it.
    pub(crate) device: Arc<KnownDevice>,
    /// The identities it carries.
    pub(crate) range: RecordRange,
    /// The records' bytes, one after the other.
    pub(crate) bytes: Box<[u8]>,
    /// One mark per record, in order.
    pub(crate) marks: Box<[RecordMark]>,
    /// It tells of the present, or of a time that is not known yet: it goes before a backlog.
    pub(crate) is_live: bool,
}

/// What validation found out about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordMark {
    /// Where its bytes end within [`Accepted::bytes`].
    pub(crate) end: u32,
    /// Why it is held, if it is.
    pub(crate) hold: Option<Hold>,
    /// Identity and bytes in 64 bits: equal for the same record sent again, different for a conflict.
    pub(crate) fingerprint: Fingerprint,
}

/// A keyed hash of a record's identity and bytes; the key lives as long as the process.
pub(crate) type Fingerprint = u64;

/// Makes fingerprints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprints(RandomState);

impl Fingerprints {
    pub(crate) fn of(&self, device: &str, id: RecordId, bytes: &[u8]) -> Fingerprint {
        self.0.hash_one((device, id, bytes))
    }
}

/// Knows every registered device with its key and its limits.
#[derive(Debug)]
pub(crate) struct Validator {
    devices: HashMap<DeviceId, Arc<KnownDevice>>,
    fingerprints: Fingerprints,
}

impl Validator {
    /// Derives the key of every device in the registry.
    pub(crate) fn new(fleet: &Fleet, master: &MasterKey, fingerprints: Fingerprints) -> Self {
        let known = |number: u32, entry: taraz_fleet::DeviceRef<'_>| {
            let id = entry.device.id.clone();
            let key = master.device_key(&id, entry.device.key_generation);
            Arc::new(KnownDevice {
                id,
                number,
                key,
                limits: Limits::new(entry),
            })
        };
        let devices = fleet
            .devices()
            .zip(0..)
            .map(|(entry, number)| (entry.device.id.clone(), known(number, entry)))
            .collect();
        Self {
            devices,
            fingerprints,
        }
    }

    /// The registered device of this id.
    pub(crate) fn device(&self, id: &DeviceId) -> Option<&Arc<KnownDevice>> {
        self.devices.get(id)
    }

    /// Judges one message. `session` is the device that signed in at our door; a broker's messages have none.
    ///
    /// # Errors
    /// The reason when the message is not an authentic frame of a registered device.
    pub(crate) fn validate(
        &self,
        session: Option<&DeviceId>,
        topic: &str,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Accepted, RefusedReason> {
        let (device, channel) = parse_topic(topic).ok_or(RefusedReason::Topic)?;
        if channel != Channel::Up {
            return Err(RefusedReason::Topic);
        }
        if session.is_some_and(|signed_in| *signed_in != device) {
            return Err(RefusedReason::ForeignTopic);
        }
        let device = self.device(&device).ok_or(RefusedReason::UnknownDevice)?;
        self.open(device, bytes, now_ms)
    }

    /// Judges a message that came under the topic of this device's frames.
    ///
    /// # Errors
    /// The reason when it is not an authentic frame of it.
    pub(crate) fn open(
        &self,
        device: &Arc<KnownDevice>,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Accepted, RefusedReason> {
        let live_from_ms = now_ms.saturating_sub(LIVE_AGE_MAX_MS);
        let (mut marks, mut end, mut is_live) = (Vec::with_capacity(1), 0_u32, false);
        let judge = |id: RecordId, record: &Record, bytes: &[u8]| {
            // A frame is far below 4 GiB.
            end = end.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            is_live |= record.stamp().utc_ms().is_none_or(|ms| ms >= live_from_ms);
            marks.push(RecordMark {
                end,
                hold: device.limits.judge(record, now_ms),
                fingerprint: self.fingerprints.of(device.id.as_str(), id, bytes),
            });
        };
        let frame =
            Frame::open_each(bytes, &device.key, &device.id, judge).map_err(|error| reason_of(&error))?;
        Ok(Accepted {
            device: Arc::clone(device),
            range: frame.range(),
            bytes: frame.record_bytes().into(),
            marks: marks.into_boxed_slice(),
            is_live,
        })
    }
}

const fn reason_of(error: &FrameError) -> RefusedReason {
    match error {
        FrameError::Length(_) => RefusedReason::Length,
        FrameError::Version(_) => RefusedReason::Version,
        FrameError::Generation(_) => RefusedReason::KeyGeneration,
        FrameError::Tag => RefusedReason::Tag,
        FrameError::Malformed(_) | FrameError::NoRoom => RefusedReason::Malformed,
    }
}

#[cfg(test)]
mod tests;
