//! UF2 against its published table, by properties, and everything that is refused.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use taraz_fieldkit::{Uf2, Uf2Error};

use crate::make::{FAMILY, XIP, block, uf2};

fn set(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

#[test]
fn a_block_is_as_the_document_says() {
    let mut content = Uf2::new(FAMILY);
    content.put(XIP, &[1, 2, 3]);
    let mut payload = [0xff; 256];
    payload[..3].copy_from_slice(&[1, 2, 3]);
    let mut expected = block(XIP, 0, 1, &payload);
    // "476 | Data, padded with 0xFF".
    expected[32 + 256..508].fill(0xff);
    assert_eq!(content.to_bytes(), expected);
}

#[test]
fn what_a_boot_loader_would_pass_over_is_refused() {
    let good = uf2(XIP, &[5; 1_024]);
    assert!(Uf2::parse(&good, FAMILY).is_ok());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Uf2::parse(&bytes, FAMILY).unwrap_err()
    };
    assert_eq!(with(&|b| b.clear()), Uf2Error::Length(0));
    assert_eq!(with(&|b| b.truncate(1_000)), Uf2Error::Length(1_000));
    for at in [0, 4, 508] {
        assert_eq!(with(&|b| set(b, 512 + at, 7)), Uf2Error::Magic(1));
    }
    for flags in [0, 0x3000, 0x6000, 0x2002] {
        let expected = Uf2Error::Flags { block: 0, flags };
        assert_eq!(with(&|b| set(b, 8, flags)), expected);
    }
    assert!(matches!(
        with(&|b| set(b, 28, 0xe48b_ff59)),
        Uf2Error::Family { block: 0, .. }
    ));
    assert!(matches!(
        with(&|b| set(b, 512 + 12, XIP + 1)),
        Uf2Error::Payload { block: 1, .. }
    ));
    assert!(matches!(
        with(&|b| set(b, 16, 476)),
        Uf2Error::Payload { len: 476, .. }
    ));
    let twice = Uf2Error::Overlap {
        block: 3,
        address: XIP,
    };
    assert_eq!(with(&|b| set(b, 3 * 512 + 12, XIP)), twice);
    // A block is missing; a number is there twice; one says another total.
    assert!(matches!(
        with(&|b| b.truncate(3 * 512)),
        Uf2Error::Number { blocks: 3, .. }
    ));
    assert!(matches!(
        with(&|b| set(b, 512 + 20, 0)),
        Uf2Error::Number {
            block: 1,
            number: 0,
            ..
        }
    ));
    assert!(matches!(
        with(&|b| set(b, 512 + 20, 4)),
        Uf2Error::Number { number: 4, .. }
    ));
    assert!(matches!(
        with(&|b| set(b, 24, 5)),
        Uf2Error::Number { total: 5, .. }
    ));
}

#[test]
fn comments_and_tags_are_not_part_of_the_flash() {
    let mut bytes = uf2(XIP, &[5; 512]);
    set(&mut bytes, 512 + 8, 0x2001);
    set(&mut bytes, 512 + 16, 476);
    set(&mut bytes, 8, 0xa000);
    let content = Uf2::parse(&bytes, FAMILY).unwrap();
    assert!(content.addresses().eq(std::iter::once(XIP..XIP + 256)));
}

#[test]
fn touched_sectors_become_whole() {
    let mut content = Uf2::new(FAMILY);
    content.put(XIP + 5_000, &[1]);
    content.put(XIP + 0xf_f000, &[2]);
    content.fill_sectors(4_096);
    assert_eq!(content.addresses().count(), 32);
    let sector = content.get(&(XIP + 4_096..XIP + 8_192)).unwrap();
    let touched: Vec<_> = (0..4_096).filter(|&at| sector[at] != 0xff).collect();
    assert_eq!(touched, [904]);
    assert_eq!(content.get(&(XIP..XIP + 4_096)), None);
    assert_eq!(content.get(&(XIP + 5_000..XIP + 5_001)), Some(vec![1]));
}

proptest! {
    #[test]
    fn what_is_written_is_read(flash in btree_map(0..64_u32, vec(any::<u8>(), 256), 1..64), shift in any::<prop::sample::Index>()) {
        let mut content = Uf2::new(FAMILY);
        for (page, bytes) in &flash {
            content.put(XIP + page * 256, bytes);
        }
        let bytes = content.to_bytes();
        prop_assert_eq!(&Uf2::parse(&bytes, FAMILY).unwrap(), &content);
        // Systems write blocks in any order.
        let mut blocks: Vec<_> = bytes.chunks(512).collect();
        let by = shift.index(blocks.len());
        blocks.rotate_left(by);
        prop_assert_eq!(Uf2::parse(&blocks.concat(), FAMILY).unwrap(), content);
    }

    /// `put` and `get` against a map of single bytes.
    #[test]
    fn it_is_a_flash(writes in vec((0..3_000_u32, vec(any::<u8>(), 0..700)), 1..8), from in 0..3_500_u32, len in 1..900_u32) {
        let mut content = Uf2::new(FAMILY);
        let mut model = BTreeMap::new();
        for (at, bytes) in &writes {
            content.put(XIP + at, bytes);
            model.extend((*at..).zip(bytes.iter().copied()));
        }
        let pages: std::collections::BTreeSet<_> = model.keys().map(|at| at / 256).collect();
        let is_there = (from / 256..=(from + len - 1) / 256).any(|page| pages.contains(&page));
        let expected: Vec<_> = (from..from + len).map(|at| model.get(&at).copied().unwrap_or(0xff)).collect();
        prop_assert_eq!(content.get(&(XIP + from..XIP + from + len)), is_there.then_some(expected));
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..2_000)) {
        prop_assert!(Uf2::parse(&bytes, FAMILY).is_err());
    }

    #[test]
    fn a_changed_head_never_panics(at in 0..2_048_usize, byte in any::<u8>()) {
        let mut bytes = uf2(XIP, &[5; 1_024]);
        bytes[at] = byte;
        let _ = Uf2::parse(&bytes, FAMILY).map(|content| content.to_bytes());
    }
}
