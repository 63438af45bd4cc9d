//! Removals that can't go with what is new: on a full disk before it, and when they fail by themselves behind it.

use std::time::{Duration, Instant};

use super::SpoolError;
use super::committer::{Committer, Plan, is_full};
use super::queue::{Removal, Work};

/// When removals that fail by themselves are tried again.
const REMOVALS_RETRY: Duration = Duration::from_secs(1);
/// How often it is told that they still fail.
const TELL_INTERVAL: Duration = Duration::from_secs(3_600);

/// Removals that fail while new rows can be written: what devices send does not wait for them.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    removals: Vec<Removal>,
    /// When they are tried again.
    at: Option<Instant>,
    /// When it was told last that they fail.
    told: Option<Instant>,
}

impl Postponed {
    /// When they have to be tried again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.at
    }
}

impl Committer {
    /// Removes what ingest has, without anything new; on a disk that is too full even for that, with the reserve's room. An error
    /// brings back what could not be removed.
    pub(super) fn remove_alone(&mut self, removals: Vec<Removal>) -> Result<(), (Vec<Removal>, SpoolError)> {
        if removals.is_empty() {
            return Ok(());
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
                Ok(())
            }
            Err(error) => Err((removals, error)),
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

    /// Tries again what is due. While it fails, forwarding waits for it, and that is told: readings come in, and none go on.
    pub(super) fn try_postponed(&mut self) {
        let now = Instant::now();
        if self.postponed.at.is_none_or(|at| at > now) {
            return;
        }
        let removals = std::mem::take(&mut self.postponed.removals);
        let Err((left, error)) = self.remove_alone(removals) else {
            self.postponed = Postponed::default();
            return;
        };
        self.metrics.commit_failures.inc();
        self.metrics.paused.set(1);
        // A connection that has failed is not asked again.
        self.table = None;
        if self.postponed.told.is_none_or(|told| now - told >= TELL_INTERVAL) {
            tracing::error!(
                %error,
                "what ingest has can't be removed from the spool, so that nothing more goes to ingest: make room when the disk is \
                 full, else stop the gateway and run `taraz spool repair`; until then devices' readings are kept here"
            );
            self.postponed.told = Some(now);
        }
        self.postponed.removals = left;
        self.postponed.at = Some(now + REMOVALS_RETRY);
    }
}
