//! Restarts and upgrades while fifty devices publish, two gateways in front of one ingest, and a day without ingest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use taraz_telemetry::RangeSet;
use taraz_test_support::{Process, Signal, get, wait_for};

use super::client::{Client, Device, LIMIT, Packet, Written, fleet_toml};
use super::common::field::{stop_services, wait_forwarded};
use super::common::installation::{Installation, Way};
use super::common::oracle;

const DEVICES: usize = 50;
const WINDOW: usize = 8;
const READINGS_PER_FRAME: u32 = 3;

/// Devices that publish until they are told to stop, and then until everything is acknowledged.
struct Crowd {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    devices: Vec<JoinHandle<Device>>,
}

impl Crowd {
    /// Each device has its turns at the ports, one connection after the other.
    fn start(installation: &Installation, count: usize, ports: &[u16]) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let devices = (1..=count)
            .map(|n| {
                let device = Device::new(&installation.master, n);
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                let ports = ports.to_vec();
                std::thread::spawn(move || publish(device, &ports, &stop, &acknowledged))
            })
            .collect();
        Self {
            stop,
            acknowledged,
            devices,
        }
    }

    fn wait_for_more(&self, records: u64) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + records;
        wait_for(LIMIT, "acknowledged records", || {
            let acknowledged = self.acknowledged.load(Ordering::Relaxed);
            (acknowledged >= wanted)
                .then_some(())
                .ok_or(format!("{acknowledged} of {wanted}"))
        });
    }

    fn end(self) -> Vec<Device> {
        self.stop.store(true, Ordering::Relaxed);
        self.devices
            .into_iter()
            .map(|device| device.join().unwrap())
            .collect()
    }
}

/// What is not acknowledged yet stays in `waiting` and is sent again on the next connection.
fn publish(mut device: Device, ports: &[u16], stop: &AtomicBool, acknowledged: &AtomicU64) -> Device {
    let mut waiting: VecDeque<Written> = VecDeque::new();
    let mut known = RangeSet::new();
    for port in ports.iter().cycle() {
        if stop.load(Ordering::Relaxed) && waiting.is_empty() {
            break;
        }
        let mut client = Client::reach(*port, &device);
        // An error is the end of the connection: the next one goes on.
        let _ = converse(
            &mut client,
            &mut device,
            &mut waiting,
            &mut known,
            (stop, acknowledged),
            ports.len() > 1,
        );
    }
    device
}

fn converse(
    client: &mut Client,
    device: &mut Device,
    waiting: &mut VecDeque<Written>,
    known: &mut RangeSet,
    (stop, acknowledged): (&AtomicBool, &AtomicU64),
    is_restless: bool,
) -> std::io::Result<()> {
    for frame in waiting.iter() {
        client.publish(&frame.bytes)?;
    }
    let (deadline, mut sent) = (Instant::now() + LIMIT, 0);
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        if (stopping && waiting.is_empty()) || (is_restless && sent > 20) {
            return Ok(());
        }
        if !stopping && waiting.len() < WINDOW {
            let frame = device.frame(READINGS_PER_FRAME);
            waiting.push_back(frame.clone());
            client.publish(&frame.bytes)?;
            sent += 1;
        }
        if let Some(Packet::Ack(ranges)) = client.next()? {
            for range in ranges {
                let before = known.len();
                known.insert_run(range.first, range.last);
                acknowledged.fetch_add(known.len() - before, Ordering::Relaxed);
            }
            waiting.retain(|frame| !(frame.first..=frame.last).all(|sequence| known.contains(sequence)));
        }
        assert!(
            Instant::now() < deadline,
            "{}: {} frames without acknowledgement",
            device.id,
            waiting.len()
        );
    }
}

/// Everything that a device wrote is stored, once, and nothing else.
fn assert_whole(installation: &Installation, devices: &[Device]) {
    for device in devices {
        let records = oracle::identities(&installation.store(), device.id.as_str());
        let stored: Vec<u32> = records.iter().map(|record| record.sequence).collect();
        assert_eq!(stored, (0..device.written()).collect::<Vec<_>>(), "{}", device.id);
    }
    assert_eq!(
        oracle::troubles(&installation.store()),
        (0, 0),
        "conflicts and held records"
    );
}

fn end(mut process: Process) {
    process.signal(Signal::Terminate);
    assert!(process.wait(LIMIT).success(), "{}", process.output());
}

#[test]
fn restarts_under_load_lose_nothing_and_double_nothing() {
    let installation = Installation::new(&fleet_toml(DEVICES), Way::Door);
    let mut ingest = installation.start_ingest();
    let mut gateway = installation.start_gateway();
    let crowd = Crowd::start(&installation, DEVICES, &[installation.mqtt_port()]);
    for round in 0..3 {
        crowd.wait_for_more(3_000);
        end(gateway);
        if round == 1 {
            end(ingest);
            ingest = installation.start_ingest();
        }
        gateway = installation.start_gateway();
    }
    crowd.wait_for_more(3_000);
    let devices = crowd.end();
    wait_forwarded(&installation);
    stop_services(gateway, ingest);
    assert_whole(&installation, &devices);
}

#[test]
fn two_gateways_in_front_of_one_ingest_deliver_everything_once() {
    let installation = Installation::new(&fleet_toml(10), Way::Door);
    let ingest = installation.start_ingest();
    let first = installation.start_gateway();
    let (second, port, http) = installation.start_second_gateway();
    let crowd = Crowd::start(&installation, 10, &[installation.mqtt_port(), port]);
    crowd.wait_for_more(5_000);
    let devices = crowd.end();
    wait_forwarded(&installation);
    wait_for(LIMIT, "the second gateway's spool", || {
        let metrics = get(http, "/metrics")?.body;
        metrics
            .contains("gateway_backlog_frames 0\n")
            .then_some(())
            .ok_or("not empty".to_owned())
    });
    end(second);
    stop_services(first, ingest);
    assert_whole(&installation, &devices);
}

#[test]
fn a_day_without_ingest_is_stored_whole_when_it_returns() {
    /// Of each device: one a minute.
    const DAY_READINGS: u32 = 1_440;
    const AWAY_DEVICES: usize = 20;
    let installation = Installation::new(&fleet_toml(AWAY_DEVICES), Way::Door);
    let mut gateway = installation.start_gateway();
    let crowd = Crowd::start(&installation, AWAY_DEVICES, &[installation.mqtt_port()]);
    let half = u64::from(DAY_READINGS) * AWAY_DEVICES as u64 / 2;
    crowd.wait_for_more(half);
    // The power fails once in the day.
    gateway.kill();
    gateway = installation.start_gateway();
    crowd.wait_for_more(half);
    wait_for(LIMIT, "a gateway that says that ingest is away", || {
        let page = get(installation.gateway_http(), "/metrics")?.body;
        let is_told = page.contains("gateway_forward_paused 1\n");
        is_told.then_some(()).ok_or(page)
    });
    let ingest = installation.start_ingest();
    // Devices go on while the backlog drains.
    crowd.wait_for_more(500);
    let devices = crowd.end();
    wait_forwarded(&installation);
    let page = get(installation.gateway_http(), "/metrics").unwrap().body;
    assert!(page.contains("gateway_forward_paused 0\n"), "{page}");
    stop_services(gateway, ingest);
    assert_whole(&installation, &devices);
    let written: u64 = devices.iter().map(|device| u64::from(device.written())).sum();
    assert!(written >= 2 * half, "{written} readings");
}
