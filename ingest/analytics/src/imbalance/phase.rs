//! Phase imbalance. A four-wire meter gives phase voltages, mostly without angles: every result says which formula made it.

/// 120° in radians.
const THIRD_RAD: f64 = core::f64::consts::TAU / 3.0;
/// What is left of sums and differences of voltages below this share of the largest is rounding: sine and cosine of an angle
/// in degrees are exact to 1e-16, meters to 1e-3.
const ROUNDING: f64 = 1e-9;

/// Three phase voltages with their angles: V and degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseVoltages {
    /// RMS, 0 or more.
    pub voltage_v: [f64; 3],
    /// Any zero, degrees; a positive sequence is 0, −120, 120.
    pub angle_deg: [f64; 3],
}

/// The voltages between lines 1–2, 2–3 and 3–1 in V.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineVoltages(pub [f64; 3]);

/// Everything that three phasors state, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unbalance {
    /// Negative over positive sequence (IEC 61000-4-30 §5.7.1).
    pub negative_pct: f64,
    /// Zero over positive sequence (IEC 61000-4-30 §5.7.1).
    pub zero_pct: f64,
}

#[derive(Clone, Copy)]
struct Complex {
    re: f64,
    im: f64,
}

impl Complex {
    fn polar(magnitude: f64, angle_rad: f64) -> Self {
        let (sin, cos) = angle_rad.sin_cos();
        Self {
            re: magnitude * cos,
            im: magnitude * sin,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            re: self.re - other.re,
            im: self.im - other.im,
        }
    }

    fn magnitude(self) -> f64 {
        self.re.hypot(self.im)
    }
}

impl PhaseVoltages {
    /// The phasors, the second and third turned by `turn_rad` and −`turn_rad`.
    fn turned(&self, turn_rad: f64) -> [Complex; 3] {
        let turns = [0.0, turn_rad, -turn_rad];
        core::array::from_fn(|phase| {
            Complex::polar(
                self.voltage_v[phase],
                self.angle_deg[phase].to_radians() + turns[phase],
            )
        })
    }

    /// A symmetrical component's magnitude in V.
    fn component_v(&self, turn_rad: f64) -> f64 {
        let [a, b, c] = self.turned(turn_rad);
        self.beyond_rounding(a.plus(b).plus(c).magnitude() / 3.0)
    }

    /// The magnitude of a sum of phasors, 0 where it is only what rounding leaves.
    fn beyond_rounding(&self, magnitude_v: f64) -> f64 {
        let largest_v = self.voltage_v.iter().copied().fold(0.0, f64::max);
        if magnitude_v > largest_v * ROUNDING {
            magnitude_v
        } else {
            0.0
        }
    }
}

/// The voltages between the lines.
#[must_use]
pub fn lines_of_phasors(phases: &PhaseVoltages) -> LineVoltages {
    let [a, b, c] = phases.turned(0.0);
    LineVoltages([a.minus(b), b.minus(c), c.minus(a)].map(|line| phases.beyond_rounding(line.magnitude())))
}

/// Unbalance by symmetrical components (Fortescue; IEC 61000-4-30 §5.7.1, the definition); `None` without a positive sequence:
/// without voltage, or when all phases are in phase or turn the other way round.
#[must_use]
pub fn symmetrical_pct(phases: &PhaseVoltages) -> Option<Unbalance> {
    let positive_v = phases.component_v(THIRD_RAD);
    (positive_v > 0.0).then(|| Unbalance {
        negative_pct: phases.component_v(-THIRD_RAD) / positive_v * 100.0,
        zero_pct: phases.component_v(0.0) / positive_v * 100.0,
    })
}

