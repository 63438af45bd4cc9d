//! A program as the linker leaves it: an ELF for ARM, of which the loadable segments are taken at their load addresses.

use object::LittleEndian;
use object::elf::{EM_ARM, PT_LOAD};
use object::read::elf::{ElfFile32, FileHeader as _, ProgramHeader as _};

/// Why a file is not a program for a board.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Not an ELF of 32 bits, or damaged.
    #[error("not an ELF for a 32-bit processor: {0}")]
    Parse(String),
    /// For another processor.
    #[error("an ELF for another processor (machine {0}); the boards have ARM (40)")]
    Machine(u16),
    /// Nothing to write.
    #[error("an ELF without anything to load")]
    Empty,
}

/// The segments: load address and bytes.
pub(crate) fn segments(bytes: &[u8]) -> Result<Vec<(u32, &[u8])>, ElfError> {
    let parse = |error: object::Error| ElfError::Parse(error.to_string());
    let elf = ElfFile32::<LittleEndian>::parse(bytes).map_err(parse)?;
    let endian = LittleEndian;
    let machine = elf.elf_header().e_machine(endian);
    if machine != EM_ARM {
        return Err(ElfError::Machine(machine.0));
    }
    let mut segments = Vec::new();
    for header in elf.elf_program_headers() {
        if header.p_type(endian) != PT_LOAD || header.p_filesz(endian) == 0 {
            continue;
        }
        let cut = || ElfError::Parse("a segment ends behind the file".to_owned());
        let content = header.data(endian, bytes).map_err(|()| cut())?;
        segments.push((header.p_paddr(endian), content));
    }
    if segments.is_empty() {
        return Err(ElfError::Empty);
    }
    Ok(segments)
}
