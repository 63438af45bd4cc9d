use super::*;
use crate::solar::midnight_unix_s;

/// Noon as the axis about which the mean day is most symmetric: the same quantity by another method (reflection of the
/// daylight itself, without looking at dawn and dusk of single days).
fn noon_by_reflection_s(rows: &[Row]) -> i64 {
    const SLOT_S: i64 = 60;
    let slots = usize::try_from(DAY_S / SLOT_S).unwrap();
    let step_slots = noon::step_s(rows) / SLOT_S;
    let peak = noon::usual_peak(rows);
    // How often the plant was lit at each minute of the (equation-corrected) day.
    let mut lit = vec![0.0_f64; slots];
    for row in rows
        .iter()
        .filter(|row| row.values[Channel::Generation.index()] > peak * DARK_SHARE)
    {
        let mean_s = row.clock_s + equation_of_time_s(row.clock_s);
        for slot in 0..step_slots {
            lit[usize::try_from(mean_s / SLOT_S + slot).unwrap() % slots] += 1.0;
        }
    }
    let asymmetry = |noon: usize| -> f64 {
        (1..slots / 2)
            .map(|d| (lit[(noon + d) % slots] - lit[(noon + slots - d) % slots]).abs())
            .sum()
    };
    let weight = |noon: usize| {
        (0..240)
            .map(|d| lit[(noon + slots + 120 - d) % slots])
            .sum::<f64>()
    };
    let brightest = (0..slots)
        .max_by(|&a, &b| weight(a).total_cmp(&weight(b)))
        .unwrap();
    let near = (0..720).map(|d| (brightest + slots + 360 - d) % slots);
    near.min_by(|&a, &b| asymmetry(a).total_cmp(&asymmetry(b)))
        .unwrap() as i64
        * SLOT_S
}

#[test]
fn noon_is_where_the_daylight_is_symmetric() {
    for source in SourceName::ALL {
        let rows = file::read(source);
        let estimate = noon::estimate_s(&rows);
        let reflected = noon_by_reflection_s(&rows);
        let apart = (estimate - reflected + DAY_S / 2).rem_euclid(DAY_S) - DAY_S / 2;
        assert!(
            apart.abs() <= 15 * 60,
            "{source:?}: estimated {estimate} s, by reflection {reflected} s"
        );
    }
}

#[test]
fn two_files_are_in_utc_and_the_others_in_local_time() {
    let hours = |source| Recording::of(source).noon_s as f64 / 3600.0;
    assert!(
        (19.0..21.0).contains(&hours(SourceName::Trio27k6)),
        "{}",
        hours(SourceName::Trio27k6)
    );
    assert!(
        (19.0..21.0).contains(&hours(SourceName::Sma7k)),
        "{}",
        hours(SourceName::Sma7k)
    );
    for local in [
        SourceName::AcPower01,
        SourceName::Inv30339,
        SourceName::AusgridHouse,
    ] {
        assert!((11.5..13.5).contains(&hours(local)), "{local:?} {}", hours(local));
    }
}

#[test]
fn every_file_gives_the_complete_days_that_it_has() {
    let days = |source| Recording::of(source).days.len();
    assert!(days(SourceName::Trio27k6) >= 215);
    assert!(days(SourceName::Sma7k) >= 205);
    assert!(days(SourceName::AcPower01) >= 185);
    assert!(days(SourceName::Inv30339) >= 360);
    assert_eq!(
        days(SourceName::NrelRsfIi),
        4,
        "on the fifth day the inverter was off"
    );
    assert!(days(SourceName::AusgridHouse) >= 360);
}

