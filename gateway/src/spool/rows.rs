//! From what a group brings of each device to as few rows as possible: every row costs a hundred bytes and microseconds on its
//! way in, out and through ingest, whatever it holds.

use std::ops::Range;

use taraz_telemetry::Hold;

use super::queue::Submission;
use super::table::NewRow;

/// A row is closed above so many bytes: what is damaged or rejected in it takes all of it along.
const ROW_BYTES_MAX: usize = 8 << 10;

/// New records of one submission, all held for the same reason or not at all.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) submission: usize,
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) bytes: Range<usize>,
    pub(super) hold: Option<Hold>,
}

/// What becomes rows, with the bytes of each in one stretch. Its lists serve one group after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    bytes: Vec<u8>,
    /// The first so many are live.
    live: u64,
    order: Vec<(Place, usize)>,
}

/// A piece whose bytes are those of [`Rows`].
#[derive(Debug)]
struct Row {
    place: Place,
    piece: Piece,
}

/// Where a piece stands: live before backlog, then by device, incarnation, boot and first sequence, which are one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_backlog: bool,
    identity: u128,
}

impl Place {
    fn of(piece: &Piece, submissions: &[Submission]) -> Self {
        let accepted = &submissions[piece.submission].accepted;
        let parts = [
            accepted.device.number,
            accepted.range.incarnation,
            accepted.range.boot,
            piece.first,
        ];
        Self {
            is_backlog: !accepted.is_live,
            identity: parts
                .into_iter()
                .fold(0, |number, part| number << u32::BITS | u128::from(part)),
        }
    }

    /// The place behind a piece of so many records; `None` when the boot has no more.
    fn behind(self, first: u32, count: u32) -> Option<Self> {
        first.checked_add(count).map(|_| Self {
            identity: self.identity + u128::from(count),
            ..self
        })
    }
}

impl Rows {
    /// Puts pieces of one device that continue each other into one row, live rows before those of a backlog. The order of a device's own
    /// pieces stays what it was unless their identities or their lanes are in another.
    pub(super) fn join(&mut self, pieces: &[Piece], submissions: &[Submission]) {
        self.clear();
        let places = pieces.iter().map(|piece| Place::of(piece, submissions));
        self.order.extend(places.zip(0..));
        // At the same place the piece that came first stands first: no two are equal.
        self.order.sort_unstable();
        for &(place, at) in &self.order {
            let piece = &pieces[at];
            let start = self.bytes.len();
            let more = &submissions[piece.submission].accepted.bytes[piece.bytes.clone()];
            self.bytes.extend_from_slice(more);
            let end = self.bytes.len();
            let continues = |row: &&mut Row| {
                row.place.behind(row.piece.first, row.piece.count) == Some(place)
                    && row.piece.hold == piece.hold
                    && end - row.piece.bytes.start <= ROW_BYTES_MAX
            };
            match self.rows.last_mut().filter(continues) {
                Some(Row { piece: row, .. }) => {
                    row.count += piece.count;
                    row.bytes.end = end;
                }
                None => {
                    self.live += u64::from(!place.is_backlog);
                    self.rows.push(Row {
                        place,
                        piece: Piece {
                            bytes: start..end,
                            ..piece.clone()
                        },
                    });
                }
            }
        }
    }

    /// No rows.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
        self.order.clear();
        self.live = 0;
    }

    /// The rows as they are written, from this position on.
    pub(super) fn from<'a>(
        &'a self,
        position: u64,
        submissions: &'a [Submission],
    ) -> impl Iterator<Item = NewRow<'a>> {
        (position..).zip(&self.rows).map(|(position, row)| {
            let row = &row.piece;
            let submission = &submissions[row.submission];
            let accepted = &submission.accepted;
            NewRow {
                position,
                received_ms: submission.received_ms,
                device: accepted.device.id.as_str(),
                incarnation: accepted.range.incarnation,
                boot: accepted.range.boot,
                first: row.first,
                count: row.count,
                hold: row.hold,
                records: &self.bytes[row.bytes.clone()],
            }
        })
    }

    /// How many of them are live: the first ones.
    pub(super) const fn live(&self) -> u64 {
        self.live
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}
