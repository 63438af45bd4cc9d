//! What tests of the figures share: five plants of one district, of which one has a sensor; a morning of readings.

use std::path::Path;

use taraz_telemetry::{Clock, Quantities, Record, Stamp};

use crate::analytics::PlantModel;
use crate::store::Store;
use crate::store::testing::{NOON_MS, Run, TestClock, deliver, fleet_of, fleet_text, reading};

/// Two hours before [`NOON_MS`], the begin of a quarter-hour.
pub(super) const START_MS: i64 = NOON_MS - 2 * 3_600_000;
pub(super) const QUARTERS: i64 = 8;

/// The store's fleet with a fifth plant, `s`, whose device has an irradiance meter at 4.
pub(super) fn start(folder: &Path) -> Store {
    let s = "[[plant]]\nid = \"s\"\nname = \"s\"\nname_fa = \"s\"\nowner = \"town\"\ndistrict = \"sari\"\n\
         latitude_deg = 36.56\nlongitude_deg = 53.06\naltitude_m = 50.0\ninverter_ac_w = 10000\n\
         commissioned = \"2024-03-20\"\narrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 10000 }]\n\
         [[plant.device]]\nid = \"s-01\"\nmeter = [\n\
         { address = 1, role = \"inverter\", driver = \"sunspec\", rated_w = 10000 },\n\
         { address = 4, role = \"irradiance\", driver = \"si_rs485\" }]\n";
    let fleet = fleet_of(&format!("{}{s}", fleet_text()));
    Store::open(folder, fleet, TestClock::new(NOON_MS).now()).unwrap()
}

pub(super) fn synced(address: u8, time_ms: i64, values: Quantities) -> Record {
    let ms = u64::try_from(time_ms).unwrap();
    reading(
        address,
        Stamp {
            ms,
            clock: Clock::Synced,
        },
        values,
    )
}

/// Delivers a morning of an inverter every 5 minutes that makes `share` of what its model makes under a clear sky.
pub(super) async fn follow_the_sun(store: &Store, device: &'static str, share: f64) {
    follow_the_sun_from(store, device, (START_MS, 1_000_000.0), share).await;
}

/// The same from another time and register on, in a boot of its own.
pub(super) async fn follow_the_sun_from(
    store: &Store,
    device: &'static str,
    (start_ms, mut register_wh): (i64, f64),
    share: f64,
) {
    let plant = store.fleet().plant(&device[..1]).unwrap();
    let model = PlantModel::of(store.fleet(), plant);
    let mut records = Vec::new();
    for step in 0..=QUARTERS * 3 {
        let at_ms = start_ms + step * 300_000;
        records.push(energy(at_ms, register_wh));
        // The power in the middle of what lies ahead.
        let sky = model.sky(at_ms + 150_000).unwrap();
        let weather = model.weather(at_ms, 1.0);
        register_wh +=
            share * taraz_analytics::solar::expect_under(&sky, &model.system, &weather).ac_w / 12.0;
    }
    let boot = if start_ms < START_MS { 1 } else { 2 };
    deliver(store, &[Run::new(device, boot, 0, &records)]).await;
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn energy(at_ms: i64, register_wh: f64) -> Record {
    let values = Quantities {
        ac_power_w: Some(1_000),
        energy_wh: Some(register_wh.round() as u64),
        state: Some(4),
        ..Quantities::default()
    };
    synced(1, at_ms, values)
}
