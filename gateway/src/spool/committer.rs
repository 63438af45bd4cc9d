//! The thread that commits: takes what waits, writes it with one fsync, then says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use taraz_telemetry::{RecordId, Records};

use crate::metrics::{FrameResult, Metrics};
use crate::time::now_ms;
use crate::validate::{Accepted, Fingerprints};

use super::durable::Receipts;
use super::live::News;
use super::mark::{MarkFile, Marked};
use super::queue::{Queue, Removal, Submission, Work};
use super::recent::{RECENT_RECORDS_MAX, Recent};
use super::removals::Postponed;
use super::reserve::Reserve;
use super::rows::{Piece, Rows};
use super::table::{ROW_OVERHEAD, StoredRow, Table, Usage};
use super::trouble::Trouble;
use super::{SpoolError, SpoolLimits};

/// Waits between attempts of a commit that fails.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

pub(super) struct Committer {
    pub(super) table: Option<Table>,
    file: PathBuf,
    limits: SpoolLimits,
    queue: Arc<Queue>,
    recent: Recent,
    next_position: u64,
    usage: Usage,
    mark: MarkFile,
    pub(super) reserve: Reserve,
    pub(super) metrics: Metrics,
    trouble: Trouble,
    news: News,
    pub(super) postponed: Postponed,
}

/// A spool's file of which all is accounted for.
pub(super) struct Opened {
    pub(super) table: Table,
    pub(super) file: PathBuf,
    pub(super) marked: Marked,
}

/// What one group writes. Its lists serve one group after the other.
#[derive(Default)]
pub(super) struct Plan {
    pieces: Vec<Piece>,
    rows: Rows,
    results: Results,
}

/// Frames of one group by what became of them.
#[derive(Default)]
struct Results {
    accepted: u64,
    held: u64,
    duplicate: u64,
}

impl Results {
    /// By what of a frame is new.
    fn count(&mut self, new: &[Piece]) {
        *match new {
            [] => &mut self.duplicate,
            new if new.iter().any(|piece| piece.hold.is_some()) => &mut self.held,
            _ => &mut self.accepted,
        } += 1;
    }

    const fn all(&self) -> [(FrameResult, u64); 3] {
        [
            (FrameResult::Accepted, self.accepted),
            (FrameResult::Held, self.held),
            (FrameResult::Duplicate, self.duplicate),
        ]
    }
}

impl Committer {
    /// Reads how much is there and which records came last.
    pub(super) fn recover(
        opened: Opened,
        limits: SpoolLimits,
        fingerprints: Fingerprints,
        metrics: Metrics,
        queue: Arc<Queue>,
        news: News,
    ) -> Result<Self, SpoolError> {
        let Opened { table, file, marked } = opened;
        let at = |error| SpoolError::Open {
            file: file.display().to_string(),
            error,
        };
        let usage = table.usage().map_err(at)?;
        let next_position = table.next_position().map_err(at)?;
        let mut newest = Vec::new();
        table
            .newest(|row| {
                // What a damaged row held can come again, and is then stored beside it.
                if !row.damaged {
                    newest.extend(fingerprints_of(row, &fingerprints));
                }
                newest.len() < RECENT_RECORDS_MAX
            })
            .map_err(at)?;
        let mut recent = Recent::new(RECENT_RECORDS_MAX);
        for fingerprint in newest.into_iter().take(RECENT_RECORDS_MAX).rev() {
            recent.insert(fingerprint);
        }
        if usage.items > 0 {
            tracing::info!(
                items = usage.items,
                bytes = usage.item_bytes,
                "recovered the spool"
            );
        }
        news.committed.send_replace(next_position - 1);
        let folder = file.parent().unwrap_or(Path::new("."));
        let reserve = Reserve::take(folder);
        let mark = MarkFile::take(folder, &marked, next_position);
        let committer = Self {
            table: Some(table),
            file,
            limits,
            queue,
            recent,
            next_position,
            usage,
            reserve,
            mark,
            metrics,
            trouble: Trouble::default(),
            news,
            postponed: Postponed::default(),
        };
        committer.publish_usage();
        Ok(committer)
    }

