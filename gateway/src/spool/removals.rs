//! Removals that can't go with what is new: on a full disk before it, and when they fail by themselves behind it.

use std::time::{Duration, Instant};

use super::committer::{Committer, Plan, is_full};
use super::queue::{Removal, Work};

/// When removals that fail by themselves are tried again.
const REMOVALS_RETRY: Duration = Duration::from_secs(1);

/// Removals that fail while new rows can be written: what devices send does not wait for them.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    removals: Vec<Removal>,
    /// When they are tried again.
    at: Option<Instant>,
}

impl Postponed {
    /// When they have to be tried again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.at
    }
}

impl Committer {
    /// Removes what ingest has, without anything new; on a disk that is too full even for that, with the reserve's room. What
    /// could not be removed.
    pub(super) fn remove_alone(&mut self, removals: Vec<Removal>) -> Vec<Removal> {
        if removals.is_empty() {
            return removals;
        }
        let nothing = Plan::default();
        let mut removed = self.attempt(&nothing, &[], &removals);
        if removed.as_ref().is_err_and(is_full) && self.reserve.give() {
            removed = self.attempt(&nothing, &[], &removals);
        }
        match removed {
            Ok(gone) => {
                let mut work = Work {
                    removals,
                    ..Work::default()
                };
                self.settle(&nothing, &mut work, gone);
                Vec::new()
            }
            Err(_) => removals,
        }
    }

    /// Commits what is new without the removals, which fail; they are postponed. False when that fails, too.
    pub(super) fn commit_alone(&mut self, plan: &Plan, work: &mut Work) -> bool {
        let Ok(gone) = self.attempt(plan, &work.submissions, &[]) else {
            return false;
        };
        let removals = std::mem::take(&mut work.removals);
        self.settle(plan, work, gone);
        self.postponed.removals.extend(removals);
        self.postponed.at = Some(Instant::now() + REMOVALS_RETRY);
        true
    }

    pub(super) fn try_postponed(&mut self) {
        if self.postponed.at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let removals = std::mem::take(&mut self.postponed.removals);
        self.postponed.removals = self.remove_alone(removals);
        let is_left = !self.postponed.removals.is_empty();
        if is_left {
            self.metrics.commit_failures.inc();
        }
        self.postponed.at = is_left.then(|| Instant::now() + REMOVALS_RETRY);
    }
}
