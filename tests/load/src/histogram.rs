//! Times in µs, kept in buckets whose width is a thirty-second of their value.

use serde_json::{Value, json};

/// Values below this have a bucket each.
const EXACT: u64 = 64;
/// Buckets for each doubling above.
const STEPS: u64 = 32;
const BUCKETS: usize = 64 + 32 * 58;

/// How often which time was seen.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max_us: 0,
        }
    }
}

impl Histogram {
    /// Counts one time.
    pub fn add(&mut self, us: u64) {
        self.add_many(us, 1);
    }

    /// Counts the same time several times.
    pub fn add_many(&mut self, us: u64, times: u64) {
        self.counts[bucket(us)] += times;
        self.total += times;
        if times > 0 {
            self.max_us = self.max_us.max(us);
        }
    }

    /// How many were counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The time in µs that a share of all (0 to 1) does not exceed, at most 3 % too high; `None` without any.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        // Totals are far below 2⁵³.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        let index = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper(index).min(self.max_us))
    }

    /// `{count, p50_us, p99_us, max_us}`; null without any.
    #[must_use]
    pub fn json(&self) -> Value {
        if self.total == 0 {
            return Value::Null;
        }
        json!({
            "count": self.total,
            "p50_us": self.quantile_us(0.5),
            "p99_us": self.quantile_us(0.99),
            "max_us": self.max_us,
        })
    }
}

fn bucket(us: u64) -> usize {
    // At most 64 + 32 · 58: fits.
    #[allow(clippy::cast_possible_truncation)]
    let index = if us < EXACT {
        us as usize
    } else {
        let doubling = u64::from(us.ilog2()) - 6;
        let within = (us >> (doubling + 1)) - STEPS;
        (EXACT + doubling * STEPS + within) as usize
    };
    index
}

/// The greatest value of a bucket.
const fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let doubling = (index - EXACT) / STEPS;
    let within = (index - EXACT) % STEPS;
    ((STEPS + within + 1) << (doubling + 1)).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_narrow() {
        for us in (0..200).chain([1_000, 65_535, 65_536, 1 << 40, u64::MAX]) {
            let index = bucket(us);
            assert!(index < BUCKETS && upper(index) >= us, "{us}");
            assert!(index == 0 || upper(index - 1) < us, "{us}");
            assert!(upper(index) - us <= us / 32, "{us}: {}", upper(index));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.5), None);
        for us in 1..=10_000 {
            histogram.add(us);
        }
        for (share, exact) in [(0.0, 1), (0.5, 5_000), (0.99, 9_900), (1.0, 10_000)] {
            let us = histogram.quantile_us(share).unwrap();
            assert!(us >= exact && us <= exact + exact / 32 + 1, "{share}: {us}");
        }
    }
}
