//! What the meters of one device say, poll after poll: plausible, noisy, never twice the same.
//!
//! Power wanders as under clouds, currents follow from power and voltage, registers rise by the power over the time. Every
//! field has a noise of at least two counts up and down, so that nothing compresses better than in the field. There is no
//! night: it would compress too well.

use taraz_telemetry::Quantities;

use crate::random::Random;

/// Rated power of each plant and of each of its meters in W; `validate` believes 150 % of it.
pub const RATED_W: u32 = 10_000;
/// The most meters that a device of the load has: inverter, grid meter, consumption meter.
pub const METERS_MAX: usize = 3;

const POWER_W: std::ops::RangeInclusive<i64> = 2_000..=9_500;
const VOLTAGE_DV: i64 = 2_300;
const MS_PER_H: i64 = 3_600_000;

/// One poll.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) meter: u8,
    pub(crate) time_ms: u64,
    pub(crate) values: Quantities,
}

/// When polls are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// Now; a later one a millisecond later at least.
    Live,
    /// A past: from `start_ms` on in steps; when it has caught up, now.
    Backlog {
        /// UTC ms of the first poll.
        start_ms: u64,
        /// From one round of polls to the next.
        step_ms: u64,
    },
}

/// The meters of one device.
#[derive(Debug)]
pub(crate) struct Series {
    random: Random,
    times: Times,
    meters: Vec<Register>,
    next_meter: usize,
    rounds: u64,
    time_ms: u64,
    power_w: i64,
    temperature_dc: i64,
    voltage_dv: i64,
}

/// A lifetime register, finer inside than it shows.
#[derive(Debug)]
struct Register {
    /// W·ms.
    exact: i64,
    shown_wh: i64,
}

impl Register {
    fn rise(&mut self, power_w: i64, span_ms: i64, noise: i64) {
        self.exact += power_w * span_ms;
        // A register never falls, whatever the noise.
        self.shown_wh = self.shown_wh.max(self.exact / MS_PER_H + noise);
    }
}

impl Series {
    /// The `device`-th of a run; 1 to [`METERS_MAX`] meters.
    pub(crate) fn new(device: usize, meters: usize, times: Times) -> Self {
        let mut random = Random::new(device as u64 + 1);
        let register = |random: &mut Random| {
            let begun_wh = 20_000_000 + random.noise(10_000_000);
            Register {
                exact: begun_wh * MS_PER_H,
                shown_wh: begun_wh,
            }
        };
        Self {
            times,
            meters: (0..meters).map(|_| register(&mut random)).collect(),
            next_meter: 0,
            rounds: 0,
            time_ms: 0,
            power_w: 6_000 + random.noise(3_000),
            temperature_dc: 450 + random.noise(60),
            voltage_dv: VOLTAGE_DV + random.noise(40),
            random,
        }
    }

    /// The next poll; `now_ms` is UTC.
    pub(crate) fn next(&mut self, now_ms: u64) -> Sample {
        if self.next_meter == 0 {
            self.next_round(now_ms);
        }
        let index = self.next_meter;
        self.next_meter = (index + 1) % self.meters.len();
        Sample {
            // METERS_MAX is 3.
            #[allow(clippy::cast_possible_truncation)]
            meter: index as u8 + 1,
            time_ms: self.time_ms,
            values: self.values(index),
        }
    }

    fn next_round(&mut self, now_ms: u64) {
        let before_ms = self.time_ms;
        let live = now_ms.max(before_ms + 1);
        self.time_ms = match self.times {
            Times::Live => live,
            Times::Backlog { start_ms, step_ms } => {
                let past_ms = start_ms + self.rounds * step_ms;
                if past_ms < now_ms { past_ms } else { live }
            }
        };
        let span_ms = if self.rounds == 0 {
            0
        } else {
            i64::try_from(self.time_ms - before_ms).unwrap_or(0)
        };
        self.rounds += 1;
        let wandered = self.power_w + self.random.noise(60);
        self.power_w = wandered.clamp(*POWER_W.start(), *POWER_W.end());
        self.temperature_dc = (self.temperature_dc + self.random.noise(1)).clamp(250, 700);
        for (index, register) in self.meters.iter_mut().enumerate() {
            let noise = self.random.noise(2);
            register.rise(power_of(index, self.power_w), span_ms, noise);
        }
    }

