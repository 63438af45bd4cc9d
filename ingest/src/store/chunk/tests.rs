//! Chunks give back what went in, whatever it was; and what they cost.

use proptest::prelude::*;
use taraz_telemetry::{
    Clock, Field, MeterAddress, Mppt, Outcome, PollFailure, PollStatus, Quantities, RECORD_LEN_MAX, Reading,
    Record, Stamp,
};

use super::super::runs::{DAY_MS, Run};
use super::super::state::BootKey;
use super::super::testing::NOON_MS;
use super::{CHUNK_READINGS_MAX, Chunk};

fn encode(readings: &[Reading]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for reading in readings {
        let record = Record::Reading(reading.clone());
        bytes.extend_from_slice(record.encode(&mut [0; RECORD_LEN_MAX]).unwrap());
    }
    bytes
}

fn run(id: i64, boot: u32, first: u32, readings: &[Reading]) -> Run {
    Run {
        id,
        boot: BootKey {
            device: 1,
            incarnation: 77,
            boot,
        },
        first,
        count: u32::try_from(readings.len()).unwrap(),
        day: NOON_MS / DAY_MS,
        from_ms: 0,
        to_ms: i64::MAX,
        received_ms: NOON_MS,
        bytes: encode(readings),
        crc: None,
        is_damaged: false,
    }
}

/// Seals, and reads everything again.
fn round_trip(runs: &[Run]) -> Chunk {
    let chunk = Chunk::seal(runs.to_vec()).unwrap();
    let mut sorted = runs.to_vec();
    sorted.sort_by_key(|run| (run.boot, run.first));
    let expected: Vec<u8> = sorted.iter().flat_map(|run| run.bytes.clone()).collect();
    assert_eq!(chunk.unpack().unwrap(), expected);
    let identities = sorted
        .iter()
        .flat_map(|run| (run.first..run.first + run.count).map(|sequence| (run.boot, sequence)));
    let records = chunk.records().unwrap();
    assert!(
        records
            .iter()
            .map(|record| (record.boot, record.sequence))
            .eq(identities)
    );
    let again: Vec<u8> = chunk
        .to_runs()
        .unwrap()
        .into_iter()
        .flat_map(|run| run.bytes)
        .collect();
    assert_eq!(again, expected);
    chunk
}

/// Any value that a field can hold.
fn value() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -5..5_i64,
        4 => 0..100_000_i64,
        1 => Just(i64::from(i32::MIN)),
        1 => Just(i64::from(i32::MAX)),
        1 => Just(i64::from(u32::MAX)),
        1 => Just(i64::MAX),
        1 => any::<i64>(),
    ]
}

fn quantities() -> impl Strategy<Value = Quantities> {
    let input = (any::<Option<u32>>(), any::<Option<i32>>(), any::<Option<i32>>());
    let inputs = prop::collection::vec(input, 0..3);
    let fields = prop::collection::vec((0..Field::ALL.len(), value()), 0..14);
    (fields, inputs).prop_map(|(fields, inputs)| {
        let mut quantities = Quantities::default();
        for (at, value) in fields {
            quantities.set(Field::ALL[at], value);
        }
        for (voltage_dv, current_ca, power_w) in inputs {
            let input = Mppt {
                voltage_dv,
                current_ca,
                power_w,
            };
            quantities.mppt.push(input).unwrap();
        }
        quantities
    })
}

