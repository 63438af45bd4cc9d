//! A registry and a key for the devices of a run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use taraz_telemetry::{DeviceId, DeviceIdError, KEY_LEN, MasterKey};

use crate::options::CONNECTIONS_MAX;
use crate::series::{METERS_MAX, RATED_W};

/// The generation of every key.
pub(crate) const KEY_GENERATION: u8 = 1;
/// The key that every registry of a load has: no secret.
const KEY: [u8; KEY_LEN] = [7; KEY_LEN];
const DISTRICTS: usize = 20;

/// The master key of every registry of a load.
#[must_use]
pub const fn master_key() -> MasterKey {
    MasterKey::new(KEY)
}

/// The id of the `index`-th device, and of its plant.
///
/// # Errors
/// Never for the devices of a run.
pub fn device_id(index: usize) -> Result<DeviceId, DeviceIdError> {
    DeviceId::new(&format!("load-{:05}", index + 1))
}

/// Writes `fleet.toml` with a plant, a device and `meters` meters for each connection, and `master.key`, into `folder`.
///
/// # Errors
/// When one of them is there already or can't be written, or there would be too many.
pub fn lay_out(folder: &Path, devices: usize, meters: usize) -> Result<()> {
    if !(1..=CONNECTIONS_MAX).contains(&devices) || !(1..=METERS_MAX).contains(&meters) {
        bail!(
            "expected 1 to {CONNECTIONS_MAX} devices with 1 to {METERS_MAX} meters, found {devices} with {meters}"
        );
    }
    write_new(&folder.join("fleet.toml"), &fleet(devices, meters))?;
    let digits: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    write_new(&folder.join("master.key"), &format!("{digits}\n"))
}

/// Only its owner can read it: programs refuse keys that others can.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())
        .with_context(|| path.display().to_string())
}

fn fleet(devices: usize, meters: usize) -> String {
    let mut text = String::from("# The registry of a load test: nothing of it is installed anywhere.\n\n");
    for district in 0..DISTRICTS {
        // Writing to a text can't fail.
        let _ = writeln!(
            text,
            "[[district]]\nid = \"d-{district}\"\nname = \"District {district}\"\nname_fa = \"بخش {district}\"\n"
        );
    }
    text.push_str(
        "[[owner]]\nid = \"owner\"\nname = \"Owner\"\nname_fa = \"مالک\"\nkind = \"municipality\"\n",
    );
    for index in 0..devices {
        let id = format!("load-{:05}", index + 1);
        let _ = write!(
            text,
            "\n[[plant]]\nid = \"{id}\"\nname = \"Plant {0}\"\nname_fa = \"نیروگاه {0}\"\nowner = \"owner\"\n\
             district = \"d-{1}\"\nlatitude_deg = 36.5\nlongitude_deg = 53.0\naltitude_m = 20.0\n\
             inverter_ac_w = {RATED_W}\ncommissioned = \"2020-03-20\"\ntemperature_coefficient_per_k = -0.004\n\
             arrays = [{{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = {RATED_W} }}]\n\n\
             [[plant.device]]\nid = \"{id}\"\nkey_generation = {KEY_GENERATION}\n",
            index + 1,
            index % DISTRICTS
        );
        let roles = [
            ("inverter", "sunspec"),
            ("grid", "sdm630"),
            ("consumption", "sdm630"),
        ];
        for (meter, (role, driver)) in roles.iter().take(meters).enumerate() {
            let _ = write!(
                text,
                "\n[[plant.device.meter]]\naddress = {}\nrole = \"{role}\"\ndriver = \"{driver}\"\nrated_w = {RATED_W}\n",
                meter + 1
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_plant_and_its_meters() {
        let text = fleet(30, 3);
        let count = |what: &str| text.lines().filter(|line| *line == what).count();
        assert_eq!(count("[[plant]]"), 30);
        assert_eq!(count("[[plant.device]]"), 30);
        assert_eq!(count("[[plant.device.meter]]"), 90);
        for index in [0, 29] {
            assert!(text.contains(&format!("id = \"{}\"", device_id(index).unwrap())));
        }
    }

    #[test]
    fn more_than_a_registry_takes_is_refused() {
        let folder = std::env::temp_dir();
        for (devices, meters) in [(0, 1), (CONNECTIONS_MAX + 1, 1), (1, 0), (1, METERS_MAX + 1)] {
            assert!(lay_out(&folder, devices, meters).is_err());
        }
    }
}
