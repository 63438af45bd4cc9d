//! The registry as a user meets it: the example holds, references resolve, everything is bounded.

use proptest::prelude::*;
use taraz_fleet::{EXAMPLE, Fleet, METERS_MAX, OwnerKind, PLANTS_MAX};
use taraz_telemetry::{DeviceId, MeterAddress, MeterDriver, MeterRole};

fn device_id(text: &str) -> DeviceId {
    text.parse().expect("a device id")
}

/// The example with one text replaced; the text must be there exactly once.
fn example_with(from: &str, to: &str) -> String {
    assert_eq!(EXAMPLE.matches(from).count(), 1, "{from} in the example");
    EXAMPLE.replace(from, to)
}

fn refusal(text: &str) -> String {
    Fleet::parse(text).expect_err("refused").to_string()
}

#[test]
fn the_example_is_a_registry() {
    let fleet = Fleet::parse(EXAMPLE).expect("the example");
    let entry = fleet.device(&device_id("sari-01")).expect("the device");
    assert_eq!(
        (entry.plant.id.as_str(), entry.device.key_generation),
        ("sari-roof-1", 1)
    );
    assert_eq!(entry.plant.peak_w(), 30_000);
    assert_eq!(entry.plant.site_id(), "sari-town-hall");
    assert_eq!(fleet.plants_at("sari-town-hall").count(), 1);
    let kinds: Vec<_> = entry
        .device
        .meters
        .iter()
        .map(|meter| (meter.role, meter.driver))
        .collect();
    assert_eq!(
        kinds,
        [
            (MeterRole::Inverter, MeterDriver::Sunspec),
            (MeterRole::Grid, MeterDriver::Sdm630)
        ]
    );
    let address = |n| MeterAddress::new(n).expect("an address");
    assert_eq!(
        entry.device.meter(address(2)).expect("the grid meter").rated_w,
        69_000
    );
    assert!(entry.device.meter(address(3)).is_none());
    assert_eq!(
        fleet.owner("sari-municipality").expect("the owner").kind,
        OwnerKind::Municipality
    );
    assert_eq!(fleet.district("sari").expect("the district").name_fa, "ساری");
    assert!(fleet.plant("sari-roof-1").is_some() && fleet.plant("nowhere").is_none());
    assert!(fleet.device(&device_id("nobody")).is_none());
    assert_eq!(fleet.devices().count(), 1);
}

#[test]
fn a_plant_without_a_site_is_one_of_its_own() {
    let text = example_with(
        "site = \"sari-town-hall\"        # leave out for a site of its own\n",
        "",
    );
    let fleet = Fleet::parse(&text).expect("a registry");
    assert_eq!(fleet.plants[0].site_id(), "sari-roof-1");
    let own = fleet
        .sites
        .iter()
        .find(|site| site.id == "sari-roof-1")
        .expect("its own site");
    assert_eq!(
        (own.name.as_str(), own.name_fa.as_str()),
        ("Town hall roof", "بام شهرداری")
    );
    assert_eq!(fleet.plants_at("sari-roof-1").count(), 1);
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let text = example_with("temperature_coefficient_per_k = -0.004\n", "")
        .replace("key_generation = 1\n", "")
        .replace(
            "driver = \"sunspec\"             # sunspec, growatt, sdm630 or si_rs485\n",
            "",
        )
        .replace("name = \"Inverter\"\n", "");
    let fleet = Fleet::parse(&text).expect("a registry");
    let device = &fleet.plants[0].devices[0];
    assert!((fleet.plants[0].temperature_coefficient_per_k + 0.004).abs() < f64::EPSILON);
    assert_eq!(
        (device.key_generation, device.meters[0].driver),
        (1, MeterDriver::Sunspec)
    );
    assert_eq!(device.meters[0].name, None);
    let unconnected = example_with("[[plant.device]]", "[plant.unread]")
        .split("[plant.unread]")
        .next()
        .map(str::to_owned);
    let fleet =
        Fleet::parse(&unconnected.expect("the part before the device")).expect("a plant without a device");
    assert_eq!(fleet.devices().count(), 0);
}

#[test]
fn ids_are_there_once() {
    for kind in ["district", "owner", "site"] {
        let table = EXAMPLE
            .split("\n\n")
            .find(|part| part.contains(&format!("[[{kind}]]")))
            .expect("its table");
        let said = refusal(&format!("{EXAMPLE}\n{table}\n"));
        assert!(
            said.contains(&format!("{kind}.id")) && said.contains("id once"),
            "{said}"
        );
    }
    let plant = &EXAMPLE[EXAMPLE.find("[[plant]]").expect("the plant")..];
    let twice = refusal(&format!("{EXAMPLE}\n{plant}"));
    assert!(
        twice.contains("plant.id: found \"sari-roof-1\"; allowed: each plant's id once"),
        "{twice}"
    );
    let second = plant.replace("sari-roof-1", "sari-roof-2");
    let device_twice = refusal(&format!("{EXAMPLE}\n{second}"));
    assert!(
        device_twice.contains("plant.device.id: found \"sari-01\"; allowed: each device's id once"),
        "{device_twice}"
    );
    let fleet =
        Fleet::parse(&format!("{EXAMPLE}\n{}", second.replace("sari-01", "sari-02"))).expect("two plants");
    assert_eq!(fleet.plants_at("sari-town-hall").count(), 2);
    let ids: Vec<_> = fleet
        .devices()
        .map(|entry| entry.device.id.as_str().to_owned())
        .collect();
    assert_eq!(ids, ["sari-01", "sari-02"]);

    let clash = example_with("id = \"sari-town-hall\"", "id = \"sari-roof-1\"")
        .replace("site = \"sari-town-hall\" ", "# site = \"sari-town-hall\" ");
    assert!(
        refusal(&clash).contains("each id once"),
        "a plant's own site against a site of that name"
    );
}

