//! `taraz calc solar`.

use std::ops::RangeInclusive;

use taraz_analytics::solar::{
    ALBEDO_DEFAULT, Atmosphere, INVERTER_EFFICIENCY, LOSSES_DEFAULT, Place, SAPM_OPEN_RACK_GLASS_GLASS,
    SOLAR_CONSTANT_W_M2, Surface, absolute_air_mass, cell_faiman_c, cell_sapm_c, extraterrestrial_w_m2,
    haurwitz_w_m2, haydavies, ineichen, isotropic, pressure_pa, pvwatts_ac_w, pvwatts_dc_w, pvwatts_losses,
    relative_air_mass, sun_position,
};

use super::Files;
use super::table::{Row, Table, Writer, six_decimals};

/// Columns that are handed on as they are.
const INPUTS: &[&str] = &[
    "site",
    "lat",
    "lon",
    "alt_m",
    "pressure_pa",
    "tilt",
    "surf_az",
    "pdc0_kw",
    "pac0_kw",
    "tl",
    "ts_utc",
    "temp_air",
    "wind",
];
/// Columns that are computed, in the order of `Figures::cells`.
const OUTPUTS: &[&str] = &[
    "zenith",
    "apparent_zenith",
    "elevation",
    "azimuth",
    "equation_of_time_min",
    "dni_extra",
    "am_rel",
    "am_abs",
    "ghi_ineichen",
    "dni_ineichen",
    "dhi_ineichen",
    "ghi_haurwitz",
    "aoi",
    "poa_isotropic",
    "poa_haydavies",
    "tcell_faiman",
    "tcell_sapm",
    "pdc_kw",
    "pdc_net_kw",
    "pac_kw",
];
/// What an input can be, and its unit. The standard atmosphere ends at 11 km (ISO 2533).
const RANGES: &[(&str, RangeInclusive<f64>, &str)] = &[
    ("lat", -90.0..=90.0, "°"),
    ("lon", -180.0..=180.0, "°"),
    ("alt_m", -500.0..=11_000.0, " m"),
    ("pressure_pa", 1_000.0..=120_000.0, " Pa"),
    ("tilt", 0.0..=180.0, "°"),
    ("surf_az", -360.0..=360.0, "°"),
    ("pdc0_kw", 0.0..=f64::INFINITY, " kW"),
    ("pac0_kw", 0.0..=f64::INFINITY, " kW"),
    ("tl", 0.0..=100.0, ""),
    ("temp_air", -100.0..=100.0, " °C"),
    ("wind", 0.0..=200.0, " m/s"),
];
/// Change of a module's power per kelvin.
const GAMMA_PER_K: f64 = -0.004;
const W_PER_KW: f64 = 1_000.0;

pub(super) fn run(files: &Files) -> anyhow::Result<()> {
    let table = Table::read(&files.input, &["lat", "lon", "alt_m", "ts_utc"])?;
    let columns: Vec<&str> = INPUTS.iter().chain(OUTPUTS).copied().collect();
    let mut writer = Writer::create(&files.output, &columns)?;
    for row in table.rows() {
        check_ranges(row)?;
        let place = Place {
            latitude_deg: row.required_number("lat")?,
            longitude_deg: row.required_number("lon")?,
            altitude_m: row.required_number("alt_m")?,
        };
        let pressure_pa = row
            .number("pressure_pa")?
            .unwrap_or_else(|| pressure_pa(place.altitude_m));
        let mut cells: Vec<String> = INPUTS
            .iter()
            .map(|&column| match (column, row.text(column)) {
                ("pressure_pa", None) => six_decimals(Some(pressure_pa)),
                (_, text) => text.unwrap_or_default().to_owned(),
            })
            .collect();
        cells.extend(computed(row, place, pressure_pa)?.into_iter().map(six_decimals));
        writer.row(&cells)?;
    }
    writer.finish()
}

/// A row without what can't be: a slipped column shows here, not in the figures.
fn check_ranges(row: Row<'_>) -> anyhow::Result<()> {
    for (column, range, unit) in RANGES {
        row.number_within(column, range.clone(), unit)?;
    }
    if row.is_not_a_number("tl") {
        anyhow::bail!(
            "{}: tl (Linke turbidity) is NaN: give a number of 1 or more, or leave it empty for a row without a clear sky",
            row.place()
        );
    }
    Ok(())
}

