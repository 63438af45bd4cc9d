//! From what a group brings of each device to as few rows as possible: every row costs a hundred bytes and microseconds on its
//! way in, out and through ingest, whatever it holds.

use std::ops::Range;

use taraz_telemetry::Hold;

use super::queue::Submission;
use super::table::NewRow;

/// A row is closed above so many bytes: what is damaged or rejected in it takes all of it along.
const ROW_BYTES_MAX: usize = 8 << 10;

/// New records of one submission, all held for the same reason or not at all.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) submission: usize,
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) bytes: Range<usize>,
    pub(super) hold: Option<Hold>,
}

/// What becomes rows, with the bytes of each in one stretch.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Piece>,
    bytes: Vec<u8>,
    /// The first so many are live.
    live: u64,
}

impl Rows {
    /// Puts pieces of one device that continue each other into one row, live rows before those of a backlog. The order of a device's own
    /// pieces stays what it was unless their identities or their lanes are in another.
    pub(super) fn join(mut pieces: Vec<Piece>, submissions: &[Submission]) -> Self {
        let accepted = |piece: &Piece| &submissions[piece.submission].accepted;
        pieces.sort_by(|a, b| {
            let of = |piece: &Piece| {
                let accepted = accepted(piece);
                (
                    !accepted.is_live,
                    &accepted.device.id,
                    accepted.range.incarnation,
                    accepted.range.boot,
                    piece.first,
                )
            };
            let (one, other) = (of(a), of(b));
            one.cmp(&other)
        });
        let mut rows = Self {
            rows: Vec::with_capacity(pieces.len()),
            bytes: Vec::with_capacity(pieces.iter().map(|piece| piece.bytes.len()).sum()),
            live: 0,
        };
        for piece in pieces {
            let more = &accepted(&piece).bytes[piece.bytes.clone()];
            let start = rows.bytes.len();
            rows.bytes.extend_from_slice(more);
            let end = rows.bytes.len();
            let continues = |row: &&mut Piece| {
                let (before, this) = (accepted(row), accepted(&piece));
                let who =
                    |accepted: &crate::validate::Accepted| (accepted.range.incarnation, accepted.range.boot);
                row.first.checked_add(row.count) == Some(piece.first)
                    && row.hold == piece.hold
                    && before.is_live == this.is_live
                    && end - row.bytes.start <= ROW_BYTES_MAX
                    && who(before) == who(this)
                    && before.device.id == this.device.id
            };
            match rows.rows.last_mut().filter(continues) {
                Some(row) => {
                    row.count += piece.count;
                    row.bytes.end = end;
                }
                None => {
                    rows.live += u64::from(accepted(&piece).is_live);
                    rows.rows.push(Piece {
                        bytes: start..end,
                        ..piece
                    });
                }
            }
        }
        rows
    }

    /// The rows as they are written, from this position on.
    pub(super) fn from<'a>(
        &'a self,
        position: u64,
        submissions: &'a [Submission],
    ) -> impl Iterator<Item = NewRow<'a>> {
        (position..).zip(&self.rows).map(|(position, row)| {
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
