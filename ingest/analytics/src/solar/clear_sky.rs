//! What reaches the ground under a clear sky.

use serde::{Deserialize, Serialize};

/// Solar constant in W/m² that the clear-sky model was fitted with.
pub const SOLAR_CONSTANT_W_M2: f64 = 1_366.1;
/// The Linke turbidity's scale heights in m (Ineichen and Perez 2002, eq. 5).
const SCALE_HEIGHTS_M: (f64, f64) = (8_000.0, 1_250.0);

/// Irradiance under a clear sky in W/m², each 0 or more.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClearSky {
    /// Global, on the horizontal.
    pub ghi_w_m2: f64,
    /// Direct, on a surface that faces the sun.
    pub dni_w_m2: f64,
    /// Diffuse, on the horizontal.
    pub dhi_w_m2: f64,
}

/// Linke turbidity of each month of the Gregorian year, January first; 1.5 (mountain winter) to 7 (dust, smoke).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurbidityByMonth(pub [f64; 12]);

impl TurbidityByMonth {
    /// The same turbidity all year.
    #[must_use]
    pub const fn constant(turbidity: f64) -> Self {
        Self([turbidity; 12])
    }

    /// The turbidity of a month, 1 to 12; `None` outside.
    #[must_use]
    pub fn of_month(&self, month: i8) -> Option<f64> {
        let index = usize::try_from(month).ok()?.checked_sub(1)?;
        self.0.get(index).copied()
    }
}

/// The Caspian coast of Iran by the worldwide map of Remund et al. 2003 (SoDa), as pvlib 0.16.1 carries it, at Sari (36.56° N
/// 53.06° E); Amol and Nowshahr are within 0.5.
pub const TURBIDITY_DEFAULT: TurbidityByMonth =
    TurbidityByMonth([1.95, 2.0, 2.15, 3.35, 3.95, 4.2, 4.5, 4.55, 4.05, 3.35, 3.2, 1.95]);

/// Air mass relative to the zenith's, 1 to 38 (Kasten and Young 1989); `None` below the horizon.
#[must_use]
pub fn relative_air_mass(apparent_zenith_deg: f64) -> Option<f64> {
    let elevation_deg = 90.0 - apparent_zenith_deg;
    (elevation_deg >= 0.0).then(|| {
        1.0 / (apparent_zenith_deg.to_radians().cos() + 0.505_72 * (6.079_95 + elevation_deg).powf(-1.636_4))
    })
}

/// Air mass at a pressure in Pa: relative air mass × pressure over that at the sea.
#[must_use]
pub fn absolute_air_mass(relative: f64, pressure_pa: f64) -> f64 {
    relative * pressure_pa / super::SEA_LEVEL_PA
}

/// Clear sky after Ineichen and Perez 2002 without the later enhancement factor; all 0 when the sun is below the horizon
/// (`absolute_air_mass` is `None`).
///
/// `linke` is the Linke turbidity at air mass 2 (1 and more), `extraterrestrial_w_m2` what comes in at the top.
#[must_use]
pub fn ineichen(
    apparent_zenith_deg: f64,
    absolute_air_mass: Option<f64>,
    linke: f64,
    altitude_m: f64,
    extraterrestrial_w_m2: f64,
) -> ClearSky {
    let cos_zenith = apparent_zenith_deg.to_radians().cos().max(0.0);
    let Some(air_mass) = absolute_air_mass.filter(|_| cos_zenith > 0.0) else {
        return ClearSky::default();
    };
    let (fh1, fh2) = (
        (-altitude_m / SCALE_HEIGHTS_M.0).exp(),
        (-altitude_m / SCALE_HEIGHTS_M.1).exp(),
    );
    let cg1 = 5.09e-5 * altitude_m + 0.868;
    let cg2 = 3.92e-5 * altitude_m + 0.038_7;
    let ghi = cg1
        * extraterrestrial_w_m2
        * cos_zenith
        * (-cg2 * air_mass * (fh1 + fh2 * (linke - 1.0))).exp().max(0.0);
    let b = 0.664 + 0.163 / fh1;
    let beam = extraterrestrial_w_m2 * (b * (-0.09 * air_mass * (linke - 1.0)).exp()).max(0.0);
    // The beam can't be more than the global leaves after the least diffuse share.
    let most =
        ghi * ((1.0 - (0.1 - 0.2 * (-linke).exp()) / (0.1 + 0.882 / fh1)) / cos_zenith).clamp(0.0, 1e20);
    let dni = beam.min(most);
    ClearSky {
        ghi_w_m2: ghi,
        dni_w_m2: dni,
        dhi_w_m2: ghi - dni * cos_zenith,
    }
}

/// Global irradiance on the horizontal under a clear sky in W/m² (Haurwitz 1945): needs nothing but the sun's place.
#[must_use]
pub fn haurwitz_w_m2(apparent_zenith_deg: f64) -> f64 {
    let cos_zenith = apparent_zenith_deg.to_radians().cos();
    if cos_zenith <= 0.0 {
        return 0.0;
    }
    1_098.0 * cos_zenith * (-0.059 / cos_zenith).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn night_is_exactly_dark() {
        assert_eq!(relative_air_mass(90.001), None);
        assert_eq!(ineichen(95.0, None, 3.0, 0.0, 1_360.0), ClearSky::default());
        assert_eq!(haurwitz_w_m2(90.5), 0.0);
    }

    #[test]
    fn months_count_from_one() {
        let turbidity = TurbidityByMonth([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        assert_eq!(turbidity.of_month(1), Some(1.0));
        assert_eq!(turbidity.of_month(12), Some(12.0));
        assert_eq!((turbidity.of_month(0), turbidity.of_month(13)), (None, None));
    }
}
