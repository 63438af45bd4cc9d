use proptest::prelude::*;
use taraz_telemetry::{
    Anchor, Clock, FRAME_LEN_MAX, FrameWriter, MeterAddress, Outcome, PollFailure, PollStatus, Quantities,
    Reading, Record, Stamp,
};

use super::*;

const NOW_MS: u64 = 1_750_000_000_000;
/// 2025-03-21T00:00:00Z, when the example's plant was commissioned.
const COMMISSIONED_MS: u64 = 1_742_515_200_000;
const DAY_MS: u64 = 86_400_000;

fn validator() -> Validator {
    let fleet = Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
    Validator::new(&fleet, &MasterKey::new([7; 32]), Fingerprints::default())
}

fn id() -> DeviceId {
    "sari-01".parse().unwrap()
}

fn key(generation: u8) -> DeviceKey {
    MasterKey::new([7; 32]).device_key(&id(), generation)
}

fn record(ms: u64, clock: Clock, values: Quantities) -> Record {
    let meter = MeterAddress::new(1).unwrap();
    Record::Reading(Reading {
        meter,
        stamp: Stamp { ms, clock },
        outcome: Outcome::Values(values),
    })
}

fn plain(ms: u64) -> Record {
    record(
        ms,
        Clock::Synced,
        Quantities {
            ac_power_w: Some(100),
            ..Quantities::default()
        },
    )
}

fn frame(records: &[Record]) -> Vec<u8> {
    let mut buffer = [0; FRAME_LEN_MAX];
    let mut writer = FrameWriter::new(&mut buffer, 1, 5, 2, 10).unwrap();
    for record in records {
        writer.push(record).unwrap();
    }
    writer.finish(&key(1), &id()).to_vec()
}

fn holds(records: &[Record]) -> Vec<Option<Hold>> {
    let accepted = validator()
        .validate(None, "taraz/1/sari-01/up", &frame(records), NOW_MS)
        .unwrap();
    accepted.marks.iter().map(|mark| mark.hold).collect()
}

fn hold(record: Record) -> Option<Hold> {
    holds(&[record])[0]
}

fn valued(change: impl FnOnce(&mut Quantities)) -> Option<Hold> {
    let mut values = Quantities::default();
    change(&mut values);
    hold(record(NOW_MS, Clock::Synced, values))
}

#[test]
fn an_authentic_frame_is_accepted_with_its_identities() {
    let bytes = frame(&[plain(NOW_MS), plain(NOW_MS + 1)]);
    let accepted = validator()
        .validate(Some(&id()), "taraz/1/sari-01/up", &bytes, NOW_MS)
        .unwrap();
    assert_eq!(
        accepted.range,
        RecordRange {
            incarnation: 5,
            boot: 2,
            first: 10,
            last: 11
        }
    );
    assert_eq!(accepted.marks.len(), 2);
    assert_eq!(accepted.marks[1].end as usize, accepted.bytes.len());
    assert!(accepted.marks.iter().all(|mark| mark.hold.is_none()));
}

#[test]
fn fingerprints_tell_identities_and_bytes_apart_but_not_frames() {
    let validator = validator();
    let marks = |first: u32, record: &Record| {
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut buffer, 1, 5, 2, first).unwrap();
        writer.push(record).unwrap();
        let bytes = writer.finish(&key(1), &id());
        validator
            .validate(None, "taraz/1/sari-01/up", bytes, NOW_MS)
            .unwrap()
            .marks[0]
            .fingerprint
    };
    let both = frame(&[plain(NOW_MS), plain(NOW_MS + 1)]);
    let both = validator
        .validate(None, "taraz/1/sari-01/up", &both, NOW_MS)
        .unwrap()
        .marks;
    assert_eq!(both[0].fingerprint, marks(10, &plain(NOW_MS)));
    assert_eq!(
        both[1].fingerprint,
        marks(11, &plain(NOW_MS + 1)),
        "whatever frame it came in"
    );
    assert_ne!(both[0].fingerprint, marks(10, &plain(NOW_MS + 9)), "other bytes");
    assert_ne!(both[0].fingerprint, marks(12, &plain(NOW_MS)), "another identity");
}

