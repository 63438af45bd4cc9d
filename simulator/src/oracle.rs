//! What the replayed files say: energy by summing the recorded samples, without the registers' arithmetic.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::device::Bus;
use crate::recording::{Channel, Recording, SourceName};
use crate::simulation::Simulation;
use crate::solar::DAY_MS;

impl Simulation {
    /// What the replayed recording says that a plant's inverters generated from `from_ms` to `to_ms` (UTC), scaled, in
    /// Wh; `None` for a plant that is not simulated. Faults and the registers' resolution play no part.
    #[must_use]
    pub fn source_energy_wh(&self, plant: &str, from_ms: i64, to_ms: i64) -> Option<f64> {
        self.sum(plant, |bus| {
            let units = bus.config.units.iter().filter(|unit| unit.is_inverter());
            let share: f64 = units.map(|unit| unit.share).sum();
            recorded_wh(bus, bus.config.source, Channel::Generation, from_ms, to_ms)
                * bus.config.scale
                * share
        })
    }

    /// What the replayed recording says was consumed at a plant from `from_ms` to `to_ms` (UTC), scaled, in Wh.
    #[must_use]
    pub fn source_consumption_wh(&self, plant: &str, from_ms: i64, to_ms: i64) -> Option<f64> {
        self.sum(plant, |bus| {
            bus.config.load.map_or(0.0, |load| {
                recorded_wh(bus, load.source, Channel::Load, from_ms, to_ms) * load.scale
            })
        })
    }

    fn sum(&self, plant: &str, of: impl Fn(&Bus) -> f64) -> Option<f64> {
        let mut buses = self.buses.iter().filter(|bus| bus.plant == plant).peekable();
        buses.peek()?;
        Some(buses.map(|bus| of(bus)).sum())
    }

    /// Writes `plant,from_utc,to_utc,generation_wh,consumption_wh` for every plant and every span of `step_ms` between
    /// `from_ms` and `to_ms`, as [`Self::source_energy_wh`] has it. For days in Iran begin at 20:30 UTC.
    ///
    /// # Errors
    /// Those of the writer, and [`io::ErrorKind::InvalidInput`] when `step_ms` is not positive.
    pub fn write_source_energy_csv(
        &self,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
        mut out: impl Write,
    ) -> io::Result<()> {
        if step_ms <= 0 {
            let message = format!("step_ms = {step_ms}: a positive number of ms");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        writeln!(out, "plant,from_utc,to_utc,generation_wh,consumption_wh")?;
        let utc = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default();
        for plant in self.plants() {
            let mut from = from_ms;
            while from < to_ms {
                let to = from.saturating_add(step_ms).min(to_ms);
                let generation = self.source_energy_wh(plant, from, to).unwrap_or(0.0);
                let consumption = self.source_consumption_wh(plant, from, to).unwrap_or(0.0);
                writeln!(
                    out,
                    "{plant},{},{},{generation:.3},{consumption:.3}",
                    utc(from),
                    utc(to)
                )?;
                from = to;
            }
        }
        Ok(())
    }
}

/// The sum of samples times how long each held between two instants.
fn recorded_wh(bus: &Bus, source: SourceName, channel: Channel, from_ms: i64, to_ms: i64) -> f64 {
    let recording = Recording::of(source);
    let mut kw_ms = 0.0;
    let (first, _) = bus.days.locate(from_ms);
    for day in first..bus.days.len() {
        let (begin, end) = (bus.days.bound_ms(day), bus.days.bound_ms(day + 1));
        if begin >= to_ms {
            break;
        }
        let samples = recording.days[recording.choice.day_for(bus.days.date(day))].samples(channel);
        let ends = samples
            .iter()
            .skip(1)
            .map(|next| i64::from(next.start_s) * 1_000)
            .chain([2 * DAY_MS]);
        for (sample, until) in samples.iter().zip(ends) {
            let from = (begin + i64::from(sample.start_s) * 1_000).max(from_ms);
            let to = (begin + until).min(end).min(to_ms);
            kw_ms += sample.value * (to - from).max(0) as f64;
        }
    }
    kw_ms / 3_600.0
}
