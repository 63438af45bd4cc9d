//! How unequal the phases of a reading are, by the formula that its meter's statements allow.

use taraz_analytics::imbalance::{
    LineVoltages, PhaseVoltages, current_unbalance_pct, iec_unbalance_pct, lines_of_phasors,
    mean_deviation_pct, neutral_current_a,
};
use taraz_telemetry::Quantities;

use crate::view::{PhaseImbalance, VoltageFormula};

/// A positive sequence of phases that are taken as 120° apart.
const ANGLES_DEG: [f64; 3] = [0.0, -120.0, 120.0];

/// What a reading states; `None` when it does not state three phases of anything.
pub(crate) fn phase_imbalance(values: &Quantities) -> Option<PhaseImbalance> {
    let volts =
        |values: [Option<u32>; 3]| three(values.map(|value| value.map(|tenths| f64::from(tenths) / 10.0)));
    let lines = volts([values.voltage_ab_dv, values.voltage_bc_dv, values.voltage_ca_dv]);
    let phases = volts([values.voltage_an_dv, values.voltage_bn_dv, values.voltage_cn_dv]);
    // A current that flows the other way is a current too.
    let amperes = |value: Option<i32>| value.map(|hundredths| f64::from(hundredths).abs() / 100.0);
    let currents = three([values.current_a_ca, values.current_b_ca, values.current_c_ca].map(amperes));
    if lines.is_none() && phases.is_none() && currents.is_none() {
        return None;
    }
    let assumed = |voltage_v| {
        lines_of_phasors(&PhaseVoltages {
            voltage_v,
            angle_deg: ANGLES_DEG,
        })
    };
    let (voltage_pct, voltage_formula) = match (lines, phases) {
        (Some(lines), _) => (
            iec_unbalance_pct(LineVoltages(lines)),
            Some(VoltageFormula::Lines),
        ),
        (None, Some(phases)) => (
            iec_unbalance_pct(assumed(phases)),
            Some(VoltageFormula::Phases120Deg),
        ),
        (None, None) => (None, None),
    };
    let measured_a = amperes(values.current_n_ca);
    Some(PhaseImbalance {
        voltage_pct,
        voltage_formula: voltage_formula.filter(|_| voltage_pct.is_some()),
        lvur_pct: lines.and_then(mean_deviation_pct),
        pvur_pct: phases.and_then(mean_deviation_pct),
        current_pct: currents.and_then(current_unbalance_pct),
        neutral_current_a: measured_a.or_else(|| currents.map(neutral_current_a)),
        neutral_is_measured: measured_a.is_some(),
    })
}

fn three(values: [Option<f64>; 3]) -> Option<[f64; 3]> {
    let [a, b, c] = values;
    Some([a?, b?, c?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        assert!(
            (found.unwrap() - expected).abs() < 1e-3,
            "{found:?}, expected {expected}"
        );
    }

    #[test]
    fn line_voltages_go_before_phase_voltages() {
        // A published vector: 230∠0°, 225∠−121°, 236∠118° has 0.771132 %; its line voltages to 0.1 V.
        let values = Quantities {
            voltage_an_dv: Some(2_300),
            voltage_bn_dv: Some(2_250),
            voltage_cn_dv: Some(2_360),
            ..Quantities::default()
        };
        let by_phases = phase_imbalance(&values).unwrap();
        assert_eq!(by_phases.voltage_formula, Some(VoltageFormula::Phases120Deg));
        // 236 is 5.667 above the mean of 230.333.
        near(by_phases.pvur_pct, 2.460_2);
        assert_eq!((by_phases.lvur_pct, by_phases.current_pct), (None, None));

        let with_lines = Quantities {
            voltage_ab_dv: Some(3_960),
            voltage_bc_dv: Some(4_010),
            voltage_ca_dv: Some(3_990),
            ..values
        };
        let by_lines = phase_imbalance(&with_lines).unwrap();
        assert_eq!(by_lines.voltage_formula, Some(VoltageFormula::Lines));
        assert!(by_lines.voltage_pct != by_phases.voltage_pct);
        // 396 is 2.667 below the mean of 398.667.
        near(by_lines.lvur_pct, 0.668_9);
    }

    #[test]
    fn a_neutral_current_is_measured_or_follows_from_the_three() {
        let values = Quantities {
            current_a_ca: Some(1_000),
            current_b_ca: Some(-1_000),
            current_c_ca: Some(0),
            ..Quantities::default()
        };
        let computed = phase_imbalance(&values).unwrap();
        assert!(!computed.neutral_is_measured);
        // Two equal currents 120° apart sum to one of the same size.
        near(computed.neutral_current_a, 10.0);
        near(computed.current_pct, 100.0);
        let measured = Quantities {
            current_n_ca: Some(123),
            ..values
        };
        let measured = phase_imbalance(&measured).unwrap();
        assert!(measured.neutral_is_measured);
        near(measured.neutral_current_a, 1.23);
    }

    #[test]
    fn one_phase_has_no_imbalance() {
        let values = Quantities {
            voltage_an_dv: Some(2_300),
            current_a_ca: Some(500),
            ..Quantities::default()
        };
        assert_eq!(phase_imbalance(&values), None);
    }
}
