//! The log: what is appended, what is pending, and which segments hold it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use taraz_firmware::{Position, Recovery};
use taraz_telemetry::{Boot, Incarnation, RECORD_LEN_MAX, Recovered, Sequence};

use super::entry::{self, Entry, Head};
use super::segment::{MAGIC, Segment};

/// The smallest capacity in records.
pub const QUEUE_RECORDS_MIN: u32 = 256;
/// The largest capacity in records.
pub const QUEUE_RECORDS_MAX: u32 = 50_000_000;

/// A segment holds at most this part of the capacity …
const SEGMENTS_PER_CAPACITY: u32 = 16;
/// … at most this many records …
const SEGMENT_RECORDS_MAX: u32 = 8_192;
/// … and begins no new entry behind this many bytes.
const SEGMENT_LEN_MAX: u64 = 4 << 20;

/// The queue's folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileQueueError {
    /// Another process owns it.
    #[error("{0} is in use by another process; stop that one, or give this device a state folder of its own")]
    InUse(PathBuf),
    /// A file operation failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// On which file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A record is longer than `RECORD_LEN_MAX`.
    #[error("a record has at most {RECORD_LEN_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A boot has no more sequences.
    #[error("this boot has used up its sequences; restart the device")]
    Exhausted,
}

/// Where a pending record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) len: u16,
}

/// Read but not yet asked for.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// A queue in a folder.
#[derive(Debug)]
pub struct FileQueue {
    pub(super) dir: PathBuf,
    _lock: File,
    pub(super) incarnation: Incarnation,
    pub(super) boot: Boot,
    pub(super) next: Sequence,
    pub(super) mark: u64,
    pub(super) newest: Option<Recovered>,
    pub(super) recovery: Recovery,
    pub(super) capacity_records: u32,
    pub(super) segments: VecDeque<Segment>,
    pub(super) pending: BTreeMap<Position, Slot>,
    /// Entries not written yet, and the records in them.
    staged: Vec<u8>,
    staged_records: Vec<(Position, usize, u16)>,
    staged_mark: u64,
    pub(super) read_ahead: ReadAhead,
}

impl FileQueue {
    /// Opens the queue in `dir`, which is created and formatted when there is none. `capacity_records` is moved into
    /// [`QUEUE_RECORDS_MIN`] to [`QUEUE_RECORDS_MAX`]. Then call [`Self::begin_boot`].
    ///
    /// # Errors
    /// The folder is in use or can't be read or written. Damage in it is no error: what is lost is named in
    /// [`Queue::recovery`](taraz_firmware::Queue::recovery).
    pub fn open(dir: &Path, capacity_records: u32) -> Result<Self, FileQueueError> {
        std::fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
        let lock = lock(dir)?;
        let mut queue = Self {
            dir: dir.to_path_buf(),
            _lock: lock,
            incarnation: 0,
            boot: 0,
            next: 0,
            mark: 0,
            newest: None,
            recovery: Recovery::default(),
            capacity_records: capacity_records.clamp(QUEUE_RECORDS_MIN, QUEUE_RECORDS_MAX),
            segments: VecDeque::new(),
            pending: BTreeMap::new(),
            staged: Vec::new(),
            staged_records: Vec::new(),
            staged_mark: 0,
            read_ahead: ReadAhead::default(),
        };
        queue.recover().map_err(|source| failed(dir, source))?;
        if queue.segments.is_empty() {
            queue.incarnation = rand::random();
            queue.create_segment(1)?;
        }
        queue.reclaim();
        Ok(queue)
    }

    /// Counts the boot up: everything appended from now on belongs to the new one.
    ///
    /// # Errors
    /// The boot can't be made durable.
    pub fn begin_boot(&mut self) -> Result<(), FileQueueError> {
        let boot = self.boot.saturating_add(1);
        let mut bytes = Vec::new();
        entry::write_boot(&mut bytes, boot);
        self.put(&bytes, true)?;
        self.boot = boot;
        self.next = 0;
        self.recovery.recovered = self.newest;
        Ok(())
    }

    /// Begins a run of records that becomes durable, and visible, as a whole with [`Self::commit`].
    ///
    /// # Errors
    /// A record is too long, or the boot has no more sequences.
    pub fn stage<R: AsRef<[u8]>>(&mut self, records: &[R], mark: u64) -> Result<Sequence, FileQueueError> {
        if let Some(record) = records
            .iter()
            .map(AsRef::as_ref)
            .find(|record| record.len() > RECORD_LEN_MAX)
        {
            return Err(FileQueueError::TooLong(record.len()));
        }
        let staged = u32::try_from(self.staged_records.len()).unwrap_or(u32::MAX);
        let more = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let first = self.next.checked_add(staged).ok_or(FileQueueError::Exhausted)?;
        first.checked_add(more).ok_or(FileQueueError::Exhausted)?;
        let at = self.staged.len();
        let position = Position {
            boot: self.boot,
            sequence: first,
        };
        entry::write_run(
            &mut self.staged,
            position,
            mark,
            records.iter().map(AsRef::as_ref),
        );
        if let Some((Entry::Run(run), _)) = entry::read(&self.staged[at..]) {
            let mut position = position;
            for (offset, len) in run.records() {
                self.staged_records.push((position, at + offset, len));
                position = position.after();
            }
        }
        self.staged_mark = mark;
        Ok(first)
    }