/// The computed cells of a row, in the order of [`OUTPUTS`].
fn computed(row: Row<'_>, place: Place, pressure_pa: f64) -> anyhow::Result<Vec<Option<f64>>> {
    let time_ms = row.time_ms("ts_utc")?;
    let air = Atmosphere {
        pressure_pa,
        ..Atmosphere::at_altitude(place.altitude_m)
    };
    let sun =
        sun_position(place, air, time_ms).map_err(|error| anyhow::anyhow!("{}: {error}", row.place()))?;
    let outside_w_m2 = extraterrestrial_w_m2(time_ms, SOLAR_CONSTANT_W_M2);
    let relative = relative_air_mass(sun.apparent_zenith_deg);
    let absolute = relative.map(|relative| absolute_air_mass(relative, pressure_pa));
    let sky = row.number("tl")?.map(|linke| {
        ineichen(
            sun.apparent_zenith_deg,
            absolute,
            linke,
            place.altitude_m,
            outside_w_m2,
        )
    });
    let surface = surface(row)?;
    let both = surface.zip(sky);
    let plane_w_m2 = both.map(|(surface, sky)| haydavies(&surface, &sun, &sky, outside_w_m2).global_w_m2());
    let isotropic_w_m2 = both.map(|(surface, sky)| isotropic(&surface, &sun, &sky).global_w_m2());
    let mut cells = vec![
        Some(sun.zenith_deg),
        Some(sun.apparent_zenith_deg),
        Some(sun.elevation_deg()),
        Some(sun.azimuth_deg),
        Some(sun.equation_of_time_min),
        Some(outside_w_m2),
        relative,
        absolute,
        sky.map(|sky| sky.ghi_w_m2),
        sky.map(|sky| sky.dni_w_m2),
        sky.map(|sky| sky.dhi_w_m2),
        Some(haurwitz_w_m2(sun.apparent_zenith_deg)),
        surface.map(|surface| surface.incidence_deg(&sun)),
        isotropic_w_m2,
        plane_w_m2,
    ];
    cells.extend(power(row, plane_w_m2)?);
    Ok(cells)
}

fn surface(row: Row<'_>) -> anyhow::Result<Option<Surface>> {
    let lies = row.number("tilt")?.zip(row.number("surf_az")?);
    Ok(lies.map(|(tilt_deg, azimuth_deg)| Surface {
        tilt_deg,
        azimuth_deg,
        albedo: ALBEDO_DEFAULT,
    }))
}

/// Both cell temperatures, DC, DC after losses, AC.
fn power(row: Row<'_>, plane_w_m2: Option<f64>) -> anyhow::Result<[Option<f64>; 5]> {
    let weather = row.number("temp_air")?.zip(row.number("wind")?);
    let warmed = plane_w_m2.zip(weather);
    let faiman_c = warmed.map(|(plane, (air_c, wind))| cell_faiman_c(plane, air_c, wind));
    let sapm_c =
        warmed.map(|(plane, (air_c, wind))| cell_sapm_c(plane, air_c, wind, SAPM_OPEN_RACK_GLASS_GLASS));
    let modules = plane_w_m2.zip(faiman_c).zip(row.number("pdc0_kw")?);
    let dc_w = modules
        .map(|((plane, cell_c), peak_kw)| pvwatts_dc_w(plane, cell_c, peak_kw * W_PER_KW, GAMMA_PER_K));
    let net_w = dc_w.map(|dc_w| dc_w * (1.0 - pvwatts_losses(&LOSSES_DEFAULT)));
    let ac_w = net_w
        .zip(row.number("pac0_kw")?)
        .map(|(net_w, rated_kw)| pvwatts_ac_w(net_w, rated_kw * W_PER_KW, INVERTER_EFFICIENCY));
    let kw = |power_w: Option<f64>| power_w.map(|power_w| power_w / W_PER_KW);
    Ok([faiman_c, sapm_c, kw(dc_w), kw(net_w), kw(ac_w)])
}
