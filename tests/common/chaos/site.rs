//! A round: an installation, its faults at their times, and everything well again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use taraz_simulator::demo;
use taraz_telemetry::DeviceId;
use taraz_test_support::{Mosquitto, MosquittoOptions, Process, Road, Signal, Traffic, wait_for};

use crate::common::field::STOP_LIMIT;
use crate::common::installation::{Installation, TARAZ, Way};
use crate::common::ledger::Ledger;
use crate::common::oracle::stored_so_far;

use super::cells::{Cell, Fault, Target};
use super::part::Part;
use super::schedule::{Round, Step};
use super::state;
use super::verdict::{Verdict, judge};

/// The devices of a round; the first is the one that fails.
pub(crate) const DEVICES: [&str; 3] = ["sari-01", "babol-01", "amol-01"];
/// The one whose queue may be too small for its history.
pub(crate) const SMALL: &str = DEVICES[2];
const SMALL_QUEUE: &str = "queue_records = 1000\n";
/// For each wait of a round. Generous: two cores may be busy with other tests, in an unoptimised build, and a device waits up to
/// half a minute for an acknowledgement that was damaged on its way.
const LIMIT: Duration = Duration::from_secs(180);
/// From one round of a history to the next.
pub(crate) const HISTORY_STEP_S: i64 = 60;
/// A device asks again soon, so that a round is short; a board takes its time.
const DEVICE: &str = "ack_timeout_s = 2\nkeep_alive_s = 10\npoll_interval_s = 5\n";
/// What a device's road carries while things fail, bytes a second: so much that there is history left for every fault.
const ROAD_BYTES_PER_S: u32 = 60_000;
const ROAD: Traffic = Traffic::Slow {
    bytes_per_s: ROAD_BYTES_PER_S,
};
/// A road that is slow, bytes a second.
const SLOW_BYTES_PER_S: u32 = 2_000;
/// When days are sealed: some faults have begun, others have not.
const SEAL_AT_MS: u64 = 4_000;
/// One packet of so many is damaged.
const CORRUPT_ONE_IN: u32 = 10;
/// Faults begin when so many records are stored.
const STORED_FIRST: f64 = 50.0;

struct Site {
    installation: Installation,
    gateway: Part,
    ingest: Part,
    devices: Vec<Part>,
    broker: Option<Mosquitto>,
    road: Road,
    /// From the gateway to ingest.
    hop: Road,
    simulator: Process,
    /// Seals days in the middle of everything.
    sealing: Option<Process>,
}

/// Runs a round with so many days of history on each device.
///
/// # Panics
/// When a record is lost, altered or there twice, or the installation does not get well again.
pub(crate) fn run(round: &Round, history_days: u32) -> Verdict {
    let mut site = Site::start(round, history_days);
    let played = catch_unwind(AssertUnwindSafe(|| {
        site.wait_stored(STORED_FIRST);
        site.play(&round.steps);
        site.get_well();
        site.end(round)
    }));
    played.unwrap_or_else(|why| {
        // Before the parts are dropped, and with them what they could still say.
        eprintln!("{}", state::of(&site.installation, &DEVICES));
        resume_unwind(why)
    })
}

impl Site {
    fn start(round: &Round, history_days: u32) -> Self {
        let broker = round
            .has_broker
            .then(|| Mosquitto::start(MosquittoOptions::default()));
        let way = broker
            .as_ref()
            .map_or(Way::Door, |broker| Way::Broker(broker.url()));
        let mut installation = Installation::new(demo::fleet_toml(), way);
        let end_of_road = broker.as_ref().map_or_else(
            || ([127, 0, 0, 1], installation.mqtt_port()).into(),
            Mosquitto::address,
        );
        let road = Road::start_mqtt(end_of_road);
        installation.set_road(road.address());
        road.set(ROAD);
        let hop = Road::start(installation.http);
        installation.set_hop(hop.address());
        let fault = |target| {
            let step = round.steps.iter().find(|step| step.cell.target == target);
            step.map(|step| step.cell.fault)
        };
        let folder = installation.folder();
        let service = |name: &str, address, target| {
            let arguments = [name, "--config", "taraz.toml"];
            Part::new(
                name,
                &arguments,
                folder,
                Some(address),
                &folder.join(name),
                fault(target),
            )
        };
        let mut ingest = service("ingest", installation.http, Target::Ingest);
        let mut gateway = service("gateway", installation.gateway_http(), Target::Gateway);
        // First: the simulator takes free ports for its buses, and those of the services are free until they serve.
        ingest.start();
        gateway.start();
        let (simulator, buses) = installation.start_simulator(demo::simulation_toml());
        let mut devices = devices(&installation, &buses, history_days, fault(Target::Device));
        if round.has_small_queue {
            let small = devices.last_mut().expect("three devices");
            overwrite(small, &road, |more| {
                installation.configure_device(&DeviceId::new(SMALL).unwrap(), &buses[SMALL], more);
            });
        }
        devices.iter_mut().for_each(Part::keep_running);
        Self {
            gateway,
            ingest,
            devices,
            broker,
            road,
            hop,
            simulator,
            sealing: None,
            installation,
        }
    }

