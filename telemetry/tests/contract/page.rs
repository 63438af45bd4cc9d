//! The configuration page: golden bytes from a second implementation, properties, and everything that is refused.
//!
//! If the golden test fails, revert your change, not the test: boards in the field hold these bytes.

use std::fs;
use std::path::Path;

use heapless::{String, Vec};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};
use taraz_telemetry::{
    DevicePage, MeterAddress, MeterDriver, PAGE_LEN, PageBus, PageError, PageNetwork, PageParity,
    second_page_counts,
};

use crate::strategies;

const BODY_AT: usize = 16;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> (std::vec::Vec<u8>, Value) {
    let folder = root().join("golden/page");
    let description = fs::read(folder.join(format!("{name}.json"))).expect("the description");
    let bytes = fs::read(folder.join(format!("{name}.bin"))).expect("the bytes");
    (bytes, serde_json::from_slice(&description).expect("JSON"))
}

fn encoded(page: &DevicePage) -> [u8; PAGE_LEN] {
    let mut bytes = [0; PAGE_LEN];
    page.encode(&mut bytes).expect("a page that can be written");
    bytes
}

/// A page in the words of its golden description.
fn describe(page: &DevicePage) -> Value {
    let network = match page.network {
        PageNetwork::Dhcp => json!("dhcp"),
        PageNetwork::Static {
            address,
            prefix_len,
            gateway,
            dns,
        } => json!({"address": address, "prefix_len": prefix_len, "gateway": gateway, "dns": dns}),
    };
    let parity = match page.bus.parity {
        PageParity::None => "none",
        PageParity::Even => "even",
        PageParity::Odd => "odd",
    };
    let meters: Value = page
        .meters
        .iter()
        .map(|(address, driver)| json!([address.get(), driver.as_str()]))
        .collect();
    json!({
        "board": page.board.as_str(), "device": page.device.as_str(), "key_generation": page.key_generation,
        "key_hex": hex::encode(page.key), "network": network, "broker_host": page.broker_host.as_str(),
        "broker_port": page.broker_port, "sntp_host": page.sntp_host.as_str(), "sntp_port": page.sntp_port,
        "bus": {"baud": page.bus.baud, "parity": parity, "stop_bits": page.bus.stop_bits,
            "response_timeout_ms": page.bus.response_timeout_ms},
        "poll_interval_ms": page.poll_interval_ms, "meters": meters,
    })
}

#[test]
fn the_golden_pages_are_read_and_written() {
    let document = fs::read_to_string(root().join("../docs/protocol.md")).expect("the document");
    let vectors = document.split("```pages\n").nth(1).expect("a block of pages");
    let vectors = vectors.split("```").next().expect("its end").replace("\n  ", "");
    for name in ["v1-dhcp", "v1-static"] {
        let (bytes, description) = golden(name);
        let page = DevicePage::decode(&bytes).expect("a page");
        assert_eq!(describe(&page), description, "{name}");
        assert_eq!(encoded(&page)[..], bytes, "{name}");
        let used = BODY_AT + usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        let line = format!("page-{name} = {}", hex::encode(&bytes[..used]));
        assert!(
            vectors.lines().any(|stated| stated == line),
            "the document must say:\n{line}"
        );
    }
}

fn network() -> impl Strategy<Value = PageNetwork> {
    let fixed =
        (1..=30_u8, 2..250_u8, any::<bool>()).prop_map(|(prefix_len, dns, routed)| PageNetwork::Static {
            address: [10, 130, 129, 2],
            prefix_len,
            gateway: if routed { [10, 130, 129, 1] } else { [0; 4] },
            dns: [10, 9, 8, dns],
        });
    prop_oneof![Just(PageNetwork::Dhcp), fixed]
}

fn bus() -> impl Strategy<Value = PageBus> {
    let parity = prop_oneof![
        Just(PageParity::None),
        Just(PageParity::Even),
        Just(PageParity::Odd)
    ];
    let baud = prop_oneof![Just(0), 1_200..=115_200_u32];
    (baud, parity, 1..=2_u8, 20..=10_000_u16).prop_map(|(baud, parity, stop_bits, response_timeout_ms)| {
        PageBus {
            baud,
            parity,
            stop_bits,
            response_timeout_ms,
        }
    })
}

fn meters() -> impl Strategy<Value = Vec<(MeterAddress, MeterDriver), 8>> {
    let driver = prop_oneof![
        Just(MeterDriver::Sunspec),
        Just(MeterDriver::Sdm630),
        Just(MeterDriver::Growatt),
        Just(MeterDriver::SiRs485),
    ];
    let address = (1..=247_u8).prop_map(|address| MeterAddress::new(address).expect("an address"));
    btree_map(address, driver, 0..=8).prop_map(|meters| meters.into_iter().collect())
}

