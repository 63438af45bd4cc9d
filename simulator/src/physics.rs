//! Plausible electricity around a recorded power: voltages, currents, frequency, DC side, temperature.
//!
//! Everything is a pure function of its arguments, in integers (and square roots, which IEEE 754 defines exactly).

use crate::quantity::{MpptPart, Q, Snapshot};

/// How many conductors carry the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phases {
    /// One phase and neutral.
    Single,
    /// Two halves of one winding.
    Split,
    /// Three phases and neutral.
    Three,
    /// Three phases without neutral.
    Delta,
}

/// SunSpec operating states (model 103, `St`).
pub(crate) mod state {
    pub(crate) const SLEEPING: i64 = 2;
    pub(crate) const STARTING: i64 = 3;
    pub(crate) const MPPT: i64 = 4;
    pub(crate) const SHUTTING_DOWN: i64 = 6;
    pub(crate) const FAULT: i64 = 7;
    pub(crate) const STANDBY: i64 = 8;
}

/// What drives an inverter's values at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InverterInput {
    pub(crate) at_ms: i64,
    pub(crate) seed: u64,
    pub(crate) power_mw: i64,
    pub(crate) rated_w: u32,
    pub(crate) phases: Phases,
    pub(crate) mppt: u8,
    /// Bit per MPPT input that gives nothing.
    pub(crate) lost_inputs: u8,
    pub(crate) energy_mwh: i64,
    pub(crate) today_mwh: i64,
    pub(crate) state: i64,
    pub(crate) events: i64,
}

/// What drives a meter's values at one instant; import positive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterInput {
    pub(crate) at_ms: i64,
    pub(crate) seed: u64,
    pub(crate) power_mw: i64,
    pub(crate) phases: Phases,
    pub(crate) import_mwh: i64,
    pub(crate) export_mwh: i64,
}

/// Phase voltage of the low-voltage grid in mV (IEC 60038: 230 V).
const GRID_MV: i64 = 230_000;
/// Half of a split-phase winding in mV.
const SPLIT_MV: i64 = 115_000;
/// How long a random variation holds, in ms.
const SLOT_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;
const YEAR_MS: i64 = 31_556_952_000;
/// √3 in millionths.
const SQRT_3_PPM: i64 = 1_732_051;

/// A number from −1,000 to 1,000 that depends on its arguments alone (SplitMix64's finaliser).
pub(crate) fn noise(seed: u64, salt: u64, at_ms: i64) -> i64 {
    let slot = at_ms.div_euclid(SLOT_MS).cast_unsigned();
    let mut z = seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ slot.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) % 2_001).cast_signed() - 1_000
}

/// A triangle of the phase `at` within `period`: −1,000 at `low`, 1,000 half a period later.
fn triangle(at_ms: i64, period_ms: i64, low_ms: i64) -> i64 {
    let phase = (at_ms - low_ms).rem_euclid(period_ms) * 4_000 / period_ms;
    if phase < 2_000 {
        phase - 1_000
    } else {
        3_000 - phase
    }
}

/// Air temperature in m°C: warmest in July and in the afternoon (Caspian coast, UTC 11:00).
fn ambient_mc(at_ms: i64) -> i64 {
    let season = triangle(at_ms, YEAR_MS, 20 * DAY_MS);
    let hour = triangle(at_ms, DAY_MS, 23 * 3_600_000);
    17_000 + 9 * season + 5 * hour
}

fn grid_mv(seed: u64, phase: u64, at_ms: i64, half: bool) -> i64 {
    let nominal = if half { SPLIT_MV } else { GRID_MV };
    let permille = triangle(at_ms, DAY_MS, 18 * 3_600_000) * 6 / 1_000;
    nominal + nominal * permille / 1_000 + nominal * noise(seed, 10 + phase, at_ms) / 260_000
}

/// Exact to the last integer for what plants have.
fn reactive(apparent: i64, active: i64) -> i64 {
    let (s, p) = (apparent as f64, active as f64);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the root of a difference of squares of i64"
    )]
    let root = (s * s - p * p).max(0.0).sqrt().round() as i64;
    root
}

/// Voltages of the conductors that there are, and frequency.
fn grid(out: &mut Snapshot, seed: u64, at_ms: i64, phases: Phases) -> [i64; 3] {
    let half = phases == Phases::Split;
    let volts = [0, 1, 2].map(|phase| grid_mv(seed, phase, at_ms, half));
    let between = |a: usize, b: usize| (volts[a] + volts[b]) / 2 * SQRT_3_PPM / 1_000_000;
    out.set(Q::Hz, 50_000 + noise(seed, 1, at_ms) * 35 / 1_000);
    match phases {
        Phases::Single => {
            out.set(Q::PhvA, volts[0]);
            out.set(Q::Phv, volts[0]);
        }
        Phases::Split => {
            out.set(Q::PhvA, volts[0]);
            out.set(Q::PhvB, volts[1]);
            out.set(Q::Phv, i64::midpoint(volts[0], volts[1]));
            out.set(Q::PpvAb, volts[0] + volts[1]);
            out.set(Q::Ppv, volts[0] + volts[1]);
        }
        Phases::Three | Phases::Delta => {
            if phases == Phases::Three {
                [Q::PhvA, Q::PhvB, Q::PhvC]
                    .into_iter()
                    .zip(volts)
                    .for_each(|(q, v)| out.set(q, v));
                out.set(Q::Phv, volts.iter().sum::<i64>() / 3);
            }
            let lines = [between(0, 1), between(1, 2), between(2, 0)];
            [Q::PpvAb, Q::PpvBc, Q::PpvCa]
                .into_iter()
                .zip(lines)
                .for_each(|(q, v)| out.set(q, v));
            out.set(Q::Ppv, lines.iter().sum::<i64>() / 3);
        }
    }
    volts
}

