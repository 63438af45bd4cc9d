//! Every mistake in a registry is named with its key, its value and what is allowed.

use taraz_fleet::{EXAMPLE, Fleet, FleetError};

/// The example with one text replaced; the text must be there exactly once.
fn example_with(from: &str, to: &str) -> String {
    assert_eq!(EXAMPLE.matches(from).count(), 1, "{from} in the example");
    EXAMPLE.replace(from, to)
}

fn refusal(text: &str) -> String {
    Fleet::parse(text).expect_err("refused").to_string()
}

/// What is changed in the example, and what the message says: key, value, what is allowed.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "district = \"sari\"\nsite",
        "district = \"babol\"\nsite",
        "plant sari-roof-1: district = \"babol\": one of: sari",
    ),
    (
        "owner = \"sari-municipality\"",
        "owner = \"x\\ny\"",
        "plant sari-roof-1: owner = \"x\\ny\": one of: sari-municipality",
    ),
    (
        "site = \"sari-town-hall\" ",
        "site = \"amol\" ",
        "plant sari-roof-1: site = \"amol\": one of: sari-town-hall",
    ),
    (
        "latitude_deg = 36.563",
        "latitude_deg = 136.5",
        "plant sari-roof-1: latitude_deg = 136.5: -90 to 90",
    ),
    (
        "latitude_deg = 36.563",
        "latitude_deg = nan",
        "plant sari-roof-1: latitude_deg = NaN: -90 to 90",
    ),
    (
        "longitude_deg = 53.060",
        "longitude_deg = -inf",
        "plant sari-roof-1: longitude_deg = -inf: -180 to 180",
    ),
    (
        "altitude_m = 23.0",
        "altitude_m = 8848.0",
        "plant sari-roof-1: altitude_m = 8848: -430 to 6000",
    ),
    (
        "inverter_ac_w = 27600",
        "inverter_ac_w = 0",
        "plant sari-roof-1: inverter_ac_w = 0: above 0",
    ),
    (
        "commissioned = \"2025-03-21\"",
        "commissioned = \"1404-01-01\"",
        "plant sari-roof-1: commissioned = \"1404-01-01\": \"1980-01-01\" to \"2100-12-31\"",
    ),
    (
        "temperature_coefficient_per_k = -0.004",
        "temperature_coefficient_per_k = -0.4",
        "plant sari-roof-1: temperature_coefficient_per_k = -0.4: -0.01 to 0",
    ),
    (
        "arrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }]",
        "arrays = []",
        "plant sari-roof-1: arrays = []: at least one array with tilt_deg, azimuth_deg and peak_w",
    ),
    (
        "tilt_deg = 30.0",
        "tilt_deg = -1.0",
        "plant sari-roof-1: arrays.tilt_deg = -1: 0 to 90",
    ),
    (
        "azimuth_deg = 180.0",
        "azimuth_deg = 360.0",
        "plant sari-roof-1: arrays.azimuth_deg = 360: 0 to ",
    ),
    (
        "peak_w = 30000",
        "peak_w = 0",
        "plant sari-roof-1: arrays.peak_w = 0: above 0",
    ),
    (
        "key_generation = 1",
        "key_generation = 0",
        "device sari-01: key_generation = 0: 1 to 255",
    ),
    (
        "address = 2",
        "address = 1",
        "device sari-01: meter.address = 1: each address once on a bus",
    ),
    (
        "rated_w = 69000",
        "rated_w = 0",
        "device sari-01: meter 2: rated_w = 0: above 0",
    ),
    (
        "driver = \"sdm630\"",
        "driver = \"growatt\"",
        "device sari-01: meter 2: driver = \"growatt\": for the role grid one of: sunspec, sdm630",
    ),
    (
        "role = \"grid\"",
        "role = \"irradiance\"",
        "device sari-01: meter 2: driver = \"sdm630\": for the role irradiance one of: si_rs485",
    ),
    (
        "name = \"Inverter\"",
        "name = \" \"",
        "device sari-01: meter 1: name = \" \": 1 to 80 characters",
    ),
    (
        "name = \"Sari\"",
        "name = \"\"",
        "district sari: name = \"\": 1 to 80 characters",
    ),
    (
        "name_fa = \"شهرداری ساری\"",
        "name_fa = \"a\\nb\"",
        "owner sari-municipality: name_fa = \"a\\nb\": 1 to 80",
    ),
    (
        "id = \"sari\"\n",
        "id = \"Sari\"\n",
        "district.id = \"Sari\": 1 to 48 of a-z, 0-9 and '-'",
    ),
    (
        "id = \"sari-town-hall\"",
        "id = \"\"",
        "= \"\": 1 to 48 of a-z, 0-9 and '-'",
    ),
];

#[test]
fn every_mistake_names_key_value_and_what_is_allowed() {
    for (from, to, expected) in MISTAKES {
        let said = refusal(&example_with(from, to));
        assert!(
            said.starts_with("fleet.toml: ") && said.contains(expected),
            "{to}\nsaid     {said}\nexpected {expected}"
        );
    }
}

/// What serde finds: the message shows the line of the file with key and value, and says what is allowed.
const MISSHAPEN: &[(&str, &str, &[&str])] = &[
    (
        "altitude_m = 23.0",
        "altitude_ft = 75.0",
        &["altitude_ft = 75.0", "unknown field", "altitude_m"],
    ),
    (
        "kind = \"municipality\"",
        "kind = \"town\"",
        &["kind = \"town\"", "municipality", "village", "agency"],
    ),
    (
        "driver = \"sdm630\"",
        "driver = \"sdm120\"",
        &["driver = \"sdm120\"", "sunspec", "sdm630", "growatt", "si_rs485"],
    ),
    (
        "address = 2",
        "address = 248",
        &["address = 248", "a meter address is 1 to 247"],
    ),
    (
        "id = \"sari-01\"",
        "id = \"Sari_01\"",
        &["id = \"Sari_01\"", "a device id is 1 to 32 of a-z, 0-9 and '-'"],
    ),
    ("rated_w = 69000", "rated_w = -5", &["rated_w = -5", "u32"]),
    (
        "key_generation = 1",
        "key_generation = 256",
        &["key_generation = 256", "u8"],
    ),
    (
        "commissioned = \"2025-03-21\"",
        "commissioned = \"2025-13-21\"",
        &["commissioned = \"2025-13-21\""],
    ),
    (
        "latitude_deg = 36.563",
        "latitude_deg = \"north\"",
        &["latitude_deg = \"north\"", "f64"],
    ),
    ("altitude_m = 23.0\n", "\n", &["missing field `altitude_m`"]),
    (
        "altitude_m = 23.0",
        "altitude_m = 23.0\naltitude_m = 24.0",
        &["altitude_m", "duplicate"],
    ),
];

#[test]
fn every_misshapen_line_is_shown_with_what_is_allowed() {
    for (from, to, expected) in MISSHAPEN {
        let text = example_with(from, to);
        assert!(matches!(Fleet::parse(&text), Err(FleetError::Toml(_))), "{to}");
        let said = refusal(&text);
        for part in *expected {
            assert!(said.contains(part), "{to}: {part} is missing in\n{said}");
        }
    }
}
