//! The solar chain against vectors of an independent implementation.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Row, close, data, rows};
use taraz_analytics::solar::{
    ALBEDO_DEFAULT, Atmosphere, ClearSky, INVERTER_EFFICIENCY, LOSSES_DEFAULT, Place,
    SAPM_OPEN_RACK_GLASS_GLASS, SOLAR_CONSTANT_W_M2, SunPosition, Surface, absolute_air_mass, cell_faiman_c,
    cell_sapm_c, extraterrestrial_w_m2, haurwitz_w_m2, haydavies, ineichen, isotropic, pressure_pa,
    pvwatts_ac_w, pvwatts_dc_w, pvwatts_losses, relative_air_mass, sun_position,
};

const GAMMA_PER_K: f64 = -0.004;

fn vectors() -> Vec<Row> {
    rows(&data("reference_solar.csv"))
}

fn sun_of(row: &Row) -> SunPosition {
    let place = Place {
        latitude_deg: row.f64("lat"),
        longitude_deg: row.f64("lon"),
        altitude_m: row.f64("alt_m"),
    };
    sun_position(place, Atmosphere::at_altitude(place.altitude_m), row.time_ms()).unwrap()
}

fn sky_of(row: &Row, zenith_deg: f64) -> ClearSky {
    let air_mass = relative_air_mass(zenith_deg).map(|air| absolute_air_mass(air, row.f64("pressure_pa")));
    let outside = extraterrestrial_w_m2(row.time_ms(), SOLAR_CONSTANT_W_M2);
    ineichen(zenith_deg, air_mass, row.f64("tl"), row.f64("alt_m"), outside)
}

fn surface_of(row: &Row) -> Surface {
    Surface {
        tilt_deg: row.f64("tilt"),
        azimuth_deg: row.f64("surf_az"),
        albedo: ALBEDO_DEFAULT,
    }
}

#[test]
fn the_sun_stands_where_the_reference_says() {
    for row in vectors() {
        let sun = sun_of(&row);
        let what = row.text("ts_utc");
        close(what, sun.zenith_deg, row.f64("zenith"), 1e-5);
        close(what, sun.apparent_zenith_deg, row.f64("apparent_zenith"), 1e-5);
        close(what, sun.elevation_deg(), row.f64("elevation"), 1e-5);
        let off_deg = (sun.azimuth_deg - row.f64("azimuth") + 180.0).rem_euclid(360.0) - 180.0;
        close(what, off_deg * sun.zenith_deg.to_radians().sin(), 0.0, 1e-5);
        close(
            what,
            sun.equation_of_time_min,
            row.f64("equation_of_time_min"),
            1e-5,
        );
        close(what, pressure_pa(row.f64("alt_m")), row.f64("pressure_pa"), 0.02);
    }
}

#[test]
fn the_clear_sky_given_the_zenith() {
    for row in vectors() {
        let zenith_deg = row.f64("apparent_zenith");
        let what = row.text("ts_utc");
        let outside = extraterrestrial_w_m2(row.time_ms(), SOLAR_CONSTANT_W_M2);
        close(what, outside, row.f64("dni_extra"), 1e-5);
        match (relative_air_mass(zenith_deg), row.number("am_rel")) {
            (Some(found), Some(expected)) => {
                close(what, found, expected, 1e-4);
                close(
                    what,
                    absolute_air_mass(found, row.f64("pressure_pa")),
                    row.f64("am_abs"),
                    1e-4,
                );
            }
            (found, expected) => assert_eq!(found, expected, "{what}"),
        }
        let sky = sky_of(&row, zenith_deg);
        close(what, sky.ghi_w_m2, row.f64("ghi_ineichen"), 0.05);
        close(what, sky.dni_w_m2, row.f64("dni_ineichen"), 0.05);
        close(what, sky.dhi_w_m2, row.f64("dhi_ineichen"), 0.05);
        close(what, haurwitz_w_m2(zenith_deg), row.f64("ghi_haurwitz"), 0.05);
    }
}

#[test]
fn the_whole_chain_from_the_instant_to_ac_power() {
    let losses = pvwatts_losses(&LOSSES_DEFAULT);
    for row in vectors() {
        let what = row.text("ts_utc");
        let (sun, surface) = (sun_of(&row), surface_of(&row));
        let sky = sky_of(&row, sun.apparent_zenith_deg);
        close(what, sky.ghi_w_m2, row.f64("ghi_ineichen"), 0.5);
        close(what, sky.dni_w_m2, row.f64("dni_ineichen"), 0.5);
        close(what, sky.dhi_w_m2, row.f64("dhi_ineichen"), 0.5);
        close(what, surface.incidence_deg(&sun), row.f64("aoi"), 1e-4);
        let outside = extraterrestrial_w_m2(row.time_ms(), SOLAR_CONSTANT_W_M2);
        close(
            what,
            isotropic(&surface, &sun, &sky).global_w_m2(),
            row.f64("poa_isotropic"),
            0.1,
        );
        let plane_w_m2 = haydavies(&surface, &sun, &sky, outside).global_w_m2();
        close(what, plane_w_m2, row.f64("poa_haydavies"), 0.1);
        let (air_c, wind_m_s) = (row.f64("temp_air"), row.f64("wind"));
        let cell_c = cell_faiman_c(plane_w_m2, air_c, wind_m_s);
        close(what, cell_c, row.f64("tcell_faiman"), 0.005);
        let sapm_c = cell_sapm_c(plane_w_m2, air_c, wind_m_s, SAPM_OPEN_RACK_GLASS_GLASS);
        close(what, sapm_c, row.f64("tcell_sapm"), 0.005);
        let dc_w = pvwatts_dc_w(plane_w_m2, cell_c, row.f64("pdc0_kw") * 1_000.0, GAMMA_PER_K);
        close(what, dc_w / 1_000.0, row.f64("pdc_kw"), 1e-3);
        let net_w = dc_w * (1.0 - losses);
        close(what, net_w / 1_000.0, row.f64("pdc_net_kw"), 1e-3);
        let ac_w = pvwatts_ac_w(net_w, row.f64("pac0_kw") * 1_000.0, INVERTER_EFFICIENCY);
        close(what, ac_w / 1_000.0, row.f64("pac_kw"), 1e-3);
    }
}

#[test]
fn the_night_is_exactly_zero() {
    let nights: Vec<Row> = vectors()
        .into_iter()
        .filter(|row| row.f64("zenith") > 90.0)
        .collect();
    assert!(!nights.is_empty(), "the vectors hold a night");
    for row in nights {
        let sun = sun_of(&row);
        let sky = sky_of(&row, sun.apparent_zenith_deg);
        assert_eq!(sky, ClearSky::default());
        let plane = haydavies(&surface_of(&row), &sun, &sky, 1_360.0).global_w_m2();
        assert_eq!(
            (plane, pvwatts_ac_w(0.0, 27_000.0, INVERTER_EFFICIENCY)),
            (0.0, 0.0)
        );
    }
}

#[test]
fn places_and_times_outside_are_refused() {
    let place = |latitude_deg| Place {
        latitude_deg,
        longitude_deg: 53.0,
        altitude_m: 0.0,
    };
    let air = Atmosphere::at_altitude(0.0);
    let error = sun_position(place(95.0), air, 0).unwrap_err().to_string();
    assert!(
        error.contains("latitude -90..=90") && error.contains("95"),
        "{error}"
    );
    assert!(sun_position(place(f64::NAN), air, 0).is_err());
    assert!(sun_position(place(36.0), air, i64::MAX).is_err());
}
