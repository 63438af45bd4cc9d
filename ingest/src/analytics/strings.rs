//! How the MPPT inputs of a plant do beside those that face the same way.

use taraz_analytics::imbalance::{StringPower, string_imbalance};
use taraz_fleet::{Meter, Plant};
use taraz_telemetry::Mppt;

use crate::view::StringImbalance;

/// Inputs are compared while the median of their orientation has this share of its rating: in weak light every input is noise.
const GATE: f64 = 0.1;

/// The inputs of one inverter with their powers.
#[derive(Clone, Debug)]
pub(crate) struct InverterInputs<'a> {
    pub(crate) meter: &'a Meter,
    /// In W, in the order of the inverter's own numbering.
    pub(crate) powers_w: Vec<Option<f64>>,
}

/// The power of an input in W: as stated, else voltage × current.
pub(crate) fn input_power_w(input: &Mppt) -> Option<f64> {
    let product = || {
        let (tenths_v, hundredths_a) = input.voltage_dv.zip(input.current_ca)?;
        Some(f64::from(tenths_v) / 10.0 * f64::from(hundredths_a) / 100.0)
    };
    input
        .power_w
        .map(f64::from)
        .or_else(product)
        .map(|power_w| power_w.max(0.0))
}

/// Per inverter, what its inputs do beside all inputs of the plant that face the same way.
pub(crate) fn string_imbalances(
    plant: &Plant,
    inverters: &[InverterInputs<'_>],
) -> Vec<Vec<StringImbalance>> {
    let mut strings = Vec::new();
    for inverter in inverters {
        for (at, &power_w) in inverter.powers_w.iter().enumerate() {
            strings.push(lie(plant, inverter, at).map(|(orientation, peak_w)| StringPower {
                orientation,
                power_w,
                peak_w,
            }));
        }
    }
    let known: Vec<StringPower> = strings.iter().flatten().copied().collect();
    let mut found = string_imbalance(&known, GATE).into_iter();
    let mut imbalances = strings
        .iter()
        .map(|string| string.and_then(|_| found.next().flatten()));
    let of_inverter = |inverter: &InverterInputs<'_>| {
        let inputs = (1_u8..).zip(&inverter.powers_w);
        inputs
            .map(|(input, &power_w)| StringImbalance {
                input,
                power_w,
                imbalance_pct: imbalances.next().flatten(),
            })
            .collect()
    };
    inverters.iter().map(of_inverter).collect()
}

/// The orientation of an input, as the number of the first array that lies so, and its rated power in W. As the registry says; without its
/// word the inputs of a plant whose arrays all lie alike share its inverter's rating.
fn lie(plant: &Plant, inverter: &InverterInputs<'_>, at: usize) -> Option<(u16, f64)> {
    let orientation = |array: &taraz_fleet::Array| {
        let same = |other: &taraz_fleet::Array| {
            (other.tilt_deg, other.azimuth_deg) == (array.tilt_deg, array.azimuth_deg)
        };
        plant
            .arrays
            .iter()
            .position(same)
            .and_then(|at| u16::try_from(at).ok())
    };
    if let Some(input) = inverter.meter.mppt.get(at) {
        let array = plant.arrays.get(input.array.checked_sub(1)?)?;
        return Some((orientation(array)?, f64::from(input.peak_w)));
    }
    let is_one = plant.arrays.iter().all(|array| orientation(array) == Some(0));
    let inputs = inverter.powers_w.len();
    // A handful.
    (is_one && inverter.meter.mppt.is_empty() && inputs > 0)
        .then(|| (0, f64::from(inverter.meter.rated_w) / inputs as f64))
}

#[cfg(test)]
mod tests {
    use taraz_fleet::Fleet;

    use super::*;

    const ARRAYS: &str = "arrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }]";
    const INVERTER: &str = "name = \"Inverter\"\n";

    fn imbalances(change: impl Fn(String) -> String, powers_w: &[f64]) -> Vec<Option<f64>> {
        let fleet = Fleet::parse(&change(taraz_fleet::EXAMPLE.to_owned())).unwrap();
        let plant = &fleet.plants[0];
        let inverter = InverterInputs {
            meter: &plant.devices[0].meters[0],
            powers_w: powers_w.iter().copied().map(Some).collect(),
        };
        let found = string_imbalances(plant, &[inverter]);
        found[0].iter().map(|string| string.imbalance_pct).collect()
    }

    #[test]
    fn inputs_of_one_orientation_are_compared_without_the_registrys_word() {
        let found = imbalances(|text| text, &[5_000.0, 5_000.0, 2_500.0, 5_000.0]);
        assert_eq!(found, [Some(0.0), Some(0.0), Some(-50.0), Some(0.0)]);
        // Weak light.
        assert_eq!(imbalances(|text| text, &[500.0, 500.0, 0.0]), [None; 3]);
    }

    #[test]
    fn inputs_of_several_orientations_need_the_registrys_word() {
        let two = |text: String| {
            text.replace(
                ARRAYS,
                "arrays = [{ tilt_deg = 10.0, azimuth_deg = 90.0, peak_w = 18000 }, { tilt_deg = 10.0, azimuth_deg = 270.0, peak_w = 18000 }]",
            )
        };
        let powers_w = [5_000.0, 5_000.0, 4_000.0, 1_000.0, 1_000.0, 1_000.0];
        assert_eq!(imbalances(two, &powers_w), [None; 6]);
        let inputs: String = [1, 1, 1, 2, 2, 2]
            .map(|array| format!("{{ array = {array}, peak_w = 6000 }}, "))
            .concat();
        let told = |text: String| two(text).replace(INVERTER, &format!("{INVERTER}mppt = [{inputs}]\n"));
        let found = imbalances(told, &powers_w);
        assert!((found[2].unwrap() + 20.0).abs() < 1e-9, "{found:?}");
        assert_eq!((found[0], found[3]), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn a_power_is_stated_or_follows_from_voltage_and_current() {
        let input = Mppt {
            voltage_dv: Some(6_000),
            current_ca: Some(500),
            power_w: None,
        };
        assert_eq!(input_power_w(&input), Some(3_000.0));
        let silent = Mppt {
            current_ca: None,
            ..input
        };
        assert_eq!(input_power_w(&silent), None);
    }
}
