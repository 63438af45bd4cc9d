//! Whole devices against a real Mosquitto, a gateway that acknowledges, and meters that speak Modbus RTU over TCP.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Gateway, Meters, Mosquitto, Proxy, eventually, master_key};
use taraz_device_host::{
    BrokerAddress, BusAddress, CourierSettings, DeviceConfig, History, LinkError, LinkSettings,
    MeterSettings, Progress, RunError, run,
};
use taraz_telemetry::{Clock, DeviceId, MeterAddress, MeterDriver, Outcome, PollStatus, Record};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

fn id(n: u8) -> DeviceId {
    DeviceId::new(&format!("sari-{n:02}")).unwrap()
}

fn password(device: &DeviceId) -> String {
    master_key().device_key(device, 1).mqtt_password().to_string()
}

/// A broker that knows the gateway and these devices.
fn broker(devices: &[DeviceId]) -> Mosquitto {
    Mosquitto::start(
        &users(devices)
            .iter()
            .map(|(u, p)| (u.as_str(), p.as_str()))
            .collect::<Vec<_>>(),
    )
}

fn users(devices: &[DeviceId]) -> Vec<(String, String)> {
    let gateway = ("gateway".to_owned(), "gateway".to_owned());
    devices
        .iter()
        .map(|device| (device.to_string(), password(device)))
        .chain([gateway])
        .collect()
}

fn config(device: &DeviceId, meters: &Meters, broker_port: u16, state: &TempDir) -> DeviceConfig {
    let meter = |address| MeterSettings {
        address: MeterAddress::new(address).unwrap(),
        driver: MeterDriver::Sdm630,
    };
    let addr = meters.addr();
    DeviceConfig {
        poll_interval_ms: 200,
        response_timeout_ms: 200,
        retries: 0,
        link: LinkSettings {
            keep_alive_s: 10,
            backoff_min_ms: 50,
            backoff_max_ms: 500,
            refused_wait_ms: 300,
            puback_timeout_ms: 1_000,
        },
        courier: CourierSettings {
            ack_timeout_ms: 1_000,
            ack_timeout_ms_max: 4_000,
        },
        ..DeviceConfig::new(
            device.clone(),
            master_key().device_key(device, 1),
            BusAddress::Tcp {
                host: addr.ip().to_string(),
                port: addr.port(),
            },
            BrokerAddress {
                host: "127.0.0.1".into(),
                port: broker_port,
            },
            state.path().join(device.as_str()),
            vec![meter(1), meter(2)],
        )
    }
}

struct Running {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
    progress: Arc<Mutex<Vec<Progress>>>,
}

impl Running {
    fn start(config: DeviceConfig) -> Self {
        let (cancel, progress) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let told = Arc::clone(&progress);
        let task = tokio::spawn(run(config, cancel.clone(), move |step| {
            told.lock().unwrap().push(step)
        }));
        Self {
            cancel,
            task,
            progress,
        }
    }

    fn saw(&self, wanted: impl Fn(&Progress) -> bool) -> bool {
        self.progress.lock().unwrap().iter().any(wanted)
    }

