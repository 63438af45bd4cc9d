//! A board's program, from an ELF or a UF2 file, known to be for this board and to fit it.

use std::collections::BTreeSet;
use std::ops::Range;

use taraz_telemetry::{FLASH_SECTOR_LEN, board_markers};

use crate::board::{Board, Medium};
use crate::elf::{self, ElfError};
use crate::uf2::{Uf2, Uf2Error};

const ELF_MAGIC: &[u8] = b"\x7fELF";

/// A program that is for its board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its version, from its mark.
    pub version: String,
    pub(crate) content: Uf2,
}

/// Why a file can't be a board's program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// Not a UF2 that can be taken.
    #[error(transparent)]
    Uf2(#[from] Uf2Error),
    /// Not an ELF that can be taken.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A UF2 for the emulator.
    #[error("the emulator runs an ELF, this is something else")]
    NotElf,
    /// Two segments at one address.
    #[error("two parts of the program stand at address {0:#010x}")]
    Overlap(u32),
    /// It needs more than there is, or stands elsewhere.
    #[error(
        "it has bytes at {found:#010x}; the program of {board} stands within {start:#010x}..{end:#010x}: too large, or for another board"
    )]
    Range {
        /// The board.
        board: &'static str,
        /// The first address out of range.
        found: u32,
        /// Where the program may begin.
        start: u32,
        /// The address behind its last byte.
        end: u32,
    },
    /// Nothing at the address where the chip starts.
    #[error("it has nothing at {0:#010x}, where the chip starts")]
    NoStart(u32),
    /// No mark.
    #[error("it does not say which board it is for: not a program of Taraz, or only a part of one")]
    Unmarked,
    /// For another board.
    #[error("it is for the board {found}, not for {expected}")]
    Board {
        /// What it says.
        found: String,
        /// The board.
        expected: &'static str,
    },
}

impl Program {
    /// Reads an ELF or, for boards that take one, a UF2 file. What an image has beside the program (a configuration page, an
    /// erased queue) is left out.
    ///
    /// # Errors
    /// [`ProgramError`] says why it can't be this board's program.
    pub fn read(bytes: &[u8], board: &Board) -> Result<Self, ProgramError> {
        let mut content = match &board.medium {
            _ if bytes.starts_with(ELF_MAGIC) => from_elf(bytes, board)?,
            Medium::Uf2 { family, .. } => Uf2::parse(bytes, *family)?,
            Medium::FlashFile => return Err(ProgramError::NotElf),
        };
        if let Medium::Uf2 { pages, queue, .. } = &board.medium {
            for page in pages {
                content.remove(&(*page..*page + FLASH_SECTOR_LEN));
            }
            if content
                .get(queue)
                .is_some_and(|queue| queue.iter().all(|&byte| byte == 0xff))
            {
                content.remove(queue);
            }
        }
        let is_outside =
            |payload: &Range<u32>| payload.start < board.program.start || payload.end > board.program.end;
        if let Some(payload) = content.addresses().find(is_outside) {
            return Err(ProgramError::Range {
                board: board.name,
                found: payload.start,
                start: board.program.start,
                end: board.program.end,
            });
        }
        if content.addresses().next().map(|first| first.start) != Some(board.program.start) {
            return Err(ProgramError::NoStart(board.program.start));
        }
        let version = version_for(&content, board)?;
        Ok(Self { version, content })
    }
}

fn from_elf(bytes: &[u8], board: &Board) -> Result<Uf2, ProgramError> {
    let family = match board.medium {
        Medium::Uf2 { family, .. } => family,
        Medium::FlashFile => 0,
    };
    // Whose it is says more than where it would not fit; a mark stands whole in an ELF.
    check_marks(bytes, board)?;
    let mut content = Uf2::new(family);
    let mut taken: Vec<Range<u32>> = Vec::new();
    for (address, segment) in elf::segments(bytes)? {
        let range_error = ProgramError::Range {
            board: board.name,
            found: address,
            start: board.program.start,
            end: board.program.end,
        };
        let len = u32::try_from(segment.len()).ok();
        // Checked before the bytes are put: a segment may claim any address.
        let end = len
            .and_then(|len| address.checked_add(len))
            .filter(|&end| end <= board.program.end);
        let range = address..end.ok_or(range_error)?;
        if let Some(other) = taken
            .iter()
            .find(|other| range.start < other.end && other.start < range.end)
        {
            return Err(ProgramError::Overlap(range.start.max(other.start)));
        }
        content.put(address, segment);
        taken.push(range);
    }
    Ok(content)
}

/// The version that the mark for this board states.
fn version_for(content: &Uf2, board: &Board) -> Result<String, ProgramError> {
    let bytes = content.get(&board.program).ok_or(ProgramError::Unmarked)?;
    check_marks(&bytes, board)?;
    let versions: BTreeSet<_> = board_markers(&bytes).map(|mark| mark.version).collect();
    let version = versions.first().map(|version| (*version).to_owned());
    version.ok_or(ProgramError::Unmarked)
}

/// No mark is that of another board.
fn check_marks(bytes: &[u8], board: &Board) -> Result<(), ProgramError> {
    match board_markers(bytes).find(|mark| mark.board != board.name) {
        Some(other) => Err(ProgramError::Board {
            found: other.board.to_owned(),
            expected: board.name,
        }),
        None => Ok(()),
    }
}