fn reading() -> impl Strategy<Value = Reading> {
    let status = prop_oneof![
        Just(PollStatus::Timeout),
        Just(PollStatus::BadFrame),
        any::<u8>().prop_map(PollStatus::Exception),
    ];
    let failure = (status, 1..=u32::MAX, any::<u32>()).prop_map(|(status, count, span_ms)| {
        Outcome::Failed(PollFailure {
            status,
            count,
            span_ms,
        })
    });
    let outcome = prop_oneof![4 => quantities().prop_map(Outcome::Values), 1 => failure];
    // Instants come twice, and go back.
    let ms = prop_oneof![
        5 => (0..2_000_u64).prop_map(|minute| NOON_MS.unsigned_abs() + minute * 60_000),
        1 => 0..=i64::MAX.unsigned_abs(),
    ];
    let clock = prop_oneof![Just(Clock::Synced), Just(Clock::Holdover)];
    (1..4_u8, clock, ms, outcome).prop_map(|(meter, clock, ms, outcome)| Reading {
        meter: MeterAddress::new(meter).unwrap(),
        stamp: Stamp { ms, clock },
        outcome,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn whatever_goes_in_comes_out(
        readings in prop::collection::vec(reading(), 1..60),
        split in 0..60_usize,
        boots in (0..3_u32, 0..3_u32),
    ) {
        let (one, other) = readings.split_at(split.min(readings.len()));
        let runs = [run(9, boots.0, 5, one), run(7, boots.1, 1_000, other)];
        let runs: Vec<_> = runs.into_iter().filter(|run| run.count > 0).collect();
        round_trip(&runs);
    }

    #[test]
    fn damaged_bytes_end_in_an_error(
        readings in prop::collection::vec(reading(), 1..20),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let mut chunk = Chunk::seal(vec![run(1, 1, 0, &readings)]).unwrap();
        let records = chunk.unpack().unwrap();
        let at = at.index(chunk.bytes.len());
        chunk.bytes[at] ^= 1 << bit;
        // Where it still says the same, nothing is lost.
        if let Ok(found) = chunk.unpack() {
            prop_assert_eq!(found, records);
        }
        chunk.bytes.truncate(at);
        prop_assert!(chunk.unpack().is_err());
    }
}

#[test]
fn identities_that_are_damaged_give_no_fewer_records_away() {
    let value = |n: i64| Reading {
        meter: MeterAddress::new(1).unwrap(),
        stamp: Stamp {
            ms: (NOON_MS + n * 60_000).unsigned_abs(),
            clock: Clock::Synced,
        },
        outcome: Outcome::Values(Quantities::default()),
    };
    let readings: Vec<_> = (0..10).map(value).collect();
    let whole = Chunk::seal(vec![run(1, 1, 0, &readings)]).unwrap();
    for at in 0..whole.identities.len() {
        let mut chunk = whole.clone();
        chunk.identities[at] -= u8::from(chunk.identities[at] > 0);
        if chunk != whole {
            assert!(chunk.to_runs().is_err() && chunk.records().is_err(), "byte {at}");
        }
    }
    // Even where the check sum was made with them.
    let mut fewer = whole.clone();
    *fewer.identities.last_mut().unwrap() -= 1;
    fewer.crc = super::crc(&fewer.identities, &whole.unpack().unwrap());
    assert!(fewer.to_runs().is_err() && fewer.records().is_err());
}

/// Noise of a seed, the same everywhere (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from −`most` to `most`.
    fn around(&mut self, most: i32) -> i32 {
        let width = u64::try_from(2 * most + 1).unwrap();
        i32::try_from(self.next() % width).unwrap() - most
    }
}

/// A day of an inverter of 10 kW: twelve fields, each with noise of two counts beside the physics, clouds, and times that are
/// `jitter_ms` off.
fn noisy_day(seed: u64, jitter_ms: i32) -> Vec<Reading> {
    let mut noise = Noise(seed);
    let (mut clouds, mut energy_mwh) = (1.0_f64, 12_345_678_000_i64);
    let midnight_ms = NOON_MS / DAY_MS * DAY_MS;
    // Everything here is far below 2³¹.
    #[allow(clippy::cast_possible_truncation)]
    let to_i32 = |value: f64| value.round() as i32;
    (0..1_440)
        .map(|minute| {
            let sun = (std::f64::consts::PI * (f64::from(minute) - 150.0) / 840.0)
                .sin()
                .max(0.0);
            clouds = (clouds + f64::from(noise.around(100)) / 1_000.0).clamp(0.25, 1.0);
            let exact_w = 9_000.0 * sun * clouds;
            let power_w = to_i32(exact_w) + noise.around(2);
            energy_mwh += i64::from(to_i32(exact_w * 1_000.0 / 60.0));
            let voltages = [2_310, 2_325, 2_298].map(|dv| dv + to_i32(30.0 * sun) + noise.around(2));
            let currents =
                voltages.map(|dv| to_i32(exact_w / 3.0 / f64::from(dv) * 1_000.0) + noise.around(2));
            let unsigned = |value: i32| u32::try_from(value).unwrap();
            let values = Quantities {
                ac_power_w: Some(power_w),
                energy_wh: Some(u64::try_from(energy_mwh / 1_000 + i64::from(noise.around(2))).unwrap()),
                voltage_an_dv: Some(unsigned(voltages[0])),
                voltage_bn_dv: Some(unsigned(voltages[1])),
                voltage_cn_dv: Some(unsigned(voltages[2])),
                current_a_ca: Some(currents[0]),
                current_b_ca: Some(currents[1]),
                current_c_ca: Some(currents[2]),
                frequency_mhz: Some(unsigned(50_000 + 10 * noise.around(2))),
                dc_power_w: Some(to_i32(exact_w * 1.03) + noise.around(2)),
                temperature_dc: Some(250 + to_i32(200.0 * sun) + noise.around(2)),
                state: Some(if exact_w > 0.0 { 4 } else { 8 }),
                ..Quantities::default()
            };
            let ms = midnight_ms + i64::from(minute) * 60_000 + i64::from(noise.around(jitter_ms));
            Reading {
                meter: MeterAddress::new(1).unwrap(),
                stamp: Stamp {
                    ms: u64::try_from(ms.max(midnight_ms)).unwrap(),
                    clock: Clock::Synced,
                },
                outcome: Outcome::Values(values),
            }
        })
        .collect()
}

#[test]
fn a_noisy_day_takes_at_most_eight_bytes_a_reading() {
    for (seed, jitter_ms) in [(1, 0), (2, 0), (3, 150), (4, 150)] {
        let readings = noisy_day(seed, jitter_ms);
        let chunk = round_trip(&[run(1, 1, 0, &readings)]);
        assert!(!chunk.is_raw());
        let bytes = chunk.bytes.len() + chunk.identities.len();
        println!(
            "seed {seed}, jitter {jitter_ms} ms: {:.2} B a reading, {:.1} as received",
            bytes as f64 / 1_440.0,
            encode(&readings).len() as f64 / 1_440.0
        );
        assert!(bytes <= 8 * 1_440, "{bytes} bytes");
    }
}

#[test]
fn a_chunk_holds_its_most_and_several_meters_interleaved() {
    let mut readings = noisy_day(5, 10);
    for (at, reading) in readings.iter_mut().enumerate() {
        reading.meter = MeterAddress::new(u8::try_from(1 + at % 3).unwrap()).unwrap();
    }
    let many: Vec<_> = readings
        .iter()
        .cycle()
        .take(CHUNK_READINGS_MAX)
        .cloned()
        .collect();
    let chunk = round_trip(&[run(1, 1, 0, &many)]);
    assert_eq!(chunk.readings as usize, CHUNK_READINGS_MAX);
}

#[test]
fn what_has_too_many_forms_is_kept_raw() {
    let failed = |code| Reading {
        outcome: Outcome::Failed(PollFailure {
            status: PollStatus::Exception(code),
            count: 1,
            span_ms: 0,
        }),
        ..noisy_day(6, 0).remove(0)
    };
    let readings: Vec<_> = (0..=u8::MAX).map(failed).collect();
    let chunk = round_trip(&[run(1, 1, 0, &readings)]);
    assert!(chunk.is_raw());
    assert!(!round_trip(&[run(1, 1, 0, &readings[1..])]).is_raw());
}