    /// Waits until the store holds so many records.
    fn wait_stored(&self, records: f64) {
        wait_for(LIMIT, "records in the store", || {
            let stored = stored_so_far(&self.installation.store());
            (stored >= records)
                .then_some(())
                .ok_or_else(|| format!("{stored} of {records}"))
        });
    }

    /// Waits until the gateway has handed over everything.
    fn wait_forwarded(&self) {
        wait_for(LIMIT, "an empty spool", || {
            let backlog = self.installation.gateway_metric("gateway_backlog_frames", "");
            (backlog == 0.0)
                .then_some(())
                .ok_or_else(|| format!("{backlog} frames"))
        });
    }

    /// Seals what is over of the history, beside everything else.
    fn seal(&self) -> Process {
        let arguments = ["store", "compact", "--config", "taraz.toml"];
        Process::taraz(TARAZ, "compact", &arguments, self.installation.folder())
    }

    /// Begins and ends every fault at its time.
    fn play(&mut self, steps: &[Step]) {
        let mut events: BTreeMap<(u64, usize, bool), Cell> = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            events.insert((step.at_ms, at, false), step.cell);
            events.insert((step.at_ms + step.for_ms, at, true), step.cell);
        }
        let begun = Instant::now();
        for ((at_ms, _, is_end), cell) in events {
            let at = Duration::from_millis(at_ms);
            std::thread::sleep(at.saturating_sub(begun.elapsed()));
            if at_ms >= SEAL_AT_MS && self.sealing.is_none() {
                self.sealing = Some(self.seal());
            }
            if is_end {
                self.heal(cell);
            } else {
                self.begin(cell);
            }
        }
    }

    fn begin(&mut self, cell: Cell) {
        match cell.target {
            Target::Gateway => self.gateway.begin(cell.fault),
            Target::Ingest => self.ingest.begin(cell.fault),
            Target::Device => self.devices[0].begin(cell.fault),
            Target::Link => self.road.set(traffic(cell.fault, ROAD)),
            Target::Hop => self.hop.set(traffic(cell.fault, Traffic::Free)),
            Target::Broker => {
                let broker = self.broker.as_mut().expect("a broker in this round");
                match cell.fault {
                    Fault::Kill => broker.kill(),
                    Fault::Stop => broker.process().signal(Signal::Stop),
                    _ => {
                        broker.stop();
                        broker.start_again();
                    }
                }
            }
        }
    }

    fn heal(&mut self, cell: Cell) {
        match cell.target {
            Target::Gateway => self.gateway.heal(cell.fault),
            Target::Ingest => self.ingest.heal(cell.fault),
            Target::Device => self.devices[0].heal(cell.fault),
            Target::Link => self.road.set(ROAD),
            Target::Hop => self.hop.set(Traffic::Free),
            Target::Broker => {
                let broker = self.broker.as_mut().expect("a broker in this round");
                match cell.fault {
                    Fault::Kill => broker.start_again(),
                    Fault::Stop => broker.process().signal(Signal::Continue),
                    _ => {}
                }
            }
        }
    }

    /// Waits until every device has delivered its history and the gateway everything that it took.
    fn get_well(&mut self) {
        self.road.set(Traffic::Free);
        self.hop.set(Traffic::Free);
        self.gateway.keep_running();
        self.ingest.keep_running();
        wait_for(LIMIT, "everything that the devices wrote", || {
            self.devices.iter_mut().for_each(Part::keep_running);
            let waiting = DEVICES.iter().find_map(|device| self.why_waiting(device));
            waiting.map_or(Ok(()), Err)
        });
    }

    /// Why a device is not done: the present begins with a boot of its own when the history was read, and nothing before is missing.
    fn why_waiting(&self, device: &str) -> Option<String> {
        let ledger = Ledger::ask(&self.installation, device);
        let newest = ledger.boots.keys().map(|(_, boot)| *boot).max();
        let is_done = newest >= Some(2) && ledger.pending == 0;
        (!is_done).then(|| {
            let counts = (ledger.written, ledger.stored, ledger.held, ledger.pending);
            format!("{device}: boot {newest:?}; written, stored, held, pending: {counts:?}")
        })
    }

    /// Ends everything, the devices first, and judges what is left.
    fn end(&mut self, round: &Round) -> Verdict {
        self.devices.iter_mut().for_each(Part::end);
        self.wait_forwarded();
        // What a device had sent last may still be on its way through the broker.
        let what = "a store that no longer grows";
        let mut before = None;
        wait_for(LIMIT, what, || {
            std::thread::sleep(Duration::from_millis(500));
            let stored = stored_so_far(&self.installation.store());
            let still = before.replace(stored) == Some(stored);
            still.then_some(()).ok_or_else(|| format!("{stored} records"))
        });
        self.wait_forwarded();
        // The one in the middle may have met a fault; this one must not.
        if let Some(mut sealing) = self.sealing.take() {
            sealing.wait(LIMIT);
        }
        assert!(self.seal().wait(LIMIT).success());
        self.gateway.end();
        self.ingest.end();
        self.simulator.signal(Signal::Interrupt);
        assert!(self.simulator.wait(STOP_LIMIT).success());
        let ended_by_themselves = [&self.gateway, &self.ingest]
            .into_iter()
            .chain(&self.devices)
            .map(|part| part.ended_by_itself)
            .sum();
        judge(
            &self.installation,
            round,
            self.road.disturbed(),
            ended_by_themselves,
        )
    }
}

