//! The whole device through outages of every kind: it recovers by itself, and nothing is lost, changed or stored twice.

use std::cell::RefCell;
use std::rc::Rc;

use embassy_time::Instant;
use taraz_telemetry::{
    DeviceId, FirmwareVersion, MasterKey, MeterAddress, MeterDriver, PollStatus, Quantities, ResetCause,
};

use super::broker::Dialer;
use super::{Broker, Mode, World, now_ms};
use crate::app::{Device, DeviceEvent, DeviceParts, LinkState, MeterBus, Observer};
use crate::config::{DeviceSettings, Identity, MeterSettings};
use crate::link::{
    CourierSettings, LINK_RX_LEN, Link, LinkError, LinkEvent, LinkSettings, ReachError, link_tx_len,
};
use crate::modbus::BusCounters;
use crate::queue::{MemoryQueue, Position};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const POLL_INTERVAL_MS: u32 = 10_000;

/// A meter that counts.
struct Meter(u64);

impl MeterBus for Meter {
    async fn poll(&mut self, _: usize) -> Result<Quantities, PollStatus> {
        self.0 += 1;
        Ok(Quantities {
            energy_wh: Some(self.0),
            ..Quantities::default()
        })
    }

    fn counters(&self, _: usize) -> BusCounters {
        BusCounters::default()
    }
}

/// What the device said about its link.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<(u64, LinkEvent)>>>);

impl Observer for Heard {
    fn event(&self, event: &DeviceEvent<'_>) {
        match event {
            DeviceEvent::Link(event) => self.0.borrow_mut().push((now_ms(), *event)),
            DeviceEvent::QueueFailed { error } => panic!("{error}"),
            DeviceEvent::AckRefused(error) => panic!("{error}"),
            _ => {}
        }
    }
}

impl Heard {
    fn failures(&self) -> Vec<LinkError> {
        let heard = self.0.borrow();
        let failures = heard.iter().filter_map(|(_, event)| match event {
            LinkEvent::Failed { error, .. } => Some(*error),
            _ => None,
        });
        failures.collect()
    }
}

/// A device, its broker, and a world in which they live; `scenario` moves time and breaks things.
fn live(poll_interval_ms: u32, scenario: impl FnOnce(&Broker, &Heard, &Living<'_>, &mut World<'_>)) {
    let id = DeviceId::new("sari-01").unwrap();
    let key = MasterKey::new([7; 32]).device_key(&id, 1);
    let identity = Identity::new(id.clone(), key.clone());
    let settings = DeviceSettings {
        meters: heapless::Vec::from_slice(&[MeterSettings {
            address: MeterAddress::new(1).unwrap(),
            driver: MeterDriver::Sunspec,
        }])
        .unwrap(),
        poll_interval_ms,
        firmware: FirmwareVersion::new(),
        link: LinkSettings::default(),
        courier: CourierSettings::default(),
    };
    let (broker, heard) = (Broker::new(id, key), Heard::default());
    let parts = DeviceParts {
        settings: settings.clone(),
        queue: MemoryQueue::new(4_000, 32),
        observer: heard.clone(),
        started: Instant::now(),
        reset_cause: ResetCause::PowerOn,
        seed: 3,
        live: true,
    };
    let device = Device::new(parts, &identity);
    let (mut rx, mut tx) = (vec![0; LINK_RX_LEN], vec![0; link_tx_len(4)]);
    let dialer = Dialer(broker.clone());
    let mut link = Link::new(dialer, &identity, settings.link, 3, &mut rx, &mut tx).unwrap();
    let mut bus = Meter(0);
    let watcher = broker.clone();
    let mut world = World::new(vec![
        Box::pin(device.poll_meters(&mut bus)),
        Box::pin(link.run(&device)),
        Box::pin(async move { watcher.watch().await }),
    ]);
    scenario(&broker, &heard, &device, &mut world);
}

type Living<'d> = Device<MemoryQueue, Heard>;

/// Every record that was ever written is stored, and the device has let go of all but the newest.
fn assert_all_stored(broker: &Broker, device: &Living<'_>) {
    let ever = device.with_queue(|queue| queue.ever());
    let state = broker.0.borrow();
    let missing: Vec<&Position> = ever.iter().filter(|at| !state.stored.contains_key(at)).collect();
    assert!(
        missing.is_empty(),
        "{} of {} missing: {missing:?}",
        missing.len(),
        ever.len()
    );
    assert_eq!(
        state.stored.len(),
        ever.len(),
        "something is stored that was never written"
    );
    assert_eq!(device.status().pending_records, 0);
    assert_eq!(broker_state(&state), "online");
}

fn broker_state(state: &super::broker::State) -> String {
    String::from_utf8(state.retained.clone().unwrap_or_default()).unwrap()
}

fn newest(device: &Living<'_>) -> Position {
    device.with_queue(|queue| *queue.ever().last().unwrap())
}

