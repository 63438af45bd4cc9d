//! Records that the queue's memory did not take, until it does.
//!
//! They wait in order, as many as have room. Those that come when there is none are lost: counted, and numbered behind the
//! ones that wait, so that a `Dropped` record can name them.

use heapless::Vec;
use taraz_telemetry::Sequence;

/// How many bytes of records wait: some two dozen readings.
pub(super) const BACKLOG_LEN_MAX: usize = 1_024;
/// In front of each record: its length, u16 LE.
const LEN_LEN: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Vec<u8, BACKLOG_LEN_MAX>,
    /// How many were lost since, and have no number yet.
    pub(super) lost_records: u32,
    /// The numbers of lost records that no `Dropped` names yet: first and last, of this boot.
    pub(super) unnamed: Option<(Sequence, Sequence)>,
}

impl Backlog {
    pub(super) const fn new() -> Self {
        Self {
            waiting: Vec::new(),
            lost_records: 0,
            unnamed: None,
        }
    }

    /// Nothing waits, and nothing is lost without a name.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.lost_records == 0 && self.unnamed.is_none()
    }

    /// Lets an encoded record wait. False, and the record counted as lost, when there is no room, or was none for one before.
    pub(super) fn keep(&mut self, record: &[u8]) -> bool {
        let has_room = self.waiting.len() + LEN_LEN + record.len() <= BACKLOG_LEN_MAX;
        let len = u16::try_from(record.len())
            .ok()
            .filter(|_| has_room && self.lost_records == 0);
        let Some(len) = len else {
            self.lost_records = self.lost_records.saturating_add(1);
            return false;
        };
        // There is room for both.
        let _ = self.waiting.extend_from_slice(&len.to_le_bytes());
        let _ = self.waiting.extend_from_slice(record);
        true
    }

    /// The record that has waited longest.
    pub(super) fn first(&self) -> Option<&[u8]> {
        let len = u16::from_le_bytes(*self.waiting.first_chunk()?);
        self.waiting.get(LEN_LEN..LEN_LEN + usize::from(len))
    }

    /// The first record is in the queue.
    pub(super) fn remove_first(&mut self) {
        let Some(len) = self.first().map(|record| LEN_LEN + record.len()) else {
            return;
        };
        self.waiting.rotate_left(len);
        self.waiting.truncate(self.waiting.len() - len);
    }
}
