//! The master against everything that can go wrong on a line.

use std::vec;
use std::vec::Vec;

use super::bench::{
    Bench, Burst, LINE, SILENCE_US, Script, TIMEOUT_US, answer, bench, burst, read, script, sealed, unit,
};
use super::{BusError, BusLine, BusRequest, BusStep};

#[test]
fn an_answer_ends_the_exchange_with_its_last_byte() {
    let mut bench = bench();
    let outcome = bench.exchange(
        7,
        read(100, 2),
        script(&[&[burst(30_000, answer(7, &[1, 0xFFFF]))]]),
    );
    assert_eq!(outcome.result, Ok(vec![1, 0xFFFF]));
    assert_eq!(
        outcome.sent_us,
        [SILENCE_US],
        "a new line is given its silence first"
    );
    assert_eq!(outcome.ended_us, SILENCE_US + 30_000);
    assert_eq!(bench.master.counters().stray_bytes, 0);
}

#[test]
fn the_silence_is_kept_before_the_next_request() {
    let mut bench = bench();
    let first = bench.exchange(7, read(100, 1), script(&[&[burst(30_000, answer(7, &[1]))]]));
    let second = bench.exchange(7, read(100, 1), script(&[&[burst(30_000, answer(7, &[2]))]]));
    assert_eq!(second.sent_us, [first.ended_us + SILENCE_US]);
    let mut slow = Bench::new(LINE.with_turnaround_ms(50));
    let first = slow.exchange(7, read(100, 1), script(&[&[burst(30_000, answer(7, &[1]))]]));
    let second = slow.exchange(7, read(100, 1), script(&[&[burst(30_000, answer(7, &[2]))]]));
    assert_eq!(second.sent_us, [first.ended_us + 50_000]);
}

#[test]
fn an_answer_may_come_byte_by_byte() {
    let frame = answer(7, &[0x1234, 0x5678]);
    let step_us = u64::from(LINE.character_us);
    let bursts: Vec<Burst> = frame
        .iter()
        .zip(1_u64..)
        .map(|(&byte, nth)| burst(20_000 + nth * step_us, vec![byte]))
        .collect();
    assert_eq!(
        bench().exchange(7, read(0, 2), script(&[&bursts])).result,
        Ok(vec![0x1234, 0x5678])
    );
}

#[test]
fn silence_is_a_timeout_after_every_retry() {
    let mut bench = bench();
    let outcome = bench.exchange(7, read(100, 1), Script::default());
    assert_eq!(outcome.result, Err(BusError::Timeout));
    assert_eq!(outcome.sent_us.len(), 1 + usize::from(LINE.retries));
    for pair in outcome.sent_us.windows(2) {
        assert_eq!(pair[1] - pair[0], TIMEOUT_US);
    }
    let counters = bench.master.counters();
    assert_eq!((counters.timeouts, counters.retries), (3, 2));
}

#[test]
fn a_retry_may_succeed() {
    let outcome = bench().exchange(7, read(100, 1), script(&[&[], &[burst(1_000, answer(7, &[9]))]]));
    assert_eq!(outcome.result, Ok(vec![9]));
    assert_eq!(outcome.sent_us.len(), 2);
}

#[test]
fn a_wrong_crc_is_retried_and_counted() {
    let mut damaged = answer(7, &[1, 2]);
    damaged[4] ^= 0x10;
    let mut bench = bench();
    let good = answer(7, &[1, 2]);
    let outcome = bench.exchange(
        7,
        read(0, 2),
        script(&[&[burst(5_000, damaged)], &[burst(5_000, good)]]),
    );
    assert_eq!(outcome.result, Ok(vec![1, 2]));
    assert_eq!(
        outcome.sent_us[1],
        outcome.sent_us[0] + 5_000 + SILENCE_US,
        "it need not wait for the time-out"
    );
    assert_eq!(bench.master.counters().crc_errors, 1);
}

#[test]
fn damage_on_every_try_is_a_bad_frame() {
    let mut damaged = answer(7, &[1, 2]);
    damaged[8] ^= 1;
    let bursts = [burst(5_000, damaged)];
    let outcome = bench().exchange(7, read(0, 2), script(&[&bursts, &bursts, &bursts]));
    assert_eq!(outcome.result, Err(BusError::BadFrame));
}

#[test]
fn a_short_answer_is_given_up_when_the_line_falls_silent() {
    let whole = answer(7, &[1, 2]);
    let mut bench = bench();
    let short = burst(20_000, whole[..6].to_vec());
    let outcome = bench.exchange(
        7,
        read(0, 2),
        script(&[&[short], &[burst(20_000, whole.clone())]]),
    );
    assert_eq!(outcome.result, Ok(vec![1, 2]));
    assert!(outcome.sent_us[1] - outcome.sent_us[0] < TIMEOUT_US / 10);
    assert_eq!(bench.master.counters().short_answers, 1);
}