#[test]
fn what_is_not_authentic_is_refused_with_its_reason() {
    let validator = validator();
    let good = frame(&[plain(NOW_MS)]);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let other: DeviceId = "other-01".parse().unwrap();
    let up = "taraz/1/sari-01/up";
    // A frame of the right key, but without a record.
    let mut buffer = [0; FRAME_LEN_MAX];
    let empty = FrameWriter::new(&mut buffer, 1, 5, 2, 10)
        .unwrap()
        .finish(&key(1), &id())
        .to_vec();
    let mut buffer = [0; FRAME_LEN_MAX];
    let mut rotated = FrameWriter::new(&mut buffer, 2, 5, 2, 10).unwrap();
    rotated.push(&plain(NOW_MS)).unwrap();
    let rotated = rotated.finish(&key(2), &id()).to_vec();
    let mut buffer = [0; FRAME_LEN_MAX];
    let mut unreadable = FrameWriter::new(&mut buffer, 1, 5, 2, 10).unwrap();
    unreadable.push_encoded(&[0xFF; 30]).unwrap();
    let unreadable = unreadable.finish(&key(1), &id()).to_vec();
    let cases = [
        (None, "taraz/1/sari-01/ack", good.clone(), RefusedReason::Topic),
        (None, "taraz/2/sari-01/up", good.clone(), RefusedReason::Topic),
        (None, "", good.clone(), RefusedReason::Topic),
        (None, "taraz/1/Sari-01/up", good.clone(), RefusedReason::Topic),
        (Some(&other), up, good.clone(), RefusedReason::ForeignTopic),
        (
            None,
            "taraz/1/other-01/up",
            good.clone(),
            RefusedReason::UnknownDevice,
        ),
        (None, up, good[..20].to_vec(), RefusedReason::Length),
        (None, up, vec![1; FRAME_LEN_MAX + 1], RefusedReason::Length),
        (None, up, changed(0, 0), RefusedReason::Version),
        (None, up, changed(0, 2), RefusedReason::Version),
        (None, up, changed(1, 2), RefusedReason::KeyGeneration),
        (None, up, rotated, RefusedReason::KeyGeneration),
        (None, up, changed(3, 77), RefusedReason::Tag),
        (
            None,
            up,
            changed(good.len() - 1, good[good.len() - 1] ^ 1),
            RefusedReason::Tag,
        ),
        (None, up, empty, RefusedReason::Malformed),
        (None, up, unreadable, RefusedReason::Malformed),
    ];
    for (session, topic, bytes, reason) in cases {
        let refused = validator.validate(session, topic, &bytes, NOW_MS).unwrap_err();
        assert_eq!(refused, reason, "{topic} {bytes:02x?}");
    }
}

#[test]
fn times_before_the_plant_and_in_the_future_are_held() {
    assert_eq!(hold(plain(NOW_MS + FUTURE_MAX_MS)), None);
    assert_eq!(
        hold(plain(NOW_MS + FUTURE_MAX_MS + 1)),
        Some(Hold::ImplausibleTime)
    );
    assert_eq!(
        hold(plain(COMMISSIONED_MS - DAY_MS)),
        None,
        "no upper age but the commissioning date"
    );
    assert_eq!(
        hold(plain(COMMISSIONED_MS - DAY_MS - 1)),
        Some(Hold::ImplausibleTime)
    );
    assert_eq!(hold(plain(0)), Some(Hold::ImplausibleTime));
    assert_eq!(
        hold(record(1_000, Clock::Unsynced, Quantities::default())),
        None,
        "an anchor places it later"
    );
    assert_eq!(
        hold(record(1_000, Clock::Holdover, Quantities::default())),
        Some(Hold::ImplausibleTime)
    );
    let anchor = |utc_ms| {
        hold(Record::Anchor(Anchor {
            boot: 2,
            monotonic_ms: 5,
            utc_ms,
            error_ms: 10,
        }))
    };
    assert_eq!((anchor(NOW_MS), anchor(5)), (None, Some(Hold::ImplausibleTime)));
}