    /// Makes what was staged durable. On an error nothing of it is in the queue.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn commit(&mut self) -> Result<(), FileQueueError> {
        let staged = std::mem::take(&mut self.staged);
        let records = std::mem::take(&mut self.staged_records);
        if staged.is_empty() {
            return Ok(());
        }
        let at = self.put(&staged, true)?;
        self.mark = self.staged_mark;
        let Some(segment) = self.segments.back_mut() else {
            return Ok(());
        };
        for (position, offset, len) in records {
            // A segment ends at SEGMENT_LEN_MAX plus one batch, far below 4 GiB.
            let offset = u32::try_from(at + offset as u64).unwrap_or(u32::MAX);
            self.pending.insert(
                position,
                Slot {
                    segment: segment.number,
                    offset,
                    len,
                },
            );
            segment.records += 1;
            segment.pending += 1;
            segment.end = position.after();
            self.next = position.sequence + 1;
            self.newest = Some(Recovered {
                boot: position.boot,
                sequence: position.sequence,
            });
        }
        Ok(())
    }

    /// The mark of the newest run: how far whoever wrote it had come. 0 when there is none.
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.mark
    }

    /// Takes a range out of what is pending, wherever its records stand.
    pub(super) fn forget(
        &mut self,
        boot: Boot,
        first: Sequence,
        last: Sequence,
        mut open: Option<&mut Segment>,
    ) -> u32 {
        if last < first {
            return 0;
        }
        let range = Position {
            boot,
            sequence: first,
        }..=Position { boot, sequence: last };
        let found: Vec<(Position, u32)> = self
            .pending
            .range(range)
            .map(|(position, slot)| (*position, slot.segment))
            .collect();
        for (position, number) in &found {
            self.pending.remove(position);
            match (&mut open, self.segments.front().map(|front| front.number)) {
                (Some(segment), _) if segment.number == *number => segment.pending -= 1,
                (_, Some(front)) => {
                    if let Some(segment) = self.segments.get_mut((number - front) as usize) {
                        segment.pending -= 1;
                    }
                }
                (_, None) => {}
            }
        }
        u32::try_from(found.len()).unwrap_or(u32::MAX)
    }

    /// Writes entries at the end of the log and returns where they begin in the last segment.
    pub(super) fn put(&mut self, bytes: &[u8], durable: bool) -> Result<u64, FileQueueError> {
        let segment_records_max =
            (self.capacity_records / SEGMENTS_PER_CAPACITY).clamp(1, SEGMENT_RECORDS_MAX);
        let roll = self
            .segments
            .back()
            .is_none_or(|segment| segment.records >= segment_records_max || segment.len >= SEGMENT_LEN_MAX);
        if roll {
            let number = self.segments.back().map_or(1, |segment| segment.number + 1);
            if let Some(segment) = self.segments.back() {
                segment.sync().map_err(|source| failed(&self.dir, source))?;
            }
            self.create_segment(number)?;
            self.reclaim();
        }
        let Some(segment) = self.segments.back_mut() else {
            return Ok(0);
        };
        let at = segment.len;
        let written = segment
            .write(bytes)
            .and_then(|()| if durable { segment.sync() } else { Ok(()) });
        written.map_err(|source| failed(&self.dir, source))?;
        segment.grow(bytes.len());
        Ok(at)
    }

    pub(super) fn create_segment(&mut self, number: u32) -> Result<(), FileQueueError> {
        let mut bytes = MAGIC.to_vec();
        let head = Head {
            incarnation: self.incarnation,
            boot: self.boot,
            next: self.next,
            mark: self.mark,
        };
        entry::write_head(&mut bytes, head);
        let segment =
            Segment::create(&self.dir, number, &bytes).map_err(|source| failed(&self.dir, source))?;
        self.segments.push_back(segment);
        Ok(())
    }

    /// Deletes the segments at the front in which nothing is pending. One that can't be deleted now is deleted later.
    pub(super) fn reclaim(&mut self) {
        while self.segments.len() > 1 && self.segments[0].pending == 0 && self.segments[0].delete().is_ok() {
            self.segments.pop_front();
        }
    }

    pub(super) fn segment(&self, number: u32) -> Option<&Segment> {
        let front = self.segments.front()?.number;
        self.segments.get(number.checked_sub(front)? as usize)
    }

    pub(super) fn used_records(&self) -> u32 {
        self.segments.iter().map(|segment| segment.records).sum()
    }
}

fn lock(dir: &Path) -> Result<File, FileQueueError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|source| failed(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FileQueueError::InUse(dir.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(failed(&path, source)),
    }
}

pub(super) fn failed(path: &Path, source: io::Error) -> FileQueueError {
    FileQueueError::Io {
        path: path.to_path_buf(),
        source,
    }
}