#[test]
fn why_the_broker_is_not_reached_is_told_apart() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        for (why, said) in [
            (ReachError::NoNetwork, LinkError::NoNetwork),
            (ReachError::NoName, LinkError::NoName),
            (ReachError::NoWay, LinkError::Unreachable),
        ] {
            broker.set(Mode::Unreached(why));
            broker.reset_all();
            world.run_until(now_ms() + 2 * MINUTE_MS);
            assert_eq!(device.status().link, LinkState::Offline(said));
            assert!(heard.failures().contains(&said));
        }
    });
}

#[test]
fn hours_without_a_broker_are_made_up_for_while_the_present_goes_first() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        world.run_until(MINUTE_MS);
        assert_all_stored(broker, device);
        broker.set(Mode::Down);
        broker.reset_all();
        assert_eq!(broker.retained(), "offline", "the last will");
        world.run_until(6 * HOUR_MS);
        let stored = broker.0.borrow().stored.len();
        // 1, 2, 4 … 60 s, a quarter more or less: neither a storm nor a device that gave up.
        let knocks = broker.0.borrow().knocks_ms.len();
        assert!((280..600).contains(&knocks), "{knocks}");
        assert!(heard.failures().contains(&LinkError::Unreachable));
        assert!(device.status().pending_records > 2_100);

        broker.set(Mode::Up);
        let back_ms = now_ms();
        let before = newest(device);
        // The device is back after its longest pause; what it reads then comes at once, beside the backlog.
        world.run_until(back_ms + 75_000 + 10_000);
        assert!(broker.0.borrow().stored.len() > stored);
        let state = broker.0.borrow();
        let connected_ms = *state.knocks_ms.last().unwrap();
        let fresh = state
            .stored
            .range(before.after()..)
            .filter(|(_, (_, at_ms))| *at_ms > connected_ms);
        assert!(fresh.count() > 0, "nothing new among what was stored");
        drop(state);
        world.run_until(back_ms + 5 * MINUTE_MS + 1);
        assert_all_stored(broker, device);
        assert_eq!(device.status().dropped_records, 0);
    });
}

#[test]
fn a_name_server_or_network_that_never_answers_is_tried_again() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        broker.set(Mode::Hanging);
        world.run_until(2 * HOUR_MS);
        assert!(heard.failures().iter().all(|error| *error == LinkError::TimedOut));
        assert!(heard.failures().len() > 80, "{}", heard.failures().len());
        broker.set(Mode::Up);
        world.run_until(2 * HOUR_MS + 5 * MINUTE_MS + 1);
        assert_all_stored(broker, device);
    });
}

#[test]
fn a_network_that_breaks_every_few_seconds_still_carries_everything() {
    live(POLL_INTERVAL_MS, |broker, _, device, world| {
        for n in 0..600_u64 {
            world.run_until(now_ms() + 3_000 + n * 7_919 % 4_000);
            broker.reset_all();
            if n % 100 == 99 {
                let stored = broker.0.borrow().stored.len();
                let ever = device.with_queue(|queue| queue.ever().len());
                assert!(ever - stored < 30, "{stored} of {ever} stored while it flaps");
            }
        }
        world.run_until(now_ms() + 2 * MINUTE_MS + 1);
        assert_all_stored(broker, device);
        assert!(device.status().link_connects > 300);
    });
}

#[test]
fn a_connection_that_died_without_a_word_is_left_and_replaced() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        world.run_until(MINUTE_MS);
        for _ in 0..20 {
            let connects = device.status().link_connects;
            broker.kill_all();
            let dead_ms = now_ms();
            // A publication stays without PUBACK for 30 s.
            world.run_until(dead_ms + 45_000);
            assert_eq!(device.status().link_connects, connects + 1);
            world.run_until(dead_ms + 2 * MINUTE_MS + 1);
            assert_all_stored(broker, device);
        }
        assert!(heard.failures().iter().all(|error| *error == LinkError::NoPuback));
    });
}

/// With nothing to send, the missing answer to a ping says it: keep-alive and grace, 75 s.
#[test]
fn an_idle_connection_is_kept_alive_and_found_dead() {
    live(86_400_000, |broker, heard, device, world| {
        world.run_until(10 * MINUTE_MS);
        let state = broker.0.borrow();
        assert!(state.pings >= 5, "{}", state.pings);
        assert_eq!((state.expired, device.status().link_connects), (0, 1));
        drop(state);
        broker.kill_all();
        world.run_until(13 * MINUTE_MS);
        assert_eq!(device.status().link_connects, 2, "{:?}", heard.failures());
        assert_eq!(broker.retained(), "online");
        world.run_until(6 * HOUR_MS);
        assert_eq!(device.status().link_connects, 2);
        assert_eq!(broker.0.borrow().expired, 0, "the broker had to end it");
        assert_all_stored(broker, device);
    });
}