fn page() -> impl Strategy<Value = DevicePage> {
    let host = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,20}[a-z0-9])?)?\\.[a-z]{2}"
        .prop_map(|text| String::try_from(text.as_str()).expect("short enough"));
    let board = "[a-z0-9-]{1,24}".prop_map(|text| String::try_from(text.as_str()).expect("short enough"));
    let who = (board, strategies::device_id(), 1..=u8::MAX, any::<[u8; 32]>());
    let broker = (host.clone(), 1..=u16::MAX);
    let sntp = (host, 1..=u16::MAX);
    let rest = (network(), bus(), 200..=86_400_000_u32, meters());
    (who, broker, sntp, rest).prop_map(|(who, broker, sntp, rest)| DevicePage {
        board: who.0,
        device: who.1,
        key_generation: who.2,
        key: who.3,
        network: rest.0,
        broker_host: broker.0,
        broker_port: broker.1,
        sntp_host: sntp.0,
        sntp_port: sntp.1,
        bus: rest.1,
        poll_interval_ms: rest.2,
        meters: rest.3,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(page in page(), behind in vec(any::<u8>(), 0..64)) {
        let bytes = encoded(&page);
        prop_assert_eq!(DevicePage::decode(&bytes), Ok(page.clone()));
        let sector = [&bytes[..], &behind].concat();
        prop_assert_eq!(DevicePage::decode(&sector), Ok(page));
    }

    #[test]
    fn a_changed_bit_is_found(page in page(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = encoded(&page);
        let used = BODY_AT + usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        bytes[at.index(used)] ^= 1 << bit;
        prop_assert!(DevicePage::decode(&bytes).is_err());
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..=PAGE_LEN)) {
        prop_assert!(DevicePage::decode(&bytes).is_err());
    }

    /// Rubbish with a head and a checksum that fit is refused, or it is a page whose every value can work.
    #[test]
    fn rubbish_in_the_body_is_refused_or_can_work(body in vec(any::<u8>(), 0..=PAGE_LEN - BODY_AT)) {
        if let Ok(page) = DevicePage::decode(&signed(&body)) {
            prop_assert_eq!(page.check(), Ok(()));
        }
    }
}

/// A page with this body and a checksum that fits, made without the encoder.
fn signed(body: &[u8]) -> [u8; PAGE_LEN] {
    let mut bytes = [0xff; PAGE_LEN];
    bytes[..8].copy_from_slice(b"TARAZ-PG");
    bytes[8..10].copy_from_slice(&[1, 0]);
    bytes[10..12].copy_from_slice(&u16::try_from(body.len()).expect("short").to_le_bytes());
    bytes[BODY_AT..BODY_AT + body.len()].copy_from_slice(body);
    let mut crc = u32::MAX;
    for byte in bytes[..12].iter().chain(body) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    bytes[12..16].copy_from_slice(&(!crc).to_le_bytes());
    bytes
}

#[test]
fn what_is_wrong_is_named() {
    let (bytes, _) = golden("v1-static");
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        DevicePage::decode(&changed).expect_err("refused")
    };
    assert_eq!(DevicePage::decode(&[0xff; PAGE_LEN]), Err(PageError::Erased));
    assert_eq!(
        DevicePage::decode(&bytes[1..]),
        Err(PageError::TooShort(PAGE_LEN - 1))
    );
    assert_eq!(DevicePage::decode(&[0; PAGE_LEN]), Err(PageError::Magic));
    assert_eq!(with(0, b'X'), PageError::Magic);
    assert_eq!(with(8, 2), PageError::Version(2));
    assert_eq!(with(11, 0xff), PageError::Length(0xff74));
    assert!(matches!(with(40, 0), PageError::Checksum { .. }));
    // Half written: the rest is still erased.
    let mut half = [0xff; PAGE_LEN];
    half[..64].copy_from_slice(&bytes[..64]);
    assert!(matches!(
        DevicePage::decode(&half),
        Err(PageError::Checksum { .. })
    ));
    // Fields that end early, and fields with something behind them.
    let body = &bytes[BODY_AT..BODY_AT + usize::from(bytes[10])];
    assert!(DevicePage::decode(&signed(body)).is_ok());
    assert_eq!(DevicePage::decode(&signed(&body[1..])), Err(PageError::Malformed));
    assert_eq!(
        DevicePage::decode(&signed(&[body, &[0]].concat())),
        Err(PageError::Malformed)
    );
    // A meter at address 0.
    let last_address = body.len() - 2;
    let zeroed = [&body[..last_address], &[0, 3]].concat();
    assert_eq!(DevicePage::decode(&signed(&zeroed)), Err(PageError::Malformed));
}

