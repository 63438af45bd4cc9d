//! From irradiance to cell temperature and power (PVWatts version 5, NREL/TP-6A20-62641).

/// Cell temperature of standard test conditions in °C (IEC 61724-1 §3.17).
pub const STC_CELL_C: f64 = 25.0;
/// Irradiance of standard test conditions in W/m².
const STC_W_M2: f64 = 1_000.0;
/// Faiman's heat loss without wind in W/(m²·K) (Faiman 2008; IEC 61853-2).
pub const FAIMAN_U0: f64 = 25.0;
/// Faiman's heat loss by wind in W·s/(m³·K).
pub const FAIMAN_U1: f64 = 6.84;
/// An inverter's nominal efficiency (PVWatts §10).
pub const INVERTER_EFFICIENCY: f64 = 0.96;
/// The efficiency of the inverter that PVWatts' part-load curve was fitted to.
const INVERTER_EFFICIENCY_REFERENCE: f64 = 0.963_7;

/// How modules are mounted, after King et al. 2004 (SAND2004-3535, table 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SapmMount {
    /// Heating without wind, as an exponent.
    pub a: f64,
    /// How wind in m/s takes it away, per m/s.
    pub b: f64,
    /// Cell above the module's back at 1,000 W/m² in K.
    pub cell_above_back_k: f64,
}

/// Glass on both sides, open rack.
pub const SAPM_OPEN_RACK_GLASS_GLASS: SapmMount = SapmMount {
    a: -3.47,
    b: -0.059_4,
    cell_above_back_k: 3.0,
};

/// PVWatts' shares of loss: soiling, shading, snow, mismatch, wiring, connections, light-induced degradation, nameplate,
/// age, availability (PVWatts §8).
pub const LOSSES_DEFAULT: [f64; 10] = [0.02, 0.03, 0.0, 0.02, 0.02, 0.005, 0.015, 0.01, 0.0, 0.03];

/// The whole loss, 0 to 1, of shares that act one after the other: `1 − Π(1 − share)`; 0.140757 for [`LOSSES_DEFAULT`].
#[must_use]
pub fn pvwatts_losses(shares: &[f64]) -> f64 {
    1.0 - shares.iter().map(|share| 1.0 - share).product::<f64>()
}

/// Cell temperature in °C after Faiman 2008, from irradiance in the plane in W/m², air in °C and wind in m/s at the modules.
#[must_use]
pub fn cell_faiman_c(plane_w_m2: f64, air_c: f64, wind_m_s: f64) -> f64 {
    air_c + plane_w_m2 / (FAIMAN_U0 + FAIMAN_U1 * wind_m_s)
}

/// Cell temperature in °C after Sandia's model (SAND2004-3535, eq. 11 and 12), from irradiance in the plane in W/m², air in
/// °C and wind in m/s at 10 m.
#[must_use]
pub fn cell_sapm_c(plane_w_m2: f64, air_c: f64, wind_m_s: f64, mount: SapmMount) -> f64 {
    let back_c = plane_w_m2 * (mount.a + mount.b * wind_m_s).exp() + air_c;
    back_c + plane_w_m2 / STC_W_M2 * mount.cell_above_back_k
}

/// DC power in W of `peak_w` of modules (PVWatts §9), before losses; `gamma_per_k` is negative for silicon.
#[must_use]
pub fn pvwatts_dc_w(plane_w_m2: f64, cell_c: f64, peak_w: f64, gamma_per_k: f64) -> f64 {
    plane_w_m2 / STC_W_M2 * peak_w * (1.0 + gamma_per_k * (cell_c - STC_CELL_C))
}

/// AC power in W of an inverter that is rated `rated_ac_w` (PVWatts §10): part-load efficiency, never above the rating (that
/// is clipping), never below 0.
#[must_use]
pub fn pvwatts_ac_w(dc_w: f64, rated_ac_w: f64, nominal_efficiency: f64) -> f64 {
    if dc_w <= 0.0 || rated_ac_w <= 0.0 {
        return 0.0;
    }
    let load = dc_w / (rated_ac_w / nominal_efficiency);
    let efficiency =
        nominal_efficiency / INVERTER_EFFICIENCY_REFERENCE * (-0.016_2 * load - 0.005_9 / load + 0.985_8);
    (efficiency * dc_w).clamp(0.0, rated_ac_w)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_losses_are_those_of_the_manual() {
        assert!((pvwatts_losses(&LOSSES_DEFAULT) - 0.140_757).abs() < 1e-6);
        assert_eq!(pvwatts_losses(&[]), 0.0);
    }

    #[test]
    fn an_inverter_clips_and_gives_nothing_at_night() {
        assert_eq!(pvwatts_ac_w(40_000.0, 27_000.0, INVERTER_EFFICIENCY), 27_000.0);
        assert_eq!(pvwatts_ac_w(0.0, 27_000.0, INVERTER_EFFICIENCY), 0.0);
        // Too little to run on.
        assert_eq!(pvwatts_ac_w(100.0, 27_000.0, INVERTER_EFFICIENCY), 0.0);
    }

    #[test]
    fn heat_costs_and_cold_gives() {
        let at = |cell_c| pvwatts_dc_w(1_000.0, cell_c, 10_000.0, -0.004);
        assert_eq!(at(25.0), 10_000.0);
        assert!((at(50.0) - 9_000.0).abs() < 1e-9 && at(0.0) > at(25.0));
    }
}
