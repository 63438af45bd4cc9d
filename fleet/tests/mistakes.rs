//! Every mistake in a registry is named with its key, its value and what is allowed.

use taraz_fleet::{EXAMPLE, EnergyRegister, Fleet};

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
        "plant.district: found \"babol\"; allowed: one of: sari",
    ),
    (
        "owner = \"sari-municipality\"",
        "owner = \"x\\ny\"",
        "plant.owner: found \"x\\ny\"; allowed: one of: sari-municipality",
    ),
    (
        "site = \"sari-town-hall\" ",
        "site = \"amol\" ",
        "plant.site: found \"amol\"; allowed: one of: sari-town-hall",
    ),
    (
        "latitude_deg = 36.563",
        "latitude_deg = 136.5",
        "plant.latitude_deg: found 136.5; allowed: -90 to 90",
    ),
    (
        "latitude_deg = 36.563",
        "latitude_deg = nan",
        "plant.latitude_deg: found nan; allowed: -90 to 90",
    ),
    (
        "longitude_deg = 53.060",
        "longitude_deg = -inf",
        "plant.longitude_deg: found -inf; allowed: -180 to 180",
    ),
    (
        "altitude_m = 23.0",
        "altitude_m = 8848.0",
        "plant.altitude_m: found 8848.0; allowed: -430 to 6000",
    ),
    (
        "inverter_ac_w = 27600",
        "inverter_ac_w = 0",
        "plant.inverter_ac_w: found 0; allowed: above 0",
    ),
    (
        "commissioned = \"2025-03-21\"",
        "commissioned = \"1404-01-01\"",
        "plant.commissioned: found \"1404-01-01\"; allowed: \"1980-01-01\" to \"2100-12-31\"",
    ),
    (
        "temperature_coefficient_per_k = -0.004",
        "temperature_coefficient_per_k = -0.4",
        "plant.temperature_coefficient_per_k: found -0.4; allowed: -0.01 to 0",
    ),
    (
        "arrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }]",
        "arrays = []",
        "plant.arrays: found an empty array; allowed: at least one array with tilt_deg, azimuth_deg and peak_w",
    ),
    (
        "tilt_deg = 30.0",
        "tilt_deg = -1.0",
        "plant.arrays.tilt_deg: found -1.0; allowed: 0 to 90",
    ),
    (
        "azimuth_deg = 180.0",
        "azimuth_deg = 360.0",
        "plant.arrays.azimuth_deg: found 360.0; allowed: 0 to ",
    ),
    (
        "peak_w = 30000",
        "peak_w = 0",
        "plant.arrays.peak_w: found 0; allowed: above 0",
    ),
    (
        "key_generation = 1",
        "key_generation = 0",
        "plant.device.key_generation: found 0; allowed: 1 to 255",
    ),
    (
        "address = 2",
        "address = 1",
        "plant.device.meter.address: found 1; allowed: each address once on a bus",
    ),
    (
        "rated_w = 69000",
        "rated_w = 0",
        "plant.device.meter.rated_w: found 0; allowed: above 0",
    ),
    (
        "driver = \"sdm630\"",
        "driver = \"growatt\"",
        "plant.device.meter.driver: found \"growatt\"; allowed: for the role grid one of: sunspec, sdm630",
    ),
    (
        "role = \"grid\"",
        "role = \"irradiance\"",
        "plant.device.meter.driver: found \"sdm630\"; allowed: for the role irradiance one of: si_rs485",
    ),
    (
        "name = \"Inverter\"",
        "name = \" \"",
        "plant.device.meter.name: found \" \"; allowed: 1 to 80 characters",
    ),
    (
        "name = \"Sari\"",
        "name = \"\"",
        "district.name: found \"\"; allowed: 1 to 80 characters",
    ),
    (
        "name_fa = \"شهرداری ساری\"",
        "name_fa = \"a\\nb\"",
        "owner.name_fa: found \"a\\nb\"; allowed: 1 to 80",
    ),
    (
        "id = \"sari\"\n",
        "id = \"Sari\"\n",
        "district.id: found \"Sari\"; allowed: 1 to 48 of a-z, 0-9 and '-'",
    ),
    (
        "id = \"sari-town-hall\"",
        "id = \"\"",
        "site.id: found \"\"; allowed: 1 to 48 of a-z, 0-9 and '-'",
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

/// A value of the wrong type, a key that does not exist or is missing: what is changed, and how the message ends.
const MISSHAPEN: &[(&str, &str, &str)] = &[
    (
        "altitude_m = 23.0",
        "altitude_ft = 75.0",
        "plant.altitude_ft: found a key that does not exist; allowed: here one of id, name, name_fa, owner, \
         district, site, latitude_deg, longitude_deg, altitude_m, inverter_ac_w, commissioned, \
         temperature_coefficient_per_k, loss_ratio, cell_model, annual_module_c, [[arrays]], [[device]], linke_turbidity, air_c",
    ),
    (
        "kind = \"municipality\"",
        "kind = \"town\"",
        "owner.kind: found \"town\"; allowed: one of: municipality, village, agency",
    ),
    (
        "driver = \"sdm630\"",
        "driver = \"sdm120\"",
        "plant.device.meter.driver: found \"sdm120\"; allowed: one of: sunspec, sdm630, growatt, si_rs485",
    ),
    (
        "address = 2",
        "address = 248",
        "plant.device.meter.address: found 248; allowed: 1 to 247, as 1",
    ),
    (
        "id = \"sari-01\"",
        "id = \"Sari_01\"",
        "plant.device.id: found \"Sari_01\"; allowed: 1 to 32 of a-z, 0-9 and '-' in quotes, neither beginning \
         nor ending with '-', as \"sari-01\"",
    ),
    (
        "rated_w = 69000",
        "rated_w = -5",
        "plant.device.meter.rated_w: found -5; allowed: a whole number of W above 0, as 27600",
    ),
    (
        "key_generation = 1",
        "key_generation = 256",
        "plant.device.key_generation: found 256; allowed: 1 to 255, as 1",
    ),
    (
        "commissioned = \"2025-03-21\"",
        "commissioned = \"21.3.2025\"",
        "plant.commissioned: found \"21.3.2025\"; allowed: a day of the Gregorian calendar in quotes, \
         year-month-day, as \"2025-03-21\"",
    ),
    (
        "latitude_deg = 36.563",
        "latitude_deg = \"north\"",
        "plant.latitude_deg: found \"north\"; allowed: -90 to 90, north positive, as 36.563",
    ),
    (
        "altitude_m = 23.0\n",
        "\n",
        "plant.altitude_m: found nothing; allowed: -430 to 6000, as 23.0",
    ),
    (
        "altitude_m = 23.0",
        "altitude_m = 23.0\naltitude_m = 24.0",
        "altitude_m: found what is not TOML (duplicate key); allowed: key = value, each key once; texts in \
         quotes; see `taraz config example`",
    ),
];

#[test]
fn every_misshapen_line_is_named_with_what_is_allowed() {
    for (from, to, expected) in MISSHAPEN {
        let text = example_with(from, to);
        let said = refusal(&text);
        assert!(
            said.starts_with("fleet.toml: line ") && said.ends_with(expected),
            "{to}\nsaid     {said}\nexpected {expected}"
        );
    }
}

#[test]
fn the_line_is_the_mistakes_own_and_the_file_is_called_as_it_is() {
    let text = example_with("address = 2", "address = 248");
    let line = text
        .lines()
        .position(|line| line == "address = 248")
        .expect("the line")
        + 1;
    let mistake = Fleet::read("mazandaran.toml", &text).expect_err("refused");
    assert_eq!((mistake.file.as_str(), mistake.line), ("mazandaran.toml", line));
    // In the second table of its kind, and found by a check, not by the parser.
    let text = example_with("address = 2", "address = 1");
    assert_eq!(Fleet::parse(&text).expect_err("refused").line, line);
}

/// Rows of the duty's table, and what the message says.
#[test]
fn a_wrong_duty_is_named() {
    let row = "[[duty]]\nfrom_year = 1407\nshare_per_myriad = 2000\n";
    assert_eq!(
        Fleet::parse(&format!("{EXAMPLE}\n{row}"))
            .expect("a row")
            .duties
            .len(),
        1
    );
    let cases = [
        (
            row.replace("1407", "2028"),
            "duty.from_year: found 2028; allowed: a Jalali year",
        ),
        (
            row.replace("2000", "20000"),
            "duty.share_per_myriad: found 20000; allowed: 0 to 10000",
        ),
        (
            format!("{row}rial_per_kwh = -1\n"),
            "duty.rial_per_kwh: found -1; allowed: 0 to",
        ),
        (
            format!("{row}owner = \"nobody\"\n"),
            "duty.owner: found \"nobody\"; allowed: one of: sari-municipality",
        ),
        (
            format!("{row}owner = \"sari-municipality\"\nowner_kind = \"village\"\n"),
            "either owner or owner_kind",
        ),
        (
            format!("{row}{row}"),
            "duty.from_year: found 1407; allowed: each year once",
        ),
    ];
    for (rows, expected) in cases {
        let said = refusal(&format!("{EXAMPLE}\n{rows}"));
        assert!(said.contains(expected), "{said}");
    }
}

/// Records of a replacement at the example's inverter, and what the message says.
#[test]
fn a_wrong_replacement_is_named() {
    const RECORD: &str = "[[plant.device.meter.replacement]]\nat = \"2026-03-01T09:30:00+03:30\"\nfinal_wh = 48211300\nstart_wh = 12\n";
    let inverter =
        |records: &str| example_with("name = \"Inverter\"", &format!("name = \"Inverter\"\n{records}"));
    let grid = |records: &str| example_with("rated_w = 69000", &format!("rated_w = 69000\n{records}"));
    let fleet = Fleet::parse(&inverter(RECORD)).expect("a record");
    let meter = &fleet.plants[0].devices[0].meters[0];
    let records: Vec<_> = meter.replacements_of(EnergyRegister::Energy).collect();
    assert_eq!(
        (records.len(), records[0].final_wh, records[0].start_wh),
        (1, 48_211_300, 12)
    );
    assert_eq!(records[0].at.to_string(), "2026-03-01T06:00:00Z");
    let both = format!("{RECORD}register = \"import\"\n{RECORD}register = \"export\"\n");
    let fleet = Fleet::parse(&grid(&both)).expect("both registers");
    let meter = &fleet.plants[0].devices[0].meters[1];
    assert_eq!(meter.replacements_of(EnergyRegister::Export).count(), 1);
    let cases = [
        (
            inverter(&RECORD.replace("+03:30", "")),
            "meter.replacement.at: found \"2026-03-01T09:30:00\"; allowed: a time in quotes with its offset",
        ),
        (
            inverter(&RECORD.replace("2026", "1926")),
            "meter.replacement.at: found \"1926-03-01T09:30:00+03:30\"; allowed: a time",
        ),
        (
            inverter(&RECORD.replace("48211300", "-1")),
            "meter.replacement.final_wh: found -1; allowed: a whole number of Wh",
        ),
        (
            inverter(&RECORD.replace("= 12", "= 10000000000001")),
            "meter.replacement.start_wh: found 10000000000001; allowed",
        ),
        (
            inverter(&RECORD.replace("start_wh = 12", "")),
            "meter.replacement.start_wh: found nothing; allowed",
        ),
        (
            inverter(&format!("{RECORD}by = \"us\"\n")),
            "meter.replacement.by: found a key that does not exist",
        ),
        (
            inverter(&format!("{RECORD}register = \"export\"\n")),
            "register: found \"export\"; allowed: for the role inverter one of: energy",
        ),
        (
            grid(RECORD),
            "register: found nothing; allowed: for the role grid one of: import, export",
        ),
        (
            inverter(&format!("{RECORD}{RECORD}")),
            "meter.replacement.at: found \"2026-03-01T09:30:00+03:30\"; allowed: each instant once",
        ),
        (
            inverter("rolls_over_wh = 1000\n"),
            "meter.rolls_over_wh: found 1000; allowed: Wh above 1000",
        ),
    ];
    for (text, expected) in cases {
        let said = refusal(&text);
        assert!(said.contains(expected), "said     {said}\nexpected {expected}");
    }
}

#[test]
fn a_meter_rolls_over_at_its_drivers_width_unless_its_own_is_stated() {
    let rolls = |text: &str, meter: usize| {
        let fleet = Fleet::parse(text).expect("a registry");
        fleet.plants[0].devices[0].meters[meter].register_rolls_over_wh()
    };
    assert_eq!(rolls(EXAMPLE, 0), Some(1 << 32));
    assert_eq!(rolls(EXAMPLE, 1), None);
    let stated = example_with("name = \"Inverter\"", "rolls_over_wh = 1000000");
    assert_eq!(rolls(&stated, 0), Some(1_000_000));
    assert_eq!(
        rolls(&example_with("\"sunspec\"   ", "\"growatt\"   "), 0),
        Some(429_496_729_600)
    );
}

#[test]
fn what_an_expectation_is_made_with_is_checked() {
    let arrays = "arrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }]\n";
    let twelve = |first: &str| format!("[{first}{}]", ", 3.0".repeat(11));
    for (line, expected) in [
        (
            format!("linke_turbidity = {}", twelve("0.5")),
            "plant.linke_turbidity: found 0.5; allowed: twelve numbers from 1 to 10",
        ),
        (
            format!("air_c = {}", twelve("99.0")),
            "plant.air_c: found 99; allowed: twelve temperatures",
        ),
        ("air_c = [1.0, 2.0]".to_owned(), "plant.air_c"),
        (
            "loss_ratio = 14.0".to_owned(),
            "plant.loss_ratio: found 14.0; allowed: 0 to 0.5",
        ),
        (
            "cell_model = \"hot\"".to_owned(),
            "plant.cell_model: found \"hot\"; allowed: one of: faiman, sapm",
        ),
        (
            "annual_module_c = 200.0".to_owned(),
            "plant.annual_module_c: found 200.0",
        ),
    ] {
        let said = refusal(&example_with(arrays, &format!("{arrays}{line}\n")));
        assert!(said.contains(expected), "{line}: {said}");
    }
    let inverter = "name = \"Inverter\"\n";
    for (inputs, expected) in [
        ("{ array = 2, peak_w = 1 }", "array: found 2; allowed: 1 to 1"),
        ("{ array = 1, peak_w = 0 }", "peak_w: found 0; allowed: above 0"),
        ("{ array = 1 }", "mppt"),
    ] {
        let said = refusal(&example_with(inverter, &format!("{inverter}mppt = [{inputs}]\n")));
        assert!(said.contains(expected), "{inputs}: {said}");
    }
    let grid = "role = \"grid\"\n";
    let said = refusal(&example_with(
        grid,
        &format!("{grid}mppt = [{{ array = 1, peak_w = 1 }}]\n"),
    ));
    assert!(said.contains("at most 8 inputs, of an inverter"), "{said}");
}
