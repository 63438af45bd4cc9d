//! Looks at counters and gauges while a run publishes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::curve::Curve;
use crate::histogram::Histogram;
use crate::payload::Written;
use crate::scrape::{Series, page};

/// From one look to the next.
const PERIOD: Duration = Duration::from_millis(100);
/// A look that takes long is followed by a rest so many times as long: looking must not become the load.
const REST: u32 = 3;

/// What a look saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) us: u64,
    pub(crate) stored: Option<f64>,
    pub(crate) gauge: Option<f64>,
}

/// A thread that looks until it is told to stop.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    looks: Arc<Mutex<Vec<Look>>>,
    thread: JoinHandle<Result<()>>,
}

impl Probe {
    /// Looks at both series; instants count from `begun`.
    pub(crate) fn start(stored: Option<Series>, gauge: Option<Series>, begun: Instant) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, kept) = (Arc::clone(&stop), Arc::clone(&looks));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let look = look(stored.as_ref(), gauge.as_ref(), begun)?;
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(look);
                let took = asked.elapsed();
                std::thread::sleep((took * REST).max(PERIOD.saturating_sub(took)));
            }
            Ok(())
        });
        Self { stop, looks, thread }
    }

    /// Everything that was seen.
    ///
    /// # Errors
    /// When a look failed.
    pub(crate) fn end(self) -> Result<Vec<Look>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that looks has panicked"))?
            .context("looking at the counters")?;
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(looks.clone())
    }
}

fn look(stored: Option<&Series>, gauge: Option<&Series>, begun: Instant) -> Result<Look> {
    let text = |series: &Series| page(series.address, &series.path);
    let seen = |series: Option<&Series>| -> Result<Option<f64>> {
        series.map_or(Ok(None), |series| Ok(series.of(&text(series)?)))
    };
    let same_page = stored
        .zip(gauge)
        .filter(|(a, b)| (a.address, &a.path) == (b.address, &b.path));
    let (stored, gauge) = if let Some((stored, gauge)) = same_page {
        let page = text(stored)?;
        (stored.of(&page), gauge.of(&page))
    } else {
        (seen(stored)?, seen(gauge)?)
    };
    // 2⁶⁴ µs are half a million years.
    #[allow(clippy::cast_possible_truncation)]
    let us = begun.elapsed().as_micros() as u64;
    Ok(Look { us, stored, gauge })
}

/// How long readings took to be stored: the counter had `base` before the first.
pub(crate) fn stored_delays(published: &Curve, looks: &[Look], base: f64, per_reading: f64) -> Histogram {
    let mut stored = Curve::default();
    for look in looks {
        let count = (look.stored.unwrap_or(base) - base) / per_reading;
        if count > 0.0 {
            // A count of readings: positive, far below 2⁵³.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            stored.push(look.us, count as u64);
        }
    }
    published.delays(&stored)
}

/// How long the first device's messages took to show in the gauge: each states another power, in turn.
pub(crate) fn gauge_delays(numbered: &[(u64, Written)], looks: &[Look]) -> Histogram {
    let (mut published, mut shown) = (Curve::default(), Curve::default());
    for (index, &(us, _)) in numbered.iter().enumerate() {
        published.push(us, index as u64 + 1);
    }
    let mut newest = 0;
    for look in looks {
        let Some(power_w) = look.gauge else { continue };
        let from_then = numbered[newest..].iter().take_while(|(us, _)| *us <= look.us);
        // Powers are whole numbers of watts.
        #[allow(clippy::cast_precision_loss)]
        let is_it = |(_, written): &(u64, Written)| (written.power_w as f64 - power_w).abs() < 0.5;
        let found = from_then.enumerate().filter(|(_, message)| is_it(message)).last();
        if let Some((ahead, _)) = found {
            newest += ahead;
            shown.push(look.us, newest as u64 + 1);
        }
    }
    published.delays(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(us: u64, stored: f64, gauge: f64) -> Look {
        Look {
            us,
            stored: Some(stored),
            gauge: Some(gauge),
        }
    }

    #[test]
    fn readings_are_stored_when_the_counter_has_risen_by_them() {
        let mut published = Curve::default();
        published.push(300, 10);
        published.push(340, 20);
        let looks = [look(150, 5.0, 0.0), look(350, 245.0, 0.0)];
        let delays = stored_delays(&published, &looks, 5.0, 12.0);
        assert_eq!(
            (delays.total(), delays.quantile_us(0.5), delays.quantile_us(1.0)),
            (20, Some(10), Some(50))
        );
    }

    #[test]
    fn a_message_shows_when_its_power_or_a_later_one_does() {
        let message = |us, power_w| {
            let written = Written {
                first: 0,
                last: 0,
                power_w,
            };
            (us, written)
        };
        let numbered = [
            message(10, 2_000),
            message(20, 2_001),
            message(30, 2_002),
            message(40, 2_003),
        ];
        // What is shown before it was published is another round of the same power.
        let looks = [
            look(5, 0.0, 2_001.0),
            look(25, 0.0, 2_000.0),
            look(60, 0.0, 2_002.0),
        ];
        let delays = gauge_delays(&numbered, &looks);
        assert_eq!(delays.total(), 3);
        assert_eq!(
            (delays.quantile_us(0.1), delays.quantile_us(1.0)),
            (Some(15), Some(40))
        );
    }
}