/// The steps of a day hold what the file's rows of that day add up to.
#[test]
fn a_day_holds_the_energy_of_its_rows() {
    for source in SourceName::ALL.into_iter().filter(|source| !source.is_verbatim()) {
        let rows = file::read(source);
        let recording = Recording::of(source);
        let step_s = noon::step_s(&rows);
        for day in &recording.days {
            // Solar midnight of this day on the clock of the file.
            let from = midnight_unix_s(day.date) - DAY_S / 2 + recording.noon_s;
            let from = from - equation_of_time_s(from + DAY_S / 2);
            let within = |row: &&Row| (from..from + DAY_S).contains(&row.clock_s);
            let power = |row: &Row| row.values[Channel::Generation.index()];
            // Rows that follow each other within the gap hold until the next one.
            let rows: Vec<&Row> = rows.iter().filter(within).collect();
            let held = |pair: &[&Row]| {
                let seconds = pair[1].clock_s - pair[0].clock_s;
                power(pair[0])
                    * if seconds <= step_s.max(GAP_S_MAX) {
                        seconds
                    } else {
                        step_s
                    } as f64
            };
            let last = rows.last().map_or(0.0, |row| {
                power(row) * step_s.min(from + DAY_S - row.clock_s) as f64
            });
            let expected: f64 = rows.windows(2).map(held).sum::<f64>() + last;
            let samples = day.samples(Channel::Generation);
            let ends = samples
                .iter()
                .skip(1)
                .map(|s| s.start_s)
                .chain([u32::try_from(DAY_S).unwrap()]);
            let got: f64 = samples
                .iter()
                .zip(ends)
                .map(|(s, end)| s.value * f64::from(end - s.start_s))
                .sum();
            assert!(
                (got - expected).abs() <= 1e-3 * expected + 1.0,
                "{source:?} {}: {got} for {expected}",
                day.date
            );
        }
    }
}

#[test]
fn steps_begin_at_midnight_and_rise() {
    for source in SourceName::ALL {
        for day in &Recording::of(source).days {
            for channel in [Channel::Generation, Channel::Load, Channel::Irradiance] {
                let samples = day.samples(channel);
                assert!(samples.first().is_none_or(|first| first.start_s == 0));
                assert!(
                    samples.windows(2).all(|pair| pair[0].start_s < pair[1].start_s),
                    "{source:?} {}",
                    day.date
                );
            }
        }
    }
    assert!(
        !Recording::of(SourceName::NrelRsfIi).days[0]
            .samples(Channel::Irradiance)
            .is_empty()
    );
    assert!(
        !Recording::of(SourceName::AusgridHouse).days[0]
            .samples(Channel::Load)
            .is_empty()
    );
}
/// The simulated months have weather: no recorded day stands for weeks on end.
#[test]
fn days_follow_each_other_with_weather() {
    for source in SourceName::ALL {
        let recording = Recording::of(source);
        let first = jiff::civil::date(2026, 1, 1);
        for month in 0..12 {
            let days = (0..30).map(|day| first.saturating_add(jiff::Span::new().days(30 * month + day)));
            let chosen: std::collections::BTreeSet<usize> =
                days.map(|date| recording.choice.day_for(date)).collect();
            let least = recording.days.len().min(12);
            assert!(
                chosen.len() >= least,
                "{source:?}, month {month}: {} days",
                chosen.len()
            );
        }
    }
}

#[test]
fn a_verbatim_day_is_the_files_day_and_every_day_has_its_turn() {
    let recording = Recording::of(SourceName::NrelRsfIiInv2);
    let rows = file::read(SourceName::NrelRsfIiInv2);
    assert_eq!((recording.days.len(), rows.len()), (5, 480));
    for (day, rows) in recording.days.iter().zip(rows.chunks(96)) {
        for (channel, unit) in [(Channel::Generation, 204.12), (Channel::Irradiance, 1_000.0)] {
            let at = |start_s: u32| {
                let held = day
                    .samples(channel)
                    .iter()
                    .rev()
                    .find(|sample| sample.start_s <= start_s);
                held.map_or(0.0, |sample| sample.value)
            };
            for row in rows {
                let start_s = u32::try_from(row.clock_s.rem_euclid(DAY_S)).unwrap();
                assert!(
                    (at(start_s) - row.values[channel.index()]).abs() < 1e-12 * unit,
                    "{} {start_s}",
                    day.date
                );
            }
        }
    }
    let first = jiff::civil::date(2026, 11, 1);
    let turns: std::collections::BTreeSet<usize> = (0..5)
        .map(|day| {
            recording
                .choice
                .day_for(first.saturating_add(jiff::Span::new().days(day)))
        })
        .collect();
    assert_eq!(turns.len(), 5);
}
