//! The schedule against a simulated server, in simulated time.

use super::packet::{KissCode, SNTP_LEN, SntpRefusal, TimeSample, check, request};
use super::rounds::{Rounds, SNTP_INTERVAL_MS_MAX, SNTP_PAUSE_DENIED_MS, SNTP_SAMPLES};
use super::run::{SNTP_ANSWER_TIMEOUT_MS, SntpFailure};
use crate::clock::{DeviceClock, SyncOutcome};
use taraz_telemetry::Clock;

const UTC_MS: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 86_400_000;

/// What the server does with a question.
#[derive(Clone, Copy)]
enum Answer {
    /// The truth, after a way of this many ms in all.
    Truth(u64),
    /// UTC that is off by this.
    Lie(i64),
    /// Somebody else's answer, and nothing after it.
    Foreign,
    /// The answer to the question before this one, and nothing after it.
    Late,
    Nothing,
    Kiss([u8; 4]),
    Unsynchronised,
}

/// Asks as often as it is due, until `until_ms`; what the clock was told.
struct World {
    rounds: Rounds,
    clock: DeviceClock,
    now_ms: u64,
    cookie: u64,
    asked_ms: Vec<u64>,
    told: Vec<(u64, TimeSample, SyncOutcome)>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rounds: Rounds::new(seed),
            clock: DeviceClock::new(1),
            now_ms: 0,
            cookie: 0x1234_5678_9ABC_DEF0,
            asked_ms: Vec::new(),
            told: Vec::new(),
        }
    }

    fn run(&mut self, until_ms: u64, mut answer: impl FnMut(usize) -> Answer) {
        while self.rounds.due_ms() <= until_ms {
            self.now_ms = self.now_ms.max(self.rounds.due_ms());
            self.ask(answer(self.asked_ms.len()));
        }
    }

    fn ask(&mut self, answer: Answer) {
        let sent_ms = self.now_ms;
        self.asked_ms.push(sent_ms);
        let before = self.cookie;
        self.cookie = self.cookie.rotate_left(7) ^ 0x55;
        let question = request(self.cookie);
        let mut packet = [0; SNTP_LEN];
        packet[..4].copy_from_slice(&[0x24, 2, 6, 0xe9]);
        packet[24..32].copy_from_slice(&question[40..]);
        let (mut way_ms, mut lie_ms) = (20, 0);
        match answer {
            Answer::Truth(ms) => way_ms = ms,
            Answer::Lie(ms) => lie_ms = ms,
            Answer::Foreign => packet[24] ^= 0x80,
            Answer::Late => packet[24..32].copy_from_slice(&before.to_be_bytes()),
            Answer::Nothing => way_ms = SNTP_ANSWER_TIMEOUT_MS,
            Answer::Kiss(code) => {
                packet[1] = 0;
                packet[12..16].copy_from_slice(&code);
            }
            Answer::Unsynchronised => packet[0] |= 0xc0,
        }
        let server_ms = (UTC_MS + sent_ms + way_ms / 2).saturating_add_signed(lie_ms);
        let stamp = (server_ms / 1_000 + 2_208_988_800) << 32 | ((server_ms % 1_000) << 32).div_ceil(1_000);
        packet[32..40].copy_from_slice(&stamp.to_be_bytes());
        packet[40..].copy_from_slice(&stamp.to_be_bytes());
        self.now_ms += way_ms;
        let checked = match answer {
            Answer::Nothing => Err(SntpFailure::NoAnswer),
            _ => check(&packet, self.cookie, sent_ms, self.now_ms).map_err(SntpFailure::Refused),
        };
        let told = match checked {
            Ok(sample) => self.rounds.answered(self.now_ms, sample),
            Err(SntpFailure::Refused(SntpRefusal::Foreign)) => {
                // The client waits on, in vain.
                self.now_ms = sent_ms + SNTP_ANSWER_TIMEOUT_MS;
                self.rounds.failed(self.now_ms, SntpFailure::NoAnswer)
            }
            Err(failure) => self.rounds.failed(self.now_ms, failure),
        };
        if let Some(sample) = told {
            let synced = self.clock.sync(self.now_ms, sample.utc_ms, sample.error_ms);
            self.rounds.told(self.now_ms, synced.outcome);
            self.told.push((self.now_ms, sample, synced.outcome));
        }
    }

    /// How far the clock is off, and what it says about it.
    fn off(&self) -> (Option<u64>, Clock) {
        let status = self.clock.status(self.now_ms);
        let off_ms = status.utc_ms.map(|utc_ms| utc_ms.abs_diff(UTC_MS + self.now_ms));
        (off_ms, status.clock)
    }

    fn gaps_ms(&self) -> Vec<u64> {
        self.asked_ms.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[test]
fn the_first_answer_counts_at_once_and_the_shortest_way_of_the_round_after_it() {
    let mut world = World::new(1);
    let ways_ms = [900, 400, 30, 500];
    world.run(20_000, |question| Answer::Truth(ways_ms[question]));
    assert_eq!(world.told.len(), 2);
    let (first_ms, first, _) = world.told[0];
    assert_eq!((first_ms, first.round_trip_ms), (900, 900));
    let (_, best, outcome) = world.told[1];
    assert_eq!((best.round_trip_ms, outcome), (30, SyncOutcome::Taken));
    assert!(best.utc_ms.abs_diff(UTC_MS + best.monotonic_ms) <= u64::from(best.error_ms));
}

#[test]
fn a_good_server_is_asked_four_times_every_seventeen_minutes() {
    let mut world = World::new(2);
    world.run(DAY_MS, |_| Answer::Truth(20));
    let rounds = world.asked_ms.len() / usize::from(SNTP_SAMPLES);
    assert!((80..90).contains(&rounds), "{rounds}");
    for gap_ms in world.gaps_ms() {
        let within = (1_500..=2_600).contains(&gap_ms);
        let between = (SNTP_INTERVAL_MS_MAX * 3 / 4..=SNTP_INTERVAL_MS_MAX * 5 / 4 + 100).contains(&gap_ms);
        assert!(within || between, "{gap_ms}");
    }
    assert_eq!(world.off(), (Some(0), Clock::Synced));
}

/// A sample with 900 ms of error keeps the clock synced for 2,000 s: it is asked again after a quarter of it.
#[test]
fn a_poor_way_is_tried_again_while_the_clock_is_still_synced() {
    let mut world = World::new(3);
    world.run(DAY_MS, |_| Answer::Truth(1_780));
    for pair in world.told.windows(2) {
        assert!(pair[1].0 - pair[0].0 < 1_000_000, "{pair:?}");
    }
    assert_eq!(world.off().1, Clock::Synced);
}

#[test]
fn a_silent_server_is_asked_after_one_two_four_seconds_and_never_given_up() {
    let mut world = World::new(4);
    world.run(DAY_MS, |_| Answer::Nothing);
    let waits_ms: Vec<u64> = world
        .gaps_ms()
        .iter()
        .map(|gap_ms| gap_ms - SNTP_ANSWER_TIMEOUT_MS)
        .collect();
    for (wait_ms, nominal_ms) in waits_ms.iter().zip([1_000, 2_000, 4_000, 8_000, 16_000]) {
        assert!(
            (nominal_ms * 3 / 4..=nominal_ms * 5 / 4).contains(wait_ms),
            "{waits_ms:?}"
        );
    }
    assert!(waits_ms.iter().all(|wait_ms| *wait_ms <= 320_000));
    assert!(world.told.is_empty());
    let until_ms = world.now_ms + DAY_MS;
    world.run(until_ms, |_| Answer::Truth(20));
    assert_eq!(world.off(), (Some(0), Clock::Synced));
}

#[test]
fn late_repeated_and_foreign_answers_never_reach_the_clock() {
    let mut world = World::new(5);
    world.run(DAY_MS, |question| match question % 3 {
        0 => Answer::Foreign,
        1 => Answer::Late,
        _ => Answer::Unsynchronised,
    });
    assert!(world.told.is_empty());
    assert_eq!(world.off(), (None, Clock::Unsynced));
}

#[test]
fn some_of_a_rounds_questions_may_be_lost() {
    let mut world = World::new(6);
    world.run(10 * DAY_MS, |question| {
        if question % 4 == 1 {
            Answer::Truth(40)
        } else {
            Answer::Nothing
        }
    });
    assert!(world.told.len() > 100);
    assert_eq!(world.off(), (Some(0), Clock::Synced));
}

#[test]
fn one_lie_moves_nothing_and_a_server_that_insists_is_followed() {
    let mut world = World::new(7);
    world.run(10_000, |_| Answer::Truth(20));
    let asked = world.asked_ms.len();
    world.run(4_000_000, |question| {
        if question == asked + 1 {
            Answer::Lie(3_600_000)
        } else {
            Answer::Truth(20)
        }
    });
    assert_eq!(world.off(), (Some(0), Clock::Synced));
    let until_ms = world.now_ms + 4_000_000;
    world.run(until_ms, |_| Answer::Lie(3_600_000));
    assert_eq!(world.off(), (Some(3_600_000), Clock::Synced));
    assert!(
        world
            .told
            .iter()
            .any(|(_, _, outcome)| *outcome == SyncOutcome::Doubted)
    );
}

#[test]
fn a_server_that_says_now_this_now_that_is_asked_less_and_less() {
    let mut world = World::new(8);
    world.run(DAY_MS, |question| {
        let round = question / usize::from(SNTP_SAMPLES);
        Answer::Lie(if round % 2 == 0 {
            0
        } else {
            10_000_000 * i64::try_from(round).unwrap()
        })
    });
    assert!(world.asked_ms.len() < 4 * 500, "{}", world.asked_ms.len());
}

#[test]
fn a_kiss_for_rest_slows_the_client_down_for_good() {
    let mut world = World::new(9);
    world.run(10_000, |_| Answer::Truth(20));
    let asked = world.asked_ms.len();
    world.run(DAY_MS, |question| {
        if question < asked + 6 {
            Answer::Kiss(*b"RATE")
        } else {
            Answer::Truth(20)
        }
    });
    // 128 s, 256 s … 4,096 s, each at least three quarters of it.
    let gaps_ms = &world.gaps_ms()[asked..];
    for (gap_ms, rest_ms) in gaps_ms
        .iter()
        .zip([128_000, 256_000, 512_000, 1_024_000, 2_048_000, 4_096_000])
    {
        assert!(*gap_ms >= rest_ms * 3 / 4, "{gaps_ms:?}");
    }
    assert!(
        gaps_ms[6..].iter().all(|gap_ms| *gap_ms >= 4_096_000 * 3 / 4),
        "{gaps_ms:?}"
    );
    assert_eq!(world.off(), (Some(0), Clock::Synced));
}

#[test]
fn a_server_that_denies_is_left_alone_for_a_day() {
    for code in [*b"DENY", *b"RSTR"] {
        let mut world = World::new(10);
        world.run(10 * DAY_MS - 1, |_| Answer::Kiss(code));
        assert_eq!(world.asked_ms.len(), 10);
        assert!(
            world
                .gaps_ms()
                .iter()
                .all(|gap_ms| *gap_ms >= SNTP_PAUSE_DENIED_MS)
        );
    }
    let kiss = SntpRefusal::Kiss(KissCode::Other(*b"X\0\x7f!"));
    assert!(kiss.to_string().contains("X\\x00\\x7f!"), "{kiss}");
}

/// What one sample lost: a round that a denial ends still tells the clock what it has.
#[test]
fn what_a_round_brought_before_a_kiss_is_used() {
    let mut world = World::new(11);
    world.run(9_000, |_| Answer::Truth(20));
    let asked = world.asked_ms.len();
    let told = world.told.len();
    world.run(2 * SNTP_INTERVAL_MS_MAX, |question| {
        if question == asked {
            Answer::Truth(20)
        } else {
            Answer::Kiss(*b"DENY")
        }
    });
    assert_eq!(world.told.len(), told + 1);
}

#[test]
fn a_doubted_sample_does_not_cut_a_denial_short() {
    let mut rounds = Rounds::new(1);
    rounds.failed(1_000, SntpFailure::Refused(SntpRefusal::Kiss(KissCode::Denied)));
    rounds.told(1_000, SyncOutcome::Doubted);
    assert_eq!(rounds.due_ms(), 1_000 + SNTP_PAUSE_DENIED_MS);
}