    async fn stop(self) {
        self.cancel.cancel();
        let began = Instant::now();
        self.task.await.unwrap().unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "the stop took {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_arrive_with_their_values_and_the_stop_is_clean() {
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mosquitto = broker(std::slice::from_ref(&device));
    let (meters, gateway) = (Meters::start(false).await, Gateway::start(mosquitto.addr()));
    eventually("the gateway connects", SOON, || gateway.is_connected()).await;
    let running = Running::start(config(&device, &meters, mosquitto.port(), &state));
    eventually("readings arrive", SOON, || gateway.answered(&device, 1) >= 10).await;
    running.stop().await;

    let records = gateway.records(&device);
    assert!(
        matches!(&records[0].1, Record::Start(start) if start.recovered.is_none() && start.stamp.clock == Clock::Synced)
    );
    assert!(
        records.iter().any(
            |(_, record)| matches!(record, Record::Diagnostics(d) if d.queue_capacity_records == 500_000)
        )
    );
    for (_, reading) in gateway.readings(&device) {
        let Outcome::Values(values) = reading.outcome else {
            continue;
        };
        assert_eq!(reading.stamp.clock, Clock::Synced);
        // The stamp is taken when the answer is complete, at most a poll behind the instant the meter answered for.
        let power_w = values.ac_power_w.unwrap();
        let now =
            (0..3).map(|back_s| Meters::power_w(reading.meter.get(), reading.stamp.ms - back_s * 1_000));
        assert!(
            now.into_iter().any(|expected_w| expected_w == power_w),
            "{power_w} W at {}",
            reading.stamp.ms
        );
    }
    eventually("the farewell arrives", SOON, || {
        gateway.states(&device).last().is_some_and(|s| s == "offline")
    })
    .await;
    assert_eq!(gateway.states(&device), ["online", "offline"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_broker_and_gateway_fail_and_the_device_restarts() {
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mut mosquitto = broker(std::slice::from_ref(&device));
    let (meters, gateway) = (Meters::start(false).await, Gateway::start(mosquitto.addr()));
    let running = Running::start(config(&device, &meters, mosquitto.port(), &state));
    eventually("the device is online", SOON, || {
        running.saw(|p| *p == Progress::Online)
    })
    .await;
    eventually("readings arrive", SOON, || gateway.answered(&device, 1) >= 4).await;
    gateway.set_mute(true);
    let before = meters.reads();
    eventually("polls go on without acknowledgements", SOON, || {
        meters.reads() > before + 30
    })
    .await;
    mosquitto.kill();
    let before = meters.reads();
    eventually("polls go on without a broker", SOON, || {
        meters.reads() > before + 30
    })
    .await;
    eventually("the loss is told", SOON, || {
        running.saw(|p| matches!(p, Progress::Offline { .. }))
    })
    .await;
    running.stop().await;

    let running = Running::start(config(&device, &meters, mosquitto.port(), &state));
    mosquitto.resume();
    gateway.set_mute(false);
    eventually("the second boot is live", SOON, || {
        gateway.answered(&device, 2) >= 4
    })
    .await;
    // What the second boot's first record says it found is what there is of the first.
    eventually("both boots are there without a hole", SOON, || {
        let records = gateway.records(&device);
        let start = records.iter().find_map(|(id, record)| match record {
            Record::Start(start) if id.boot == 2 => start.recovered,
            _ => None,
        });
        let of_boot = |boot| {
            records
                .iter()
                .filter(move |(id, _)| id.boot == boot)
                .map(|(id, _)| id.sequence)
        };
        let whole = |boot| of_boot(boot).eq(0..u32::try_from(of_boot(boot).count()).unwrap());
        start.is_some_and(|recovered| of_boot(1).next_back() == Some(recovered.sequence))
            && whole(1)
            && whole(2)
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_accepts_and_never_answers_is_left_and_tried_again() {
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mosquitto = broker(std::slice::from_ref(&device));
    let (meters, gateway) = (Meters::start(false).await, Gateway::start(mosquitto.addr()));
    let proxy = Proxy::start(mosquitto.addr()).await;
    let running = Running::start(config(&device, &meters, proxy.port(), &state));
    eventually("readings arrive", SOON, || gateway.answered(&device, 1) >= 4).await;
    proxy.set_swallow(true);
    let offline = |wanted| running.saw(|p| matches!(p, Progress::Offline { error } if *error == wanted));
    eventually("missing PUBACKs are noticed", SOON, || {
        offline(LinkError::NoPuback)
    })
    .await;
    eventually("a missing CONNACK is noticed", SOON, || {
        offline(LinkError::TimedOut)
    })
    .await;
    proxy.set_swallow(false);
    let before = gateway.answered(&device, 1);
    eventually("readings arrive again", SOON, || {
        gateway.answered(&device, 1) >= before + 10
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_mended() {
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mut mosquitto = Mosquitto::start(&[("gateway", "gateway"), (device.as_str(), "another")]);
    let meters = Meters::start(false).await;
    let running = Running::start(config(&device, &meters, mosquitto.port(), &state));
    let refused = |p: &Progress| {
        matches!(
            p,
            Progress::Offline {
                error: LinkError::SignInRefused { .. }
            }
        )
    };
    eventually("the refusal is told", SOON, || running.saw(refused)).await;
    mosquitto.kill();
    let users = users(std::slice::from_ref(&device));
    mosquitto.set_users(
        &users
            .iter()
            .map(|(u, p)| (u.as_str(), p.as_str()))
            .collect::<Vec<_>>(),
    );
    mosquitto.resume();
    eventually("it signs in", SOON, || running.saw(|p| *p == Progress::Online)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_meter_and_a_dead_bus_are_reported_and_recover() {
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mosquitto = broker(std::slice::from_ref(&device));
    let (meters, gateway) = (Meters::start(false).await, Gateway::start(mosquitto.addr()));
    meters.set_dead(2, true);
    let running = Running::start(config(&device, &meters, mosquitto.port(), &state));
    eventually("meter 1 is read beside the dead one", SOON, || {
        gateway.answered(&device, 1) >= 10
    })
    .await;
    meters.set_dead(2, false);
    let failed = |unit: u8| {
        gateway
            .readings(&device)
            .into_iter()
            .find_map(|(_, reading)| match reading.outcome {
                Outcome::Failed(failure) if reading.meter.get() == unit => Some(failure),
                _ => None,
            })
    };
    eventually("the run of failures ends", SOON, || failed(2).is_some()).await;
    let failure = failed(2).unwrap();
    assert_eq!(failure.status, PollStatus::Timeout);
    assert!(failure.count > 1 && failure.span_ms >= 200, "{failure:?}");

    meters.set_down(true);
    let before = running.progress.lock().unwrap().len();
    let lost = |p: &[Progress]| {
        p[before..]
            .iter()
            .any(|p| matches!(p, Progress::Failed { meter: 0, .. }))
    };
    eventually("the lost bus is told", SOON, || {
        lost(&running.progress.lock().unwrap())
    })
    .await;
    meters.set_down(false);
    eventually("the bus is opened again", SOON, || failed(1).is_some()).await;
    running.stop().await;
}

fn with_history(config: DeviceConfig, days: u32, step_s: u32) -> DeviceConfig {
    DeviceConfig {
        history: Some(History { days, step_s }),
        ..config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_read_once_whole_even_if_interrupted_then_the_device_is_live() {
    const STEP_MS: u64 = 60_000;
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mosquitto = broker(std::slice::from_ref(&device));
    let (meters, gateway) = (Meters::start(true).await, Gateway::start(mosquitto.addr()));
    let config = || with_history(config(&device, &meters, mosquitto.port(), &state), 3, 60);
    // Interrupted several times, wherever that hits.
    for more in [1, 300, 900] {
        let running = Running::start(config());
        let before = gateway.count(&device);
        eventually("some of the past arrives", SOON, || {
            gateway.count(&device) >= before + more
        })
        .await;
        running.stop().await;
    }
    let running = Running::start(config());
    eventually("the past is read", SOON, || {
        running.saw(|p| *p == Progress::HistoryDone)
    })
    .await;
    eventually("the device is live", SOON, || gateway.answered(&device, 2) >= 4).await;
    eventually("the past has arrived", SOON, || {
        gateway.answered(&device, 1) >= 3 * 1_440 * 2
    })
    .await;
    running.stop().await;

    let records = gateway.records(&device);
    assert!(matches!(records[0].1, Record::Start(_)));
    for meter in [1, 2] {
        let readings: Vec<_> = gateway
            .readings(&device)
            .into_iter()
            .filter(|(id, r)| id.boot == 1 && r.meter.get() == meter)
            .collect();
        for pair in readings.windows(2) {
            assert_eq!(
                pair[1].1.stamp.ms - pair[0].1.stamp.ms,
                STEP_MS,
                "one round after the other, none twice"
            );
        }
        for (_, reading) in &readings {
            assert_eq!(
                (reading.stamp.clock, reading.stamp.ms % STEP_MS),
                (Clock::Synced, 0)
            );
            let Outcome::Values(values) = &reading.outcome else {
                panic!("{reading:?}")
            };
            assert_eq!(values.ac_power_w, Some(Meters::power_w(meter, reading.stamp.ms)));
        }
        assert!(readings.len() >= 3 * 1_440 && readings.len() <= 3 * 1_440 + 3);
    }

    // Later starts have no history.
    let running = Running::start(config());
    eventually("the third boot is live", SOON, || {
        gateway.answered(&device, 3) >= 2
    })
    .await;
    assert!(!running.saw(|p| matches!(p, Progress::History { .. })));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_refused_by_a_bus_that_does_not_follow_the_clock() {
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mosquitto = broker(std::slice::from_ref(&device));
    let meters = Meters::start(false).await;
    let running = Running::start(with_history(
        config(&device, &meters, mosquitto.port(), &state),
        1,
        300,
    ));
    let outcome = tokio::time::timeout(SOON, running.task).await.unwrap().unwrap();
    assert!(matches!(outcome, Err(RunError::NoFollowClock)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_do_not_share_a_state_folder() {
    let (device, state) = (id(1), tempfile::tempdir().unwrap());
    let mosquitto = broker(std::slice::from_ref(&device));
    let meters = Meters::start(false).await;
    let first = Running::start(config(&device, &meters, mosquitto.port(), &state));
    eventually("the first runs", SOON, || first.saw(|p| *p == Progress::Online)).await;
    let second = Running::start(config(&device, &meters, mosquitto.port(), &state));
    let outcome = tokio::time::timeout(SOON, second.task).await.unwrap().unwrap();
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("in use by another process")
    );
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_devices_in_one_process_are_all_live() {
    let devices: Vec<DeviceId> = (1..=16).map(id).collect();
    let state = tempfile::tempdir().unwrap();
    let mosquitto = broker(&devices);
    let (meters, gateway) = (Meters::start(false).await, Gateway::start(mosquitto.addr()));
    let running: Vec<Running> = devices
        .iter()
        .map(|device| Running::start(config(device, &meters, mosquitto.port(), &state)))
        .collect();
    eventually("all are live", SOON, || {
        devices.iter().all(|device| gateway.answered(device, 1) >= 10)
    })
    .await;
    for device in running {
        device.stop().await;
    }
}