/// Negative over positive sequence from the magnitudes of the line voltages alone, in percent (IEC 61000-4-30 §5.7.1):
/// `β = ΣU⁴/(ΣU²)²`, `u2 = √((1 − √(3 − 6β)) / (1 + √(3 − 6β)))`. `None` when all are 0, or when no triangle has such sides.
#[must_use]
pub fn iec_unbalance_pct(lines: LineVoltages) -> Option<f64> {
    let squares: f64 = lines.0.iter().map(|volt| volt.powi(2)).sum();
    let fourths: f64 = lines.0.iter().map(|volt| volt.powi(4)).sum();
    if squares <= 0.0 || !squares.is_finite() {
        return None;
    }
    let inner = 3.0 - 6.0 * fourths / squares.powi(2);
    // Rounding may leave it a hair outside 0 to 1; more than that is no triangle.
    if inner < -1e-9 {
        return None;
    }
    let root = inner.clamp(0.0, 1.0).sqrt();
    Some(((1.0 - root) / (1.0 + root)).sqrt() * 100.0)
}

/// The largest deviation from the mean over the mean, in percent. Of line voltages it is NEMA MG 1's LVUR, of phase voltages
/// IEEE 141's PVUR. `None` when the mean is 0.
#[must_use]
pub fn mean_deviation_pct(values: [f64; 3]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / 3.0;
    let largest = values.iter().map(|one| (one - mean).abs()).fold(0.0, f64::max);
    (mean > 0.0).then(|| largest / mean * 100.0)
}

/// Unbalance of three currents in A, in percent of their mean (NEMA MG 1 for currents), 0 to 200; `None` at zero current.
#[must_use]
pub fn current_unbalance_pct(current_a: [f64; 3]) -> Option<f64> {
    mean_deviation_pct(current_a)
}

/// The neutral conductor's current in A, for currents in phase with voltages 120° apart.
#[must_use]
pub fn neutral_current_a(current_a: [f64; 3]) -> f64 {
    let phases = PhaseVoltages {
        voltage_v: current_a,
        angle_deg: [0.0, -120.0, 120.0],
    };
    phases.component_v(0.0) * 3.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_published_vector() {
        // 230∠0°, 225∠−121°, 236∠118°.
        let phases = PhaseVoltages {
            voltage_v: [230.0, 225.0, 236.0],
            angle_deg: [0.0, -121.0, 118.0],
        };
        let lines = lines_of_phasors(&phases);
        assert!((iec_unbalance_pct(lines).unwrap() - 0.771_132).abs() < 1e-6);
        assert!((mean_deviation_pct(lines.0).unwrap() - 0.725_592).abs() < 1e-6);
    }

    #[test]
    fn nothing_has_no_unbalance() {
        assert_eq!(current_unbalance_pct([0.0; 3]), None);
        assert_eq!(iec_unbalance_pct(LineVoltages([0.0; 3])), None);
        assert_eq!(iec_unbalance_pct(LineVoltages([400.0, 100.0, 100.0])), None);
        assert_eq!(current_unbalance_pct([7.0; 3]), Some(0.0));
    }

    #[test]
    fn rounding_is_no_positive_sequence() {
        let of = |angle_deg| PhaseVoltages {
            voltage_v: [230.0; 3],
            angle_deg,
        };
        // The other way round, and all in phase, as a single-phase supply on three inputs is.
        assert_eq!(symmetrical_pct(&of([0.0, 120.0, -120.0])), None);
        for angle_deg in [[0.0; 3], [0.0, 360.0, -360.0], [77.7; 3]] {
            assert_eq!(symmetrical_pct(&of(angle_deg)), None);
            assert_eq!(lines_of_phasors(&of(angle_deg)).0, [0.0; 3]);
        }
        let balanced = symmetrical_pct(&of([10.0, -110.0, 130.0])).unwrap();
        assert_eq!((balanced.negative_pct, balanced.zero_pct), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn magnitudes_of_lines_state_what_the_phasors_do(
            voltage_v in [150.0..260.0_f64, 150.0..260.0_f64, 150.0..260.0_f64],
            off in [-10.0..10.0_f64, -10.0..10.0_f64],
        ) {
            let phases = PhaseVoltages { voltage_v, angle_deg: [0.0, -120.0 + off[0], 120.0 + off[1]] };
            let exact = symmetrical_pct(&phases).unwrap().negative_pct;
            let lines = iec_unbalance_pct(lines_of_phasors(&phases)).unwrap();
            prop_assert!((exact - lines).abs() < 1e-4, "{exact} {lines}");
        }
    }
}
