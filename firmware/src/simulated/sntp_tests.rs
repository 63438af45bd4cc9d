//! The client's loop against a time source in memory.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;

use embassy_time::{Instant, Timer};
use taraz_telemetry::{
    Clock, DeviceId, FirmwareVersion, MasterKey, MeterAddress, MeterDriver, Outcome, PollStatus, Quantities,
    RECORD_LEN_MAX, Record, ResetCause,
};

use super::{World, now_ms};
use crate::app::{ClockEvent, Device, DeviceEvent, DeviceParts, MeterBus, Observer, TimeServerState};
use crate::config::{DeviceSettings, Identity, MeterSettings};
use crate::link::{CourierSettings, LinkSettings, ReachError};
use crate::modbus::BusCounters;
use crate::queue::{MemoryQueue, Position, Queue};
use crate::sntp::{SNTP_ANSWER_TIMEOUT_MS, SNTP_LEN, Sntp, SntpFailure, SntpRefusal, TimeSource};

const UTC_MS: u64 = 1_790_000_000_000;

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Good,
    /// The answer to an earlier question comes first, twice.
    AfterLate,
    /// Somebody floods the port.
    Flood,
    Junk,
    Silent,
    /// Nothing can be sent.
    Unreached(ReachError),
}

#[derive(Clone)]
struct Server {
    way: Rc<Cell<Way>>,
    questions: Rc<RefCell<Vec<[u8; SNTP_LEN]>>>,
    late: u8,
}

impl Server {
    fn new(way: Way) -> Self {
        Self {
            way: Rc::new(Cell::new(way)),
            questions: Rc::default(),
            late: 0,
        }
    }

    fn answer(&self, back: usize) -> [u8; SNTP_LEN] {
        let questions = self.questions.borrow();
        let question = questions[questions.len().saturating_sub(1 + back)];
        let mut answer = [0; SNTP_LEN];
        answer[..4].copy_from_slice(&[0x24, 1, 6, 0xec]);
        answer[24..32].copy_from_slice(&question[40..]);
        let utc_ms = UTC_MS + now_ms();
        let stamp = (utc_ms / 1_000 + 2_208_988_800) << 32 | ((utc_ms % 1_000) << 32).div_ceil(1_000);
        answer[32..40].copy_from_slice(&stamp.to_be_bytes());
        answer[40..].copy_from_slice(&stamp.to_be_bytes());
        answer
    }

    async fn next(&mut self, answer: &mut [u8; SNTP_LEN]) -> Result<usize, ReachError> {
        match self.way.get() {
            Way::Unreached(error) => return Err(error),
            Way::Silent => pending().await,
            Way::AfterLate if self.late > 0 => {
                self.late -= 1;
                *answer = self.answer(1);
                answer[24] ^= u8::from(self.questions.borrow().len() == 1);
                return Ok(SNTP_LEN);
            }
            Way::Flood => {
                *answer = self.answer(0);
                answer[25] ^= 1;
                return Ok(SNTP_LEN);
            }
            Way::Junk => {
                Timer::after_millis(100).await;
                answer[0] = 7;
                return Ok(20);
            }
            Way::Good | Way::AfterLate => {}
        }
        Timer::after_millis(15).await;
        *answer = self.answer(0);
        Timer::after_millis(15).await;
        Ok(SNTP_LEN)
    }
}

impl TimeSource for Server {
    async fn exchange(
        &mut self,
        request: &[u8; SNTP_LEN],
        answer: &mut [u8; SNTP_LEN],
    ) -> Result<usize, ReachError> {
        self.questions.borrow_mut().push(*request);
        self.late = 2;
        self.next(answer).await
    }

    async fn receive(&mut self, answer: &mut [u8; SNTP_LEN]) -> Result<usize, ReachError> {
        self.next(answer).await
    }
}

struct Meter;

impl MeterBus for Meter {
    async fn poll(&mut self, _: usize) -> Result<Quantities, PollStatus> {
        Ok(Quantities::default())
    }

    fn counters(&self, _: usize) -> BusCounters {
        BusCounters::default()
    }
}

#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<ClockEvent>>>);

impl Observer for Heard {
    fn event(&self, event: &DeviceEvent<'_>) {
        if let DeviceEvent::Clock(event) = event {
            self.0.borrow_mut().push(*event);
        }
    }
}

