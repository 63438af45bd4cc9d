//! What a device keeps and sends again.

use taraz_telemetry::{ACK_LEN_MAX, DeviceId, MasterKey, RecordRange};

use super::*;
use crate::series::{Series, Times};

const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
const SUBACK: &[u8] = &[0x90, 4, 0xff, 0xfe, 0, 1];
const NOW_MS: u64 = 1_795_000_000_000;

fn beast() -> Beast {
    let device = DeviceId::new("load-00001").unwrap();
    let key = MasterKey::new([7; 32]).device_key(&device, 1);
    let times = Times::Backlog {
        start_ms: NOW_MS - 1_000_000,
        step_ms: 1_000,
    };
    Beast::new(
        Author::new(device, key, 9, Series::new(0, 1, times)),
        false,
        25,
        0,
        7,
    )
}

fn sign_in(beast: &mut Beast) {
    beast.connect();
    beast.receive(&[CONNACK, SUBACK].concat(), 0).unwrap();
    assert!(beast.is_ready());
    beast.took(beast.output().len());
}

#[test]
fn what_has_no_ack_is_sent_again_on_the_next_connection_and_what_has_is_not() {
    let mut beast = beast();
    assert_eq!(beast.fill(0, NOW_MS, true).unwrap(), 0, "nobody is connected");
    sign_in(&mut beast);
    assert_eq!(beast.fill(0, NOW_MS, true).unwrap(), 25);
    let sent = beast.output().to_vec();
    let mut buffer = [0; ACK_LEN_MAX];
    // The start and ten readings.
    let (first, last) = (0, 10);
    let (incarnation, boot) = (9, BOOT);
    let mut ack = Ack::default();
    ack.ranges
        .push(RecordRange {
            incarnation,
            boot,
            first,
            last,
        })
        .unwrap();
    let payload = ack
        .encode(&mut buffer, beast.author.key(), beast.author.device())
        .unwrap();
    let mut bytes = vec![0x40, 2, 0, 1];
    packets::publish(&mut bytes, VERSION, 3, "taraz/1/load-00001/ack", payload, false);
    let heard = beast.receive(&bytes, 5_000).unwrap();
    assert_eq!((heard.puback_us, heard.acknowledged), (vec![5_000], 10));
    assert_eq!((beast.waiting(), beast.repeated()), (2, 0));
    assert_eq!(beast.lost(1_000..=4_000), 1_000);
    assert!(beast.output().is_empty() && !beast.is_ready());
    sign_in(&mut beast);
    assert_eq!(beast.fill(0, NOW_MS, true).unwrap(), 0, "nothing new");
    assert_eq!(beast.repeated(), 2);
    assert!(!beast.output().is_empty() && beast.output().len() < sent.len());
}

#[test]
fn the_back_off_doubles_up_to_its_bound() {
    let mut beast = beast();
    let waits: Vec<u64> = (0..4).map(|_| beast.lost(1_000..=3_000)).collect();
    assert_eq!(waits, [1_000, 2_000, 3_000, 3_000]);
    sign_in(&mut beast);
    let refused = beast.receive(&[0x40, 4, 0, 1, 0x97, 0], 0);
    assert!(refused.is_err(), "a refusal ends the connection");
}
