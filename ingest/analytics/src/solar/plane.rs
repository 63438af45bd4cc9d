//! From the horizontal into the plane of an array.

use super::{ClearSky, SunPosition};

/// Share of the light that ordinary ground throws back.
pub const ALBEDO_DEFAULT: f64 = 0.2;
/// The least cosine of the zenith that the beam's ratio is divided by: cos 89° (Hay and Davies 1980, as PV models use it).
const COS_ZENITH_MIN: f64 = 0.017_45;

/// How a surface lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surface {
    /// 0 (flat) to 90° (upright), up to 180°.
    pub tilt_deg: f64,
    /// Where it faces, clockwise from true north, 0 to 360°.
    pub azimuth_deg: f64,
    /// The ground's albedo, 0 to 1.
    pub albedo: f64,
}

/// Irradiance in the plane of an array in W/m².
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plane {
    /// Directly from the sun.
    pub beam_w_m2: f64,
    /// From the sky.
    pub sky_w_m2: f64,
    /// From the ground.
    pub ground_w_m2: f64,
}

impl Plane {
    /// All of it.
    #[must_use]
    pub const fn global_w_m2(&self) -> f64 {
        self.beam_w_m2 + self.sky_w_m2 + self.ground_w_m2
    }
}

impl Surface {
    /// Cosine of the angle between the surface's normal and the (refracted) sun, −1 to 1.
    #[must_use]
    pub fn cos_incidence(&self, sun: &SunPosition) -> f64 {
        let (sin_tilt, cos_tilt) = self.tilt_deg.to_radians().sin_cos();
        let (sin_zenith, cos_zenith) = sun.apparent_zenith_deg.to_radians().sin_cos();
        let turn = (sun.azimuth_deg - self.azimuth_deg).to_radians();
        (cos_tilt * cos_zenith + sin_tilt * sin_zenith * turn.cos()).clamp(-1.0, 1.0)
    }

    /// Angle of incidence in degrees, 0 to 180.
    #[must_use]
    pub fn incidence_deg(&self, sun: &SunPosition) -> f64 {
        self.cos_incidence(sun).acos().to_degrees()
    }

    /// The share of the sky's half-sphere that the surface sees.
    fn sky_view(&self) -> f64 {
        f64::midpoint(1.0, self.tilt_deg.to_radians().cos())
    }

    fn ground_w_m2(&self, ghi_w_m2: f64) -> f64 {
        ghi_w_m2 * self.albedo * (1.0 - self.tilt_deg.to_radians().cos()) / 2.0
    }
}

/// Irradiance in the plane with an evenly bright sky (Liu and Jordan 1963).
#[must_use]
pub fn isotropic(surface: &Surface, sun: &SunPosition, sky: &ClearSky) -> Plane {
    Plane {
        beam_w_m2: (sky.dni_w_m2 * surface.cos_incidence(sun)).max(0.0),
        sky_w_m2: sky.dhi_w_m2 * surface.sky_view(),
        ground_w_m2: surface.ground_w_m2(sky.ghi_w_m2),
    }
}

/// Irradiance in the plane with a sky that is brighter around the sun (Hay and Davies 1980); the share of the bright part is
/// the beam's transmittance.
#[must_use]
pub fn haydavies(surface: &Surface, sun: &SunPosition, sky: &ClearSky, extraterrestrial_w_m2: f64) -> Plane {
    let cos_incidence = surface.cos_incidence(sun);
    let cos_zenith = sun.apparent_zenith_deg.to_radians().cos();
    let anisotropy = sky.dni_w_m2 / extraterrestrial_w_m2;
    let beam_ratio = cos_incidence.max(0.0) / cos_zenith.max(COS_ZENITH_MIN);
    let diffuse = sky.dhi_w_m2 * (anisotropy * beam_ratio + (1.0 - anisotropy) * surface.sky_view());
    Plane {
        beam_w_m2: (sky.dni_w_m2 * cos_incidence).max(0.0),
        sky_w_m2: diffuse.max(0.0),
        ground_w_m2: surface.ground_w_m2(sky.ghi_w_m2),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_flat_surface_sees_what_the_horizontal_sees(zenith in 0.0..85.0_f64, azimuth in 0.0..360.0_f64, dni in 0.0..1_000.0_f64, dhi in 0.0..300.0_f64) {
            let sun = SunPosition { zenith_deg: zenith, apparent_zenith_deg: zenith, azimuth_deg: azimuth, equation_of_time_min: 0.0 };
            let sky = ClearSky { ghi_w_m2: dni * zenith.to_radians().cos() + dhi, dni_w_m2: dni, dhi_w_m2: dhi };
            let flat = Surface { tilt_deg: 0.0, azimuth_deg: 180.0, albedo: ALBEDO_DEFAULT };
            for plane in [isotropic(&flat, &sun, &sky), haydavies(&flat, &sun, &sky, 1_360.0)] {
                prop_assert!((plane.global_w_m2() - sky.ghi_w_m2).abs() < 1e-9, "{plane:?}");
            }
        }

        #[test]
        fn nothing_is_negative(zenith in 0.0..120.0_f64, azimuth in 0.0..360.0_f64, tilt in 0.0..180.0_f64, faces in 0.0..360.0_f64, dni in 0.0..1_100.0_f64) {
            let sun = SunPosition { zenith_deg: zenith, apparent_zenith_deg: zenith, azimuth_deg: azimuth, equation_of_time_min: 0.0 };
            let sky = ClearSky { ghi_w_m2: 100.0, dni_w_m2: dni, dhi_w_m2: 100.0 };
            let surface = Surface { tilt_deg: tilt, azimuth_deg: faces, albedo: ALBEDO_DEFAULT };
            let plane = haydavies(&surface, &sun, &sky, 1_360.0);
            prop_assert!(plane.beam_w_m2 >= 0.0 && plane.sky_w_m2 >= 0.0 && plane.ground_w_m2 >= 0.0);
        }
    }
}
