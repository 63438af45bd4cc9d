//! What the sun offers and what an array should make of it.
//!
//! In: a place, an instant, the weather, an array. Out: sun position, clear-sky irradiance, irradiance in the plane of the
//! array, cell temperature, DC and AC power. Each step is a function of its own, so that a measured value can take the
//! place of a modelled one at any point of the chain; [`expect`] runs the whole chain.

mod array;
mod clear_sky;
mod expectation;
mod plane;
mod position;
mod zenith;

pub use array::{
    FAIMAN_U0, FAIMAN_U1, INVERTER_EFFICIENCY, LOSSES_DEFAULT, SAPM_OPEN_RACK_GLASS_GLASS, STC_CELL_C,
    SapmMount, cell_faiman_c, cell_sapm_c, pvwatts_ac_w, pvwatts_dc_w, pvwatts_losses,
};
pub use clear_sky::{
    ClearSky, SOLAR_CONSTANT_W_M2, TURBIDITY_DEFAULT, TurbidityByMonth, absolute_air_mass, haurwitz_w_m2,
    ineichen, relative_air_mass,
};
pub use expectation::{
    Array, CellModel, Expectation, INDEX_PLANTS_MIN, Site, Sky, System, Weather, clear_sky_index, expect,
    expect_under, sky,
};
pub use plane::{ALBEDO_DEFAULT, Plane, Surface, haydavies, isotropic};
pub use position::{
    Atmosphere, DELTA_T_S, Place, SEA_LEVEL_PA, SunPosition, extraterrestrial_w_m2, pressure_pa, sun_position,
};
pub use zenith::Zenith;

/// Why the sun can't be computed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SolarError {
    /// The place is not on the earth.
    #[error(
        "expected latitude -90..=90, longitude -180..=180 and a finite altitude, got {latitude_deg}, \
         {longitude_deg}, {altitude_m} m: check the plant's place"
    )]
    Place {
        /// As given.
        latitude_deg: f64,
        /// As given.
        longitude_deg: f64,
        /// As given.
        altitude_m: f64,
    },
    /// The instant is outside the algorithm's years −2000 to 6000.
    #[error(
        "expected an instant between the years -2000 and 6000, got {time_ms} ms after 1970: check the reading's time"
    )]
    Time {
        /// As given.
        time_ms: i64,
    },
}