#[test]
fn a_gap_beyond_t15_breaks_an_answer() {
    let whole = answer(7, &[1, 2]);
    let halves = |gap_us: u64| {
        let rest_us = u64::from(LINE.character_us) * 3;
        vec![
            burst(20_000, whole[..6].to_vec()),
            burst(20_000 + gap_us + rest_us, whole[6..].to_vec()),
        ]
    };
    let within = bench().exchange(7, read(0, 2), script(&[&halves(u64::from(LINE.gap_us))]));
    assert_eq!(within.result, Ok(vec![1, 2]));
    let beyond = bench().exchange(7, read(0, 2), script(&[&halves(u64::from(LINE.gap_us) + 10)]));
    assert_eq!(beyond.result, Err(BusError::Timeout), "{beyond:?}");
}

#[test]
fn a_buffering_adaptor_may_hand_over_an_answer_in_pieces() {
    let whole = answer(7, &[1, 2]);
    let pieces = [
        burst(20_000, whole[..3].to_vec()),
        burst(36_000, whole[3..4].to_vec()),
        burst(90_000, whole[4..].to_vec()),
    ];
    let mut bench = Bench::new(BusLine::buffered(9_600));
    assert_eq!(
        bench.exchange(7, read(0, 2), script(&[&pieces])).result,
        Ok(vec![1, 2])
    );
}

#[test]
fn an_answer_that_begins_in_time_may_end_after_the_deadline() {
    let whole = answer(7, &[1; 100]);
    let step_us = u64::from(LINE.character_us);
    let bursts: Vec<Burst> = whole
        .iter()
        .zip(0_u64..)
        .map(|(&byte, nth)| burst(TIMEOUT_US - 5_000 + nth * step_us, vec![byte]))
        .collect();
    let outcome = bench().exchange(7, read(0, 100), script(&[&bursts]));
    assert_eq!(outcome.result, Ok(vec![1; 100]));
    assert_eq!(outcome.sent_us.len(), 1);
}

#[test]
fn exceptions_are_final_unless_the_unit_is_busy() {
    let mut bench = bench();
    let outcome = bench.exchange(7, read(0, 2), script(&[&[burst(5_000, sealed(&[7, 0x83, 2]))]]));
    assert_eq!(outcome.result, Err(BusError::Exception(2)));
    assert_eq!(outcome.sent_us.len(), 1);
    let busy = [burst(5_000, sealed(&[7, 0x83, 6]))];
    let outcome = bench.exchange(7, read(0, 1), script(&[&busy, &[burst(5_000, answer(7, &[3]))]]));
    assert_eq!(outcome.result, Ok(vec![3]));
    assert!(
        outcome.sent_us[1] - outcome.sent_us[0] >= 100_000,
        "a busy unit is left alone for a while"
    );
    let outcome = bench.exchange(7, read(0, 1), script(&[&busy, &busy, &busy]));
    assert_eq!(outcome.result, Err(BusError::Exception(6)));
    assert_eq!(bench.master.counters().exceptions, 5);
}

#[test]
fn what_other_units_say_is_skipped_and_the_answer_taken() {
    let others = [
        answer(8, &[1, 2]),
        sealed(&[7, 4, 4, 0, 1, 0, 2]),
        answer(7, &[1, 2, 3]),
        answer(7, &[1]),
        sealed(&[8, 0x83, 2]),
        sealed(&[7, 0x84, 2]),
        sealed(&[7, 16, 0, 0, 0, 4]),
    ];
    for other in others {
        let mut bench = bench();
        let len = u32::try_from(other.len()).unwrap();
        let both = [burst(20_000, other.clone()), burst(60_000, answer(7, &[5, 6]))];
        let outcome = bench.exchange(7, read(0, 2), script(&[&both]));
        assert_eq!(
            (outcome.result, outcome.sent_us.len()),
            (Ok(vec![5, 6]), 1),
            "{other:02x?}"
        );
        assert_eq!(bench.master.counters().stray_bytes, len);
        let joined = [burst(60_000, [other.clone(), answer(7, &[5, 6])].concat())];
        let outcome = Bench::new(BusLine::buffered(9_600)).exchange(7, read(0, 2), script(&[&joined]));
        assert_eq!(outcome.result, Ok(vec![5, 6]), "{other:02x?} in one piece");
    }
}

#[test]
fn only_what_others_say_is_a_bad_frame_and_never_an_answer() {
    let other = [burst(20_000, answer(8, &[1, 2]))];
    let outcome = bench().exchange(7, read(0, 2), script(&[&other, &other, &other]));
    assert_eq!(outcome.result, Err(BusError::BadFrame));
}

