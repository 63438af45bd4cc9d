//! Programs and pages for tests, made from the formats' documents without the code under test.

use taraz_fieldkit::{PageSettings, board, device_page, parse_bus};
use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, DevicePage, MasterKey, PageNetwork};

/// Where the RP2040's flash begins.
pub(crate) const XIP: u32 = 0x1000_0000;
/// The family of the RP2040.
pub(crate) const FAMILY: u32 = 0xe48b_ff56;

/// The mark of a program for this board.
pub(crate) fn mark(board: &str) -> Vec<u8> {
    format!("TARAZ-BOARD:{board}\0{}\0", "1.2.3").into_bytes()
}

/// A program of this many bytes with the mark in the middle.
pub(crate) fn program(board: &str, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mark = mark(board);
    let at = len / 2;
    bytes[at..at + mark.len()].copy_from_slice(&mark);
    bytes
}

/// One block as the table in microsoft/uf2's README.md lays it out.
pub(crate) fn block(address: u32, number: u32, total: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [
        0x0a32_4655,
        0x9e5d_5157,
        0x2000,
        address,
        256,
        number,
        total,
        FAMILY,
    ] {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend(payload);
    bytes.resize(508, 0);
    bytes.extend(u32::to_le_bytes(0x0ab1_6f30));
    bytes
}

/// A UF2 file of a contiguous program.
pub(crate) fn uf2(start: u32, program: &[u8]) -> Vec<u8> {
    let total = u32::try_from(program.chunks(256).len()).unwrap();
    let blocks = (0..total).zip(program.chunks(256));
    blocks
        .flat_map(|(number, payload)| block(start + number * 256, number, total, payload))
        .collect()
}

/// An ELF for ARM with these loadable segments (load address, bytes), as in the ELF specification, version 1.2.
pub(crate) fn elf(segments: &[(u32, &[u8])]) -> Vec<u8> {
    let half = u16::to_le_bytes;
    let word = u32::to_le_bytes;
    let count = u16::try_from(segments.len()).unwrap();
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([half(2), half(40)].concat());
    bytes.extend([word(1), word(XIP), word(52), word(0), word(0x0500_0200)].concat());
    bytes.extend([half(52), half(32), half(count), half(40), half(0), half(0)].concat());
    let mut at = u32::try_from(52 + 32 * segments.len()).unwrap();
    for (address, content) in segments {
        let len = u32::try_from(content.len()).unwrap();
        // A load address that differs from the address at run time, as that of initial values does.
        bytes.extend([word(1), word(at), word(0x2000_0000), word(*address)].concat());
        bytes.extend([word(len), word(len), word(5), word(4)].concat());
        at += len;
    }
    for (_, content) in segments {
        bytes.extend(*content);
    }
    bytes
}

/// The registry that the examples show.
pub(crate) fn fleet() -> Fleet {
    Fleet::parse(taraz_fleet::EXAMPLE).unwrap()
}

/// The page of the example's device for this board.
pub(crate) fn page(board_name: &str) -> DevicePage {
    let settings = PageSettings {
        broker: ("gateway.example".to_owned(), 1883),
        sntp: ("pool.ntp.org".to_owned(), 123),
        network: PageNetwork::Dhcp,
        bus: parse_bus("baud=9600").unwrap(),
        poll_interval_ms: 60_000,
        detect_meters: false,
    };
    let device = DeviceId::new("sari-01").unwrap();
    let master = MasterKey::new([7; 32]);
    device_page(&fleet(), &master, &device, board(board_name).unwrap(), &settings).unwrap()
}