    fn values(&mut self, index: usize) -> Quantities {
        let power_w = power_of(index, self.power_w);
        let random = &mut self.random;
        let voltages = [(); 3].map(|()| self.voltage_dv + random.noise(8));
        // W / 3 phases / (0.1 V · 0.1) in 0.01 A.
        let currents = voltages.map(|dv| power_w * 1_000 / (3 * dv) + random.noise(3));
        let mut values = Quantities {
            ac_power_w: signed(power_w + random.noise(3)),
            voltage_an_dv: unsigned(voltages[0]),
            voltage_bn_dv: unsigned(voltages[1]),
            voltage_cn_dv: unsigned(voltages[2]),
            current_a_ca: signed(currents[0]),
            current_b_ca: signed(currents[1]),
            current_c_ca: signed(currents[2]),
            frequency_mhz: unsigned(50_000 + random.noise(30)),
            ..Quantities::default()
        };
        let register_wh = Some(self.meters[index].shown_wh.cast_unsigned());
        if index == 0 {
            values.energy_wh = register_wh;
            values.dc_power_w = signed(power_w * 103 / 100 + random.noise(5));
            values.temperature_dc = signed(self.temperature_dc + random.noise(2));
            // MPPT, and now and then throttled.
            values.state = Some(4 + u8::from(random.next() >> 60 == 0));
        } else {
            values.import_wh = register_wh;
            values.apparent_power_va = signed(power_w * 101 / 100 + random.noise(5));
            values.reactive_power_var = signed(power_w / 10 + random.noise(5));
            values.power_factor_permille = signed(980 + random.noise(4));
        }
        values
    }
}

/// Inverter, grid meter (import), consumption meter: what is consumed is generated or imported.
const fn power_of(index: usize, power_w: i64) -> i64 {
    match index {
        0 => power_w,
        1 => 1_200 - power_w / 10,
        _ => 1_200 + power_w - power_w / 10,
    }
}

fn signed(value: i64) -> Option<i32> {
    i32::try_from(value).ok()
}

fn unsigned(value: i64) -> Option<u32> {
    u32::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::Field;

    use super::*;

    const NOW_MS: u64 = 1_795_000_000_000;

    fn samples(times: Times, meters: usize, count: usize) -> Vec<Sample> {
        let mut series = Series::new(3, meters, times);
        (0..count).map(|_| series.next(NOW_MS)).collect()
    }

    #[test]
    fn every_meter_states_twelve_fields() {
        for sample in samples(Times::Live, METERS_MAX, 30) {
            assert_eq!(sample.values.iter().count(), 12, "{sample:?}");
        }
    }

    #[test]
    fn every_field_has_noise() {
        let samples = samples(
            Times::Backlog {
                start_ms: NOW_MS - 86_400_000,
                step_ms: 10_000,
            },
            1,
            1_000,
        );
        for (field, _) in samples[0].values.iter() {
            let values: Vec<i64> = samples.iter().filter_map(|s| s.values.get(field)).collect();
            let steps: Vec<i64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (least, most) = (steps.iter().min().unwrap(), steps.iter().max().unwrap());
            let spread = if field == Field::State { 2 } else { 4 };
            assert!(most - least >= spread, "{field:?}: steps {least} to {most}");
        }
    }

    #[test]
    fn registers_rise_as_the_power_says() {
        let times = Times::Backlog {
            start_ms: NOW_MS - 86_400_000,
            step_ms: 10_000,
        };
        let samples = samples(times, 1, 8_000);
        let wh: Vec<u64> = samples.iter().filter_map(|s| s.values.energy_wh).collect();
        assert!(wh.windows(2).all(|pair| pair[0] <= pair[1]));
        let power_wh: i64 = samples
            .iter()
            .filter_map(|s| s.values.ac_power_w)
            .map(|w| i64::from(w) * 10 / 3_600)
            .sum();
        let risen = i64::try_from(wh[wh.len() - 1] - wh[0]).unwrap();
        assert!(
            (risen - power_wh).abs() < power_wh / 20,
            "{risen} Wh of {power_wh} Wh"
        );
    }

    #[test]
    fn times_are_now_or_a_past_that_ends_now() {
        let live = samples(Times::Live, 1, 3);
        assert_eq!(
            live.iter().map(|s| s.time_ms - NOW_MS).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        let times = Times::Backlog {
            start_ms: NOW_MS - 25,
            step_ms: 10,
        };
        let past = samples(times, 2, 8);
        let before: Vec<i64> = past
            .iter()
            .map(|s| s.time_ms.cast_signed() - NOW_MS.cast_signed())
            .collect();
        assert_eq!(before, [-25, -25, -15, -15, -5, -5, 0, 0]);
        assert_eq!(
            past.iter().map(|s| s.meter).collect::<Vec<_>>(),
            [1, 2, 1, 2, 1, 2, 1, 2]
        );
    }
}
