//! Opening a log that was left at any instant: reads the segments, cuts off what is torn, names what is lost.

use std::io;

use taraz_firmware::Position;
use taraz_telemetry::Recovered;

use super::entry::{self, Entry, Head};
use super::file::{FileQueue, Slot};
use super::segment::{self, MAGIC, Segment};

impl FileQueue {
    /// Reads every segment there is.
    pub(super) fn recover(&mut self) -> io::Result<()> {
        let numbers = segment::numbers(&self.dir)?;
        // Segments are deleted from the front; one in front of a hole is a deletion that a power cut undid.
        let last_hole = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
        let (stale, numbers) = numbers.split_at(last_hole.map_or(0, |at| at + 1));
        for number in stale {
            segment::delete(&self.dir, *number)?;
        }
        let newest = numbers.last().copied();
        for &number in numbers {
            let (mut segment, bytes) = Segment::open(&self.dir, number)?;
            let valid = self.replay(&mut segment, &bytes);
            if Some(number) == newest && valid < bytes.len() as u64 {
                if valid == 0 {
                    // Torn while it was created: nothing was in it yet.
                    segment.delete()?;
                    continue;
                }
                segment.truncate(valid)?;
            }
            segment.len = valid;
            self.segments.push_back(segment);
        }
        Ok(())
    }

    /// Takes in a segment's entries; returns how much of it is valid.
    fn replay(&mut self, segment: &mut Segment, bytes: &[u8]) -> u64 {
        if !bytes.starts_with(&MAGIC) {
            return 0;
        }
        let mut at = MAGIC.len();
        while let Some((entry, len)) = entry::read(&bytes[at..]) {
            match entry {
                Entry::Head(head) => self.replay_head(head, at == MAGIC.len()),
                Entry::Boot(boot) => {
                    self.boot = boot;
                    self.next = 0;
                }
                Entry::Release { boot, first, last } => {
                    self.forget(boot, first, last, Some(segment));
                }
                Entry::Run(run) => {
                    let mut position = run.first;
                    if position
                        != (Position {
                            boot: self.boot,
                            sequence: self.next,
                        })
                    {
                        // What is left of a write that failed and was written over.
                        break;
                    }
                    for (offset, len) in run.records() {
                        let offset = u32::try_from(at + offset).unwrap_or(u32::MAX);
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
                        self.newest = Some(Recovered {
                            boot: position.boot,
                            sequence: position.sequence,
                        });
                        position = position.after();
                    }
                    segment.end = position;
                    self.boot = position.boot;
                    self.next = position.sequence;
                    self.mark = run.mark;
                }
            }
            at += len;
        }
        at as u64
    }

    fn replay_head(&mut self, head: Head, begins_segment: bool) {
        // The segment before ended earlier than it should: what is missing was durable and is lost. Within a segment: the
        // records that could not be written.
        let known = if head.boot == self.boot { self.next } else { 0 };
        if head.next > known && !(begins_segment && self.segments.is_empty()) {
            let _ = self.recovery.lost.add(head.boot, known, head.next - 1);
        }
        self.incarnation = head.incarnation;
        self.boot = head.boot;
        self.next = head.next;
        self.mark = head.mark;
        // Its last record may be gone with an earlier segment, but it was there.
        if let Some(sequence) = head.next.checked_sub(1) {
            self.newest = Some(Recovered {
                boot: head.boot,
                sequence,
            });
        }
    }
}