#[test]
fn noise_around_an_answer_does_not_spoil_it() {
    for (before, after) in [
        (vec![0x00], vec![]),
        (vec![], vec![0xFF]),
        (vec![0xFF, 0x00, 0x07], vec![0x00, 0x00]),
    ] {
        let mut bench = bench();
        let bytes = [before.clone(), answer(7, &[5, 6]), after.clone()].concat();
        let outcome = bench.exchange(7, read(0, 2), script(&[&[burst(40_000, bytes)]]));
        assert_eq!((outcome.result, outcome.sent_us.len()), (Ok(vec![5, 6]), 1));
        assert_eq!(
            bench.master.counters().stray_bytes as usize,
            before.len() + after.len()
        );
    }
}

#[test]
fn stray_bytes_before_the_request_are_drained_and_silence_awaited() {
    let mut bench = bench();
    let mut first = script(&[&[burst(20_000, answer(7, &[5]))]]);
    first.stray = vec![
        burst(1_000, answer(7, &[1])),
        burst(3_000, vec![0; 3]),
        burst(6_000, vec![9; 2]),
    ];
    let outcome = bench.exchange(7, read(0, 1), first);
    assert_eq!(outcome.result, Ok(vec![5]));
    assert_eq!(outcome.sent_us, [6_000 + SILENCE_US]);
    assert_eq!(bench.master.counters().stray_bytes, 7 + 3 + 2);
}

#[test]
fn a_line_that_never_falls_silent_is_given_up() {
    let babble: Vec<Burst> = (0..2_000).map(|nth| burst(nth * 1_000, vec![0x55])).collect();
    let mut endless = Script {
        stray: babble,
        ..Script::default()
    };
    let mut bench = bench();
    let outcome = bench.exchange(7, read(0, 1), endless.clone());
    assert_eq!(outcome.result, Err(BusError::BadFrame));
    assert!(outcome.sent_us.is_empty());
    // The same when it begins after the request.
    endless.answers = [core::mem::take(&mut endless.stray)].into();
    let outcome = Bench::new(BusLine::buffered(9_600).with_retries(0)).exchange(7, read(0, 1), endless);
    assert_eq!(outcome.result, Err(BusError::BadFrame));
}

#[test]
fn the_echo_of_the_own_request_is_tolerated() {
    let echo = sealed(&[7, 3, 0x9C, 0x40, 0, 2]);
    let reply = answer(7, &[0x5375, 0x6E53]);
    let request = read(40_000, 2);
    let apart = [burst(100, echo.clone()), burst(30_000, reply.clone())];
    let joined = [burst(30_000, [echo.clone(), reply.clone()].concat())];
    let only = [burst(100, echo.clone())];
    for line in [LINE, BusLine::buffered(9_600)] {
        for bursts in [&apart[..], &joined[..]] {
            let mut bench = Bench::new(line);
            let outcome = bench.exchange(7, request, script(&[bursts]));
            assert_eq!(
                (outcome.result, outcome.sent_us.len()),
                (Ok(vec![0x5375, 0x6E53]), 1)
            );
            assert_eq!(bench.master.counters().stray_bytes, 0);
        }
        let outcome = Bench::new(line).exchange(7, request, script(&[&only, &only, &only]));
        assert_eq!(outcome.result, Err(BusError::Timeout));
    }
    let bytes: Vec<Burst> = [echo, reply]
        .concat()
        .into_iter()
        .zip(1_u64..)
        .map(|(b, n)| burst(n * 1_146, vec![b]))
        .collect();
    assert_eq!(
        bench().exchange(7, request, script(&[&bytes])).result,
        Ok(vec![0x5375, 0x6E53])
    );
}