#[test]
fn a_bus_and_a_registry_are_bounded() {
    let meter = |address: usize| {
        format!("\n[[plant.device.meter]]\naddress = {address}\nrole = \"grid\"\nrated_w = 1\n")
    };
    let with = |last: usize| format!("{EXAMPLE}{}", (3..=last).map(meter).collect::<String>());
    assert!(Fleet::parse(&with(METERS_MAX)).is_ok());
    let said = refusal(&with(METERS_MAX + 1));
    assert!(
        said.contains("plant.device.meter: found 9 of them; allowed: 1 to 8 meters on one bus"),
        "{said}"
    );
    let none = EXAMPLE
        .split("# The meters on its RS-485 bus")
        .next()
        .expect("the part before the meters");
    assert!(refusal(none).contains("plant.device.meter: found 0 of them; allowed: 1 to 8"));

    let head = &EXAMPLE[..EXAMPLE.find("[[plant.device]]").expect("the device")];
    let at = head.find("[[plant]]").expect("the plant");
    let plant = head[at..].replace("site = ", "# site = ");
    let many = |count: usize| {
        let plants = (0..count).map(|n| plant.replace("sari-roof-1", &format!("p{n}")));
        format!("{}{}", &head[..at], plants.collect::<String>())
    };
    assert_eq!(Fleet::parse(&many(3)).expect("three plants").plants.len(), 3);
    assert!(
        refusal(&many(PLANTS_MAX + 1)).contains("plant: found 10001 of them; allowed: at most 10000 plants")
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = Fleet::parse(&text);
    }

    #[test]
    fn a_damaged_example_is_a_registry_or_a_message(
        at in 0..EXAMPLE.len(),
        cut in 0..40_usize,
        put in prop_oneof!["\\PC{0,12}", "[0-9.e+-]{0,6}", "(\"|'|\\[|\\]|\\{|\\}|=|,|\n){0,4}", "(nan|inf|-inf|true|\\[\\]|\\{\\}|1979-05-27)"],
    ) {
        let start = (0..=at).rev().find(|&n| EXAMPLE.is_char_boundary(n)).unwrap_or(0);
        let end = (start + cut..=EXAMPLE.len()).find(|&n| EXAMPLE.is_char_boundary(n)).unwrap_or(EXAMPLE.len());
        match Fleet::parse(&format!("{}{put}{}", &EXAMPLE[..start], &EXAMPLE[end..])) {
            Ok(fleet) => {
                for entry in fleet.devices() {
                    prop_assert_eq!(fleet.device(&entry.device.id).map(|d| d.plant.id.clone()), Some(entry.plant.id.clone()));
                    prop_assert!(fleet.owner(&entry.plant.owner).is_some());
                    prop_assert!(fleet.district(&entry.plant.district).is_some());
                    prop_assert!(fleet.sites.iter().any(|site| site.id == entry.plant.site_id()));
                }
            }
            Err(error) => prop_assert!(error.to_string().starts_with("fleet.toml: line ")),
        }
    }

    #[test]
    fn any_number_in_any_place_is_a_registry_or_a_message(
        line in 0..12_usize,
        number in prop_oneof![any::<i64>().prop_map(|n| n.to_string()), any::<f64>().prop_map(|n| format!("{n:e}"))],
    ) {
        let numeric: Vec<_> = EXAMPLE.lines().filter(|l| l.contains("= ") && !l.contains('"') && !l.contains('[')).collect();
        let old = numeric[line % numeric.len()];
        let key = old.split('=').next().expect("a key");
        let _ = Fleet::parse(&EXAMPLE.replacen(old, &format!("{key}= {number}"), 1));
    }
}

#[test]
fn devices_are_numbered_in_the_order_of_the_registry() {
    let fleet = Fleet::parse(EXAMPLE).unwrap();
    let devices: Vec<_> = fleet.plants.iter().flat_map(|plant| &plant.devices).collect();
    for (number, device) in devices.iter().enumerate() {
        let found = fleet.numbered(number).unwrap();
        assert_eq!((found.number, &found.device.id), (number, &device.id));
        assert_eq!(fleet.device(&device.id).unwrap().number, number);
    }
    assert!(fleet.numbered(devices.len()).is_none());
}
