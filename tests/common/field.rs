//! The field of an installation: a simulator and its twelve devices, each a process with history in its queue.

use std::time::Duration;

use taraz_simulator::{Simulation, demo};
use taraz_telemetry::{DeviceId, MeterDriver};
use taraz_test_support::{Process, Signal, get, wait_for};

use super::installation::Installation;
use super::oracle::{self, Journal, Stored};

/// Generous: two cores may be busy with other tests, in an unoptimised build.
pub(crate) const BACKFILL_LIMIT: Duration = Duration::from_secs(900);
/// How long a polite end may take.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(30);

const HISTORY_DAYS: u32 = 30;
const DAY_MS: i64 = 86_400_000;

/// The processes in the field.
pub(crate) struct Field {
    devices: Vec<Process>,
    simulator: Process,
}

impl Field {
    /// Starts the demo's plants and a process for each of their devices, with thirty days of history.
    pub(crate) fn start(installation: &Installation) -> Self {
        let (simulator, buses) = installation.start_simulator(demo::simulation_toml());
        let start = |(device, bus): (&String, &String)| {
            installation.start_device(&DeviceId::new(device).unwrap(), bus, HISTORY_DAYS)
        };
        let devices: Vec<_> = buses.iter().map(start).collect();
        assert_eq!(devices.len(), 12);
        Self { devices, simulator }
    }

    /// Waits until every device has delivered its history, then stops the devices: nothing more is published.
    pub(crate) fn deliver(&mut self) {
        wait_for(BACKFILL_LIMIT, "delivered histories", || {
            let busy: Vec<_> = self
                .devices
                .iter()
                .filter(|device| !device.output().contains("history delivered"))
                .collect();
            if busy.is_empty() {
                Ok(())
            } else {
                Err(format!("{} devices still have history", busy.len()))
            }
        });
        for mut process in self.devices.drain(..) {
            process.signal(Signal::Interrupt);
            assert!(process.wait(STOP_LIMIT).success());
        }
    }

    /// Ends the simulator and reads its journal.
    pub(crate) fn end(mut self, installation: &Installation) -> Journal {
        self.simulator.signal(Signal::Interrupt);
        assert!(self.simulator.wait(STOP_LIMIT).success());
        oracle::journal(&installation.journal())
    }
}

/// Waits until the store holds so many records.
pub(crate) fn wait_stored(installation: &Installation, records: f64) {
    wait_for(BACKFILL_LIMIT, "records in the store", || {
        let stored = oracle::stored_so_far(&installation.store());
        if stored >= records {
            Ok(())
        } else {
            Err(format!("{stored} of {records}"))
        }
    });
}

/// Waits until the gateway has handed over everything.
pub(crate) fn wait_forwarded(installation: &Installation) {
    wait_for(BACKFILL_LIMIT, "an empty spool", || {
        let backlog = installation.gateway_metric("gateway_backlog_frames", "");
        if backlog == 0.0 {
            Ok(())
        } else {
            Err(format!("{backlog} frames"))
        }
    });
}

/// Ends gateway and ingest politely and reads the store.
pub(crate) fn end_services(installation: &Installation, gateway: Process, ingest: Process) -> Stored {
    stop_services(gateway, ingest);
    oracle::store(&installation.store())
}

/// Ends gateway and ingest politely.
pub(crate) fn stop_services(gateway: Process, ingest: Process) {
    for mut process in [gateway, ingest] {
        process.signal(Signal::Terminate);
        assert!(process.wait(STOP_LIMIT).success());
        assert!(
            process
                .output()
                .contains("stopped; everything acknowledged is on disk")
        );
    }
}

/// What the simulator says it served is what is stored, once each.
pub(crate) fn assert_whole(journal: &Journal, stored: &Stored) {
    let (polls, values) = oracle::assert_equal_history(journal, &stored.polls);
    println!(
        "{polls} polls with {values} values equal, {} records",
        stored.records
    );
    assert!(polls > 100_000, "only {polls} polls: the history is missing");
    let live = oracle::assert_equal_live(journal, &stored.polls);
    println!("{live} live polls equal");
    assert!(live > 0, "nothing was polled live");
    assert_eq!(
        (stored.repeated, stored.conflicts, stored.held, stored.unstamped),
        (0, 0, 0, 0),
        "repeated, conflicts, held, without a time of their own"
    );
}

/// Energy per plant and day, as the API states it, is the sum of the replayed file: to 0.1 % or one register count,
/// whichever is larger.
pub(crate) fn assert_energy_is_the_sources(installation: &Installation) {
    let simulation =
        Simulation::parse_with_fleet(demo::simulation_toml(), &installation.fleet, None).unwrap();
    let mut days = 0;
    for plant in simulation.plants() {
        let growatt = |meter: &taraz_fleet::Meter| meter.driver == MeterDriver::Growatt;
        let counts_100_wh = installation
            .fleet
            .plant(plant)
            .unwrap()
            .devices
            .iter()
            .any(|d| d.meters.iter().any(growatt));
        let count_wh = if counts_100_wh { 100.0 } else { 10.0 };
        let to = jiff::Timestamp::now().as_millisecond();
        let from = jiff::Timestamp::from_millisecond(to - 29 * DAY_MS).unwrap();
        let answer = get(
            installation.http,
            &format!("/api/v1/plants/{plant}/intervals?from={from}&step=1d"),
        )
        .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        for day in answer.json()["intervals"].as_array().unwrap() {
            let (start, end) = (day["start_ms"].as_i64().unwrap(), day["end_ms"].as_i64().unwrap());
            // The first day began before the history, today has not ended.
            if start < from.as_millisecond() || end > to {
                continue;
            }
            let source_wh = simulation.source_energy_wh(plant, start, end).unwrap();
            let stored_wh = day["generated_wh"]
                .as_f64()
                .unwrap_or_else(|| panic!("{plant}: {day}"));
            let allowed_wh = (source_wh * 0.001).max(count_wh);
            assert!(
                (stored_wh - source_wh).abs() <= allowed_wh,
                "{plant} {start}: stored {stored_wh} Wh, source {source_wh:.1} Wh, allowed {allowed_wh:.1} Wh"
            );
            days += 1;
        }
    }
    println!("{days} plant-days have the source's energy");
    assert!(days >= 12 * 27, "only {days} plant-days were compared");
}