    pub(super) fn run(mut self) {
        // Whatever ends this thread, a panic included, the doors must hear of it.
        struct End(Arc<Queue>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        let _end = End(Arc::clone(&self.queue));
        let (mut plan, mut emptied) = (Plan::default(), Vec::new());
        let mut frames = 0;
        loop {
            let accepting = self.usage.bytes() < self.limits.bytes_max;
            // What kept a commit from succeeding is over when one has: nothing says so before.
            self.metrics
                .blocked
                .set((!accepting || self.trouble.is_there()).into());
            let mut work = self.queue.take(accepting, frames, emptied, self.postponed.due());
            frames = work.submissions.len();
            if (frames > 0 || !work.removals.is_empty()) && !self.commit(&mut plan, &mut work) {
                break;
            }
            if work.last {
                break;
            }
            self.try_postponed();
            emptied = work.submissions;
        }
        // The file is closed before anybody hears that the spool has ended.
        self.table = None;
    }

    /// Commits, however often it takes. False when it was given up because the program ends.
    fn commit(&mut self, plan: &mut Plan, work: &mut Work) -> bool {
        self.plan(plan, &work.submissions);
        let mut wait = RETRY_MIN;
        loop {
            match self.attempt(plan, &work.submissions, &work.removals) {
                Ok(gone) => {
                    self.settle(plan, work, gone);
                    return true;
                }
                Err(error) => self.failed(&error),
            }
            // What ingest has taken can go even when there is no room for anything new.
            let removals = std::mem::take(&mut work.removals);
            work.removals = self
                .remove_alone(removals)
                .err()
                .map(|(left, _)| left)
                .unwrap_or_default();
            if !work.removals.is_empty() && self.commit_alone(plan, work) {
                return true;
            }
            if self.queue.closing() {
                tracing::error!(
                    frames = work.submissions.len(),
                    "ended without committing; nothing of it was acknowledged"
                );
                return false;
            }
            work.removals.extend(self.queue.wait_for_retry(wait));
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Decides what of each submission is new, cuts it where the hold changes, and joins what continues into rows.
    fn plan(&mut self, plan: &mut Plan, submissions: &[Submission]) {
        let Plan {
            pieces,
            rows,
            results,
        } = plan;
        pieces.clear();
        *results = Results::default();
        for (at, submission) in submissions.iter().enumerate() {
            let before = pieces.len();
            self.cut(at, &submission.accepted, pieces);
            results.count(&pieces[before..]);
        }
        rows.join(pieces, submissions);
    }

    /// What of a submission is new, in pieces of one hold.
    fn cut(&mut self, submission: usize, accepted: &Accepted, pieces: &mut Vec<Piece>) {
        let (mut start, mut sequence) = (0, accepted.range.first);
        let mut open: Option<Piece> = None;
        for mark in &accepted.marks {
            let end = mark.end as usize;
            if !self.recent.insert(mark.fingerprint) {
                pieces.extend(open.take());
            } else {
                match &mut open {
                    Some(piece) if piece.hold == mark.hold => {
                        piece.count += 1;
                        piece.bytes.end = end;
                    }
                    _ => {
                        let piece = Piece {
                            submission,
                            first: sequence,
                            count: 1,
                            bytes: start..end,
                            hold: mark.hold,
                        };
                        pieces.extend(open.replace(piece));
                    }
                }
            }
            start = end;
            sequence = sequence.wrapping_add(1);
        }
        pieces.extend(open);
    }

    pub(super) fn attempt(
        &mut self,
        plan: &Plan,
        submissions: &[Submission],
        removals: &[Removal],
    ) -> Result<Usage, SpoolError> {
        // Only duplicates: they are durable already.
        if plan.rows.is_empty() && removals.is_empty() {
            return Ok(Usage::default());
        }
        let rows = plan.rows.from(self.next_position, submissions);
        let table = match &mut self.table {
            Some(table) => table,
            none => none.insert(Table::open(&self.file, &self.limits.table)?),
        };
        let applied = table.apply(rows, removals, now_ms());
        applied.map_err(|error| SpoolError::Open {
            file: self.file.display().to_string(),
            error,
        })
    }

    /// It is durable: now it may be acknowledged.
    pub(super) fn settle(&mut self, plan: &Plan, work: &mut Work, gone: Usage) {
        if !plan.rows.is_empty() || !work.removals.is_empty() {
            self.metrics.commits.inc();
        }
        if plan.rows.is_empty() {
            // Whether anything new fits is not known.
        } else {
            self.metrics.blocked.set(0);
            self.reserve.take_again();
            self.tell_over();
        }
        // Known before forwarding hears of it.
        self.news
            .live
            .add(self.next_position..=self.next_position + plan.rows.live() - 1);
        self.next_position += plan.rows.len() as u64;
        if !plan.rows.is_empty() || !work.removals.is_empty() {
            self.mark.advance(self.next_position, &work.removals);
        }
        self.usage.items += plan.rows.len() as u64;
        self.usage.item_bytes += plan.rows.bytes() + plan.rows.len() as u64 * ROW_OVERHEAD;
        self.usage.items = self.usage.items.saturating_sub(gone.items);
        self.usage.item_bytes = self.usage.item_bytes.saturating_sub(gone.item_bytes);
        self.usage.quarantined += gone.quarantined;
        self.usage.quarantined_bytes += gone.quarantined_bytes;
        self.publish_usage();
        for (result, count) in plan.results.all() {
            self.metrics.frames(result, count);
        }
        tell(&mut work.submissions);
        for removal in work.removals.drain(..) {
            if removal.has_damaged() {
                // Records of it may come again, and are new then; ingest knows the others.
                self.recent = Recent::new(RECENT_RECORDS_MAX);
            }
            let _ = removal.done.send(());
        }
        if !plan.rows.is_empty() {
            self.news.committed.send_replace(self.next_position - 1);
        }
    }

    fn tell_over(&mut self) {
        if let Some(over) = self.trouble.over(now_ms()) {
            let (lasted_ms, attempts) = (over.lasted_ms, over.attempts);
            tracing::info!(
                lasted_ms,
                attempts,
                "the spool commits again; what devices kept meanwhile comes now"
            );
        }
    }

    fn failed(&mut self, error: &SpoolError) {
        self.metrics.commit_failures.inc();
        self.metrics.blocked.set(1);
        if let Some(advice) = self.trouble.met(code(error), now_ms()) {
            let reason = sqlite_words(error);
            tracing::error!(file = %self.file.display(), reason, "a commit of the spool failed, nothing is acknowledged: {advice}");
        }
        // A connection that met an I/O error is not trusted again.
        if !is_busy(error) {
            self.table = None;
        }
    }

    fn publish_usage(&self) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.backlog.set(gauge(self.usage.items));
        self.metrics.spool_bytes.set(gauge(self.usage.bytes()));
        self.metrics.quarantined.set(gauge(self.usage.quarantined));
    }
}

/// Tells each door once what of it is durable, and gives the queue's room back.
fn tell(submissions: &mut Vec<Submission>) {
    let mut receipts = Receipts::default();
    let count = submissions.len();
    for submission in submissions.drain(..) {
        receipts.add(submission.done, submission.number, count);
    }
    receipts.tell();
}

/// What `SQLite` says, without the advice for whoever opens a file.
fn sqlite_words(error: &SpoolError) -> String {
    match error {
        SpoolError::Open { error, .. } => error.to_string(),
        other => other.to_string(),
    }
}

fn is_busy(error: &SpoolError) -> bool {
    code(error) == Some(rusqlite::ErrorCode::DatabaseBusy)
}

pub(super) fn is_full(error: &SpoolError) -> bool {
    code(error) == Some(rusqlite::ErrorCode::DiskFull)
}

fn code(error: &SpoolError) -> Option<rusqlite::ErrorCode> {
    match error {
        SpoolError::Open { error, .. } => error.sqlite_error_code(),
        _ => None,
    }
}

/// A row's records, newest first.
fn fingerprints_of(row: &StoredRow<'_>, fingerprints: &Fingerprints) -> Vec<u64> {
    let mut id = RecordId {
        incarnation: row.incarnation,
        boot: row.boot,
        sequence: row.first,
    };
    let mut records = Records::new(row.records);
    let mut found = Vec::new();
    while let Some(Ok((_, bytes))) = records.next_with_bytes() {
        found.push(fingerprints.of(row.device, id, bytes));
        id.sequence = id.sequence.wrapping_add(1);
    }
    found.reverse();
    found
}
