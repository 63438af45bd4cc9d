//! An image: the program as it was, the page where the board looks for it, nothing in the queue.

use taraz_fieldkit::{ImageError, Program, Uf2, bare_image, board, device_of, pack};
use taraz_telemetry::{DevicePage, PageError};

use crate::make::{FAMILY, XIP, page, program, uf2};

const PICO: &str = "w5500-evb-pico";
const PAGE: u32 = XIP + 0xf_f000;

fn image_of(program_bytes: &[u8], page: &DevicePage) -> Vec<u8> {
    let board = board(PICO).unwrap();
    let program = Program::read(program_bytes, board).unwrap();
    pack(&program, page, board, false).unwrap().bytes
}

#[test]
fn an_image_is_the_program_and_the_page_in_whole_sectors() {
    let bytes = program(PICO, 9_000);
    let image = image_of(&uf2(XIP, &bytes), &page(PICO));
    // Read from the file's bytes by the offsets of the published table.
    let word = |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    let blocks: Vec<_> = image.chunks(512).collect();
    let addresses: Vec<_> = blocks.iter().map(|block| word(block, 12)).collect();
    let sectors = [XIP, XIP + 4_096, XIP + 8_192, PAGE - 4_096, PAGE];
    let expected: Vec<_> = sectors
        .iter()
        .flat_map(|sector| (0..16).map(move |n| sector + n * 256))
        .collect();
    assert_eq!(addresses, expected);
    let flash: Vec<u8> = blocks
        .iter()
        .flat_map(|block| block[32..32 + 256].to_vec())
        .collect();
    assert_eq!(flash[..9_000], bytes);
    assert!(
        flash[9_216..12_288].iter().all(|&byte| byte == 0xff),
        "the rest of the last sector"
    );
    let (other, sector) = flash[12_288..].split_at(4_096);
    assert!(
        other.iter().all(|&byte| byte == 0xff),
        "what was saved on the board before does not count any more"
    );
    assert_eq!(DevicePage::decode(sector).unwrap(), page(PICO));
    assert!(sector[1_024..].iter().all(|&byte| byte == 0xff));
    for (number, block) in (0..).zip(&blocks) {
        assert_eq!(
            (word(block, 20), word(block, 24), word(block, 28)),
            (number, 80, FAMILY)
        );
    }
}

#[test]
fn a_page_that_is_there_already_is_replaced() {
    let first = image_of(&uf2(XIP, &program(PICO, 1_000)), &page(PICO));
    let mut other = page(PICO);
    other.broker_port = 8_883;
    let second = image_of(&first, &other);
    assert_eq!(second.len(), first.len());
    assert_eq!(device_of(&second).unwrap().1, other);
    assert_eq!(image_of(&second, &page(PICO)), first);
}

#[test]
fn an_image_can_erase_the_queue_and_nothing_else_can() {
    let pico = board(PICO).unwrap();
    let plain = uf2(XIP, &program(PICO, 1_000));
    let read = Program::read(&plain, pico).unwrap();
    let image = pack(&read, &page(PICO), pico, true).unwrap().bytes;
    let mut content = Uf2::parse(&image, FAMILY).unwrap();
    let queue = XIP + 0x10_0000..XIP + 0x20_0000;
    assert_eq!(content.get(&queue), Some(vec![0xff; 0x10_0000]));
    let in_queue = content
        .addresses()
        .filter(|payload| queue.contains(&payload.start));
    assert_eq!(
        in_queue.count(),
        0x10_0000 / 256,
        "every payload is there, so every sector is erased"
    );
    assert_eq!(device_of(&image).unwrap().1, page(PICO));
    // As a program it is the program alone.
    assert_eq!(
        Program::read(&image, pico).unwrap(),
        Program::read(&image_of(&plain, &page(PICO)), pico).unwrap()
    );
    content.put(queue.start + 300, &[0]);
    assert!(
        device_of(&content.to_bytes()).is_err(),
        "something would be written into the queue"
    );
}

#[test]
fn an_image_is_read_back_with_its_device() {
    let image = image_of(&uf2(XIP, &program(PICO, 1_000)), &page(PICO));
    let (board, read) = device_of(&image).unwrap();
    assert_eq!((board.name, read.device.as_str()), (PICO, "sari-01"));
    assert_eq!(
        device_of(&uf2(XIP, &program(PICO, 1_000))),
        Err(ImageError::NotAnImage)
    );
    assert!(matches!(
        device_of(&image[..image.len() - 512]),
        Err(ImageError::Program(_))
    ));
    // Its page was damaged, or is another board's.
    let mut content = Uf2::parse(&image, FAMILY).unwrap();
    content.put(PAGE + 40, &[0]);
    let damaged = device_of(&content.to_bytes());
    assert!(
        matches!(damaged, Err(ImageError::Page(PageError::Checksum { .. }))),
        "{damaged:?}"
    );
    let mut bytes = [0; 1_024];
    page("qemu-lm3s6965").encode(&mut bytes).unwrap();
    content.put(PAGE, &bytes);
    assert_eq!(device_of(&content.to_bytes()), Err(ImageError::NotAnImage));
}

#[test]
fn a_program_alone_touches_neither_page_nor_queue() {
    let board = board(PICO).unwrap();
    let bytes = program(PICO, 5_000);
    let with_page = image_of(&uf2(XIP, &bytes), &page(PICO));
    let bare = bare_image(&Program::read(&with_page, board).unwrap(), board).unwrap();
    let content = Uf2::parse(&bare.bytes, FAMILY).unwrap();
    let addresses: Vec<_> = content.addresses().map(|payload| payload.start).collect();
    let expected: Vec<_> = (0..32).map(|n| XIP + n * 256).collect();
    assert_eq!(addresses, expected);
    assert_eq!(content.get(&(XIP..XIP + 5_000)).unwrap(), bytes);
    // With the page it is the same image again.
    assert_eq!(image_of(&bare.bytes, &page(PICO)), with_page);
}

#[test]
fn a_page_for_another_board_is_refused() {
    let pico = board(PICO).unwrap();
    let program = Program::read(&uf2(XIP, &program(PICO, 1_000)), pico).unwrap();
    let refused = pack(&program, &page("qemu-lm3s6965"), pico, false).unwrap_err();
    assert!(matches!(
        refused,
        ImageError::Page(PageError::Value { field: "board", .. })
    ));
    let emulator = pack(
        &program,
        &page("qemu-lm3s6965"),
        board("qemu-lm3s6965").unwrap(),
        false,
    );
    assert_eq!(emulator, Err(ImageError::NoUf2("qemu-lm3s6965")));
}

#[test]
fn an_image_is_not_printed() {
    let pico = board(PICO).unwrap();
    let program = Program::read(&uf2(XIP, &program(PICO, 1_000)), pico).unwrap();
    let printed = format!("{:?}", pack(&program, &page(PICO), pico, false).unwrap());
    assert_eq!(printed, "Image(24576 bytes, …)");
}