/// The devices, each with so many days of history; the first is the one that fails.
fn devices(
    installation: &Installation,
    buses: &BTreeMap<String, String>,
    history_days: u32,
    fault: Option<Fault>,
) -> Vec<Part> {
    let folder = installation.folder();
    let history = format!("{DEVICE}history = {{ days = {history_days}, step_s = {HISTORY_STEP_S} }}\n");
    let device = |(at, id): (usize, &&str)| {
        installation.configure_device(&DeviceId::new(id).unwrap(), &buses[*id], &history);
        let (file, state) = (format!("{id}.toml"), folder.join(format!("device-{id}")));
        let arguments = ["device", "run", &file];
        let fault = fault.filter(|_| at == 0);
        Part::new(&format!("device-{id}"), &arguments, folder, None, &state, fault)
    };
    DEVICES.iter().enumerate().map(device).collect()
}

/// Reads a device's history while nothing can be delivered, then lets it go on with a queue that is too small for it.
fn overwrite(device: &mut Part, road: &Road, configure: impl Fn(&str)) {
    road.set(Traffic::Cut);
    device.start();
    device.wait_said(LIMIT, "history read; polling live");
    device.begin(Fault::Kill);
    configure(&format!("{DEVICE}{SMALL_QUEUE}"));
    device.start();
    device.wait_said(LIMIT, "the queue is full");
    road.set(ROAD);
}

const fn traffic(fault: Fault, well: Traffic) -> Traffic {
    match fault {
        Fault::Cut => Traffic::Cut,
        Fault::HalfOpen => Traffic::Blocked,
        Fault::Slow => Traffic::Slow {
            bytes_per_s: SLOW_BYTES_PER_S,
        },
        Fault::Corrupt => Traffic::Corrupt {
            one_in: CORRUPT_ONE_IN,
        },
        Fault::Duplicate => Traffic::Duplicate,
        Fault::Reorder => Traffic::Reorder,
        _ => well,
    }
}
