//! The bytes of page heads and entry heads (module doc of [`super`]).

use taraz_telemetry::{Boot, Crc32, Incarnation, Sequence};

use super::places::Retired;
use crate::queue::{Position, QueueOwner};

/// The first word of a page, the layout's version in its last byte.
const MAGIC: u32 = u32::from_le_bytes(*b"tzq\x02");
/// What the first word begins with in every layout.
const MAGIC_PREFIX: &[u8] = b"tzq";
pub(super) const PAGE_HEAD_LEN: u32 = 16 * 4;
pub(super) const ENTRY_HEAD_LEN: u32 = 12;
/// What follows the bytes of a body.
pub(super) const BODY_CRC_LEN: u32 = 4;
/// The newest record before the boot.
pub(super) const BOOT_BODY_LEN: u32 = 8;

const CRC_AT: usize = PAGE_HEAD_LEN as usize - 4;
/// The retired places of a page head begin behind eleven words.
const RETIRED_AT: usize = 11 * 4;
const LEN_BITS: u32 = 9;
const BOOT_BITS: u32 = 20;
const BOOT_MASK: u32 = (1 << BOOT_BITS) - 1;
/// Half of the boots that the low bits in every entry tell apart: so many may be passed over within one area.
pub(super) const BOOTS_APART_MAX: u32 = 1 << (BOOT_BITS - 1);
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
/// A boot without any record before it.
const NONE: u32 = u32::MAX;

/// Which ring a page belongs to, and its number there: part of every check sum, so that nothing old is taken for new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) incarnation: Incarnation,
    pub(super) page: u32,
}

/// What a page begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHead {
    pub(super) seed: Seed,
    /// Whose records these are.
    pub(super) owner: QueueOwner,
    /// The oldest page that still counts.
    pub(super) tail: u32,
    /// The position with which that page begins.
    pub(super) tail_start: Position,
    /// The boot at the page's beginning.
    pub(super) boot: Boot,
    /// The newest record in front of the page.
    pub(super) last: Option<Position>,
    /// The places that no page is put into any more.
    pub(super) retired: Retired,
}

impl PageHead {
    /// The position that the page's first record has, if it is of the same boot.
    pub(super) fn start(&self) -> Position {
        match self.last {
            Some(last) if last.boot == self.boot => last.after(),
            _ => Position {
                boot: self.boot,
                sequence: 0,
            },
        }
    }

    pub(super) fn encode(&self, geometry: u32) -> [u8; PAGE_HEAD_LEN as usize] {
        let (last_boot, last_sequence) = split(self.last);
        let words = [
            MAGIC,
            self.seed.incarnation,
            self.owner.word(),
            self.seed.page,
            self.tail,
            self.tail_start.boot,
            self.tail_start.sequence,
            self.boot,
            last_boot,
            last_sequence,
            geometry,
        ];
        let mut bytes = [0; PAGE_HEAD_LEN as usize];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        for (place, retired) in bytes[RETIRED_AT..CRC_AT]
            .chunks_exact_mut(2)
            .zip(self.retired.encode())
        {
            place.copy_from_slice(&retired.to_le_bytes());
        }
        let crc = Crc32::new().bytes(&bytes[..CRC_AT]).sum();
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when this is no page head of a ring with this geometry.
    pub(super) fn decode(bytes: &[u8; PAGE_HEAD_LEN as usize], geometry: u32) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        let mut words = content
            .chunks_exact(4)
            .filter_map(|word| word.first_chunk().copied().map(u32::from_le_bytes));
        let mut next = || words.next();
        if next()? != MAGIC || Crc32::new().bytes(content).sum() != u32::from_le_bytes(*crc) {
            return None;
        }
        let (incarnation, owner) = (next()?, QueueOwner::from_word(next()?));
        let head = Self {
            seed: Seed {
                incarnation,
                page: next()?,
            },
            owner,
            tail: next()?,
            tail_start: Position {
                boot: next()?,
                sequence: next()?,
            },
            boot: next()?,
            last: join(next()?, next()?),
            retired: Retired::decode(&content[RETIRED_AT..]),
        };
        (next()? == geometry).then_some(head)
    }
}

/// A page head of this ring's kind, of whatever layout or geometry.
pub(super) fn is_any_page_head(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC_PREFIX)
}

/// A page head of this layout that is damaged, or was being written when the power went.
pub(super) fn is_torn_page_head(bytes: &[u8; PAGE_HEAD_LEN as usize]) -> bool {
    let (content, crc) = bytes.split_at(CRC_AT);
    bytes.starts_with(&MAGIC.to_le_bytes()) && Crc32::new().bytes(content).sum().to_le_bytes() != *crc
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record.
    Record,
    /// A record that names what the page's own start gives up; it counts as soon as something else follows it.
    Naming,
    /// The beginning of a boot.
    Boot,
    /// What stands in front of it counts.
    Mark,
    /// The newest records of the boots that ended in the page before; nothing counts by it.
    Ends,
}

