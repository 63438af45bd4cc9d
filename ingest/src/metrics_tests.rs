use std::io::Write as _;
use std::process::{Command, Stdio};

use prometheus::{Encoder as _, TextEncoder};
use taraz_telemetry::MeterAddress;

use super::*;
use crate::counters::Counters;
use crate::gaps::{DeviceGaps, GapCounts};
use crate::view::{DeviceHealth, DeviceView, MeterHealth, MeterView, PlantView, SiteView};

const NOW_MS: i64 = 1_795_000_000_000;

fn fleet() -> Fleet {
    Fleet::parse(taraz_fleet::EXAMPLE).unwrap()
}

fn view() -> View {
    let meter = |address, role, power: i64, state| MeterView {
        device: "sari-01".parse().unwrap(),
        meter: MeterAddress::new(address).unwrap(),
        role,
        ac_power_w: Some(power),
        state,
        last_ms: Some(NOW_MS - 1_500),
    };
    let plant = PlantView {
        id: "sari-roof-1".into(),
        site: "sari-town-hall".into(),
        power_w: Some(12_345),
        meters: vec![
            meter(1, MeterRole::Inverter, 12_345, Some(4)),
            meter(2, MeterRole::Grid, -2_000, None),
        ],
        energy_today_wh: Some(40_000),
        completeness_today: 1.0,
        energy_total_wh: Some(123_456_789),
        peer_yield_ratio: Some(0.97),
        sun_elevation_deg: -3.25,
        draining: false,
        last_reading_ms: Some(NOW_MS - 1_500),
    };
    let site = SiteView {
        id: "sari-town-hall".into(),
        imbalance_w: Some(-2_000),
        consumed_w: Some(10_345),
        grid_w: Some(-2_000),
        generated_today_wh: None,
        consumed_today_wh: None,
        import_today_wh: None,
        export_today_wh: None,
        imbalance_today_wh: None,
        last_reading_ms: Some(NOW_MS),
    };
    let device = DeviceView {
        id: "sari-01".parse().unwrap(),
        plant: "sari-roof-1".into(),
        last_reading_ms: Some(NOW_MS - 1_500),
        last_received_ms: Some(NOW_MS),
        queue_records: Some(3),
        health: Some(health()),
    };
    View {
        now_ms: NOW_MS,
        plants: vec![plant],
        sites: vec![site],
        devices: vec![device],
    }
}

fn health() -> DeviceHealth {
    let meter = |address, requests, crc_errors, timeouts, exceptions| MeterHealth {
        meter: MeterAddress::new(address).unwrap(),
        requests,
        crc_errors,
        timeouts,
        exceptions,
    };
    DeviceHealth {
        time_ms: NOW_MS - 60_000,
        boot: 7,
        reset_cause: Some("watchdog"),
        firmware: Some("0.1.0".into()),
        uptime_s: 3_600,
        queue_records: 3,
        queue_capacity_records: 9_000,
        dropped_records: 2,
        link_connects: 5,
        stack_high_water_bytes: Some(6_144),
        meters: vec![meter(1, 400, 3, 20, 1), meter(2, 100, 0, 0, 0)],
    }
}

fn sink() -> SinkSnapshot {
    let mut sink = SinkStatus::new("local".into()).snapshot();
    sink.lag_readings = 7;
    sink.quarantined_readings = 1;
    sink
}

fn gaps(device: &str) -> DeviceGaps {
    DeviceGaps {
        device: device.to_owned(),
        counts: GapCounts {
            written: 100,
            stored: 90,
            held: 4,
            pending: 3,
            dropped: 2,
            unknown: 1,
        },
        ..DeviceGaps::default()
    }
}

