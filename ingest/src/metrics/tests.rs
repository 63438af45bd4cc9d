use std::io::Write as _;
use std::process::{Command, Stdio};

use taraz_telemetry::{MeterAddress, MeterRole};

use super::*;
use crate::counters::Counters;
use crate::gaps::GapCounts;
use crate::view::{
    DeviceHealth, DeviceView, ExpectationMethod, MeterHealth, MeterView, PhaseImbalance, PlantExpected,
    PlantView, SiteView, StringImbalance, VoltageFormula,
};

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
        phases: (address == 2).then_some(PhaseImbalance {
            voltage_pct: Some(0.75),
            voltage_formula: Some(VoltageFormula::Lines),
            current_pct: Some(12.5),
            neutral_current_a: Some(3.25),
            ..PhaseImbalance::default()
        }),
        strings: if address == 1 { strings() } else { Vec::new() },
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
        energy_correction_wh: Some(-490),
        peer_yield_ratio: Some(0.97),
        expected: expected(),
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
        self_consumption_today: Some(0.5),
        self_sufficiency_today: Some(0.25),
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

fn expected() -> PlantExpected {
    PlantExpected {
        power_w: Some(13_000.5),
        method: Some(ExpectationMethod::Measured),
        today_wh: Some(50_000),
        made_today_wh: Some(30_000),
        made_of_today_wh: Some(40_000),
        completeness_today: 1.0,
        clear_sky_index: Some(0.75),
        plane_w_m2: Some(612.5),
        performance_ratio_today: Some(0.8125),
        uploaded_deviation_w: Some(-250.0),
        persistence_deviation_w: None,
        clear_sky_deviation_w: Some(125.5),
    }
}

fn strings() -> Vec<StringImbalance> {
    let of = |(input, imbalance_pct)| StringImbalance {
        input,
        power_w: Some(1_000.0),
        imbalance_pct,
    };
    [(1, Some(-50.0)), (2, None)].map(of).to_vec()
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
    sink.lag_changes = 3;
    sink.written_figures = 96;
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
        conflicts: 5,
        ..DeviceGaps::default()
    }
}

fn text(view: &View) -> String {
    let mut text = String::new();
    let scrape = Scrape {
        fleet: &fleet(),
        view,
        draining: draining(view),
        gaps: &[gaps("sari-01"), gaps("not-registered")],
        counters: Counters::default().snapshot(),
        sinks: vec![sink()],
        settling_records: Some(12),
        store_bytes: 4_096,
    };
    scrape.write(&mut text);
    text
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
        r#"solar_generated_energy_correction_joules{plant="sari-roof-1"} -1764000"#,
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
        r#"solar_expected_power_watts{method="measured",plant="sari-roof-1"} 13000.5"#,
        r#"solar_expected_energy_today_joules{plant="sari-roof-1"} 180000000"#,
        r#"solar_expected_yield_ratio{plant="sari-roof-1"} 0.75"#,
        r#"solar_performance_ratio{plant="sari-roof-1"} 0.8125"#,
        r#"solar_clear_sky_index{plant="sari-roof-1"} 0.75"#,
        r#"solar_plane_irradiance_watts_per_square_meter{plant="sari-roof-1"} 612.5"#,
        r#"solar_self_consumption_ratio{site="sari-town-hall"} 0.5"#,
        r#"solar_self_sufficiency_ratio{site="sari-town-hall"} 0.25"#,
        r#"solar_settlement_deviation_watts{plant="sari-roof-1",schedule="uploaded"} -250"#,
        r#"solar_settlement_deviation_watts{plant="sari-roof-1",schedule="clear_sky"} 125.5"#,
        r#"solar_voltage_unbalance_ratio{device="sari-01",formula="iec_61000_4_30_lines",meter="2",plant="sari-roof-1"} 0.0075"#,
        r#"solar_current_unbalance_ratio{device="sari-01",meter="2",plant="sari-roof-1"} 0.125"#,
        r#"solar_neutral_current_amperes{device="sari-01",meter="2",plant="sari-roof-1"} 3.25"#,
        r#"solar_string_imbalance_ratio{device="sari-01",meter="1",plant="sari-roof-1",string="1"} -0.5"#,
        r#"ingest_readings_total{result="stored"} 0"#,
        r#"ingest_sink_lag_readings{sink="local"} 7"#,
        r#"ingest_sink_readings_total{result="quarantined",sink="local"} 1"#,
        r#"ingest_sink_lag_changes{sink="local"} 3"#,
        r#"ingest_sink_figures_total{result="written",sink="local"} 96"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="stored"} 90"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="held"} 4"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="pending"} 3"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="dropped"} 2"#,
        r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="unknown"} 1"#,
        "ingest_settling_records 12",
        "ingest_store_bytes 4096",
    ];
    for line in lines {
        assert!(has(&text, line), "missing: {line}\nin:\n{text}");
    }
    assert!(
        !text.contains(r#"string="2""#) && !text.contains(r#"schedule="persistence""#),
        "not known"
    );
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
    plant.energy_correction_wh = None;
    plant.peer_yield_ratio = None;
    plant.draining = true;
    plant.expected = PlantExpected::default();
    for meter in &mut plant.meters {
        (meter.phases, meter.strings) = (None, Vec::new());
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
        "solar_expected",
        "solar_performance_ratio{",
        "solar_clear_sky_index{",
        "solar_plane_irradiance",
        "solar_settlement_deviation_watts{",
        "solar_voltage_unbalance_ratio{",
        "solar_current_unbalance_ratio{",
        "solar_neutral_current_amperes{",
        "solar_string_imbalance_ratio{",
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
    for name in [plants::NAMES, devices::NAMES, own::NAMES].concat() {
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
