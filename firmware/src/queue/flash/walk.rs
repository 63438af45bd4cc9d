//! Finding records: a few cursors remember where the last walks stood, so that going on costs one entry.

use embedded_storage::nor_flash::NorFlash;

use super::layout::EntryHead;
use super::ring::{FlashQueue, Outcome};
use crate::queue::Position;

/// The live lane, the backfill lane, the frames in flight, and some to spare.
const CURSORS: usize = 6;

/// In front of nothing.
const END: Position = Position {
    boot: u32::MAX,
    sequence: u32::MAX,
};

/// A pending record and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) page: u32,
    pub(super) at: u32,
    pub(super) head: EntryHead,
}

/// No record from `from` up to `to` is pending; `to` stands at `at`, every later one at or behind `behind`.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    from: Position,
    to: Position,
    page: u32,
    at: u32,
    behind: u32,
}

impl Cursor {
    /// Where a walk from `from`, which is not in front of this cursor, begins.
    fn place(&self, from: Position) -> (u32, u32) {
        (self.page, if from <= self.to { self.at } else { self.behind })
    }
}

/// Where the last walks stood.
#[derive(Debug)]
pub(super) struct Cursors {
    places: [Option<Cursor>; CURSORS],
    turn: usize,
    /// The page whose first position was read last.
    start: Option<(u32, Position)>,
}

impl Cursors {
    pub(super) const fn new() -> Self {
        Self {
            places: [None; CURSORS],
            turn: 0,
            start: None,
        }
    }

    pub(super) const fn clear(&mut self) {
        *self = Self::new();
    }

    /// The one that is farthest on the way to `from`.
    fn nearest(&self, from: Position, tail: u32) -> Option<(usize, Cursor)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(index, place)| place.map(|cursor| (index, cursor)))
            .filter(|(_, cursor)| cursor.from <= from && cursor.page >= tail)
            .max_by_key(|(_, cursor)| (cursor.page, cursor.at))
    }

    fn note(&mut self, index: Option<usize>, cursor: Cursor) {
        let index = index.unwrap_or_else(|| {
            self.turn = (self.turn + 1) % CURSORS;
            self.turn
        });
        self.places[index] = Some(cursor);
    }
}

impl<F: NorFlash> FlashQueue<F> {
    /// The first pending record at or behind `from`.
    pub(super) fn find(&mut self, from: Position) -> Outcome<Option<Found>, F> {
        if self.pending_total == 0 {
            return Ok(None);
        }
        let (index, mut page, mut at) = self.begin_walk(from)?;
        while page <= self.head {
            if self.pending[self.medium.geometry.slot(page)] > 0
                && let Some(found) = self.find_in(page, at, from)?
            {
                let cursor = Cursor {
                    from,
                    to: found.position,
                    page,
                    at: found.at,
                    behind: found.at + self.medium.geometry.entry_len(found.head.kind, found.head.len),
                };
                self.cursors.note(index, cursor);
                return Ok(Some(found));
            }
            page += 1;
            at = self.medium.geometry.entries_at();
        }
        let cursor = Cursor {
            from,
            to: END,
            page: self.head,
            at: self.offset,
            behind: self.offset,
        };
        self.cursors.note(index, cursor);
        Ok(None)
    }

    fn find_in(&mut self, page: u32, at: u32, from: Position) -> Outcome<Option<Found>, F> {
        let page_end = self.page_end(page)?;
        let end = if page == self.head {
            self.offset
        } else {
            self.medium.geometry.page_len
        };
        let mut offset = at;
        while let Some((at, head)) = self.medium.entry(self.seed(page), offset, end)? {
            offset = at + self.medium.geometry.entry_len(head.kind, head.len);
            let position = head.position(self.boot);
            // Behind the page's end: the record that a power cut caught when the page was closed.
            if head.is_record()
                && (from..page_end).contains(&position)
                && !self.medium.is_released(page, at)?
            {
                return Ok(Some(Found {
                    position,
                    page,
                    at,
                    head,
                }));
            }
        }
        Ok(None)
    }

    /// How many records of a page are pending, by its marks.
    pub(super) fn count_pending(&mut self, page: u32) -> Outcome<u16, F> {
        let (mut count, mut at, mut from) = (0, self.medium.geometry.entries_at(), Position::START);
        while let Some(found) = self.find_in(page, at, from)? {
            count += 1;
            at = found.at;
            from = found.position.after();
        }
        Ok(count)
    }

    /// Where a walk from `from` begins, and which cursor it goes on with.
    fn begin_walk(&mut self, from: Position) -> Outcome<(Option<usize>, u32, u32), F> {
        let near = self.cursors.nearest(from, self.tail);
        if let Some((index, cursor)) = near {
            let (page, at) = cursor.place(from);
            if from <= cursor.to || from < self.page_end(page)? {
                return Ok((Some(index), page, at));
            }
            // Most walks go on in the next page.
            if page < self.head && from < self.page_end(page + 1)? {
                return Ok((Some(index), page + 1, self.medium.geometry.entries_at()));
            }
        }
        // The last page that begins at or in front of it.
        let (mut low, mut high) = (self.tail, self.head);
        while low < high {
            let middle = high - (high - low) / 2;
            if self.page_start(middle)? <= from {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let place = (low, self.medium.geometry.entries_at());
        let (page, at) = near.map_or(place, |(_, cursor)| place.max(cursor.place(from)));
        Ok((None, page, at))
    }

    /// Behind the last record of a page.
    pub(super) fn page_end(&mut self, page: u32) -> Outcome<Position, F> {
        if page >= self.head {
            return Ok(self.end());
        }
        self.page_start(page + 1)
    }

    /// The position with which a page begins. With a damaged head: the next page's, so that a walk begins too early rather
    /// than too late.
    pub(super) fn page_start(&mut self, page: u32) -> Outcome<Position, F> {
        if let Some((known, start)) = self.cursors.start
            && known == page
        {
            return Ok(start);
        }
        let mut start = self.end();
        for candidate in page..=self.head {
            let head = self.medium.page_head(candidate)?;
            if let Some(head) = head.filter(|head| head.seed == self.seed(candidate)) {
                start = head.start();
                self.cursors.start = Some((page, start));
                break;
            }
        }
        Ok(start)
    }
}
