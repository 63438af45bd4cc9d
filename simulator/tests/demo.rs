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
        "simulation.toml: device sari-01: unit 1: model = 104: one of 101-103, 111-113, 201-204, 211-214"
    );
    assert!(error("base = 40000", "base = 40001").contains("40000, 50000 or 0"));
    assert!(error("W_SF = 1", "W_SF = 11").contains("-10 to 10"));
    assert!(error("W_SF = 1", "X_SF = 1").contains("a scale factor of model 103"));
    assert!(error("\"PPVphAB\"", "\"PPV\"").contains("one of A, AphA"));
    assert!(error("address = 3", "address = 2").contains("every address once"));
    assert!(error("address = 3", "address = 247").contains("1 to 246"));
    assert!(error("kind = \"sdm630\"", "kind = \"sdm72\"").contains("sdm72"));
    assert!(error("id = 64110", "id = 103").contains("no model that the simulator has"));
    assert!(
        error("source = \"ausgrid_house\"", "source = \"sma7k\"").contains("a source with a consumption")
    );
    assert!(error("plant = \"sari-roof-1\"\n", "").contains("or give a fleet that knows the device"));
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
