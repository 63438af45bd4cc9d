//! When which session has to be looked at: one time for each, the earliest at which something could be due.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::turn::SessionId;

/// A session's time is moved forward only; what came later than it was set for is found out when it has come.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, SessionId)>,
}

impl Timers {
    /// Looks at the session at `at` and no longer at `before`.
    pub(super) fn set(&mut self, id: SessionId, before: Option<Instant>, at: Instant) {
        if let Some(before) = before {
            self.due.remove(&(before, id));
        }
        self.due.insert((at, id));
    }

    /// The session has ended.
    pub(super) fn forget(&mut self, id: SessionId, at: Instant) {
        self.due.remove(&(at, id));
    }

    /// A session whose time has come; it has none any more then.
    pub(super) fn pop(&mut self, now: Instant) -> Option<SessionId> {
        let first = self.due.first().filter(|(at, _)| *at <= now)?;
        let id = first.1;
        self.due.pop_first();
        Some(id)
    }

    /// How long until the next.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let (at, _) = self.due.first()?;
        Some(at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_each_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = SessionId::new;
        let mut timers = Timers::default();
        timers.set(id(1, 0), None, at(10));
        timers.set(id(2, 0), None, at(20));
        timers.set(id(2, 0), Some(at(20)), at(5));
        assert_eq!(timers.wait(at(1)), Some(Duration::from_secs(4)));
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(30)), Some(id(2, 0)));
        timers.forget(id(1, 0), at(10));
        assert_eq!((timers.pop(at(30)), timers.wait(start)), (None, None));
    }
}