impl Kind {
    /// The page counts once such an entry stands in it.
    pub(super) const fn counts(self) -> bool {
        matches!(self, Self::Record | Self::Boot | Self::Mark)
    }
}

/// The head of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) kind: Kind,
    /// Bytes of the body, without its check sum.
    pub(super) len: u32,
    boot_low: u32,
    /// The record's sequence; the number of a boot.
    pub(super) number: u32,
    /// Seeds the body's check sum.
    pub(super) crc: u32,
}

impl EntryHead {
    pub(super) fn new(seed: Seed, at: u32, kind: Kind, len: u32, boot: Boot, number: u32) -> Self {
        let boot_low = boot & BOOT_MASK;
        let crc = Self::sum(seed, at, first_word(kind, len, boot_low), number);
        Self {
            kind,
            len,
            boot_low,
            number,
            crc,
        }
    }

    pub(super) fn encode(&self) -> [u8; ENTRY_HEAD_LEN as usize] {
        let mut bytes = [0; ENTRY_HEAD_LEN as usize];
        let words = [
            first_word(self.kind, self.len, self.boot_low),
            self.number,
            self.crc,
        ];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None` when no entry of this page begins at `at`.
    pub(super) fn decode(bytes: &[u8; ENTRY_HEAD_LEN as usize], seed: Seed, at: u32) -> Option<Self> {
        let word = |index: usize| bytes[index * 4..].first_chunk().copied().map(u32::from_le_bytes);
        let (first, number, crc) = (word(0)?, word(1)?, word(2)?);
        let kind = match first >> (LEN_BITS + BOOT_BITS) {
            1 => Kind::Record,
            2 => Kind::Naming,
            3 => Kind::Boot,
            4 => Kind::Mark,
            5 => Kind::Ends,
            _ => return None,
        };
        (Self::sum(seed, at, first, number) == crc).then_some(Self {
            kind,
            len: (first >> BOOT_BITS) & LEN_MASK,
            boot_low: first & BOOT_MASK,
            number,
            crc,
        })
    }

    fn sum(seed: Seed, at: u32, first: u32, number: u32) -> u32 {
        Crc32::new()
            .word(seed.incarnation)
            .word(seed.page)
            .word(at)
            .word(first)
            .word(number)
            .sum()
    }

    /// It holds a record.
    pub(super) const fn is_record(&self) -> bool {
        matches!(self.kind, Kind::Record | Kind::Naming)
    }

    /// Where the record stands, given the newest boot of the ring.
    pub(super) const fn position(&self, newest: Boot) -> Position {
        let boot = newest & !BOOT_MASK | self.boot_low;
        let boot = if boot > newest {
            boot.saturating_sub(BOOT_MASK + 1)
        } else {
            boot
        };
        Position {
            boot,
            sequence: self.number,
        }
    }

    /// The boot that this entry belongs to or begins, at or behind `earlier`.
    pub(super) const fn boot_from(&self, earlier: Boot) -> Boot {
        if let Kind::Boot = self.kind {
            return self.number;
        }
        let boot = earlier & !BOOT_MASK | self.boot_low;
        if boot < earlier {
            boot.saturating_add(BOOT_MASK + 1)
        } else {
            boot
        }
    }
}

const fn first_word(kind: Kind, len: u32, boot_low: u32) -> u32 {
    let kind = match kind {
        Kind::Record => 1,
        Kind::Naming => 2,
        Kind::Boot => 3,
        Kind::Mark => 4,
        Kind::Ends => 5,
    };
    kind << (LEN_BITS + BOOT_BITS) | len << BOOT_BITS | boot_low
}

/// The body of a boot: the newest record before it.
pub(super) fn encode_last(last: Option<Position>) -> [u8; BOOT_BODY_LEN as usize] {
    let (boot, sequence) = split(last);
    let mut bytes = [0; BOOT_BODY_LEN as usize];
    bytes[..4].copy_from_slice(&boot.to_le_bytes());
    bytes[4..].copy_from_slice(&sequence.to_le_bytes());
    bytes
}

pub(super) fn decode_last(bytes: [u8; BOOT_BODY_LEN as usize]) -> Option<Position> {
    let [a, b, c, d, e, f, g, h] = bytes;
    join(u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn split(last: Option<Position>) -> (Boot, Sequence) {
    last.map_or((NONE, NONE), |last| (last.boot, last.sequence))
}

fn join(boot: Boot, sequence: Sequence) -> Option<Position> {
    (boot != NONE).then_some(Position { boot, sequence })
}
