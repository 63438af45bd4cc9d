//! A queue in memory, for the tests of what is built on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::vec::Vec;

use taraz_telemetry::{Boot, Incarnation, RecordRange, Recovered, Sequence};

use super::{DROPPED_RESERVE_RECORDS, Position, Queue, Recovery};

/// A ring of blocks of a fixed number of records.
#[derive(Debug)]
pub(crate) struct MemoryQueue {
    boot: Boot,
    next: Sequence,
    recovery: Recovery,
    block_records: usize,
    blocks_max: usize,
    blocks: VecDeque<Vec<Position>>,
    pending: BTreeMap<Position, Vec<u8>>,
    ever: BTreeSet<Position>,
}

impl MemoryQueue {
    pub(crate) fn new(blocks_max: usize, block_records: usize) -> Self {
        Self {
            boot: 1,
            next: 0,
            recovery: Recovery::default(),
            block_records,
            blocks_max,
            blocks: VecDeque::from([Vec::new()]),
            pending: BTreeMap::new(),
            ever: BTreeSet::new(),
        }
    }

    pub(crate) fn restart(&mut self) {
        if let Some(sequence) = self.next.checked_sub(1) {
            self.recovery.recovered = Some(Recovered {
                boot: self.boot,
                sequence,
            });
        }
        self.boot += 1;
        self.next = 0;
    }

    /// Every record that was ever appended.
    pub(crate) fn ever(&self) -> BTreeSet<Position> {
        self.ever.clone()
    }

    fn room(&self) -> usize {
        let used: usize = self.blocks.back().map_or(0, Vec::len);
        (self.blocks_max - self.blocks.len()) * self.block_records + self.block_records - used
    }

    fn reclaim(&mut self) {
        while self.blocks.len() > 1
            && self.blocks[0]
                .iter()
                .all(|position| !self.pending.contains_key(position))
        {
            self.blocks.pop_front();
        }
    }
}

impl Queue for MemoryQueue {
    type Error = Infallible;

    fn incarnation(&self) -> Incarnation {
        7
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

    fn append(&mut self, record: &[u8]) -> Result<Sequence, Infallible> {
        assert!(self.room() > 0, "append without room");
        let position = Position {
            boot: self.boot,
            sequence: self.next,
        };
        if self
            .blocks
            .back()
            .is_none_or(|block| block.len() == self.block_records)
        {
            self.blocks.push_back(Vec::new());
        }
        self.blocks.back_mut().unwrap().push(position);
        self.pending.insert(position, record.to_vec());
        self.ever.insert(position);
        self.next += 1;
        Ok(position.sequence)
    }

    fn skip(&mut self, count: u32) -> Result<Sequence, Infallible> {
        let first = self.next;
        self.next += count;
        Ok(first)
    }

    fn next_pending(&mut self, from: Position) -> Result<Option<Position>, Infallible> {
        Ok(self.pending.range(from..).next().map(|(position, _)| *position))
    }

    fn read<'b>(&mut self, at: Position, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Infallible> {
        let Some(bytes) = self.pending.get(&at) else {
            return Ok(None);
        };
        let buffer = &mut buffer[..bytes.len()];
        buffer.copy_from_slice(bytes);
        Ok(Some(buffer))
    }

    fn release(&mut self, range: RecordRange) -> Result<u32, Infallible> {
        if range.incarnation != self.incarnation() {
            return Ok(0);
        }
        let before = self.pending.len();
        self.pending.retain(|position, _| {
            position.boot != range.boot || position.sequence < range.first || position.sequence > range.last
        });
        self.reclaim();
        Ok(u32::try_from(before - self.pending.len()).unwrap())
    }

    fn is_full(&self) -> bool {
        self.room() <= DROPPED_RESERVE_RECORDS as usize
    }

    fn oldest_block_end(&mut self) -> Result<Position, Infallible> {
        Ok(self.blocks[0].last().map_or(Position::START, |last| last.after()))
    }

    fn evict(&mut self) -> Result<u32, Infallible> {
        let block = self.blocks.pop_front().unwrap();
        let lost = block
            .iter()
            .filter(|position| self.pending.remove(position).is_some())
            .count();
        if self.blocks.is_empty() {
            self.blocks.push_back(Vec::new());
        }
        self.reclaim();
        Ok(u32::try_from(lost).unwrap())
    }

    fn pending_records(&self) -> u32 {
        u32::try_from(self.pending.len()).unwrap()
    }

    fn capacity_records(&self) -> u32 {
        u32::try_from(self.blocks_max * self.block_records).unwrap()
    }
}
