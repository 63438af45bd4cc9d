//! Registries for tests.

/// The id of the device that a Python program plays.
pub(crate) const PYTHON_DEVICE: &str = "python-01";

/// The demo's registry with one more plant, whose device is written in Python from docs/protocol.md.
pub(crate) fn demo_with_python() -> String {
    let demo = taraz_simulator::demo::fleet_toml();
    let fleet = taraz_fleet::Fleet::parse(demo).unwrap();
    let like = &fleet.plants[0];
    format!(
        "{demo}\n[[plant]]\nid = \"python-roof\"\nname = \"Python roof\"\nname_fa = \"بام پایتون\"\nowner = \"{}\"\ndistrict = \"{}\"\n\
         latitude_deg = 36.5\nlongitude_deg = 53.0\naltitude_m = 10.0\ninverter_ac_w = 20000\ncommissioned = \"2024-03-20\"\n\
         arrays = [{{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 20000 }}]\n\n\
         [[plant.device]]\nid = \"{PYTHON_DEVICE}\"\n\n[[plant.device.meter]]\naddress = 1\nrole = \"inverter\"\nrated_w = 20000\n",
        like.owner, like.district
    )
}
