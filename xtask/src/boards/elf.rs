//! What an ELF says about memory.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use object::elf::{SHF_ALLOC, SHF_WRITE};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind};

/// Parts of the names of allocators: Rust's (`__rust_alloc` is its old door, the others the default's) and C's.
const ALLOCATORS: &[&str] = &[
    "__rust_alloc",
    "__rust_realloc",
    "__rg_alloc",
    "__rdl_alloc",
    "malloc",
];

/// cortex-m-rt's names for the stack's two ends: it begins at the first and grows down to the second.
const STACK_START: &str = "_stack_start";
const STACK_END: &str = "_stack_end";

/// Our `memory.x`' names for the addresses that the linker may give to the program.
const PROGRAM_START: &str = "_program_start";
const PROGRAM_END: &str = "_program_end";

/// The addresses that the linker could give to the program.
///
/// # Errors
/// When it is no ELF, or its `memory.x` does not say.
pub(super) fn program_room(bytes: &[u8]) -> Result<Range<u64>> {
    let file = object::File::parse(bytes).context("expected an ELF")?;
    let at = |name| address(&file, name).with_context(|| format!("expected the symbol {name} of memory.x"));
    Ok(at(PROGRAM_START)?..at(PROGRAM_END)?)
}

fn address(file: &object::File<'_>, name: &str) -> Option<u64> {
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
    symbol.map(|symbol| symbol.address())
}

/// The memory that a program takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// All that is written into the flash: program, constants, initial values of variables.
    pub(super) flash: u64,
    /// All variables, with and without an initial value.
    pub(super) static_ram: u64,
    /// What is left for the stack between the variables and the end of the memory.
    pub(super) stack_room: u64,
}

impl Usage {
    /// Reads an ELF.
    ///
    /// # Errors
    /// When it is none, is stripped, links an allocator, or was not linked with cortex-m-rt.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let file = object::File::parse(bytes).context("expected an ELF")?;
        let names = || file.symbols().filter_map(|symbol| symbol.name().ok());
        if names().next().is_none() {
            bail!("expected symbols, found a stripped program");
        }
        if let Some(name) = names().find(|name| is_allocator(name)) {
            bail!(
                "links an allocator ({name}); a device allocates nothing: find what wants a heap with `cargo tree -e features`"
            );
        }
        let at = |name| {
            address(&file, name)
                .with_context(|| format!("expected the symbol {name} of cortex-m-rt's link.x"))
        };
        let stack_room = at(STACK_START)?.saturating_sub(at(STACK_END)?);
        let (mut flash, mut static_ram) = (0, 0);
        for section in file.sections() {
            let (stored, variable) = place(&section)?;
            flash += if stored { section.size() } else { 0 };
            static_ram += if variable { section.size() } else { 0 };
        }
        Ok(Self {
            flash,
            static_ram,
            stack_room,
        })
    }
}

/// Whether a section is stored in the flash, and whether it takes memory at run time.
fn place<'data>(section: &impl ObjectSection<'data>) -> Result<(bool, bool)> {
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
        bail!("expected an ELF");
    };
    let has = |flag: object::elf::SectionFlags| sh_flags.0 & flag.0 != 0;
    let stored = has(SHF_ALLOC) && section.kind() != SectionKind::UninitializedData;
    Ok((stored, has(SHF_ALLOC) && has(SHF_WRITE)))
}

fn is_allocator(name: &str) -> bool {
    ALLOCATORS.iter().any(|allocator| name.contains(allocator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocators_are_known_by_their_names_old_and_new() {
        for name in [
            "__rust_alloc",
            "_RNvCsfoo_7___rustc12___rust_alloc",
            "_RNvCsfoo_7___rustc11___rdl_alloc",
            "malloc",
        ] {
            assert!(is_allocator(name), "{name}");
        }
        assert!(!is_allocator("_ZN4core5alloc6layout6Layout5array17h"));
        assert!(!is_allocator("__rust_no_alloc_shim"));
    }

    #[test]
    fn what_is_no_board_is_refused() {
        let error = format!("{:#}", Usage::read(b"text").unwrap_err());
        assert!(error.contains("expected an ELF"), "{error}");
        let error = format!("{:#}", program_room(b"text").unwrap_err());
        assert!(error.contains("expected an ELF"), "{error}");
        // This test itself has a heap.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = format!("{:#}", Usage::read(&own).unwrap_err());
        assert!(error.contains("allocator"), "{error}");
        let error = format!("{:#}", program_room(&own).unwrap_err());
        assert!(error.contains("_program_start of memory.x"), "{error}");
    }
}
