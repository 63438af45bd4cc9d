//! The writer: one thread, one connection, several batches in one commit.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use taraz_fleet::Fleet;
use taraz_telemetry::{Batch, BatchError, BatchVerdict, RejectedItem};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};

use super::account::{self, Credit};
use super::blocked::Blocked;
use super::exports::Work;
use super::group::Group;
use super::rebuild;
use super::rows::Again;
use super::sealing::{self, Sealing, Swap};
use super::state::State;
use super::tally::Tally;
use super::{Now, StoreError};
use crate::arrivals::Arrivals;
use crate::counters::{Counters, StoreEvent};
use crate::live::Live;
use crate::receive::ReceiveError;

/// The most commands in one commit.
const GROUP_MAX: usize = 64;
/// A commit takes no further batch once it has this many bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// A writer that had nothing to do for so long is idle.
const QUIET: Duration = Duration::from_millis(100);
/// How many readings an idle writer reads again before it looks for the next command.
const IDLE_CREDIT: usize = 5_000;

/// What the writer is asked for; each is answered after its commit.
#[derive(Debug)]
pub(crate) enum Command {
    Batch {
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<BatchVerdict, ReceiveError>>,
    },
    Cursor {
        sink: String,
        cursor: i64,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Chunks that take the place of runs.
    Swap {
        swap: Box<Swap>,
        reply: oneshot::Sender<Result<Sealing, StoreError>>,
    },
    /// Readings before this UTC day go.
    Forget {
        before_day: i64,
        reply: oneshot::Sender<Result<u64, StoreError>>,
    },
    /// What was held because its time was ahead is judged by the time of now; the answer is how many records were released.
    JudgeTimes {
        reply: oneshot::Sender<Result<u64, StoreError>>,
    },
    /// For the sinks of figures.
    Export {
        work: Work,
        reply: oneshot::Sender<Result<i64, StoreError>>,
    },
    Rebuild {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

impl Command {
    fn len(&self) -> usize {
        match self {
            Self::Batch { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    /// Has a commit of its own.
    const fn is_alone(&self) -> bool {
        matches!(
            self,
            Self::JudgeTimes { .. } | Self::Rebuild { .. } | Self::Close { .. }
        )
    }
}

pub(super) struct Writer {
    connection: Connection,
    fleet: Arc<Fleet>,
    state: State,
    /// The state is ahead of the tables: a commit failed and it could not be loaded again yet.
    is_state_lost: bool,
    /// When held records were judged last, UTC ms, and the feed's end then.
    judged: (i64, i64),
    blocked: Blocked,
    live: Live,
    counters: Arc<Counters>,
    now: Now,
    /// Given up last, when nothing is written any more.
    _lock: File,
}

/// What a group's transaction came to.
struct Done {
    /// Of the batches, in their order.
    verdicts: Vec<Result<BatchVerdict, BatchError>>,
    /// Of the swaps, in their order.
    sealings: Vec<Sealing>,
    /// How many readings went, in the order in which that was asked for.
    forgotten: Vec<u64>,
    /// What came of the work for sinks, in its order.
    exports: Vec<i64>,
    arrivals: Arrivals,
    tally: Tally,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        fleet: Arc<Fleet>,
        live: Live,
        counters: Arc<Counters>,
        now: Now,
        lock: File,
    ) -> rusqlite::Result<Self> {
        // `taraz store compact` may write beside: whoever begins, writes, and the other waits instead of failing in between.
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        let state = State::load(&connection, now())?;
        let mut writer = Self {
            connection,
            fleet,
            state,
            is_state_lost: false,
            judged: (i64::MIN, i64::MIN),
            blocked: Blocked::default(),
            live,
            counters,
            now,
            _lock: lock,
        };
        writer.place_again_if_due()?;
        writer.follow_registry()?;
        let judged = writer.judge_held_again(Again::All, (writer.now)())?;
        if judged > 0 {
            tracing::info!(released = judged, "records that were held are held no longer");
        }
        writer.catch_up(Credit(usize::MAX))?;
        Ok(writer)
    }

    /// Places unsynced records anew when the store was written by a version with another rule.
    fn place_again_if_due(&mut self) -> rusqlite::Result<()> {
        let now_ms = (self.now)();
        let transaction = self.connection.transaction()?;
        if transaction.execute("DELETE FROM places_due", ())? == 0 {
            return Ok(());
        }
        rebuild::anchors(&transaction)?;
        let mut work = Group::new(&transaction, &self.fleet, &mut self.state, now_ms);
        work.place_all()?;
        work.finish()?;
        let Group { arrivals, tally, .. } = work;
        transaction.commit()?;
        self.state.notes.committed(&arrivals);
        tally.count(&self.counters);
        self.live.arrived(&arrivals);
        Ok(())
    }

    /// Makes the caches again when the registry knows something else of a meter than when they were made, or when another version
    /// has made them.
    fn follow_registry(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let is_due = transaction.execute("DELETE FROM caches_due", ())? > 0;
        if self.state.follow(&transaction, &self.fleet)? || is_due {
            tracing::info!("intervals and totals are made again from the records");
            rebuild::rebuild(&transaction, &mut self.state)?;
            self.state.changes.write(&transaction)?;
        }
        transaction.commit()?;
        self.count_passed();
        Ok(())
    }

    /// Counts what committed work has passed over.
    fn count_passed(&mut self) {
        let readings = self.state.passed.take();
        self.counters.store(StoreEvent::Damaged, readings);
    }

    /// Releases what was held for a reason that has gone; returns how many records.
    fn judge_held_again(&mut self, again: Again, now_ms: i64) -> rusqlite::Result<u64> {
        let transaction = self.connection.transaction()?;
        let mut work = Group::new(&transaction, &self.fleet, &mut self.state, now_ms);
        let released = work.judge_again(again, now_ms)?;
        if released > 0 {
            work.finish()?;
            let Group { arrivals, tally, .. } = work;
            transaction.commit()?;
            self.state.notes.committed(&arrivals);
            tally.count(&self.counters);
            self.live.arrived(&arrivals);
        } else {
            transaction.finish()?;
        }
        self.count_passed();
        self.judged = (now_ms, self.state.end());
        Ok(released)
    }

    /// Judges again what is held for its time, as far as time may have changed it since.
    fn judge_times(&mut self, committed: &watch::Sender<u64>) -> Result<u64, StoreError> {
        self.find_state()?;
        let now_ms = (self.now)();
        let (since_ms, after) = self.judged;
        let again = Again::Passed {
            since_ms,
            now_ms,
            after,
        };
        // Until it has succeeded: the state may go ahead of the tables.
        self.is_state_lost = true;
        let released = self.judge_held_again(again, now_ms)?;
        self.is_state_lost = false;
        if released > 0 {
            tracing::info!(
                released,
                "records that were held for their time are held no longer"
            );
            committed.send_modify(|commits| *commits += 1);
        }
        Ok(released)
    }

    /// Makes accounts again that late readings have reopened, as far as the credit goes.
    fn catch_up(&mut self, mut credit: Credit) -> rusqlite::Result<()> {
        self.find_state()?;
        if self.state.late.is_empty() {
            return Ok(());
        }
        // Until it has succeeded: accounts in memory go ahead of the tables.
        self.is_state_lost = true;
        let transaction = self.connection.transaction()?;
        account::catch_up(&transaction, &mut self.state, &mut credit)?;
        self.state.changes.write(&transaction)?;
        transaction.commit()?;
        self.is_state_lost = false;
        self.count_passed();
        Ok(())
    }

    /// The next command. While none comes, accounts are made again slice by slice; in a backlog that only pauses they are not, since
    /// more of it would reopen them.
    fn next(
        &mut self,
        queue: &mut mpsc::Receiver<Command>,
        timer: Option<&Runtime>,
        committed: &watch::Sender<u64>,
    ) -> Option<Command> {
        if let Some(timer) = timer.filter(|_| !self.state.late.is_empty()) {
            let quiet = async { tokio::time::timeout(QUIET, queue.recv()).await };
            if let Ok(command) = timer.block_on(quiet) {
                return command;
            }
        }
        while !self.state.late.is_empty() {
            match queue.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            if let Err(error) = self.catch_up(Credit(IDLE_CREDIT)) {
                tracing::error!(%error, "accounts could not be made again; the next commit tries it again");
                break;
            }
            committed.send_modify(|commits| *commits += 1);
        }
        queue.blocking_recv()
    }

    /// Works until every handle is gone or it is told to close.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>, committed: &watch::Sender<u64>) {
        // Without one, late readings beyond the commits' credit are worked in at once.
        let timer = Builder::new_current_thread().enable_time().build().ok();
        let mut waiting = None;
        while let Some(first) = waiting
            .take()
            .or_else(|| self.next(&mut queue, timer.as_ref(), committed))
        {
            match first {
                Command::Rebuild { reply } => {
                    // Whoever asked may be gone; the work is done all the same.
                    let _ = reply.send(self.rebuild());
                    committed.send_modify(|commits| *commits += 1);
                }
                Command::JudgeTimes { reply } => drop(reply.send(self.judge_times(committed))),
                Command::Close { reply } => {
                    queue.close();
                    self.write_notes();
                    drop(self);
                    let _ = reply.send(());
                    return;
                }
                first => {
                    let mut bytes = first.len();
                    let mut group = vec![first];
                    while group.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
                        let Ok(next) = queue.try_recv() else { break };
                        if next.is_alone() {
                            waiting = Some(next);
                            break;
                        }
                        bytes += next.len();
                        group.push(next);
                    }
                    self.commit(group, committed);
                }
            }
        }
    }

    /// Best done, and nothing is lost without it: they only serve the next start.
    fn write_notes(&mut self) {
        // Whatever a failed commit brought is not here.
        let notes = std::mem::take(&mut self.state.notes).undone();
        let written = self.connection.transaction().and_then(|transaction| {
            notes.write(&transaction)?;
            transaction.commit()
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the newest readings could not be noted; the next start takes older ones");
        }
    }

    /// On an error the tables are as they were, and the state is loaded from them before it is used again.
    fn rebuild(&mut self) -> Result<(), StoreError> {
        let result = self.attempt_rebuild();
        self.is_state_lost |= result.is_err();
        result
    }

    fn attempt_rebuild(&mut self) -> Result<(), StoreError> {
        self.find_state()?;
        let transaction = self.connection.transaction()?;
        rebuild::rebuild(&transaction, &mut self.state)?;
        self.state.changes.write(&transaction)?;
        transaction.commit()?;
        self.count_passed();
        Ok(())
    }

    fn find_state(&mut self) -> rusqlite::Result<()> {
        if self.is_state_lost {
            let mut loaded = State::load(&self.connection, (self.now)())?;
            loaded.notes = std::mem::take(&mut self.state.notes).undone();
            self.state = loaded;
            self.is_state_lost = false;
        }
        Ok(())
    }

    fn commit(&mut self, group: Vec<Command>, committed: &watch::Sender<u64>) {
        match self.attempt(&group) {
            Ok(done) => {
                self.blocked.succeeded(&self.counters);
                self.count_passed();
                done.tally.count(&self.counters);
                for sealing in &done.sealings {
                    self.counters.store(StoreEvent::Sealed, sealing.readings);
                    self.counters.store(StoreEvent::SealedRaw, sealing.raw_readings);
                }
                self.counters
                    .store(StoreEvent::Forgotten, done.forgotten.iter().sum());
                self.live.arrived(&done.arrivals);
                committed.send_modify(|commits| *commits += 1);
                answer(group, done);
            }
            Err(error) => {
                self.is_state_lost = true;
                self.blocked.failed(&error, &self.counters);
                refuse(group, &error.to_string());
            }
        }
    }

    /// One transaction for all; on an error nothing of it stays, in the tables and in the state.
    fn attempt(&mut self, group: &[Command]) -> rusqlite::Result<Done> {
        self.find_state()?;
        let transaction = self.connection.transaction()?;
        let mut work = Group::new(&transaction, &self.fleet, &mut self.state, (self.now)());
        let (mut verdicts, mut sealings, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
        for command in group {
            match command {
                Command::Batch { bytes, .. } => verdicts.push(match Batch::decode(bytes) {
                    Ok(batch) => Ok(store_batch(&mut work, &batch)?),
                    Err(error) => Err(error),
                }),
                Command::Cursor { sink, cursor, .. } => {
                    transaction
                        .prepare_cached("INSERT OR REPLACE INTO cursor (sink, record) VALUES (?, ?)")?
                        .execute((sink, cursor))?;
                }
                Command::Swap { swap, .. } => sealings.push(swap.apply(&transaction)?),
                Command::Forget { before_day, .. } => {
                    forgotten.push(sealing::forget(&transaction, *before_day)?);
                }
                Command::Export { work: export, .. } => export.apply(&transaction, work.state)?,
                Command::JudgeTimes { .. } | Command::Rebuild { .. } | Command::Close { .. } => {}
            }
        }
        work.finish()?;
        let Group { arrivals, tally, .. } = work;
        transaction.commit()?;
        self.state.notes.committed(&arrivals);
        let exports = group.iter().filter_map(|command| match command {
            Command::Export { work, .. } => Some(work.committed(&mut self.state)),
            _ => None,
        });
        let exports = exports.collect();
        Ok(Done {
            verdicts,
            sealings,
            forgotten,
            exports,
            arrivals,
            tally,
        })
    }
}

fn store_batch(work: &mut Group<'_>, batch: &Batch<'_>) -> rusqlite::Result<BatchVerdict> {
    let mut verdict = BatchVerdict::default();
    for item in batch.items() {
        match work.item(item)? {
            Ok(()) => verdict.accepted += 1,
            Err(reason) => verdict.rejected.push(RejectedItem {
                position: item.position,
                reason,
            }),
        }
    }
    Ok(verdict)
}

/// Whoever delivered may be gone; a repeated delivery is a duplicate then.
fn answer(group: Vec<Command>, done: Done) {
    let mut verdicts = done.verdicts.into_iter();
    let (mut sealings, mut forgotten) = (done.sealings.into_iter(), done.forgotten.into_iter());
    let mut exports = done.exports.into_iter();
    for command in group {
        match command {
            Command::Batch { reply, .. } => {
                if let Some(verdict) = verdicts.next() {
                    let _ = reply.send(verdict.map_err(ReceiveError::Malformed));
                }
            }
            Command::Cursor { reply, .. } => drop(reply.send(Ok(()))),
            Command::Swap { reply, .. } => drop(reply.send(Ok(sealings.next().unwrap_or_default()))),
            Command::Forget { reply, .. } => drop(reply.send(Ok(forgotten.next().unwrap_or_default()))),
            Command::Export { reply, .. } => drop(reply.send(Ok(exports.next().unwrap_or_default()))),
            Command::JudgeTimes { .. } | Command::Rebuild { .. } | Command::Close { .. } => {}
        }
    }
}

fn refuse(group: Vec<Command>, reason: &str) {
    for command in group {
        match command {
            Command::Batch { reply, .. } => {
                drop(reply.send(Err(ReceiveError::Unavailable(reason.to_owned()))))
            }
            Command::Cursor { reply, .. } => drop(reply.send(Err(StoreError::Failed(reason.to_owned())))),
            Command::Swap { reply, .. } => drop(reply.send(Err(StoreError::Failed(reason.to_owned())))),
            Command::Forget { reply, .. } => drop(reply.send(Err(StoreError::Failed(reason.to_owned())))),
            Command::Export { reply, .. } => drop(reply.send(Err(StoreError::Failed(reason.to_owned())))),
            Command::JudgeTimes { .. } | Command::Rebuild { .. } | Command::Close { .. } => {}
        }
    }
}
