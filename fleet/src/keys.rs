//! The keys of `fleet.toml`, and what is allowed at each.

use taraz_settings::{Key, Section};

use crate::check::{
    AIR_ALLOWED, DRIVER_ALLOWED, DUTY_YEAR_ALLOWED, ID_ALLOWED, LOSS_ALLOWED, MPPT_ALLOWED, NAME_ALLOWED,
    RIAL_ALLOWED, SHARE_ALLOWED, TURBIDITY_ALLOWED,
};
use crate::register::{AT_ALLOWED, REGISTER_ALLOWED, REGISTER_WH_ALLOWED, ROLLS_OVER_ALLOWED};

const PEAK_ALLOWED: &str = "a whole number of W above 0, as 30000";

/// Everything that the file may hold.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        head: "",
        keys: &[
            Key::tables("district", "a table for each district: [[district]]").needed(),
            Key::tables("owner", "a table for each owner: [[owner]]").needed(),
            Key::tables("site", "a table for each site: [[site]]"),
            Key::tables("plant", "a table for each plant: [[plant]]").needed(),
            Key::tables("duty", "a table for each dated share: [[duty]]"),
        ],
    },
    Section {
        head: "district",
        keys: NAMED,
    },
    Section {
        head: "district",
        keys: SKY,
    },
    Section {
        head: "site",
        keys: NAMED,
    },
    Section {
        head: "owner",
        keys: NAMED,
    },
    Section {
        head: "owner",
        keys: &[Key::must("kind", "one of: municipality, village, agency")],
    },
    Section {
        head: "plant",
        keys: NAMED,
    },
    Section {
        head: "plant",
        keys: PLANT,
    },
    Section {
        head: "plant",
        keys: SKY,
    },
    Section {
        head: "duty",
        keys: &[
            Key::must("from_year", DUTY_YEAR_ALLOWED),
            Key::may("owner_kind", "one of: municipality, village, agency"),
            Key::may("owner", "the id of an [[owner]] in quotes"),
            Key::must("share_per_myriad", SHARE_ALLOWED),
            Key::may("rial_per_kwh", RIAL_ALLOWED),
        ],
    },
    Section {
        head: "plant.device",
        keys: DEVICE,
    },
];

const NAMED: &[Key] = &[
    Key::must("id", ID_ALLOWED),
    Key::must("name", NAME_ALLOWED),
    Key::must("name_fa", NAME_ALLOWED),
];

const SKY: &[Key] = &[
    Key::may("linke_turbidity", TURBIDITY_ALLOWED),
    Key::may("air_c", AIR_ALLOWED),
];

const PLANT: &[Key] = &[
    Key::must("owner", "the id of an [[owner]] in quotes"),
    Key::must("district", "the id of a [[district]] in quotes"),
    Key::may(
        "site",
        "the id of a [[site]] in quotes, or no such key: a site of its own",
    ),
    Key::must("latitude_deg", "-90 to 90, north positive, as 36.563"),
    Key::must("longitude_deg", "-180 to 180, east positive, as 53.060"),
    Key::must("altitude_m", "-430 to 6000, as 23.0"),
    Key::must("inverter_ac_w", "a whole number of W above 0, as 27600"),
    Key::must(
        "commissioned",
        "a day of the Gregorian calendar in quotes, year-month-day, as \"2025-03-21\"",
    ),
    Key::may("temperature_coefficient_per_k", "-0.01 to 0.0, as -0.004"),
    Key::may("loss_ratio", LOSS_ALLOWED),
    Key::may("cell_model", "one of: faiman, sapm"),
    Key::may("annual_module_c", "-20 to 80 °C, as 38.0"),
    Key::tables(
        "arrays",
        "arrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }]",
    )
    .needed(),
    Key::must("arrays.tilt_deg", "0 to 90, as 30.0"),
    Key::must(
        "arrays.azimuth_deg",
        "0 to below 360, clockwise from north, as 180.0",
    ),
    Key::must("arrays.peak_w", PEAK_ALLOWED),
    Key::tables("device", "a table for each device: [[plant.device]]"),
];

const DEVICE: &[Key] = &[
    Key::must(
        "id",
        "1 to 32 of a-z, 0-9 and '-' in quotes, neither beginning nor ending with '-', as \"sari-01\"",
    ),
    Key::may("key_generation", "1 to 255, as 1"),
    Key::tables("meter", "a table for each meter: [[plant.device.meter]]"),
    Key::must("meter.address", "1 to 247, as 1"),
    Key::must("meter.role", "one of: inverter, grid, consumption, irradiance"),
    Key::may("meter.driver", DRIVER_ALLOWED),
    Key::may("meter.rated_w", "a whole number of W above 0, as 27600"),
    Key::may("meter.name", NAME_ALLOWED),
    Key::may("meter.rolls_over_wh", ROLLS_OVER_ALLOWED),
    Key::tables(
        "meter.replacement",
        "a table for each replacement: [[plant.device.meter.replacement]]",
    ),
    Key::must("meter.replacement.at", AT_ALLOWED),
    Key::may("meter.replacement.register", REGISTER_ALLOWED),
    Key::must("meter.replacement.final_wh", REGISTER_WH_ALLOWED),
    Key::must("meter.replacement.start_wh", REGISTER_WH_ALLOWED),
    Key::tables("meter.mppt", MPPT_ALLOWED),
    Key::must("meter.mppt.array", "1 for the plant's first array, and so on"),
    Key::must("meter.mppt.peak_w", PEAK_ALLOWED),
];
