//! The log as a [`Queue`].

use taraz_firmware::{DROPPED_RESERVE_RECORDS, Position, Queue, Recovery};
use taraz_telemetry::{Boot, Incarnation, RecordRange, Sequence};

use super::entry::{self, Head};
use super::file::{FileQueue, FileQueueError, ReadAhead, failed};

/// How much is read at once: the records of some frames.
const READ_AHEAD_LEN: usize = 8_192;

impl Queue for FileQueue {
    type Error = FileQueueError;

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn boot(&self) -> Boot {
        self.boot
    }

    fn next_sequence(&self) -> Sequence {
        self.next
    }

    fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    fn append(&mut self, record: &[u8]) -> Result<Sequence, FileQueueError> {
        let sequence = self.stage(&[record], self.mark)?;
        self.commit()?;
        Ok(sequence)
    }

    fn skip(&mut self, count: u32) -> Result<Sequence, FileQueueError> {
        self.commit()?;
        let first = self.next;
        let next = first.checked_add(count).ok_or(FileQueueError::Exhausted)?;
        let head = Head {
            incarnation: self.incarnation,
            boot: self.boot,
            next,
            mark: self.mark,
        };
        let mut bytes = Vec::new();
        entry::write_head(&mut bytes, head);
        self.put(&bytes, true)?;
        self.next = next;
        Ok(first)
    }

    fn next_pending(&mut self, from: Position) -> Result<Option<Position>, FileQueueError> {
        Ok(self.pending.range(from..).next().map(|(position, _)| *position))
    }

    fn read<'b>(&mut self, at: Position, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, FileQueueError> {
        let Some(slot) = self.pending.get(&at).copied() else {
            return Ok(None);
        };
        let (offset, len) = (u64::from(slot.offset), usize::from(slot.len));
        let ahead = &self.read_ahead;
        let hit = ahead.segment == slot.segment
            && offset >= ahead.offset
            && offset + len as u64 <= ahead.offset + ahead.bytes.len() as u64;
        if !hit {
            let mut bytes = std::mem::take(&mut self.read_ahead.bytes);
            bytes.resize(READ_AHEAD_LEN, 0);
            let Some(segment) = self.segment(slot.segment) else {
                return Ok(None);
            };
            let read = segment
                .read(offset, &mut bytes)
                .map_err(|source| failed(&self.dir, source))?;
            bytes.truncate(read);
            self.read_ahead = ReadAhead {
                segment: slot.segment,
                offset,
                bytes,
            };
        }
        let start = usize::try_from(offset - self.read_ahead.offset).unwrap_or(usize::MAX);
        let found = self.read_ahead.bytes.get(start..start.saturating_add(len));
        let (Some(found), Some(buffer)) = (found, buffer.get_mut(..len)) else {
            return Ok(None);
        };
        buffer.copy_from_slice(found);
        Ok(Some(buffer))
    }

    fn release(&mut self, range: RecordRange) -> Result<u32, FileQueueError> {
        if range.incarnation != self.incarnation {
            return Ok(0);
        }
        let (first, last) = (range.first, range.last);
        let positions = Position {
            boot: range.boot,
            sequence: first,
        }..=Position {
            boot: range.boot,
            sequence: last,
        };
        if first > last || self.pending.range(positions).next().is_none() {
            return Ok(0);
        }
        let mut bytes = Vec::new();
        entry::write_release(&mut bytes, range.boot, first, last);
        self.put(&bytes, false)?;
        let released = self.forget(range.boot, first, last, None);
        self.reclaim();
        Ok(released)
    }

    fn is_full(&self) -> bool {
        self.used_records() + DROPPED_RESERVE_RECORDS >= self.capacity_records
    }

    fn oldest_block_end(&mut self) -> Result<Position, FileQueueError> {
        Ok(self
            .segments
            .front()
            .map_or(Position::START, |segment| segment.end))
    }

    fn evict(&mut self) -> Result<u32, FileQueueError> {
        if let [only] = self.segments.make_contiguous() {
            let number = only.number + 1;
            self.create_segment(number)?;
        }
        let Some(oldest) = self.segments.front() else {
            return Ok(0);
        };
        let (number, end) = (oldest.number, oldest.end);
        oldest.delete().map_err(|source| failed(&self.dir, source))?;
        self.segments.pop_front();
        let before = self.pending.len();
        let kept = self.pending.split_off(&end);
        let dropped = std::mem::replace(&mut self.pending, kept);
        debug_assert!(dropped.values().all(|slot| slot.segment == number));
        self.reclaim();
        Ok(u32::try_from(before - self.pending.len()).unwrap_or(u32::MAX))
    }

    fn pending_records(&self) -> u32 {
        u32::try_from(self.pending.len()).unwrap_or(u32::MAX)
    }

    fn capacity_records(&self) -> u32 {
        self.capacity_records
    }
}
