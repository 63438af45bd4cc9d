//! A failing input, made shorter as long as it fails.

use std::time::{Duration, Instant};

/// How long is spent on it.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Takes pieces out, large ones first, and sets bytes to 0, as long as `fails` says that the rest still fails.
pub(crate) fn shrink(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let begun = Instant::now();
    let mut best = input.to_vec();
    let mut piece = best.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at + piece <= best.len() && begun.elapsed() < TIME_MAX {
            let shorter = [&best[..at], &best[at + piece..]].concat();
            if fails(&shorter) {
                best = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    for at in 0..best.len() {
        if begun.elapsed() > TIME_MAX {
            break;
        }
        let was = std::mem::take(&mut best[at]);
        if was != 0 && !fails(&best) {
            best[at] = was;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_fails() {
        let mut input = vec![7; 1_000];
        input[300] = 1;
        input[700] = 2;
        let both = |bytes: &[u8]| {
            let one = bytes.iter().position(|&byte| byte == 1);
            one.is_some_and(|one| bytes[one..].contains(&2))
        };
        assert_eq!(shrink(&input, both), [1, 2]);
    }
}
