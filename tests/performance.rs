//! The performance ratio of a real plant through the whole path, every part its own process: the recording on Modbus, read by the device,
//! through gateway and ingest to the API.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::field::{stop_services, wait_forwarded};
use common::installation::{Installation, Way};
use taraz_telemetry::DeviceId;
use taraz_test_support::{Signal, get, wait_for};

/// Five recorded days take turns, and the first of these begins before the history.
const HISTORY_DAYS: u32 = 8;
const DELIVER_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// NREL RSF II, second inverter, 204.12 kWp, 2 to 6 January 2022: Σ energy / 204.12 kW over Σ irradiance / 1 kW/m². On the last day it was off.
const EXPECTED: [f64; 5] = [0.556_698, 0.573_764, 0.745_706, 0.775_916, 0.0];
/// Irradiance comes in 0.1 W/m², energy in 1 Wh.
const TOLERANCE: f64 = 5e-5;

const FLEET: &str = r#"
[[district]]
id = "sari"
name = "Sari"
name_fa = "ساری"

[[owner]]
id = "town"
name = "Town"
name_fa = "شهر"
kind = "municipality"

[[plant]]
id = "rsf"
name = "RSF II"
name_fa = "نیروگاه"
owner = "town"
district = "sari"
latitude_deg = 36.563
longitude_deg = 53.060
altitude_m = 23.0
inverter_ac_w = 204000
commissioned = "2025-03-21"
arrays = [{ tilt_deg = 10.0, azimuth_deg = 165.0, peak_w = 204120 }]

[[plant.device]]
id = "rsf-01"
meter = [
    { address = 1, role = "inverter", driver = "sunspec", rated_w = 204000 },
    { address = 2, role = "irradiance", driver = "si_rs485" },
]
"#;

const SIMULATION: &str = r#"
[[device]]
id = "rsf-01"
source = "nrel_rsf_ii_inv2"

[[device.unit]]
address = 1
kind = "sunspec"
model = 103
scale_factors = { WH_SF = 0 }

[[device.unit]]
address = 2
kind = "si_rs485"
"#;

#[test]
fn the_ratios_of_a_real_plant_come_out_of_the_api() {
    let installation = Installation::new(FLEET, Way::Door);
    let ingest = installation.start_ingest();
    let gateway = installation.start_gateway();
    let (mut simulator, buses) = installation.start_simulator(SIMULATION);
    let device = DeviceId::new("rsf-01").unwrap();
    let mut process = installation.start_device(&device, &buses["rsf-01"], HISTORY_DAYS);
    wait_for(DELIVER_LIMIT, "a delivered history", || {
        if process.output().contains("history delivered") {
            Ok(())
        } else {
            Err(process.output().lines().last().unwrap_or_default().to_owned())
        }
    });
    process.signal(Signal::Interrupt);
    assert!(process.wait(STOP_LIMIT).success());
    wait_forwarded(&installation);

    let now_ms = jiff::Timestamp::now().as_millisecond();
    let today_ms = taraz_analytics::calendar::day_bounds_ms(now_ms).0;
    let at = |ms| jiff::Timestamp::from_millisecond(ms).unwrap();
    let (from, to) = (at(today_ms - 6 * 86_400_000), at(today_ms));
    let path = format!("/api/v1/plants/rsf/performance?from={from}&to={to}&step=1d");
    let answer = get(installation.http, &path).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut seen = BTreeMap::new();
    for day in answer.json()["periods"].as_array().unwrap() {
        let ratio = day["performance_ratio"]
            .as_f64()
            .unwrap_or_else(|| panic!("no ratio: {day}"));
        assert_eq!(day["completeness"].as_f64(), Some(1.0), "{day}");
        let near = EXPECTED
            .iter()
            .position(|expected| (ratio - expected).abs() <= TOLERANCE);
        let recorded = near.unwrap_or_else(|| panic!("{ratio} is none of {EXPECTED:?}: {day}"));
        println!(
            "{}: {ratio:.6}, recorded day {}: {:.6}",
            day["label"],
            recorded + 1,
            EXPECTED[recorded]
        );
        seen.insert(recorded, ratio);
    }
    assert_eq!(seen.len(), EXPECTED.len(), "every recorded day: {seen:?}");

    stop_services(gateway, ingest);
    simulator.signal(Signal::Interrupt);
    assert!(simulator.wait(STOP_LIMIT).success());
}
