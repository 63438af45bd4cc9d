//! Sessions that wait for room in the spool's queue: a line for what is live and one for backlogs.
//!
//! Both are asked, live first. The room itself is given in the order of asking, so that with no room left over they get it in turn:
//! a hundred live readings pass a backlog of ten thousand devices, and the backlog does not stand still.

use std::collections::VecDeque;

use super::turn::SessionId;

/// Which of the two, by the frame that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Live,
    Backlog,
}

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Live, Self::Backlog];

    pub(super) const fn of(is_live: bool) -> Self {
        if is_live { Self::Live } else { Self::Backlog }
    }
}

/// A session stands in it once, or not at all.
#[derive(Debug, Default)]
pub(super) struct Line {
    live: VecDeque<SessionId>,
    backlog: VecDeque<SessionId>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.backlog.is_empty()
    }

    /// Who waits in this lane, in the order of waiting.
    pub(super) const fn lane(&mut self, lane: Lane) -> &mut VecDeque<SessionId> {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Backlog => &mut self.backlog,
        }
    }
}
