//! What a sink of figures has to do next, and how much waits for it.
//!
//! In: how far it has got, by the store. Out: the next step. A backlog of changes holds up neither days nor whole sites, nor they it.

use crate::analytics::{PeriodStep, day_start_ms, periods, quarter_of};
use crate::figures::CLOSED_AFTER_MS;
use crate::store::{Store, StoreError};

/// What there is to do.
pub(super) enum Next {
    /// Whether nothing else waits.
    Changes {
        after: i64,
        is_alone: bool,
    },
    Days {
        from_ms: i64,
        to_ms: i64,
    },
    Site {
        at: usize,
        facts: i64,
    },
    Nothing,
}

/// What a look finds.
pub(super) struct Found {
    pub(super) next: Next,
    /// The end of the days that were sent, UTC ms.
    pub(super) closed_ms: i64,
    /// How many changes, days and whole sites wait that could be sent.
    pub(super) lag: u64,
}

/// What is to be done next: changes in turns with days that are over and, behind those, whole sites. Changes have the first turn: the end of a
/// day is sent before the day, which is then sent once.
pub(super) fn look(
    store: &Store,
    sink: &str,
    facts: &[i64],
    now_ms: i64,
    is_others_turn: bool,
) -> Result<Found, StoreError> {
    let closed_quarter = quarter_of(now_ms - CLOSED_AFTER_MS);
    let over_ms = days_over_ms(now_ms);
    store.snapshot(|snapshot| {
        let Some(progress) = snapshot.progress(sink)? else {
            let (next, closed_ms, lag) = (Next::Nothing, 0, 0);
            return Ok(Found { next, closed_ms, lag });
        };
        let (after, closed_ms) = (progress.revision, progress.closed_ms);
        let changes = snapshot.changes_behind(after, closed_quarter)?;
        let days = periods(closed_ms, over_ms, PeriodStep::Day).len() as u64;
        let sent = snapshot.exported_sites(sink)?;
        let sites = snapshot.fleet().sites.iter().zip(facts).enumerate();
        let mut missing = sites.filter(|(_, (site, facts))| sent.get(&site.id) != Some(*facts));
        let site = missing.next().map(|(at, (_, &facts))| Next::Site { at, facts });
        let lag = changes + days + u64::from(site.is_some()) + missing.count() as u64;
        let other = if closed_ms < over_ms {
            let (from_ms, to_ms) = (closed_ms, over_ms);
            Some(Next::Days { from_ms, to_ms })
        } else {
            site
        };
        let is_alone = other.is_none();
        let next = match other {
            Some(other) if changes == 0 || is_others_turn => other,
            _ if changes > 0 => Next::Changes { after, is_alone },
            _ => Next::Nothing,
        };
        Ok(Found { next, closed_ms, lag })
    })
}

/// Where the local days that are over at an instant end, UTC ms.
pub(crate) fn days_over_ms(now_ms: i64) -> i64 {
    day_start_ms(now_ms - CLOSED_AFTER_MS)
}