fn live(server: &Server, scenario: impl FnOnce(&Heard, &Device<MemoryQueue, Heard>, &mut World<'_>)) {
    let id = DeviceId::new("sari-01").unwrap();
    let identity = Identity::new(id.clone(), MasterKey::new([7; 32]).device_key(&id, 1));
    let meter = MeterSettings {
        address: MeterAddress::new(1).unwrap(),
        driver: MeterDriver::Sunspec,
    };
    let mut queue = MemoryQueue::new(4_000, 32);
    // The second start.
    queue.restart();
    let heard = Heard::default();
    let parts = DeviceParts {
        settings: DeviceSettings {
            meters: heapless::Vec::from_slice(&[meter]).unwrap(),
            poll_interval_ms: 1_000,
            firmware: FirmwareVersion::new(),
            link: LinkSettings::default(),
            courier: CourierSettings::default(),
        },
        queue,
        observer: heard.clone(),
        started: Instant::now(),
        reset_cause: ResetCause::PowerOn,
        seed: 3,
        live: true,
    };
    let device = Device::new(parts, &identity);
    let (mut bus, mut sntp) = (Meter, Sntp::new(server.clone(), 99));
    let mut world = World::new(vec![
        Box::pin(device.poll_meters(&mut bus)),
        Box::pin(sntp.run(&device)),
    ]);
    scenario(&heard, &device, &mut world);
    device.stop();
    world.run_until(now_ms());
    assert!(world.has_ended(), "a stop ends it at once");
}

fn records(device: &Device<MemoryQueue, Heard>) -> Vec<Record> {
    device.with_queue(|queue| {
        let (mut records, mut from) = (Vec::new(), Position::START);
        let mut buffer = [0; RECORD_LEN_MAX];
        while let Some(at) = queue.next_pending(from).unwrap() {
            let bytes = queue.read(at, &mut buffer).unwrap().unwrap();
            records.push(Record::decode(bytes).unwrap().0);
            from = at.after();
        }
        records
    })
}

#[test]
fn polls_go_on_without_time_and_an_anchor_of_this_boot_places_them() {
    let server = Server::new(Way::Unreached(ReachError::NoNetwork));
    live(&server, |heard, device, world| {
        world.run_until(60_500);
        assert_eq!(device.status().clock.clock, Clock::Unsynced);
        assert!(matches!(
            heard.0.borrow()[0],
            ClockEvent::Failed {
                failure: SntpFailure::NoNetwork,
                retry_ms: 750..=1_250
            }
        ));
        server.way.set(Way::Good);
        world.run_until(200_500);
        let status = device.status().clock;
        assert_eq!(
            (status.clock, status.utc_ms),
            (Clock::Synced, Some(UTC_MS + now_ms()))
        );
        assert!(status.error_ms.unwrap() <= 30, "{status:?}");
        let records = records(device);
        let polled = records.iter().filter(
            |r| matches!(r, Record::Reading(reading) if matches!(reading.outcome, Outcome::Values(_))),
        );
        assert_eq!(polled.count(), 201, "no poll waits for the time");
        let anchors: Vec<_> = records
            .iter()
            .filter_map(|record| match record {
                Record::Anchor(anchor) => Some(*anchor),
                _ => None,
            })
            .collect();
        assert_eq!((anchors.len(), anchors[0].boot), (1, 2));
        assert_eq!(anchors[0].utc_ms, UTC_MS + anchors[0].monotonic_ms);
    });
}

#[test]
fn late_repeated_and_foreign_datagrams_are_passed_over() {
    let server = Server::new(Way::AfterLate);
    live(&server, |_, device, world| {
        world.run_until(20_000);
        assert_eq!(server.questions.borrow().len(), 4);
        assert_eq!(device.status().clock.utc_ms, Some(UTC_MS + 20_000));
    });
    let cookies: std::collections::BTreeSet<_> = server
        .questions
        .borrow()
        .iter()
        .map(|question| question[40..].to_vec())
        .collect();
    assert_eq!(cookies.len(), 4, "each question has a cookie of its own");
}

#[test]
fn a_flood_junk_and_silence_stop_nothing() {
    for (way, failure) in [
        (Way::Flood, SntpFailure::NoAnswer),
        (Way::Junk, SntpFailure::Refused(SntpRefusal::Malformed)),
        (Way::Silent, SntpFailure::NoAnswer),
        (Way::Unreached(ReachError::NoName), SntpFailure::NoName),
        (Way::Unreached(ReachError::NoWay), SntpFailure::Unreachable),
    ] {
        let server = Server::new(way);
        let began_ms = now_ms();
        live(&server, |heard, device, world| {
            assert_eq!(device.status().time_server, TimeServerState::NotAsked);
            world.run_until(began_ms + 1);
            // Who floods has answered, in a way.
            if way == Way::Silent {
                assert_eq!(device.status().time_server, TimeServerState::Waiting);
            }
            world.run_until(began_ms + 3_600_000);
            assert_eq!(device.status().clock.last_sync_age_ms, None);
            assert_eq!(device.status().time_server, TimeServerState::Failed(failure));
            let all_so =
                heard.0.borrow().iter().all(
                    |event| matches!(event, ClockEvent::Failed { failure: said, .. } if *said == failure),
                );
            assert!(all_so, "{way:?}: {:?}", heard.0.borrow());
            let polls = records(device).len();
            assert!(polls > 3_600, "{way:?}: {polls}");
            server.way.set(Way::Good);
            world.run_until(now_ms() + 330_000 + SNTP_ANSWER_TIMEOUT_MS);
            assert_eq!(device.status().clock.clock, Clock::Synced);
            assert_eq!(device.status().time_server, TimeServerState::Answered);
        });
    }
}
