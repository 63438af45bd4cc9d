//! The whole device on a bus that nobody described, in simulated time.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;

use embassy_time::{Instant, Timer};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use taraz_telemetry::{
    DeviceId, FirmwareVersion, MasterKey, MeterAddress, MeterDriver, Outcome, PollStatus, RECORD_LEN_MAX,
    Record, ResetCause,
};

use super::{World, now_ms};
use crate::app::{Device, DeviceEvent, DeviceParts, Observer};
use crate::config::{DeviceSettings, Identity, MeterSettings};
use crate::detect::{DetectPlan, DetectScope, LineSettings, Parity};
use crate::field::bench::{Manner, Pin, SimLine, SimUnit, sdm630, sunspec};
use crate::field::{BusDesk, FieldBus, FieldBusSettings, SerialLine};
use crate::link::{CourierSettings, LinkSettings};
use crate::modbus::{EmbassyTimer, ReadFunction, ReadRegisters};
use crate::queue::{MemoryQueue, Position, Queue};

const ODD: LineSettings = LineSettings::new(19_200, Parity::Even);
const INTERVAL_MS: u64 = 10_000;
const MINUTE_MS: u64 = 60_000;

/// The simulated line in the world's time.
struct Uart(Rc<SimLine>);

impl ErrorType for Uart {
    type Error = ErrorKind;
}

