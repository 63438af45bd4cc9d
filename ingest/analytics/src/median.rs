//! The middle of several values, where there are enough.

/// The median; `None` with fewer than `least` values, and of none. Values are finite.
#[must_use]
pub fn median(mut values: Vec<f64>, least: usize) -> Option<f64> {
    if values.is_empty() || values.len() < least {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let upper = values[values.len() / 2];
    Some(if values.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(values[values.len() / 2 - 1], upper)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_or_the_mean_of_both_middles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0], 3), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0], 1), Some(2.5));
        assert_eq!(median(vec![1.0, 2.0], 3), None);
        assert_eq!(median(Vec::new(), 0), None);
    }
}
