//! What sensors and inverters state about each quarter-hour of a period, as means.

use taraz_analytics::sampling::IntervalMeans;
use taraz_telemetry::Quantities;

use super::QUARTER_MS;

/// This share of a quarter-hour must be known for its mean to stand for it.
const KNOWN_MIN: f64 = 0.9;
/// An inverter that was ready for so much of a quarter-hour was up.
const UP_MIN: f64 = 0.5;
/// SunSpec model 103, point `St`: 1 is OFF, 6 is SHUTTING_DOWN, 7 is FAULT; all others are ready to run, or running.
const STATES_DOWN: [u8; 3] = [1, 6, 7];

/// An irradiance meter, quarter by quarter.
#[derive(Clone, Debug)]
pub(crate) struct SensorQuarters {
    plane: IntervalMeans,
    module: IntervalMeans,
    ambient: IntervalMeans,
    wind: IntervalMeans,
}

/// What was measured in a quarter-hour, or stands now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    /// In the plane of the plant's first array, in W/m², not below 0.
    pub(crate) plane_w_m2: Option<f64>,
    pub(crate) module_c: Option<f64>,
    pub(crate) ambient_c: Option<f64>,
    pub(crate) wind_m_s: Option<f64>,
}

impl Measured {
    /// What one reading of a sensor states.
    pub(crate) fn of(values: &Quantities) -> Self {
        let tenths = |value: Option<i32>| value.map(|tenths| f64::from(tenths) / 10.0);
        Self {
            plane_w_m2: tenths(values.irradiance_dwm2).map(|plane| plane.max(0.0)),
            module_c: tenths(values.module_temperature_dc),
            ambient_c: tenths(values.ambient_temperature_dc),
            wind_m_s: values.wind_speed_dms.map(|tenths| f64::from(tenths) / 10.0),
        }
    }
}

impl SensorQuarters {
    pub(crate) fn new(start_ms: i64, quarters: usize) -> Self {
        let means = IntervalMeans::new(start_ms, QUARTER_MS, quarters);
        Self {
            plane: means.clone(),
            module: means.clone(),
            ambient: means.clone(),
            wind: means,
        }
    }

    pub(crate) fn push(&mut self, time_ms: i64, values: &Quantities) {
        let measured = Measured::of(values);
        for (means, value) in [
            (&mut self.plane, measured.plane_w_m2),
            (&mut self.module, measured.module_c),
            (&mut self.ambient, measured.ambient_c),
            (&mut self.wind, measured.wind_m_s),
        ] {
            if let Some(value) = value {
                means.push(time_ms, value);
            }
        }
    }

    pub(crate) fn quarter(&self, at: usize) -> Measured {
        Measured {
            plane_w_m2: self.plane.mean(at, KNOWN_MIN),
            module_c: self.module.mean(at, KNOWN_MIN),
            ambient_c: self.ambient.mean(at, KNOWN_MIN),
            wind_m_s: self.wind.mean(at, KNOWN_MIN),
        }
    }
}

/// An inverter's DC side and readiness, quarter by quarter.
#[derive(Clone, Debug)]
pub(crate) struct InverterQuarters {
    dc: IntervalMeans,
    up: IntervalMeans,
}

impl InverterQuarters {
    pub(crate) fn new(start_ms: i64, quarters: usize) -> Self {
        let means = IntervalMeans::new(start_ms, QUARTER_MS, quarters);
        Self {
            dc: means.clone(),
            up: means,
        }
    }

    pub(crate) fn push(&mut self, time_ms: i64, values: &Quantities) {
        if let Some(dc_w) = values.dc_power_w {
            self.dc.push(time_ms, f64::from(dc_w));
        }
        if let Some(state) = values.state {
            let is_up = !STATES_DOWN.contains(&state);
            self.up.push(time_ms, if is_up { 1.0 } else { 0.0 });
        }
    }

    /// Mean DC power in W.
    pub(crate) fn dc_w(&self, at: usize) -> Option<f64> {
        self.dc.mean(at, KNOWN_MIN)
    }

    /// Whether it was ready to run.
    pub(crate) fn is_up(&self, at: usize) -> Option<bool> {
        self.up.mean(at, KNOWN_MIN).map(|share| share >= UP_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_is_taken_by_its_units_and_a_quarter_with_a_hole_is_unknown() {
        let mut sensor = SensorQuarters::new(0, 2);
        let values = Quantities {
            irradiance_dwm2: Some(8_005),
            module_temperature_dc: Some(-15),
            wind_speed_dms: Some(23),
            ..Quantities::default()
        };
        for minute in 0..=20 {
            sensor.push(minute * 60_000, &values);
        }
        let quarter = sensor.quarter(0);
        assert!((quarter.plane_w_m2.unwrap() - 800.5).abs() < 1e-9);
        assert!((quarter.module_c.unwrap() + 1.5).abs() < 1e-9);
        assert!((quarter.wind_m_s.unwrap() - 2.3).abs() < 1e-9);
        assert_eq!(
            (quarter.ambient_c, sensor.quarter(1)),
            (None, Measured::default())
        );
    }

    #[test]
    fn a_fault_is_down_and_a_sleep_is_not() {
        let mut inverter = InverterQuarters::new(0, 3);
        for minute in 0..=45_i64 {
            let state = match minute {
                0..=14 => 2,
                15..=29 => 7,
                _ => 4,
            };
            let values = Quantities {
                state: Some(state),
                dc_power_w: (minute <= 15).then_some(500),
                ..Quantities::default()
            };
            inverter.push(minute * 60_000, &values);
        }
        assert_eq!(
            [0, 1, 2].map(|at| inverter.is_up(at)),
            [Some(true), Some(false), Some(true)]
        );
        assert_eq!((inverter.dc_w(0), inverter.dc_w(1)), (Some(500.0), None));
    }
}