const AMPS: [Q; 3] = [Q::AphA, Q::AphB, Q::AphC];
const WATTS: [Q; 3] = [Q::WphA, Q::WphB, Q::WphC];
const VOLT_AMPS: [Q; 3] = [Q::VaA, Q::VaB, Q::VaC];
const VARS: [Q; 3] = [Q::VarA, Q::VarB, Q::VarC];
const FACTORS: [Q; 3] = [Q::PfA, Q::PfB, Q::PfC];

/// Power, apparent and reactive power, power factor and currents, in total and for each conductor.
fn power(out: &mut Snapshot, watts: i64, factor: i64, shares: &[i64], volts: [i64; 3]) {
    let apparent = watts.abs() * 100_000 / factor;
    let var = reactive(apparent, watts);
    out.set(Q::W, watts);
    out.set(Q::Va, apparent);
    out.set(Q::Var, var);
    let signed = if watts == 0 { 0 } else { factor * watts.signum() };
    out.set(Q::Pf, signed);
    let (mut left_w, mut left_va, mut left_var, mut amps) = (watts, apparent, var, 0);
    for (phase, &share) in shares.iter().enumerate() {
        let last = phase + 1 == shares.len();
        let part = |total: i64, left: i64| if last { left } else { total * share / 1_000 };
        let (w, va, reactive) = (part(watts, left_w), part(apparent, left_va), part(var, left_var));
        (left_w, left_va, left_var) = (left_w - w, left_va - va, left_var - reactive);
        let current = va * 1_000 / volts[phase];
        amps += current;
        out.set(WATTS[phase], w);
        out.set(VOLT_AMPS[phase], va);
        out.set(VARS[phase], reactive);
        out.set(FACTORS[phase], signed);
        out.set(AMPS[phase], current);
    }
    out.set(Q::A, amps);
}

/// Everything an inverter knows.
pub(crate) fn inverter(input: &InverterInput, out: &mut Snapshot) {
    out.clear();
    let volts = grid(out, input.seed, input.at_ms, input.phases);
    let share = input.power_mw / i64::from(input.rated_w.max(1));
    let factor =
        if share < 100 { 95_000 + share * 45 } else { 99_500 } + noise(input.seed, 2, input.at_ms) * 4 / 10;
    let shares: &[i64] = match input.phases {
        Phases::Single => &[1_000],
        Phases::Split => &[500, 500],
        Phases::Three | Phases::Delta => &[333, 333, 334],
    };
    power(out, input.power_mw, factor, shares, volts);
    out.set(Q::Wh, input.energy_mwh);
    out.set(Q::WhToday, input.today_mwh);
    out.set(Q::St, input.state);
    out.set(Q::Evt, input.events);
    out.set(
        Q::TmpCab,
        ambient_mc(input.at_ms) + 6_000 + 24 * share + noise(input.seed, 3, input.at_ms) / 5,
    );
    out.set(
        Q::TmpSnk,
        ambient_mc(input.at_ms) + 8_000 + 35 * share + noise(input.seed, 4, input.at_ms) / 5,
    );
    dc_side(input, share, out);
}

/// The DC side: what the AC side needs with the inverter's losses, over its inputs.
fn dc_side(input: &InverterInput, share: i64, out: &mut Snapshot) {
    let efficiency = 972 - 40_000 / (1_000 + 20 * share);
    let dc_mw = input.power_mw * 1_000 / efficiency;
    let mpp_mv = if input.rated_w >= 12_000 { 620_000 } else { 360_000 };
    let asleep = matches!(input.state, state::SLEEPING | state::STANDBY) && input.power_mw == 0;
    let dc_mv = if asleep {
        2_000
    } else {
        mpp_mv * (1_040 - 60 * share / 1_000) / 1_000 + noise(input.seed, 5, input.at_ms) * 3
    };
    out.set(Q::Dcw, dc_mw);
    out.set(Q::Dcv, dc_mv);
    out.set(Q::Dca, dc_mw * 1_000 / dc_mv);
    let lost = |index: u8| input.lost_inputs >> index & 1 == 1;
    let weight = |index: u8| match index {
        _ if lost(index) => 0,
        _ => {
            1_000 + i64::from(index) * 37 % 50 - 25
                + noise(input.seed, 20 + u64::from(index), input.at_ms) / 200
        }
    };
    let total: i64 = (0..input.mppt).map(weight).sum::<i64>().max(1);
    let last = (0..input.mppt).rev().find(|&index| !lost(index));
    let mut left = dc_mw;
    for index in 0..input.mppt {
        let watts = if Some(index) == last {
            left
        } else {
            dc_mw * weight(index) / total
        };
        left -= watts;
        let volts = dc_mv + dc_mv * (i64::from(index) * 13 % 30 - 15) / 1_000;
        out.set(Q::mppt(index, MpptPart::Power), watts);
        out.set(Q::mppt(index, MpptPart::Voltage), volts);
        out.set(Q::mppt(index, MpptPart::Current), watts * 1_000 / volts);
    }
}

