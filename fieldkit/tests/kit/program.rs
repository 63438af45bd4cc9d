//! Which programs are taken for which board.

use taraz_fieldkit::{ElfError, Program, ProgramError, Uf2Error, board};

use crate::make::{XIP, elf, mark, program, uf2};

const PICO: &str = "w5500-evb-pico";
const QEMU: &str = "qemu-lm3s6965";

fn read(bytes: &[u8], name: &str) -> Result<Program, ProgramError> {
    Program::read(bytes, board(name).unwrap())
}

#[test]
fn an_elf_and_its_uf2_are_one_program() {
    let bytes = program(PICO, 10_000);
    let from_uf2 = read(&uf2(XIP, &bytes), PICO).unwrap();
    assert_eq!(from_uf2.version, "1.2.3");
    // In parts, as a linker lays them out: boot loader, program, initial values.
    let parts = elf(&[
        (XIP + 256, &bytes[256..7_001]),
        (XIP, &bytes[..256]),
        (XIP + 7_001, &bytes[7_001..]),
    ]);
    // A UF2's last block is filled with zeroes here, an ELF's with what an erased flash holds.
    let mut padded = bytes.clone();
    padded.resize(10_240, 0xff);
    assert_eq!(
        read(&parts, PICO).unwrap(),
        read(&uf2(XIP, &padded), PICO).unwrap()
    );
}

#[test]
fn the_emulator_takes_an_elf_and_nothing_else() {
    let bytes = program(QEMU, 200_000);
    assert_eq!(read(&elf(&[(0, &bytes)]), QEMU).unwrap().version, "1.2.3");
    assert_eq!(read(&uf2(0, &bytes), QEMU), Err(ProgramError::NotElf));
}

#[test]
fn a_mark_across_two_blocks_is_found() {
    let mut bytes = vec![0; 1_024];
    let mark = mark(PICO);
    bytes[250..250 + mark.len()].copy_from_slice(&mark);
    assert!(read(&uf2(XIP, &bytes), PICO).is_ok());
}

#[test]
fn a_program_for_another_board_is_refused() {
    let wrong = ProgramError::Board {
        found: "other-board".to_owned(),
        expected: PICO,
    };
    assert_eq!(
        read(&uf2(XIP, &program("other-board", 1_000)), PICO),
        Err(wrong.clone())
    );
    // Two marks: whose it is can't be told.
    let both = [program(PICO, 1_024), program("other-board", 1_024)].concat();
    assert_eq!(read(&uf2(XIP, &both), PICO), Err(wrong));
    assert_eq!(read(&uf2(XIP, &[0; 1_024]), PICO), Err(ProgramError::Unmarked));
    // A program of the other board has other addresses too, which say less.
    let other = read(&elf(&[(0, &program(QEMU, 1_000))]), PICO);
    let whose = ProgramError::Board {
        found: QEMU.to_owned(),
        expected: PICO,
    };
    assert_eq!(other, Err(whose));
    let moved = read(&elf(&[(0, &program(PICO, 1_000))]), PICO);
    assert!(
        matches!(moved, Err(ProgramError::Range { found: 0, .. })),
        "{moved:?}"
    );
    let chip = {
        let mut bytes = uf2(XIP, &program(PICO, 1_000));
        bytes[28..32].copy_from_slice(&0xe48b_ff59_u32.to_le_bytes());
        read(&bytes, PICO)
    };
    assert!(
        matches!(chip, Err(ProgramError::Uf2(Uf2Error::Family { .. }))),
        "{chip:?}"
    );
}

#[test]
fn a_program_that_is_too_large_is_refused() {
    let limit = 0xf_0000;
    assert!(read(&uf2(XIP, &program(PICO, limit)), PICO).is_ok());
    for bytes in [
        uf2(XIP, &program(PICO, limit + 1)),
        elf(&[(XIP, &program(PICO, limit + 1))]),
        elf(&[(XIP, &program(PICO, 1_000)), (u32::MAX - 2, &[1; 100])]),
    ] {
        let refused = read(&bytes, PICO).unwrap_err();
        assert!(matches!(refused, ProgramError::Range { .. }), "{refused}");
        assert!(refused.to_string().contains("too large"), "{refused}");
    }
    let emulator = read(&elf(&[(0, &program(QEMU, 0x4_0001))]), QEMU);
    assert!(
        matches!(emulator, Err(ProgramError::Range { .. })),
        "{emulator:?}"
    );
}

#[test]
fn what_is_no_program_is_refused() {
    let not_at_start = read(&uf2(XIP + 256, &program(PICO, 1_000)), PICO);
    assert_eq!(not_at_start, Err(ProgramError::NoStart(XIP)));
    let bytes = program(PICO, 1_000);
    let twice = read(&elf(&[(XIP, &bytes), (XIP + 999, &[1])]), PICO);
    assert_eq!(twice, Err(ProgramError::Overlap(XIP + 999)));
    let mut other = elf(&[(XIP, &bytes)]);
    other[18] = 62;
    assert_eq!(read(&other, PICO), Err(ProgramError::Elf(ElfError::Machine(62))));
    assert_eq!(read(&elf(&[]), PICO), Err(ProgramError::Elf(ElfError::Empty)));
    let cut = elf(&[(XIP, &bytes)]);
    for len in [5, 52, 80, cut.len() - 1] {
        let refused = read(&cut[..len], PICO);
        assert!(
            matches!(refused, Err(ProgramError::Elf(ElfError::Parse(_)))),
            "{len}: {refused:?}"
        );
    }
    assert!(matches!(
        read(b"hello", PICO),
        Err(ProgramError::Uf2(Uf2Error::Length(5)))
    ));
}
