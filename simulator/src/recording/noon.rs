//! When it was solar noon on a recording's own clock, from the power alone.
//!
//! The files state neither zone nor place (two are in UTC). A plant's daylight is symmetric about solar noon, whatever
//! its orientation does to the curve in between: noon is the median over the days of the middle between first and last
//! light, with the equation of time taken out.

use std::f64::consts::TAU;

use super::{Channel, DARK_SHARE, Row, is_complete};
use crate::solar::{DAY_S, equation_of_time_s, whole};

fn power(row: &Row) -> f64 {
    row.values[Channel::Generation.index()]
}

/// The file's own step in seconds: the shortest distance of two rows, at least 1.
pub(super) fn step_s(rows: &[Row]) -> i64 {
    let steps = rows.windows(2).map(|pair| pair[1].clock_s - pair[0].clock_s);
    steps.filter(|&step| step > 0).min().unwrap_or(DAY_S).max(1)
}

/// The power that one sample in two hundred exceeds: the peak without the outliers.
pub(super) fn usual_peak(rows: &[Row]) -> f64 {
    let mut powers: Vec<f64> = rows.iter().map(power).filter(|power| !power.is_nan()).collect();
    powers.sort_by(f64::total_cmp);
    powers
        .get(powers.len().saturating_sub(1 + powers.len() / 200))
        .copied()
        .unwrap_or(0.0)
}

/// The clock time of mean solar noon in seconds after the clock's midnight, 0 to below 86,400.
pub(super) fn estimate_s(rows: &[Row]) -> i64 {
    let (step_s, peak) = (step_s(rows), usual_peak(rows));
    let centre = circular_centre_s(rows);
    let day_of = |row: &Row| (row.clock_s - centre + DAY_S / 2).div_euclid(DAY_S);
    let mut noons: Vec<i64> = rows
        .chunk_by(|a, b| day_of(a) == day_of(b))
        .filter(|day| is_complete(day, step_s, peak))
        .filter_map(|day| {
            let lit = |row: &&Row| power(row) > peak * DARK_SHARE;
            let dawn = day.iter().find(lit)?.clock_s;
            let dusk = day.iter().rev().find(lit)?.clock_s + step_s;
            let middle = dawn.midpoint(dusk);
            Some(middle - day_of(&day[0]) * DAY_S + equation_of_time_s(middle))
        })
        .collect();
    noons.sort_unstable();
    noons.get(noons.len() / 2).unwrap_or(&centre).rem_euclid(DAY_S)
}

/// The power-weighted mean time of day on the circle: good enough to cut the days where it is dark.
fn circular_centre_s(rows: &[Row]) -> i64 {
    let (mut east, mut north) = (0.0, 0.0);
    for row in rows {
        let angle = row.clock_s.rem_euclid(DAY_S) as f64 / DAY_S as f64 * TAU;
        east += power(row) * angle.sin();
        north += power(row) * angle.cos();
    }
    whole(east.atan2(north).rem_euclid(TAU) / TAU * DAY_S as f64)
}
