//! The demo and the examples: they parse, they agree with the fleet, and they are what they promise.

use std::collections::BTreeMap;

use taraz_fleet::Fleet;
use taraz_simulator::{EXAMPLE, FAULTS_EXAMPLE, Simulation, demo};
use taraz_telemetry::{MeterDriver, MeterRole};

#[test]
fn the_demo_is_twelve_plants_in_four_districts() {
    let fleet = Fleet::parse(demo::fleet_toml()).unwrap();
    let simulation = Simulation::parse_with_fleet(demo::simulation_toml(), &fleet, None).unwrap();
    assert_eq!(simulation.plants().len(), 12);
    let mut devices: Vec<&str> = simulation.devices().collect();
    devices.sort_unstable();
    let known: Vec<&str> = fleet.devices().map(|known| known.device.id.as_str()).collect();
    assert_eq!(devices, known);
    let mut districts = BTreeMap::new();
    for plant in &fleet.plants {
        *districts.entry(plant.district.as_str()).or_insert(0) += 1;
        assert_eq!(plant.devices.len(), 1, "{}: one device each", plant.id);
    }
    assert_eq!(
        districts,
        BTreeMap::from([("sari", 4), ("babol", 4), ("amol", 2), ("nowshahr", 2)])
    );
    let meters: Vec<_> = fleet.devices().flat_map(|known| &known.device.meters).collect();
    let growatts = meters
        .iter()
        .filter(|meter| meter.driver == MeterDriver::Growatt)
        .count();
    assert!(growatts >= 2);
    let metered = |role| meters.iter().filter(|meter| meter.role == role).count();
    assert_eq!(metered(MeterRole::Grid), 6);
    assert_eq!(metered(MeterRole::Consumption), 1);
    assert_eq!(metered(MeterRole::Irradiance), 1);
}

#[test]
fn the_examples_parse() {
    Simulation::parse(EXAMPLE, Some(FAULTS_EXAMPLE)).unwrap();
}

#[test]
fn an_error_names_key_value_and_what_is_allowed() {
    let error = |from: &str, to: &str| {
        assert!(EXAMPLE.contains(from), "{from}");
        Simulation::parse(&EXAMPLE.replace(from, to), None)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        error("model = 103", "model = 104"),
        "simulation.toml: line 19: device.unit.model: found 104; allowed: one of 101-103, 111-113, 201-204, 211-214"
    );
    assert!(error("base = 40000", "base = 40001").contains("40000, 50000 or 0"));
    assert!(error("W_SF = 1", "W_SF = 11").contains("-10 to 10"));
    assert!(error("W_SF = 1", "X_SF = 1").contains("a scale factor of model 103"));
    assert!(error("\"PPVphAB\"", "\"PPV\"").contains("one of A, AphA"));
    assert!(error("address = 3", "address = 2").contains("every address once"));
    assert!(error("address = 3", "address = 247").contains("1 to 246"));
    assert!(
        error("kind = \"sdm630\"", "kind = \"sdm72\"")
            .contains("device.unit.kind: found \"sdm72\"; allowed: one of: sunspec, sdm630")
    );
    assert!(error("id = 64110", "id = 103").contains("no model that the simulator has"));
    assert!(
        error("source = \"ausgrid_house\"", "source = \"sma7k\"").contains("a source with a consumption")
    );
    assert!(
        error("plant = \"sari-roof-1\"\n", "")
            .contains("device.plant: found nothing; allowed: a value, or a fleet that knows the device")
    );
}

#[test]
fn units_must_be_the_meters_of_the_fleet() {
    let fleet = Fleet::parse(demo::fleet_toml()).unwrap();
    let error = |from: &str, to: &str| {
        let text = demo::simulation_toml().replacen(from, to, 1);
        Simulation::parse_with_fleet(&text, &fleet, None)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(error("id = \"sari-01\"", "id = \"sari-99\"").contains("a device of the fleet"));
    assert!(error("kind = \"sdm630\"", "kind = \"growatt\"").contains("the fleet says sdm630"));
    assert!(error("model = 101", "model = 201").contains("the fleet says that it is inverter"));
    assert!(error("address = 1", "address = 9").contains("the fleet has a meter there"));
}

#[test]
fn what_the_files_say_can_be_written_as_csv() {
    let fleet = Fleet::parse(demo::fleet_toml()).unwrap();
    let simulation = Simulation::parse_with_fleet(demo::simulation_toml(), &fleet, None).unwrap();
    // Two days of Iran: 21 and 22 November 2026.
    let from_ms = 1_795_206_600_000;
    let day_ms = 86_400_000;
    let mut csv = Vec::new();
    simulation
        .write_source_energy_csv(from_ms, from_ms + 2 * day_ms, day_ms, &mut csv)
        .unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 12 * 2);
    assert_eq!(lines[0], "plant,from_utc,to_utc,generation_wh,consumption_wh");
    assert!(
        lines[1].starts_with("sari-town-hall,2026-11-20T20:30:00Z,2026-11-21T20:30:00Z,"),
        "{}",
        lines[1]
    );
    for line in &lines[1..] {
        let generation: f64 = line.split(',').nth(3).unwrap().parse().unwrap();
        assert!(generation > 1_000.0, "{line}");
    }
    // The parts of a day add up to it.
    let of = |from, to| simulation.source_energy_wh("babol-park", from, to).unwrap();
    let parts: f64 = (0..96)
        .map(|part| of(from_ms + part * day_ms / 96, from_ms + (part + 1) * day_ms / 96))
        .sum();
    assert!((parts - of(from_ms, from_ms + day_ms)).abs() < 0.001);
    assert!(simulation.source_energy_wh("nowhere", 0, day_ms).is_none());
    assert!(simulation.write_source_energy_csv(0, 1, 0, Vec::new()).is_err());
}
