//! A device more: what was there stays, what is wrong is refused.

use proptest::collection::btree_map;
use proptest::prelude::*;
use taraz_fieldkit::{AddError, MeterSpec, NewDevice, ReplaceError, add_device, replace};
use taraz_fleet::{EXAMPLE, Fleet};
use taraz_telemetry::{DeviceId, MeterDriver, MeterRole};

fn device(id: &str, plant: &str, meters: &[&str]) -> NewDevice {
    NewDevice {
        id: DeviceId::new(id).unwrap(),
        plant: plant.to_owned(),
        meters: meters.iter().map(|meter| meter.parse().unwrap()).collect(),
    }
}

/// Every line of `old` stands in `new`, in the same order.
fn assert_keeps(old: &str, new: &str) {
    let mut lines = new.lines();
    for line in old.lines() {
        assert!(lines.any(|other| other == line), "lost or moved: {line:?}\n{new}");
    }
}

const TWO_PLANTS: &str = r#"
# Second plant: "the school"   (ساری)
[[plant]]
id = "sari-school"   # with a note
name = "School"
name_fa = "مدرسه"
owner = "sari-municipality"
district = "sari"
latitude_deg = 36.5
longitude_deg = 53.0
altitude_m = 20.0
inverter_ac_w = 10_000
commissioned = "2025-03-21"
arrays = [
    { tilt_deg = 30.0, azimuth_deg = 90.0, peak_w = 6000 },   # east
    { tilt_deg = 30.0, azimuth_deg = 270.0, peak_w = 6000 },  # west
]
# The end.
"#;

fn two_plants() -> String {
    format!("{EXAMPLE}{TWO_PLANTS}")
}

#[test]
fn a_device_is_added_to_its_plant_and_nothing_else_changes() {
    let text = two_plants();
    for plant in ["sari-roof-1", "sari-school"] {
        let meters = [
            "1:inverter:growatt",
            "7:grid:sdm630:69000:Main meter",
            "9:irradiance:si_rs485",
        ];
        let added = add_device("fleet.toml", &text, &device("new-1", plant, &meters)).unwrap();
        assert_keeps(&text, &added);
        let (before, after) = (Fleet::parse(&text).unwrap(), Fleet::parse(&added).unwrap());
        let new = after.device(&DeviceId::new("new-1").unwrap()).unwrap();
        assert_eq!((new.plant.id.as_str(), new.device.key_generation), (plant, 1));
        let stated: Vec<_> = new
            .device
            .meters
            .iter()
            .map(|meter| {
                (
                    meter.address.get(),
                    meter.role,
                    meter.driver,
                    meter.rated_w,
                    meter.name.as_deref(),
                )
            })
            .collect();
        let expected = [
            (
                1,
                MeterRole::Inverter,
                MeterDriver::Growatt,
                new.plant.inverter_ac_w,
                None,
            ),
            (
                7,
                MeterRole::Grid,
                MeterDriver::Sdm630,
                69_000,
                Some("Main meter"),
            ),
            (9, MeterRole::Irradiance, MeterDriver::SiRs485, 0, None),
        ];
        assert_eq!(stated, expected);
        assert_eq!(after.devices().count(), before.devices().count() + 1);
        assert_eq!(after.plants.len(), before.plants.len());
        assert!(!added.contains("key ="), "no key in the registry");
        // Another one into the same plant, behind it.
        let again = add_device(
            "fleet.toml",
            &added,
            &device("new-2", plant, &["1:inverter:sunspec:5000"]),
        )
        .unwrap();
        assert_keeps(&added, &again);
        assert!(again.find("new-1") < again.find("new-2"));
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    let text = two_plants();
    let refused = |new: &NewDevice| add_device("fleet.toml", &text, new).unwrap_err();
    let duplicate = refused(&device("sari-01", "sari-school", &["1:inverter:sunspec"]));
    assert!(matches!(&duplicate, AddError::Duplicate { plant, .. } if plant == "sari-roof-1"));
    let nowhere = refused(&device("new-1", "babol", &["1:inverter:sunspec"]));
    assert!(nowhere.to_string().contains("sari-school"), "{nowhere}");
    let unrated = refused(&device("new-1", "sari-school", &["3:grid:sdm630"]));
    assert!(unrated.to_string().contains("3:grid:sdm630:69000"), "{unrated}");
    for (meters, part) in [
        (
            &["1:inverter:sunspec", "1:inverter:sunspec"][..],
            "each address once",
        ),
        (&["1:inverter:sdm630"], "for the role inverter one of"),
        (&[], "1 to 8 meters"),
    ] {
        let wrong = refused(&device("new-1", "sari-school", meters));
        assert!(
            matches!(wrong, AddError::Fleet(_)) && wrong.to_string().contains(part),
            "{wrong}"
        );
    }
    let broken = text.replace("altitude_m = 23.0", "altitude_m = 23000.0");
    let refused = add_device(
        "fleet.toml",
        &broken,
        &device("new-1", "sari-school", &["1:inverter:sunspec"]),
    );
    assert!(matches!(refused, Err(AddError::Fleet(_))), "it was wrong before");
}

#[test]
fn a_registry_in_brackets_is_left_to_a_person() {
    let inline = EXAMPLE.replace(EXAMPLE.split_once("\n# The board").unwrap().1, "");
    let inline = format!(
        "{inline}\ndevice = [{{ id = \"a\", meter = [{{ address = 1, role = \"inverter\", rated_w = 1 }}] }}]\n"
    );
    assert!(Fleet::parse(&inline).is_ok());
    let refused = add_device(
        "fleet.toml",
        &inline,
        &device("b", "sari-roof-1", &["1:inverter:sunspec"]),
    )
    .unwrap_err();
    assert_eq!(refused, AddError::Layout("plant.device"));
}

#[test]
fn meters_that_are_none() {
    for text in [
        "",
        "1",
        "1:inverter",
        "0:inverter:sunspec",
        "248:grid:sdm630:1",
        "1:solar:sunspec",
        "1:grid:x:1",
        "1:grid:sdm630:much",
    ] {
        let refused = text.parse::<MeterSpec>().unwrap_err().to_string();
        assert!(refused.contains("1:inverter:sunspec:27600"), "{refused}");
    }
}

proptest! {
    /// Whatever is added, in whatever order, everything else stays.
    #[test]
    fn registries_only_grow(plants in btree_map("[a-z][a-z0-9-]{0,10}[a-z0-9]", any::<bool>(), 1..6)) {
        let mut text = two_plants();
        for (id, first) in &plants {
            let plant = if *first { "sari-roof-1" } else { "sari-school" };
            let added = add_device("fleet.toml", &text, &device(id, plant, &["1:inverter:sunspec:1"])).unwrap();
            assert_keeps(&text, &added);
            text = added;
        }
        prop_assert_eq!(Fleet::parse(&text).unwrap().devices().count(), 1 + plants.len());
    }
}

#[cfg(unix)]
#[test]
fn a_file_is_replaced_whole_and_keeps_its_permissions() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("fleet.toml"), folder.path().join("link.toml"));
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&path, &link).unwrap();
    replace(&link, "old", "new").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert!(link.is_symlink());
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(matches!(
        replace(&path, "old", "newer"),
        Err(ReplaceError::Changed)
    ));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing is left beside it"
    );
}