#[test]
fn values_that_can_not_work_are_neither_written_nor_read() {
    let (bytes, _) = golden("v1-static");
    let page = DevicePage::decode(&bytes).expect("a page");
    let refused = |field: &str, change: &dyn Fn(&mut DevicePage)| {
        let mut changed = page.clone();
        change(&mut changed);
        let wrong = |result: Result<(), PageError>| match result {
            Err(PageError::Value { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(changed.encode(&mut [0; PAGE_LEN])), field);
        let mut buffer = [0; PAGE_LEN];
        let body = postcard::to_slice(&changed, &mut buffer).expect("bytes");
        assert_eq!(wrong(DevicePage::decode(&signed(body)).map(drop)), field);
    };
    refused("board", &|page| page.board.clear());
    refused("key_generation", &|page| page.key_generation = 0);
    refused("broker_port", &|page| page.broker_port = 0);
    refused("sntp_port", &|page| page.sntp_port = 0);
    refused("broker_host", &|page| page.broker_host.clear());
    refused("sntp_host", &|page| {
        page.sntp_host = String::try_from("a b").expect("short")
    });
    refused("bus.baud", &|page| page.bus.baud = 300);
    refused("bus.baud", &|page| page.bus.baud = 115_201);
    refused("bus.stop_bits", &|page| page.bus.stop_bits = 3);
    refused("bus.response_timeout_ms", &|page| {
        page.bus.response_timeout_ms = 19
    });
    refused("poll_interval_ms", &|page| page.poll_interval_ms = 199);
    refused("meters", &|page| page.meters[1].0 = page.meters[0].0);
    let fixed = |address, prefix_len, gateway, dns| PageNetwork::Static {
        address,
        prefix_len,
        gateway,
        dns,
    };
    let (own, router, none) = ([192, 168, 7, 20], [192, 168, 7, 1], [0; 4]);
    for (field, network) in [
        ("network.prefix_len", fixed(own, 0, none, none)),
        ("network.prefix_len", fixed(own, 31, none, none)),
        ("network.address", fixed([192, 168, 7, 0], 24, none, none)),
        ("network.address", fixed([192, 168, 7, 255], 24, none, none)),
        ("network.address", fixed([224, 0, 0, 5], 24, none, none)),
        ("network.address", fixed([127, 0, 0, 1], 8, none, none)),
        ("network.gateway", fixed(own, 24, [192, 168, 8, 1], none)),
        ("network.gateway", fixed(own, 24, own, none)),
        ("network.dns", fixed(own, 24, router, [255; 4])),
    ] {
        refused(field, &|page| page.network = network);
    }
    refused("network.dns", &|page| {
        page.broker_host = String::try_from("gateway.example").expect("short");
    });
}

#[test]
fn the_page_of_another_board_is_told_apart() {
    let page = DevicePage::decode(&golden("v1-dhcp").0).expect("a page");
    assert_eq!(page.check_board("w5500-evb-pico"), Ok(()));
    assert!(page.check_board("qemu-lm3s6965").is_err());
}

#[test]
fn the_key_is_not_printed() {
    let page = DevicePage::decode(&golden("v1-static").0).expect("a page");
    let printed = format!("{page:?} {page:#?}").to_lowercase();
    assert!(printed.contains("generation 1"), "{printed}");
    let as_numbers = format!("{:?}", page.key);
    assert!(!printed.contains(&hex::encode(page.key)[..8]));
    assert!(!printed.contains(as_numbers.trim_matches(['[', ']'])));
    assert!(!printed.contains("189"), "not even its first byte");
}

#[test]
fn a_saved_page_differs_by_its_number_and_checksum_alone() {
    let (image, _) = golden("v1-static");
    let page = DevicePage::decode(&image).expect("a page");
    for save in [1, 127, 255] {
        let mut bytes = [0; PAGE_LEN];
        page.encode_save(save, &mut bytes)
            .expect("a page that can be written");
        assert_eq!(DevicePage::decode_save(&bytes), Ok((page.clone(), save)));
        assert_eq!(DevicePage::decode(&bytes), Ok(page.clone()));
        let differs: std::vec::Vec<usize> = (0..PAGE_LEN).filter(|&at| bytes[at] != image[at]).collect();
        assert!(differs.contains(&9) && differs.iter().all(|at| [9, 12, 13, 14, 15].contains(at)));
        // Against the checksum of this file's own.
        let body = &bytes[BODY_AT..BODY_AT + usize::from(bytes[10])];
        let mut signed = signed(body);
        signed[9] = save;
        assert!(matches!(
            DevicePage::decode(&signed),
            Err(PageError::Checksum { .. })
        ));
    }
    assert_eq!(DevicePage::decode_save(&image), Ok((page, 0)));
}

#[test]
fn the_page_that_was_saved_last_counts() {
    for (first, second, is_second) in [
        (None, None, false),
        (Some(0), None, false),
        (None, Some(200), true),
        (Some(0), Some(0), false),
        (Some(0), Some(1), true),
        (Some(2), Some(1), false),
        (Some(255), Some(0), true),
        (Some(0), Some(255), false),
        (Some(127), Some(128), true),
        (Some(128), Some(127), false),
        (Some(0), Some(127), true),
        (Some(0), Some(128), false),
    ] {
        assert_eq!(
            second_page_counts(first, second),
            is_second,
            "{first:?}, {second:?}"
        );
    }
}
