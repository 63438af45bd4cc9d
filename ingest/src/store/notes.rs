//! The newest reading of each meter and when each device was heard: what the present begins with at the next start.
//!
//! In: what each commit brought. Out: rows of `newest` and the times in `device`, written now and then and when the store is closed: a
//! row per meter and commit would cost as much as its readings. After a crash they may be [`NOTES_PERIOD_MS`] old; every record is
//! there all the same, and the next poll makes them new.

use rusqlite::Connection;

use super::state::State;
use crate::arrivals::Arrivals;
use crate::keys::KeyMap;

/// How often they are written while something arrives.
pub(super) const NOTES_PERIOD_MS: i64 = 10_000;
/// They are written at once when they are about so many meters.
const NOTES_MAX: usize = 50_000;

/// What is not written yet. What a transaction brought is taken in when it is committed.
#[derive(Debug, Default)]
pub(super) struct Notes {
    written_ms: Option<i64>,
    kept: News,
    /// When the transaction under way wrote all of it down.
    writing_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct News {
    /// Device → newest reading and when it was heard, UTC ms.
    heard: KeyMap<i64, (Option<i64>, i64)>,
    /// (device, meter) → UTC ms and bytes of its newest reading.
    newest: KeyMap<(i64, u8), (i64, Vec<u8>)>,
}

impl News {
    fn take_in(&mut self, arrivals: &Arrivals) {
        for device in arrivals.devices() {
            self.heard(device.who.key, device.newest_ms, arrivals.now_ms());
        }
        for (device, meter, time_ms, bytes) in arrivals.newest() {
            self.newest((device, meter.get()), time_ms, bytes);
        }
    }

    fn heard(&mut self, device: i64, newest_ms: Option<i64>, received_ms: i64) {
        let note = self.heard.entry(device).or_insert((None, received_ms));
        *note = (note.0.max(newest_ms), received_ms);
    }

    fn newest(&mut self, meter: (i64, u8), time_ms: i64, bytes: &[u8]) {
        let (newest_ms, newest) = self.newest.entry(meter).or_insert((i64::MIN, Vec::new()));
        if time_ms > *newest_ms {
            *newest_ms = time_ms;
            newest.clear();
            newest.extend_from_slice(bytes);
        }
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut heard = connection.prepare_cached(
            "UPDATE device SET last_received_ms = ?2, last_reading_ms = nullif(max(coalesce(last_reading_ms, ?4), ?3), ?4)
             WHERE id = ?1",
        )?;
        for (device, (newest_ms, received_ms)) in &self.heard {
            heard.execute((device, received_ms, newest_ms.unwrap_or(i64::MIN), i64::MIN))?;
        }
        let mut newest = connection.prepare_cached(
            "INSERT INTO newest (device, meter, time_ms, bytes) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET time_ms = excluded.time_ms, bytes = excluded.bytes WHERE excluded.time_ms > time_ms",
        )?;
        for ((device, meter), (time_ms, bytes)) in &self.newest {
            newest.execute((device, meter, time_ms, bytes))?;
        }
        Ok(())
    }
}

impl Notes {
    fn is_due(&self, now_ms: i64) -> bool {
        // A clock that was set back makes them due as well.
        let is_fresh = |written_ms: i64| (written_ms..written_ms + NOTES_PERIOD_MS).contains(&now_ms);
        self.kept.newest.len() >= NOTES_MAX || !self.written_ms.is_some_and(is_fresh)
    }

    /// Writes them all down; they stay until that is committed.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.kept.write(connection)
    }

    /// The transaction under way was committed, and brought this.
    pub(super) fn committed(&mut self, arrivals: &Arrivals) {
        match self.writing_ms.take() {
            Some(now_ms) => {
                self.written_ms = Some(now_ms);
                self.kept = News::default();
            }
            None => self.kept.take_in(arrivals),
        }
    }

    /// The transaction under way failed: what stays is what commits brought.
    pub(super) fn undone(self) -> Self {
        Self {
            writing_ms: None,
            ..self
        }
    }
}

/// Writes what is due, with what the transaction brings.
pub(super) fn keep(connection: &Connection, state: &mut State, arrivals: &Arrivals) -> rusqlite::Result<()> {
    let notes = &mut state.notes;
    let is_empty = notes.kept.heard.is_empty() && arrivals.devices().is_empty();
    if !is_empty && notes.is_due(arrivals.now_ms()) {
        notes.write(connection)?;
        let mut fresh = News::default();
        fresh.take_in(arrivals);
        fresh.write(connection)?;
        notes.writing_ms = Some(arrivals.now_ms());
    }
    Ok(())
}