#[test]
fn a_write_is_confirmed_and_its_echo_is_no_confirmation() {
    let values = [0x0000, 0x018F, 0x1234, 0x5678];
    let write = BusRequest::Write {
        start: 0,
        values: &values,
    };
    let echo = sealed(&[247, 16, 0, 0, 0, 4, 8, 0, 0, 0x01, 0x8F, 0x12, 0x34, 0x56, 0x78]);
    let confirmed = sealed(&[247, 16, 0, 0, 0, 4]);
    let both = [burst(1_000, [echo.clone(), confirmed.clone()].concat())];
    for bursts in [&[burst(1_000, confirmed.clone())][..], &both[..]] {
        let outcome = bench().exchange(247, write, script(&[bursts]));
        assert_eq!(outcome.result, Ok(vec![]), "a write reads nothing");
    }
    let only = [burst(100, echo)];
    let outcome = bench().exchange(247, write, script(&[&only, &only, &only]));
    assert_eq!(outcome.result, Err(BusError::Timeout));
    let another = [burst(1_000, sealed(&[247, 16, 0, 8, 0, 4]))];
    let outcome = bench().exchange(247, write, script(&[&another, &another, &another]));
    assert_eq!(outcome.result, Err(BusError::BadFrame));
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_request() {
    let line = LINE.with_retries(0);
    let mut bench = Bench::new(line);
    let late = burst(TIMEOUT_US + 200_000, answer(7, &[0x5375, 0x6E53]));
    assert_eq!(
        bench.exchange(7, read(40_000, 2), script(&[&[late]])).result,
        Err(BusError::Timeout)
    );
    let next = bench.exchange(
        7,
        read(50_000, 2),
        script(&[&[burst(10_000, answer(7, &[1, 2]))]]),
    );
    assert_eq!(next.result, Ok(vec![1, 2]));
    assert_eq!(bench.master.counters().stray_bytes, 9);
    // Another unit can't be confused with it and is not made to wait.
    let mut bench = Bench::new(line);
    let late = burst(TIMEOUT_US + 200_000, answer(7, &[0x5375, 0x6E53]));
    let first = bench.exchange(7, read(40_000, 2), script(&[&[late]]));
    let own = burst(300_000, answer(8, &[3, 4]));
    let next = bench.exchange(8, read(50_000, 2), script(&[&[own]]));
    assert_eq!(next.result, Ok(vec![3, 4]));
    assert_eq!(next.sent_us, [first.ended_us]);
}

#[test]
fn an_answer_to_the_first_try_leaves_the_second_one_owed() {
    let mut bench = bench();
    let slow = [burst(TIMEOUT_US + 300_000, answer(7, &[1]))];
    let outcome = bench.exchange(7, read(0, 1), script(&[&slow, &slow]));
    assert_eq!((outcome.result, outcome.sent_us.len()), (Ok(vec![1]), 2));
    let next = bench.exchange(7, read(9, 1), script(&[&[burst(10_000, answer(7, &[2]))]]));
    assert_eq!(
        next.result,
        Ok(vec![2]),
        "the second answer to the first request came in between"
    );
}

#[test]
fn an_exchange_that_was_dropped_is_not_answered_to_the_next() {
    let mut bench = bench();
    bench.master.begin(unit(7), read(40_000, 1), 0);
    bench.now_us = SILENCE_US;
    assert_eq!(bench.master.step(bench.now_us), BusStep::Transmit);
    bench.master.sent(bench.now_us);
    bench.schedule(vec![burst(50_000, answer(7, &[1]))]);
    let next = bench.exchange(7, read(9, 1), script(&[&[burst(10_000, answer(7, &[2]))]]));
    assert_eq!(next.result, Ok(vec![2]));
}

#[test]
fn a_rest_is_kept_even_when_the_line_is_silent() {
    let mut bench = bench();
    bench.master.rest_until(850_000);
    let outcome = bench.exchange(7, read(0, 1), script(&[&[burst(10_000, answer(7, &[2]))]]));
    assert_eq!((outcome.result, outcome.sent_us), (Ok(vec![2]), vec![850_000]));
}

#[test]
fn an_answer_whose_bytes_are_handed_over_late_is_still_one() {
    let mut bench = bench();
    bench.master.begin(unit(7), read(0, 2), 0);
    assert_eq!(bench.master.step(SILENCE_US), BusStep::Transmit);
    bench.master.sent(SILENCE_US);
    let frame = answer(7, &[0x1234, 0x5678]);
    let mut now_us = SILENCE_US + 30_000;
    // Nobody asked for the next step meanwhile: the processor was busy.
    for piece in [&frame[..1], &frame[1..5], &frame[5..]] {
        bench.master.received(piece, now_us);
        now_us += 50_000;
    }
    assert_eq!(bench.master.step(now_us), BusStep::Done(Ok(())));
    assert!(bench.master.registers().iter().eq([0x1234, 0x5678]));
}

#[test]
fn bytes_that_come_when_the_line_seemed_silent_put_the_request_off() {
    let mut bench = bench();
    bench.master.begin(unit(7), read(0, 1), SILENCE_US);
    assert_eq!(bench.master.step(SILENCE_US), BusStep::Transmit);
    bench.master.received(&answer(7, &[1]), SILENCE_US + 10);
    let until_us = SILENCE_US + 10 + SILENCE_US;
    assert_eq!(bench.master.step(SILENCE_US + 10), BusStep::Pause { until_us });
    assert_eq!(bench.master.step(until_us), BusStep::Transmit);
    assert_eq!(bench.master.counters().stray_bytes, 7);
}
