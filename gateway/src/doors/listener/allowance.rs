//! How many frames a device may send, all its sessions together: a bucket that fills at the allowed rate and holds a second of it.
//!
//! A device above it is not refused but not read: TCP tells it, nothing is lost, and the others have the room.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One device's bucket.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    frames_per_s: u32,
    bucket: Arc<Mutex<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// What was there at `at`; below zero when frames that came together were taken together.
    frames: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(frames_per_s: u32, now: Instant) -> Self {
        let bucket = Bucket {
            frames: f64::from(frames_per_s),
            at: now,
        };
        Self {
            frames_per_s,
            bucket: Arc::new(Mutex::new(bucket)),
        }
    }

    /// Takes frames out; how long nothing more must be read, if at all.
    pub(super) fn take(&self, frames: u32, now: Instant) -> Option<Duration> {
        let rate = f64::from(self.frames_per_s);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = bucket.frames + now.saturating_duration_since(bucket.at).as_secs_f64() * rate;
        bucket.frames = filled.min(rate) - f64::from(frames);
        bucket.at = now;
        (bucket.frames < 0.0).then(|| Duration::from_secs_f64(-bucket.frames / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_frames_at_once_and_then_the_rate() {
        let start = Instant::now();
        let allowance = Allowance::new(100, start);
        assert_eq!(allowance.take(100, start), None);
        let wait = allowance
            .clone()
            .take(50, start)
            .expect("above the rate, in another session");
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(allowance.take(0, start + wait), None);
        assert_eq!(allowance.take(100, start + Duration::from_secs(60)), None);
        assert!(
            allowance.take(1, start + Duration::from_secs(60)).is_some(),
            "no more than a second is saved up"
        );
    }
}