/// Everything a grid or consumption meter knows.
pub(crate) fn meter(input: &MeterInput, out: &mut Snapshot) {
    out.clear();
    let volts = grid(out, input.seed, input.at_ms, input.phases);
    let factor = 96_000 + noise(input.seed, 6, input.at_ms) * 3;
    let tilt = noise(input.seed, 7, 0) / 25;
    let three = [340 + tilt, 345 - tilt, 315];
    let shares: &[i64] = match input.phases {
        Phases::Single => &[1_000],
        Phases::Split => &[520, 480],
        Phases::Three | Phases::Delta => &three,
    };
    power(out, input.power_mw, factor, shares, volts);
    if input.phases == Phases::Three {
        let amps = AMPS.map(|q| out.get(q).unwrap_or(0));
        let spread = amps.iter().max().unwrap_or(&0) - amps.iter().min().unwrap_or(&0);
        out.set(Q::An, spread);
    }
    out.set(Q::Import, input.import_mwh);
    out.set(Q::Export, input.export_mwh);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn input(power_mw: i64, mppt: u8, at_ms: i64) -> InverterInput {
        InverterInput {
            at_ms,
            seed: 7,
            power_mw,
            rated_w: 27_600,
            phases: Phases::Three,
            mppt,
            lost_inputs: 0,
            energy_mwh: 1,
            today_mwh: 0,
            state: state::MPPT,
            events: 0,
        }
    }

    #[test]
    fn a_triangle_goes_up_and_down() {
        assert_eq!(
            [0, 25, 50, 75].map(|at| triangle(at, 100, 0)),
            [-1_000, 0, 1_000, 0]
        );
    }

    proptest! {
        #[test]
        fn what_an_inverter_states_hangs_together(power in 1_000i64..30_000_000, mppt in 1u8..8, at in 0i64..2_000_000_000_000) {
            let mut out = Snapshot::default();
            inverter(&input(power, mppt, at), &mut out);
            let get = |q| out.get(q).unwrap();
            prop_assert_eq!(AMPS.map(get).iter().sum::<i64>(), get(Q::A));
            prop_assert_eq!(WATTS.map(get).iter().sum::<i64>(), power);
            prop_assert!((49_900..50_100).contains(&get(Q::Hz)));
            for q in [Q::PhvA, Q::PhvB, Q::PhvC] {
                prop_assert!((225_000..235_000).contains(&get(q)));
            }
            prop_assert!((385_000..412_000).contains(&get(Q::PpvAb)));
            prop_assert!((93_000..=100_000).contains(&get(Q::Pf)));
            prop_assert!(get(Q::Va) >= power && get(Q::Dcw) >= power);
            prop_assert!((-10_000..90_000).contains(&get(Q::TmpCab)));
            let inputs: i64 = (0..mppt).map(|i| get(Q::mppt(i, MpptPart::Power))).sum();
            prop_assert_eq!(inputs, get(Q::Dcw));
        }

        #[test]
        fn what_a_meter_states_hangs_together(power in -90_000_000i64..90_000_000, at in 0i64..2_000_000_000_000) {
            let mut out = Snapshot::default();
            meter(&MeterInput { at_ms: at, seed: 9, power_mw: power, phases: Phases::Three, import_mwh: 5, export_mwh: 6 }, &mut out);
            let get = |q| out.get(q).unwrap();
            prop_assert_eq!(WATTS.map(get).iter().sum::<i64>(), power);
            prop_assert_eq!(get(Q::Pf).signum(), power.signum());
            prop_assert!(get(Q::Va) >= power.abs() && get(Q::An) >= 0);
        }
    }

    #[test]
    fn an_input_that_is_lost_gives_nothing_and_the_others_all() {
        let mut out = Snapshot::default();
        inverter(
            &InverterInput {
                lost_inputs: 0b100,
                ..input(20_000_000, 3, 0)
            },
            &mut out,
        );
        let watts = |i| out.get(Q::mppt(i, MpptPart::Power)).unwrap();
        assert_eq!(watts(2), 0);
        assert_eq!(watts(0) + watts(1), out.get(Q::Dcw).unwrap());
    }
}