impl Read for Uart {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        let Some(at_us) = self.0.next_us() else {
            return pending().await;
        };
        Timer::at(Instant::from_micros(at_us)).await;
        let bytes = self.0.take_due(at_us).unwrap();
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Write for Uart {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        self.0.now_us.set(Instant::now().as_micros());
        self.0.request(buf);
        Timer::at(Instant::from_micros(self.0.now_us.get())).await;
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl SerialLine for Uart {
    fn configure(&mut self, baud: u32, parity: Parity, stop_bits: u8) -> Result<(), ErrorKind> {
        self.0.set(LineSettings {
            baud,
            parity,
            stop_bits,
        });
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<(u64, MeterSettings)>>>);

impl Observer for Heard {
    fn event(&self, event: &DeviceEvent<'_>) {
        if let DeviceEvent::MeterFound(meter) = event {
            self.0.borrow_mut().push((now_ms(), *meter));
        }
    }
}

type TestDevice = Device<MemoryQueue, Heard>;

fn device(meters: &[MeterSettings]) -> TestDevice {
    let id = DeviceId::new("sari-01").unwrap();
    let identity = Identity::new(id.clone(), MasterKey::new([7; 32]).device_key(&id, 1));
    let parts = DeviceParts {
        settings: DeviceSettings {
            meters: meters.iter().copied().collect(),
            poll_interval_ms: 10_000,
            firmware: FirmwareVersion::new(),
            link: LinkSettings::default(),
            courier: CourierSettings::default(),
        },
        queue: MemoryQueue::new(4_000, 32),
        observer: Heard::default(),
        started: Instant::now(),
        reset_cause: ResetCause::PowerOn,
        seed: 3,
        live: true,
    };
    Device::new(parts, &identity)
}

/// Runs a device on a line for some minutes, with somebody at the desk.
fn live(
    device: &TestDevice,
    units: Vec<SimUnit>,
    line: Option<LineSettings>,
    minutes: u64,
    asking: impl AsyncFnOnce(&BusDesk),
) -> Rc<SimLine> {
    let sim = SimLine::new(units);
    let desk = BusDesk::new();
    let settings = FieldBusSettings {
        line,
        response_timeout_ms: 500,
        meters: device.settings().meters.clone(),
    };
    let mut bus = FieldBus::new(Uart(Rc::clone(&sim)), Pin, EmbassyTimer, settings, &desk);
    let mut world = World::new(vec![
        Box::pin(device.poll_meters(&mut bus)),
        Box::pin(asking(&desk)),
    ]);
    world.run_until(minutes * MINUTE_MS);
    device.stop();
    world.run_until(now_ms());
    assert!(world.has_ended(), "a stop ends it at once");
    drop(world);
    sim
}

fn records(device: &TestDevice) -> Vec<Record> {
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

/// When each answered poll of a meter was, ms since the start.
fn answered_ms(records: &[Record], address: u8) -> Vec<u64> {
    let of_meter = records.iter().filter_map(|record| match record {
        Record::Reading(reading) if reading.meter.get() == address => Some(reading),
        _ => None,
    });
    of_meter
        .filter(|reading| matches!(reading.outcome, Outcome::Values(_)))
        .map(|reading| reading.stamp.ms)
        .collect()
}

fn meter(address: u8, driver: MeterDriver) -> MeterSettings {
    MeterSettings {
        address: MeterAddress::new(address).unwrap(),
        driver,
    }
}

#[test]
fn a_device_that_was_told_nothing_finds_its_meters_and_records_them() {
    let device = device(&[]);
    let found = device.observer().clone();
    live(
        &device,
        vec![sunspec(1, ODD), sdm630(20, ODD)],
        None,
        35,
        async |_| {},
    );
    let found = found.0.borrow();
    let meters: Vec<_> = found.iter().map(|(_, meter)| *meter).collect();
    assert_eq!(
        meters,
        [meter(1, MeterDriver::Sunspec), meter(20, MeterDriver::Sdm630)]
    );
    let found_ms = found[0].0;
    assert!(found_ms < MINUTE_MS, "after {found_ms} ms");
    let records = records(&device);
    for address in [1, 20] {
        let polls = answered_ms(&records, address).len() as u64;
        let expected = (35 * MINUTE_MS - found_ms) / INTERVAL_MS;
        assert!(
            (expected - 1..=expected + 2).contains(&polls),
            "{address}: {polls} of {expected}"
        );
    }
    let diagnostics = records.iter().filter_map(|record| match record {
        Record::Diagnostics(diagnostics) => Some(diagnostics.meters.len()),
        _ => None,
    });
    assert_eq!(
        diagnostics.collect::<Vec<_>>(),
        [0, 2, 2],
        "at the start, then every 15 minutes"
    );
}

/// While the line is searched nothing is sent to a meter: it is not silent, it was not asked.
#[test]
fn a_meter_counts_as_silent_only_after_it_was_asked_at_every_setting() {
    let device = device(&[meter(7, MeterDriver::Sdm630)]);
    let asking = async |desk: &BusDesk| {
        Timer::after_secs(2).await;
        let seen = device.meters()[0];
        assert!(desk.is_searching() && desk.line().is_none());
        assert_eq!(
            (seen.last, seen.is_being_polled, seen.counters.requests),
            (None, false, 0)
        );
        while desk.is_searching() {
            Timer::after_millis(100).await;
        }
        // The next search begins after a pause.
        Timer::after_secs(2).await;
        let last = device.meters()[0].last.map(|last| last.result);
        assert_eq!(last, Some(Err(PollStatus::Timeout)));
    };
    live(&device, Vec::new(), None, 5, asking);
    let records = records(&device);
    let failed = records.iter().filter_map(|record| match record {
        Record::Reading(reading) => Some(reading.stamp.ms),
        _ => None,
    });
    // 21 settings or so, each with its time-out: nothing is said before.
    assert!(failed.min().unwrap() > 3_000);
}

#[test]
fn a_meter_that_is_asked_for_the_first_time_is_waited_for() {
    let mut dead = sdm630(7, ODD);
    dead.manner = Manner::Dead;
    let device = device(&[meter(7, MeterDriver::Sdm630)]);
    let asking = async |_: &BusDesk| {
        Timer::after_millis(100).await;
        let seen = device.meters()[0];
        assert_eq!((seen.last, seen.is_being_polled), (None, true));
        Timer::after_secs(5).await;
        let seen = device.meters()[0];
        assert_eq!(seen.last.unwrap().result, Err(PollStatus::Timeout));
        assert!(!seen.is_being_polled);
    };
    live(&device, vec![dead], Some(ODD), 1, asking);
}

#[test]
fn a_dead_meter_and_a_technician_delay_the_living_by_a_time_out_at_most() {
    let mut dead = sdm630(3, ODD);
    dead.manner = Manner::Dead;
    let meters = [meter(3, MeterDriver::Sdm630), meter(1, MeterDriver::Sunspec)];
    let device = device(&meters);
    let asking = async |desk: &BusDesk| {
        desk.search(DetectPlan {
            line: None,
            scope: DetectScope::Full,
        });
        let read = ReadRegisters {
            function: ReadFunction::Holding,
            start: 40_000,
            count: 2,
        };
        for _ in 0..50 {
            let unit = MeterAddress::new(1).unwrap();
            assert_eq!(desk.read(unit, read).await.unwrap(), [0x5375, 0x6E53]);
            Timer::after_secs(10).await;
        }
    };
    live(&device, vec![sunspec(1, ODD), dead], Some(ODD), 10, asking);
    let polls = answered_ms(&records(&device), 1);
    assert_eq!(polls.len(), 60, "no turn is missed");
    // Every try of the dead one waits for its time-out, and for the answer that may come late; the search has one request under way.
    let allowed_ms = 3 * 500 + 500 + 1_850 + 300;
    for at_ms in &polls[1..] {
        let late_ms = at_ms % INTERVAL_MS;
        assert!(late_ms <= allowed_ms, "{late_ms} ms late at {at_ms}");
    }
    let status = &device.meters()[0];
    assert!(status.last.unwrap().result.is_err() && status.counters.timeouts > 100);
}