fn text(view: &View) -> String {
    let families = Families::new().unwrap();
    families.plants(&fleet(), view);
    families.own(&Counters::default().snapshot(), &[sink()], 4_096);
    families.gaps(&fleet(), &[gaps("sari-01"), gaps("not-registered")]);
    let mut out = Vec::new();
    TextEncoder::new().encode(&families.gather(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|l| l == line)
}

#[test]
fn what_is_known_is_stated_in_base_units() {
    let text = text(&view());
    let lines = [
        r#"solar_ac_power_watts{device="sari-01",meter="1",plant="sari-roof-1"} 12345"#,
        r#"solar_ac_power_watts{device="sari-01",meter="2",plant="sari-roof-1"} -2000"#,
        r#"solar_generation_power_watts{plant="sari-roof-1"} 12345"#,
        r#"solar_inverter_state{device="sari-01",meter="1",plant="sari-roof-1"} 4"#,
        r#"solar_generated_energy_joules_total{plant="sari-roof-1"} 444444440400"#,
        r#"solar_generated_energy_today_joules{plant="sari-roof-1"} 144000000"#,
        r#"solar_energy_imbalance_watts{site="sari-town-hall"} -2000"#,
        r#"solar_last_reading_timestamp_seconds{device="sari-01"} 1794999998.5"#,
        r#"solar_sun_elevation_degrees{plant="sari-roof-1"} -3.25"#,
        r#"solar_backlog_draining{plant="sari-roof-1"} 0"#,
        r#"solar_plant_capacity_watts{plant="sari-roof-1"} 30000"#,
        r#"solar_device_info{device="sari-01",plant="sari-roof-1"} 1"#,
        r#"solar_device_boots_total{device="sari-01"} 7"#,
        r#"solar_device_start_info{cause="watchdog",device="sari-01",firmware="0.1.0"} 1"#,
        r#"solar_device_uptime_seconds{device="sari-01"} 3600"#,
        r#"solar_device_queue_records{device="sari-01"} 3"#,
        r#"solar_device_queue_capacity_records{device="sari-01"} 9000"#,
        r#"solar_device_dropped_records_total{device="sari-01"} 2"#,
        r#"solar_device_link_connects_total{device="sari-01"} 5"#,
        r#"solar_device_stack_high_water_bytes{device="sari-01"} 6144"#,
        r#"solar_bus_requests_total{device="sari-01",meter="1",plant="sari-roof-1"} 400"#,
        r#"solar_bus_errors_total{device="sari-01",kind="crc",meter="1",plant="sari-roof-1"} 3"#,
        r#"solar_bus_errors_total{device="sari-01",kind="timeout",meter="1",plant="sari-roof-1"} 20"#,
        r#"solar_bus_errors_total{device="sari-01",kind="exception",meter="1",plant="sari-roof-1"} 1"#,
        r#"solar_bus_errors_total{device="sari-01",kind="crc",meter="2",plant="sari-roof-1"} 0"#,
        r#"ingest_readings_total{result="stored"} 0"#,
        r#"ingest_sink_lag_readings{sink="local"} 7"#,
        r#"ingest_sink_readings_total{result="quarantined",sink="local"} 1"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="stored"} 90"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="held"} 4"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="pending"} 3"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="dropped"} 2"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="unknown"} 1"#,
        "ingest_store_bytes 4096",
    ];
    for line in lines {
        assert!(has(&text, line), "missing: {line}\nin:\n{text}");
    }
    assert!(
        !text.contains(r#"solar_inverter_state{device="sari-01",meter="2""#),
        "a grid meter has no state"
    );
    assert!(
        !text.contains("not-registered"),
        "only the registry bounds labels"
    );
}

#[test]
fn what_is_not_known_is_absent_and_never_zero() {
    let mut view = view();
    let plant = &mut view.plants[0];
    plant.power_w = None;
    plant.energy_today_wh = None;
    plant.energy_total_wh = None;
    plant.peer_yield_ratio = None;
    plant.draining = true;
    for meter in &mut plant.meters {
        (meter.ac_power_w, meter.state) = (None, None);
    }
    (
        view.sites[0].imbalance_w,
        view.sites[0].consumed_w,
        view.sites[0].grid_w,
    ) = (None, None, None);
    view.devices[0].last_reading_ms = None;
    let draining = text(&view);
    assert!(has(
        &draining,
        r#"solar_device_queue_records{device="sari-01"} 3"#
    ));
    view.devices[0].health = None;
    let gone = text(&view);
    assert!(
        !gone
            .lines()
            .any(|line| line.starts_with("solar_device_queue_records{"))
    );
    let text = draining;
    let absent = [
        "solar_device_boots_total{",
        "solar_device_dropped_records_total{",
        "solar_device_link_connects_total{",
        "solar_bus_requests_total{",
        "solar_bus_errors_total{",
        "solar_ac_power_watts{",
        "solar_generation_power_watts{",
        "solar_inverter_state{",
        "solar_generated_energy",
        "solar_peer_yield_ratio{",
        "solar_energy_imbalance_watts{",
        "solar_grid_power_watts{",
        "solar_consumed_power_watts{",
        "solar_last_reading_timestamp_seconds{",
    ];
    for name in absent {
        assert!(
            !text
                .lines()
                .any(|line| !line.starts_with('#') && line.starts_with(name)),
            "{name} in:\n{text}"
        );
    }
    assert!(
        text.contains("solar_plant_info{") && has(&text, r#"solar_backlog_draining{plant="sari-roof-1"} 1"#)
    );
}

#[test]
fn promtool_finds_nothing_to_say() {
    let text = text(&view());
    for name in Families::new()
        .unwrap()
        .all()
        .into_iter()
        .flat_map(Collector::desc)
        .map(|d| &d.fq_name)
    {
        assert!(
            text.contains(&format!("\n{name}")),
            "{name} is described and never shown: the check would not see it"
        );
    }
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: apt-get install --no-install-recommends prometheus");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
