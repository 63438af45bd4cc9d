//! The listener turn by turn.

use taraz_telemetry::{Ack, Channel, RecordRange};

use super::super::READ_LEN;
use super::bench::{Bench, CONNACK, Client, DAY_MS, FRAMES_PER_S_MAX, NOT_AUTHORISED, PUBLISH, SUBACK, text};
use super::*;

#[test]
fn bursts_at_a_full_queue_are_all_acknowledged_in_turns() {
    const EACH: u16 = 30;
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let queue_frames = u16::try_from(bench.take_room(usize::MAX).len()).unwrap();
    assert!((2..EACH / 3).contains(&queue_frames), "{queue_frames}");
    let mut clients = ["a", "b", "c", "d"].map(|name| bench.client(name));
    let held = bench.hold_commits();
    for (client, first) in clients.iter_mut().zip([1_000, 2_000, 3_000, 4_000]) {
        bench.burst(client, first, EACH.into());
        bench.until("it waits", |bench| bench.is_waiting(client));
    }
    drop(held);
    bench.until("every PUBACK", |_| {
        let counts = clients.each_mut().map(Client::acknowledged);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        // Whoever came first had the whole queue; since then it was one after the other.
        assert!(most - least <= queue_frames + 2, "{counts:?}");
        *least == EACH
    });
}

#[test]
fn who_comes_later_does_not_overtake_those_who_wait() {
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let [mut first, mut second, mut third, mut newcomer] =
        ["first", "second", "third", "newcomer"].map(|name| bench.client(name));
    let held = bench.hold_commits();
    let mut room = bench.take_room(usize::MAX);
    for (client, sequence) in [(&mut first, 1_000), (&mut second, 2_000), (&mut third, 3_000)] {
        bench.burst(client, sequence, 5);
        bench.until("it waits", |bench| bench.is_waiting(client));
    }
    bench.burst(&mut newcomer, 4_000, 5);
    // Room for two; the newcomer's bytes are there too when the thread looks.
    room.truncate(room.len() - 2);
    bench.until("the newcomer is read", |bench| bench.pending(&newcomer) > 0);
    let pending = [&first, &second, &third, &newcomer].map(|client| bench.pending(client));
    assert_eq!(
        pending,
        [2, 2, 1, 1],
        "one each of those who waited longest has room"
    );
    let order = [&third, &first, &second, &newcomer].map(|client| client.session);
    assert_eq!(*bench.keeper.waiting.lane(Lane::Live), order);
    drop((room, held));
    let mut clients = [first, second, third, newcomer];
    bench.until("every PUBACK", |_| {
        clients.each_mut().map(Client::acknowledged) == [5; 4]
    });
}

#[test]
fn a_live_reading_does_not_wait_behind_every_backlog() {
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let [mut first, mut second, mut live] = ["first", "second", "live"].map(|name| bench.client(name));
    let held = bench.hold_commits();
    let mut room = bench.take_room(usize::MAX);
    for (client, sequence) in [(&mut first, 1_000), (&mut second, 2_000)] {
        bench.burst_of(client, sequence, 5, DAY_MS);
        bench.until("it waits", |bench| bench.is_waiting(client));
    }
    bench.burst(&mut live, 3_000, 1);
    bench.until("it waits", |bench| bench.is_waiting(&live));
    // Room for two: the first had asked before.
    room.truncate(room.len() - 2);
    bench.until("room for the live one", |bench| !bench.is_waiting(&live));
    let pending = [&first, &second, &live].map(|client| bench.pending(client));
    assert_eq!(pending, [2, 1, 1]);
    drop((room, held));
    bench.until("every PUBACK", |_| {
        [first.acknowledged(), second.acknowledged(), live.acknowledged()] == [5, 5, 1]
    });
}

#[test]
fn who_has_to_wait_late_in_a_turn_is_told_of_room() {
    const RATE: u32 = 4;
    let mut bench = Bench::new(RATE);
    let mut client = bench.client("a");
    let held = bench.hold_commits();
    let mut room = bench.take_room(usize::MAX);
    // Above its rate with the last of them; the one behind it is looked at when its time has come.
    room.truncate(room.len() - (RATE as usize + 1));
    bench.burst(&mut client, 1_000, RATE + 2);
    bench.until("the last waits", |bench| bench.is_waiting(&client));
    assert!(!bench.keeper.shared.inbox.take().room);
    room.pop();
    assert!(bench.keeper.shared.inbox.take().room, "the thread is woken");
    drop((room, held));
    bench.until("every PUBACK", |_| client.acknowledged() == 6);
}

#[test]
fn what_one_commit_makes_durable_is_one_acknowledgement_to_the_other_session() {
    const FRAMES: u32 = 6;
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let (mut beside, mut own) = (bench.client("beside"), bench.client("own"));
    let topic = text(Channel::Ack.topic(&bench.device.id).as_str());
    beside.send(0x82, &[&[0, 1][..], &topic, &[0]].concat());
    bench.until("a SUBACK", |_| {
        beside.packets().iter().any(|(first, _)| *first == SUBACK)
    });
    let held = bench.hold_commits();
    bench.burst(&mut own, 1_000, FRAMES);
    bench.until("all are taken", |bench| bench.pending(&own) == FRAMES as usize);
    drop(held);
    let (mut ranges, mut packets): (Vec<RecordRange>, u32) = (Vec::new(), 0);
    bench.until("every acknowledgement", |bench| {
        for (first, body) in beside.packets() {
            assert_eq!(first, PUBLISH);
            let ack = Ack::decode(&body[topic.len()..], &bench.device.key, &bench.device.id).unwrap();
            ranges.extend(ack.ranges.iter());
            packets += 1;
        }
        ranges
            .iter()
            .map(|range| range.last - range.first + 1)
            .sum::<u32>()
            == FRAMES
    });
    // What was taken while the first commit was held is in the second.
    assert!(packets <= 2, "{ranges:?}");
}

#[test]
fn wrong_passwords_without_end_are_one_line_of_the_log() {
    const KNOCKS: u64 = 20;
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    for _ in 0..KNOCKS {
        let mut stranger = Client::connect(bench.address);
        stranger.sign_in("a", bench.device.id.as_str(), "no password of ours");
        bench.until("a CONNACK", |_| {
            stranger.packets().contains(&(CONNACK, vec![0, NOT_AUTHORISED]))
        });
    }
    let over = bench.keeper.turn.rebuffs.due().unwrap();
    assert_eq!(bench.keeper.turn.rebuffs.over(over), Some(KNOCKS - 1));
}

#[test]
fn a_session_that_was_not_listened_to_is_not_taken_for_silent() {
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let client = bench.client("a");
    let mut turn = Turn::new();
    turn.now += Duration::from_secs(3_600);
    let session = bench.session(&client);
    // Something has come while it waited for room, and is read in the next turn.
    session.readable(false);
    session.on_time(&mut turn).unwrap();
    session.read(&mut turn).unwrap();
    turn.now += Duration::from_secs(3_600);
    assert!(session.on_time(&mut turn).is_err(), "nothing more has come");
}

#[test]
fn after_a_panic_the_next_session_reads_as_ever() {
    let mut turn = Turn::new();
    let panicked = unless_panicked(&mut turn, |turn| {
        let _buffer = std::mem::take(&mut turn.buffer);
        panic!("within a packet");
    });
    assert_eq!(panicked, None::<()>);
    assert_eq!(turn.buffer.len(), READ_LEN);
    assert_eq!(
        unless_panicked(&mut turn, |turn| turn.buffer.len()),
        Some(READ_LEN)
    );
}
