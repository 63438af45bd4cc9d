//! A pause in forwarding as the log tells it: once when it begins, each hour that it lasts, when the reason is of another kind, and when
//! it is over, with how long it took; never at each of the many attempts.

use std::time::{Duration, Instant};

/// A pause that lasts is told so often.
const AGAIN: Duration = Duration::from_secs(3_600);

/// Why ingest does not take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It answers, and refuses us.
    Refused,
    /// It is not there, or can't now.
    Unavailable,
    /// It answers what makes no sense.
    Confused,
    /// The spool can't be read.
    Unread,
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Pause {
    now: Option<Told>,
}

#[derive(Debug)]
struct Told {
    kind: Kind,
    since: Instant,
    at: Instant,
}

impl Pause {
    /// An attempt has failed. True when that has to be told.
    pub(super) fn met(&mut self, kind: Kind, now: Instant) -> bool {
        let since = match &self.now {
            Some(told) if told.kind == kind && now.saturating_duration_since(told.at) < AGAIN => {
                return false;
            }
            Some(told) => told.since,
            None => now,
        };
        self.now = Some(Told { kind, since, at: now });
        true
    }

    /// An attempt has succeeded. How long it took, when there was a pause.
    pub(super) fn over(&mut self, now: Instant) -> Option<Duration> {
        let told = self.now.take()?;
        Some(now.saturating_duration_since(told.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_told_at_its_beginning_hourly_and_when_it_is_over() {
        let (mut pause, start) = (Pause::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pause.over(start), None);
        let told: Vec<u64> = (0..9_000)
            .step_by(30)
            .filter(|second| pause.met(Kind::Unavailable, at(*second)))
            .collect();
        assert_eq!(told, [0, 3_600, 7_200]);
        assert!(pause.met(Kind::Refused, at(9_000)), "it is something else now");
        assert!(!pause.met(Kind::Refused, at(9_030)));
        assert_eq!(pause.over(at(9_060)), Some(Duration::from_secs(9_060)));
        assert_eq!(pause.over(at(9_060)), None, "once");
        assert!(pause.met(Kind::Refused, at(9_090)), "anew");
    }
}
