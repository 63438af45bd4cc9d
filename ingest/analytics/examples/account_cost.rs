//! What a reading costs a running account, in ns, and how long a checkpoint is: `cargo run --release -p taraz-analytics --example account_cost`.

use std::hint::black_box;
use std::time::Instant;

use taraz_analytics::energy::{Meter, Point, RunningIntervals};

const READINGS: i64 = 2_000_000;
const MINUTE_MS: i64 = 60_000;

/// A 30 kW plant by the minute: days that count, nights that stand still.
fn reading(minute: i64, value_wh: i64) -> Point {
    Point {
        time_ms: minute * MINUTE_MS + minute % 7 * 11,
        value_wh,
    }
}

fn main() {
    let meter = Meter::new(30_000);
    let (mut running, mut value_wh, mut entries) = (RunningIntervals::default(), 5_000_000, 0_u64);
    let (mut checkpoint, mut bytes) = (Vec::new(), 0);
    let begin = Instant::now();
    for minute in 0..READINGS {
        let of_day = minute % 1_440;
        if (360..1_080).contains(&of_day) {
            value_wh += 100 + of_day % 200;
        }
        let taken = running.push(&meter, black_box(reading(minute, value_wh)), &mut |entry| {
            black_box(entry);
            entries += 1;
        });
        assert!(taken.is_ok(), "{taken:?}");
    }
    let push_ns = begin.elapsed().as_nanos() as f64 / READINGS as f64;
    let begin = Instant::now();
    const CHECKPOINTS: u32 = 200_000;
    for _ in 0..CHECKPOINTS {
        checkpoint.clear();
        black_box(&running).write_checkpoint(&mut checkpoint);
        bytes = black_box(&checkpoint).len();
    }
    let write_ns = begin.elapsed().as_nanos() as f64 / f64::from(CHECKPOINTS);
    let begin = Instant::now();
    for _ in 0..CHECKPOINTS {
        black_box(&running).tail(&meter, &mut |entry| {
            black_box(entry);
        });
    }
    let tail_ns = begin.elapsed().as_nanos() as f64 / f64::from(CHECKPOINTS);
    println!("{push_ns:.1} ns a reading, {entries} entries of {READINGS} readings");
    println!(
        "{write_ns:.0} ns a checkpoint of {bytes} bytes, {tail_ns:.0} ns a tail, {} bytes in memory",
        size_of_val(&running)
    );
}