#[test]
fn values_that_the_meter_cannot_have_are_held() {
    let held = Some(Hold::ImplausibleValue);
    // The example's inverter is rated 27,600 W.
    assert_eq!(valued(|q| q.ac_power_w = Some(41_400)), None);
    assert_eq!(valued(|q| q.ac_power_w = Some(41_401)), held);
    assert_eq!(valued(|q| q.ac_power_w = Some(-41_401)), held);
    assert_eq!(valued(|q| q.ac_power_w = Some(i32::MIN)), held);
    assert_eq!(valued(|q| q.ac_power_b_w = Some(50_000)), held);
    assert_eq!(valued(|q| q.dc_power_w = Some(50_000)), held);
    assert_eq!(valued(|q| q.voltage_an_dv = Some(2_300)), None);
    assert_eq!(valued(|q| q.voltage_an_dv = Some(0)), None, "the grid is away");
    assert_eq!(valued(|q| q.voltage_ca_dv = Some(10_001)), held);
    assert_eq!(valued(|q| q.dc_voltage_dv = Some(16_501)), held);
    assert_eq!(valued(|q| q.frequency_mhz = Some(50_000)), None);
    assert_eq!(valued(|q| q.frequency_mhz = Some(0)), None);
    assert_eq!(valued(|q| q.frequency_mhz = Some(39_999)), held);
    assert_eq!(valued(|q| q.frequency_mhz = Some(70_001)), held);
    assert_eq!(
        valued(|q| q.irradiance_dwm2 = Some(-30)),
        None,
        "sensors read a little below zero at night"
    );
    assert_eq!(valued(|q| q.irradiance_dwm2 = Some(20_001)), held);
    assert_eq!(valued(|q| q.temperature_dc = Some(-601)), held);
    assert_eq!(valued(|q| q.module_temperature_dc = Some(850)), None);
    assert_eq!(
        valued(|q| q.energy_wh = Some(u64::MAX)),
        None,
        "registers are judged against their past, in ingest"
    );
}

#[test]
fn an_unregistered_meter_is_held_even_when_it_failed() {
    let meter = MeterAddress::new(9).unwrap();
    let outcome = Outcome::Failed(PollFailure {
        status: PollStatus::Timeout,
        count: 1,
        span_ms: 0,
    });
    let stamp = Stamp {
        ms: NOW_MS,
        clock: Clock::Synced,
    };
    assert_eq!(
        hold(Record::Reading(Reading {
            meter,
            stamp,
            outcome
        })),
        Some(Hold::UnknownMeter)
    );
}

#[test]
fn each_record_of_a_frame_is_judged_for_itself() {
    let records = [plain(NOW_MS), plain(0), plain(1), plain(NOW_MS)];
    let held = Some(Hold::ImplausibleTime);
    assert_eq!(holds(&records), [None, held, held, None]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(
        topic in prop_oneof![Just("taraz/1/sari-01/up".to_owned()), ".{0,60}"],
        bytes in prop::collection::vec(any::<u8>(), 0..1_300),
        now_ms: u64,
    ) {
        prop_assert!(validator().validate(None, &topic, &bytes, now_ms).is_err());
    }

    #[test]
    fn authentic_frames_of_arbitrary_records_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..400),
        now_ms: u64,
    ) {
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut buffer, 1, u32::MAX, u32::MAX, u32::MAX).unwrap();
        writer.push_encoded(&bytes).unwrap();
        let frame = writer.finish(&key(1), &id());
        match validator().validate(None, "taraz/1/sari-01/up", frame, now_ms) {
            Ok(accepted) => prop_assert_eq!(accepted.marks.last().map(|mark| mark.end as usize), Some(bytes.len())),
            Err(reason) => prop_assert_eq!(reason, RefusedReason::Malformed),
        }
    }
}
