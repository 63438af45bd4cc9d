//! In one word: what a plant does, and why somebody should go there. Pure: the present in, words out.

use serde::Serialize;
use taraz_telemetry::MeterRole;

use crate::view::PlantView;

/// From this elevation of the sun on, an inverter that answers nothing is no longer asleep.
const AWAKE_DEG: f64 = 5.0;
/// From this elevation on, no power is a fault (as in the rule `PlantZeroPower`).
const SUNNY_DEG: f64 = 10.0;
/// No night in Mazandaran is longer: silence beyond it is no sleep.
const ASLEEP_MAX_MS: i64 = 18 * 3_600_000;
/// Below this share of its neighbours' yield a plant underperforms (as in the rule `PlantUnderperforming`).
const PEER_RATIO_MIN: f64 = 0.8;

/// SunSpec model 103, point `St`: 5 is THROTTLED, 7 is FAULT.
const STATE_THROTTLED: u8 = 5;
const STATE_FAULT: u8 = 7;

/// What a plant does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It generates.
    Producing,
    /// It generates less than it could, by its own word.
    Throttled,
    /// It answers and generates nothing although the sun is up.
    Idle,
    /// The sun is down; its inverters rest.
    Asleep,
    /// An inverter states a fault.
    Fault,
    /// Nothing is known of it now.
    Unclear,
}

/// Why somebody should look at a plant, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(super) enum Need {
    /// An inverter states a fault.
    Fault,
    /// It was heard before and is not now.
    Silent,
    /// It answers, the sun shines, and it generates nothing.
    NoPowerInSun,
    /// It yields clearly less than its neighbours.
    Underperforming,
    /// It is registered and was never heard.
    NeverHeard,
}

/// A plant in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) state: State,
    pub(super) needs: Vec<Need>,
}

/// Judges a plant by its present. Unknown is neither healthy nor faulty: only what is stated, or silence in daylight, calls.
pub(super) fn judge(plant: &PlantView, now_ms: i64) -> Judgement {
    let states = plant
        .meters
        .iter()
        .filter(|meter| meter.role == MeterRole::Inverter)
        .filter_map(|meter| meter.state);
    let has = |wanted| states.clone().any(|state| state == wanted);
    let sun_deg = plant.sun_elevation_deg;
    let resting = |last_ms: i64| sun_deg < AWAKE_DEG && now_ms - last_ms <= ASLEEP_MAX_MS;
    let state = match (plant.power_w, plant.last_reading_ms) {
        _ if has(STATE_FAULT) => State::Fault,
        (None, Some(last_ms)) if resting(last_ms) => State::Asleep,
        (None, _) => State::Unclear,
        (Some(power_w), _) if power_w > 0 && has(STATE_THROTTLED) => State::Throttled,
        (Some(power_w), _) if power_w > 0 => State::Producing,
        _ if sun_deg < AWAKE_DEG => State::Asleep,
        _ => State::Idle,
    };
    let needs = [
        (Need::Fault, state == State::Fault),
        (
            Need::Silent,
            // Who is sending its history is not silent: its newest readings are still on their way.
            state == State::Unclear && plant.last_reading_ms.is_some() && !plant.draining,
        ),
        (
            Need::NoPowerInSun,
            state == State::Idle && sun_deg >= SUNNY_DEG && plant.power_w.is_some(),
        ),
        (
            Need::Underperforming,
            plant.peer_yield_ratio.is_some_and(|ratio| ratio < PEER_RATIO_MIN),
        ),
        (Need::NeverHeard, plant.last_reading_ms.is_none()),
    ];
    Judgement {
        state,
        needs: needs
            .into_iter()
            .filter(|(_, applies)| *applies)
            .map(|(need, _)| need)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::MeterAddress;

    use super::*;
    use crate::view::{MeterView, PlantExpected};

    const NOW_MS: i64 = 1_795_000_000_000;

    fn plant(power_w: Option<i64>, sun_elevation_deg: f64, state: Option<u8>) -> PlantView {
        PlantView {
            id: "a".into(),
            site: "a".into(),
            power_w,
            meters: vec![MeterView {
                device: "a-1".parse().unwrap(),
                meter: MeterAddress::new(1).unwrap(),
                role: MeterRole::Inverter,
                ac_power_w: power_w,
                state,
                phases: None,
                strings: Vec::new(),
                last_ms: Some(NOW_MS - 60_000),
            }],
            energy_today_wh: None,
            completeness_today: 0.0,
            energy_total_wh: None,
            energy_correction_wh: None,
            peer_yield_ratio: None,
            expected: PlantExpected::default(),
            sun_elevation_deg,
            draining: false,
            last_reading_ms: Some(NOW_MS - 60_000),
        }
    }

    #[test]
    fn each_present_has_its_word() {
        let cases = [
            (plant(Some(5_000), 40.0, Some(4)), State::Producing, vec![]),
            (plant(Some(5_000), 40.0, Some(5)), State::Throttled, vec![]),
            (
                plant(Some(0), 40.0, Some(4)),
                State::Idle,
                vec![Need::NoPowerInSun],
            ),
            (plant(Some(0), 7.0, Some(3)), State::Idle, vec![]),
            (plant(Some(0), -20.0, Some(8)), State::Asleep, vec![]),
            (plant(Some(0), 40.0, Some(7)), State::Fault, vec![Need::Fault]),
            (plant(None, -20.0, None), State::Asleep, vec![]),
            (plant(None, 40.0, None), State::Unclear, vec![Need::Silent]),
        ];
        for (plant, state, needs) in cases {
            assert_eq!(judge(&plant, NOW_MS), Judgement { state, needs }, "{plant:?}");
        }
    }

    #[test]
    fn a_silence_longer_than_any_night_is_no_sleep() {
        let mut night = plant(None, -20.0, None);
        night.last_reading_ms = Some(NOW_MS - ASLEEP_MAX_MS - 1);
        assert_eq!(judge(&night, NOW_MS).needs, [Need::Silent]);
        night.last_reading_ms = None;
        assert_eq!(judge(&night, NOW_MS).needs, [Need::NeverHeard]);
    }

    #[test]
    fn several_needs_stand_in_their_order() {
        let mut weak = plant(Some(0), 40.0, Some(4));
        weak.peer_yield_ratio = Some(0.5);
        assert_eq!(
            judge(&weak, NOW_MS).needs,
            [Need::NoPowerInSun, Need::Underperforming]
        );
    }
}
