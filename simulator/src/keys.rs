//! The keys of `simulation.toml` and `faults.toml`, and what is allowed at each.

use taraz_settings::{Key, Section};

const DAY: &str = "a day from \"1990-01-01\" to \"2045-12-31\" in quotes, as \"2025-03-21\"";
const INSTANT: &str = "an instant in quotes, as \"2026-11-01T06:00:00Z\"";
const PLANT: &str = "a plant's id in quotes, as \"sari-roof-1\"";
const REGISTER: &str = "0 to 1000000000000 Wh, as 1250000";
const SCALE: &str = "0 to 100000, as 1.0";
const SOURCE: &str =
    "one of: trio27k6, sma7k, ac_power01, inv30339, nrel_rsf_ii, nrel_rsf_ii_inv2, ausgrid_house";

/// `simulation.toml`.
pub(crate) const SIMULATION: &[Section] = &[
    Section {
        head: "",
        keys: &[Key::tables("device", "a table for each bus: [[device]]").needed()],
    },
    Section {
        head: "device",
        keys: &[
            Key::must("id", "1 to 32 of a-z, 0-9 and '-' in quotes, as \"sari-01\""),
            Key::may("plant", PLANT),
            Key::may("longitude_deg", "-180 to 180, east positive, as 53.060"),
            Key::may("commissioned", DAY),
            Key::must("source", SOURCE),
            Key::may("scale", SCALE),
            Key::table("load", "load = { source = \"ausgrid_house\", scale = 8.0 }"),
            Key::must("load.source", "a source with a consumption: \"ausgrid_house\""),
            Key::may("load.scale", SCALE),
            Key::tables("unit", "a table for each unit on the bus: [[device.unit]]").needed(),
        ],
    },
    Section {
        head: "device.unit",
        keys: UNIT,
    },
];

const UNIT: &[Key] = &[
    Key::must("address", "1 to 246, as 1; 247 is the bus clock's"),
    Key::must("kind", "one of: sunspec, sdm630, growatt, si_rs485"),
    Key::may("model", SUNSPEC_MODELS),
    Key::may("measures", "one of: grid, consumption"),
    Key::may("rated_w", "1 to 50000000 W, as 27600"),
    Key::may("share", "0 to 10, as 1.0"),
    Key::may("base", SUNSPEC_BASES),
    Key::may("short_common", "true or false"),
    Key::may("mppt", "0 to 8 inputs, as 2"),
    Key::tables("unknown_models", "unknown_models = [{ id = 64110, length = 38 }]"),
    Key::must("unknown_models.id", UNKNOWN_IDS),
    Key::must("unknown_models.length", "0 to 1000 registers, as 38"),
    Key::names(
        "scale_factors",
        "-10 to 10 for each, as in { W_SF = 1, V_SF = -2 }",
    ),
    Key::may(
        "not_implemented",
        "names of points in quotes, as [\"TmpSnk\", \"160.DCA\"]",
    ),
    Key::may("protocol", "one of: v3_05, ii"),
    Key::may("energy_start_wh", REGISTER),
    Key::may("export_start_wh", REGISTER),
    Key::may("night", "one of: standby, sleeping, silent"),
    Key::may("delay_ms", "0 to 65535 ms, as 15"),
];

pub(crate) const SUNSPEC_MODELS: &str = "one of 101-103, 111-113, 201-204, 211-214";
pub(crate) const SUNSPEC_BASES: &str = "40000, 50000 or 0";
pub(crate) const UNKNOWN_IDS: &str = "2 to 65534, and no model that the simulator has";

/// `faults.toml`.
pub(crate) const FAULTS: &[Section] = &[
    Section {
        head: "",
        keys: &[Key::tables("fault", "a table for each fault: [[fault]]")],
    },
    Section {
        head: "fault",
        keys: &[
            Key::must("plant", PLANT),
            Key::may("unit", "1 to 247, as 1"),
            Key::must(
                "kind",
                "one of: derate, zero_power, silent, stuck, busy, slow, counter_reset, string_loss",
            ),
            Key::may("from", INSTANT),
            Key::may("until", INSTANT),
            Key::may("factor", "0 to 1, as 0.6"),
            Key::may("delay_ms", "0 to 600000 ms, as 3000"),
            Key::may("input", "1 to 8"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_told_stands_in_an_example() {
        for (sections, example) in [(SIMULATION, crate::EXAMPLE), (FAULTS, crate::FAULTS_EXAMPLE)] {
            for key in sections.iter().flat_map(|section| section.keys) {
                let name = key.path().rsplit('.').next().unwrap();
                let is_there = |line: &str| {
                    line.contains(&format!("{name} = ")) || line.trim_end_matches(']').ends_with(name)
                };
                assert!(example.lines().any(is_there), "{name}");
            }
        }
    }
}