#[test]
fn a_broker_that_takes_connections_and_says_nothing_is_left() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        broker.set(Mode::Mute);
        world.run_until(HOUR_MS);
        assert!(heard.failures().iter().all(|error| *error == LinkError::TimedOut));
        assert!(
            (40..80).contains(&heard.failures().len()),
            "{}",
            heard.failures().len()
        );
        broker.set(Mode::Up);
        world.run_until(HOUR_MS + 4 * MINUTE_MS + 1);
        assert_all_stored(broker, device);
    });
}

#[test]
fn a_broker_that_never_acknowledges_is_left_and_tried_again() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        world.run_until(MINUTE_MS);
        broker.set(Mode::NoPuback);
        world.run_until(3 * HOUR_MS);
        let failures = heard.failures();
        assert!(
            failures.iter().all(|error| *error == LinkError::NoPuback),
            "{failures:?}"
        );
        assert!((100..400).contains(&failures.len()), "{}", failures.len());
        assert!(device.status().pending_records > 1_000, "nothing was freed");
        broker.set(Mode::Up);
        world.run_until(3 * HOUR_MS + 5 * MINUTE_MS + 1);
        assert_all_stored(broker, device);
    });
}

/// Every sign-in works and no frame does: the pauses grow all the same.
#[test]
fn a_broker_that_falls_over_is_not_stormed() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        world.run_until(MINUTE_MS);
        broker.set(Mode::Falling);
        world.run_until(2 * HOUR_MS);
        assert!(
            heard.failures().iter().all(|error| *error == LinkError::Lost),
            "{:?}",
            heard.failures()
        );
        let knocks = broker.0.borrow().knocks_ms.len();
        assert!((90..200).contains(&knocks), "{knocks} in 2 h");
        broker.set(Mode::Up);
        world.run_until(2 * HOUR_MS + 5 * MINUTE_MS + 1);
        assert_all_stored(broker, device);
    });
}

#[test]
fn records_stay_until_the_gateway_says_so_whatever_the_broker_says() {
    live(POLL_INTERVAL_MS, |broker, heard, device, world| {
        world.run_until(MINUTE_MS);
        broker.set(Mode::NoAck);
        let frames = broker.0.borrow().frames;
        world.run_until(6 * HOUR_MS);
        assert!(
            heard.failures().is_empty(),
            "the session is good: {:?}",
            heard.failures()
        );
        assert!(device.status().pending_records > 2_100, "nothing was freed");
        let state = broker.0.borrow();
        // At most 32 frames under way, each again every 30, 60 … 240 s.
        let sent = state.frames - frames;
        assert!(sent < 32 * 6 * 15 + 32 * 4, "{sent} frames in 6 h");
        assert!(sent > 500, "{sent} frames in 6 h");
        assert!(state.sent.values().all(|times| *times < 200));
        drop(state);
        broker.set(Mode::Up);
        let back_ms = now_ms();
        world.run_until(back_ms + 10 * MINUTE_MS + 1);
        assert_all_stored(broker, device);
    });
}

#[test]
fn a_stop_says_goodbye() {
    live(POLL_INTERVAL_MS, |broker, _, device, world| {
        world.run_until(MINUTE_MS);
        assert_eq!(broker.retained(), "online");
        device.stop();
        world.run_until(MINUTE_MS + 2_000);
        assert_eq!(broker.retained(), "offline");
        assert!(!world.has_ended(), "the broker's clock goes on");
    });
}

mod chaos {
    use super::*;
    use proptest::prelude::*;

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![
            4 => Just(Mode::Up),
            1 => Just(Mode::Down),
            1 => Just(Mode::Hanging),
            1 => Just(Mode::Mute),
            1 => Just(Mode::Falling),
            1 => Just(Mode::NoPuback),
            1 => Just(Mode::NoAck),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        /// Whatever fails in whatever order: in the end everything is stored, once and unchanged.
        #[test]
        fn it_always_recovers(steps in proptest::collection::vec((1_u64..900_000, mode(), 0..3_u8), 1..30)) {
            let steps = &steps;
            // A thread of its own begins at time 0.
            std::thread::scope(|scope| {
                let run = scope.spawn(|| live(POLL_INTERVAL_MS, |broker, _, device, world| {
                    for (wait_ms, mode, cut) in steps {
                        world.run_until(now_ms() + wait_ms);
                        broker.set(*mode);
                        match cut {
                            0 => broker.reset_all(),
                            1 => broker.kill_all(),
                            _ => {}
                        }
                    }
                    broker.set(Mode::Up);
                    // The longest silence before it is noticed, the longest pause, the longest wait for an acknowledgement.
                    world.run_until(now_ms() + 15 * MINUTE_MS);
                    // An instant between two polls.
                    world.run_until((now_ms() / 10_000 + 1) * 10_000 + 5_000);
                    assert_all_stored(broker, device);
                }));
                run.join().unwrap();
            });
        }
    }
}
