//! The device as it goes onto a roof: the real ELF in QEMU reads a simulated SunSpec inverter and meter, and what the
//! simulator's journal says it served is what is stored, digit for digit, whatever fails on the way.
//!
//! `cargo xtask soak` runs the random part for longer: TARAZ_SOAK_SECONDS, TARAZ_SOAK_CUTS and TARAZ_SOAK_SEED.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::board::{self, Board, Plants, now_ms};
use common::field::{stop_services, wait_forwarded};
use common::installation::{Installation, Way};
use common::oracle;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use taraz_simulator::demo;
use taraz_telemetry::{Clock, Outcome, Record};
use taraz_test_support::{Mosquitto, MosquittoOptions, Process, Road, TimeServer, Traffic, wait_for};

/// A SunSpec inverter (model 113 behind base 50000, with model 160) and a SunSpec grid meter (203) on one bus.
const SCHOOL: &str = "sari-03";
const SCHOOL_PLANT: &str = "farahabad-school";
/// A SunSpec inverter (103) and an SDM630.
const TOWN_HALL: &str = "sari-01";

/// Boot, DHCP, time, sign-in and the first polls, on a computer that is busy with other tests.
const FIRST_READINGS_LIMIT: Duration = Duration::from_secs(120);
/// From the end of a disturbance until everything has arrived: back-off, repetition and backlog are in it.
const RECOVERY_LIMIT: Duration = Duration::from_secs(240);

/// Everything that is not the board.
struct Rig {
    mosquitto: Mosquitto,
    installation: Installation,
    plants: Plants,
    time: TimeServer,
    gateway: Process,
    ingest: Process,
}

impl Rig {
    fn start(devices: &[&str]) -> Self {
        let mosquitto = Mosquitto::start(MosquittoOptions::default());
        let installation = Installation::new(demo::fleet_toml(), Way::Broker(mosquitto.url()));
        let plants = Plants::start(&installation, devices);
        let ingest = installation.start_ingest();
        let gateway = installation.start_gateway();
        Self {
            mosquitto,
            installation,
            plants,
            time: TimeServer::start(),
            gateway,
            ingest,
        }
    }

    fn board(&self, device: &str, broker_port: u16) -> Board {
        self.board_of(board::QEMU, device, broker_port)
    }

    fn board_of(&self, kind: &'static str, device: &str, broker_port: u16) -> Board {
        let sntp_port = self.time.address().port();
        Board::new(
            kind,
            &self.installation,
            &self.plants,
            device,
            broker_port,
            sntp_port,
        )
    }

    /// How many readings with values the store has of a device.
    fn readings(&self, device: &str) -> usize {
        let records = oracle::identities(&self.installation.store(), device);
        records.iter().filter(|record| is_reading(&record.record)).count()
    }

    fn wait_readings(&self, device: &str, count: usize, limit: Duration) {
        wait_for(limit, &format!("{count} readings of {device}"), || {
            let stored = self.readings(device);
            if stored >= count {
                Ok(())
            } else {
                Err(format!("{stored}"))
            }
        });
    }

    /// Ends everything and compares: what was served is stored, every identity is accounted for.
    fn end(mut self, mut boards: Vec<Board>) {
        self.plants.end();
        for board in &boards {
            let sums = board::wait_accounted(&self.installation, &board.device, RECOVERY_LIMIT);
            println!("{}: {sums:?}", board.device);
        }
        // What was read last may be on its way, with an identity that nobody knows of yet.
        for board in &mut boards {
            wait_for(RECOVERY_LIMIT, "an empty queue", || queue_is_empty(board));
        }
        wait_forwarded(&self.installation);
        for board in &mut boards {
            wait_for(RECOVERY_LIMIT, "the stack's high-water mark", || {
                board.note_stack()
            });
            board.emulator.cut_power();
        }
        let store = self.installation.store();
        stop_services(self.gateway, self.ingest);
        assert_eq!(oracle::troubles(&store), (0, 0), "conflicts, held");
        for board in &boards {
            let sums = board::wait_accounted(&self.installation, &board.device, RECOVERY_LIMIT);
            let readings = oracle::placed_readings(&oracle::identities(&store, &board.device));
            let served = board::served(&self.installation, board);
            let outcome = board::assert_served_is_stored(board, &served, &readings);
            println!(
                "{}: {} polls with {} values equal, {} answered polls missing after {} power cuts; {sums:?}",
                board.device,
                outcome.polls,
                outcome.values,
                outcome.missing,
                board.cuts_ms.len()
            );
            assert!(outcome.polls > 0, "{} polled nothing", board.device);
            if std::env::var_os("TARAZ_SHOW_CONSOLE").is_some() {
                println!("{}", board.emulator.console());
            }
        }
    }
}

fn is_reading(record: &Record) -> bool {
    matches!(record, Record::Reading(reading) if matches!(reading.outcome, Outcome::Values(_)))
}

/// Asks the board's console.
fn queue_is_empty(board: &mut Board) -> Result<(), String> {
    let line = board.ask("queue", "waiting")?;
    let empty = line.split_whitespace().nth(1) == Some("0");
    if empty { Ok(()) } else { Err(line) }
}

#[test]
fn a_board_delivers_to_the_last_digit_through_an_outage_and_an_unplugged_meter() {
    let mut rig = Rig::start(&[SCHOOL]);
    let mut board = rig.board(SCHOOL, rig.mosquitto.address().port());
    board.emulator.switch_on();
    rig.wait_readings(SCHOOL, 10, FIRST_READINGS_LIMIT);

    rig.mosquitto.stop();
    let outage = Instant::now();
    rig.plants.unplug(Some((SCHOOL_PLANT, 2)));
    wait_for(FIRST_READINGS_LIMIT, "twenty seconds of outage", || {
        let left = Duration::from_secs(20).checked_sub(outage.elapsed());
        left.map_or(Ok(()), |left| Err(format!("{left:?} left")))
    });
    rig.plants.unplug(None);
    rig.mosquitto.start_again();
    let before = rig.readings(SCHOOL);
    let (cpu_s, wire_bytes, begun) = (
        board.emulator.cpu_s(),
        board.emulator.tcp_wire_bytes(),
        Instant::now(),
    );
    rig.wait_readings(SCHOOL, before + 40, RECOVERY_LIMIT);
    let readings = rig.readings(SCHOOL) - before;
    println!(
        "the emulator took {:.1} % of a core; {} bytes on the wire (TCP frames, both ways) for {readings} readings with values",
        (board.emulator.cpu_s() - cpu_s) / begun.elapsed().as_secs_f64() * 100.0,
        board.emulator.tcp_wire_bytes() - wire_bytes
    );
    let failures = oracle::identities(&rig.installation.store(), SCHOOL)
        .iter()
        .filter(|r| matches!(&r.record, Record::Reading(reading) if matches!(reading.outcome, Outcome::Failed(_))))
        .count();
    assert!(failures > 0, "the unplugged meter left no trace");
    rig.end(vec![board]);
}

#[test]
fn readings_from_before_the_first_sync_are_placed_when_the_time_comes() {
    let rig = Rig::start(&[SCHOOL]);
    rig.time.set_silent(true);
    let mut board = rig.board(SCHOOL, rig.mosquitto.address().port());
    board.emulator.switch_on();
    wait_for(FIRST_READINGS_LIMIT, "unsynced readings", || {
        let unsynced = unsynced(&rig);
        if unsynced >= 10 {
            Ok(())
        } else {
            Err(format!("{unsynced}"))
        }
    });
    rig.time.set_silent(false);
    let before = rig.readings(SCHOOL);
    rig.wait_readings(SCHOOL, before + 30, RECOVERY_LIMIT);
    assert!(unsynced(&rig) >= 10);
    rig.end(vec![board]);
}

fn unsynced(rig: &Rig) -> usize {
    let records = oracle::identities(&rig.installation.store(), SCHOOL);
    let is_unsynced = |record: &Record| is_reading(record) && record.stamp().clock == Clock::Unsynced;
    records
        .iter()
        .filter(|record| is_unsynced(&record.record))
        .count()
}

#[test]
fn two_boards_run_the_same_firmware_and_a_wiped_flash_begins_anew() {
    let rig = Rig::start(&[SCHOOL, TOWN_HALL]);
    let port = rig.mosquitto.address().port();
    let (mut school, mut town_hall) = (rig.board(SCHOOL, port), rig.board(TOWN_HALL, port));
    school.emulator.switch_on();
    town_hall.emulator.switch_on();
    rig.wait_readings(SCHOOL, 10, FIRST_READINGS_LIMIT);
    rig.wait_readings(TOWN_HALL, 10, FIRST_READINGS_LIMIT);

    // Everything has to be out of the flash before it is wiped: what was only there would be lost, and nobody could tell.
    rig.plants.unplug(Some((SCHOOL_PLANT, 1)));
    wait_for(RECOVERY_LIMIT, "an empty queue", || queue_is_empty(&mut school));
    school.cut_power();
    school.write_image(&rig.installation);
    rig.plants.unplug(None);
    school.emulator.switch_on();
    let before = rig.readings(SCHOOL);
    rig.wait_readings(SCHOOL, before + 10, RECOVERY_LIMIT);
    let sums = board::wait_accounted(&rig.installation, SCHOOL, RECOVERY_LIMIT);
    assert_eq!(sums.incarnations, 2, "{sums:?}");
    rig.end(vec![school, town_hall]);
}

/// The UF2 that a technician copies onto the board, on an emulated RP2040 with an emulated W5500 and RS-485 driver.
#[test]
fn the_uf2_delivers_from_an_rp2040_through_power_cuts_and_a_restart() {
    let rig = Rig::start(&[TOWN_HALL]);
    let mut board = rig.board_of(board::PICO, TOWN_HALL, rig.mosquitto.address().port());
    board.emulator.switch_on();
    let at = board
        .emulator
        .wait_said(FIRST_READINGS_LIMIT, 0, "on w5500-evb-pico, start: PowerOn");
    board
        .emulator
        .wait_said(FIRST_READINGS_LIMIT, at, &format!("device {TOWN_HALL}, broker"));
    rig.wait_readings(TOWN_HALL, 4, FIRST_READINGS_LIMIT);
    for _ in 0..2 {
        board.cut_power();
        board.emulator.switch_on();
        let before = rig.readings(TOWN_HALL);
        rig.wait_readings(TOWN_HALL, before + 4, RECOVERY_LIMIT);
    }
    let said = board.emulator.console().len();
    board.emulator.type_line("reboot");
    board
        .emulator
        .wait_said(FIRST_READINGS_LIMIT, said, "start: Requested");
    // What was read last may have gone with the memory, as at a cut.
    board.cuts_ms.push(now_ms());
    let before = rig.readings(TOWN_HALL);
    rig.wait_readings(TOWN_HALL, before + 4, RECOVERY_LIMIT);
    let sums = board::wait_accounted(&rig.installation, TOWN_HALL, RECOVERY_LIMIT);
    assert_eq!((sums.incarnations, sums.boots), (1, 4), "{sums:?}");
    rig.end(vec![board]);
}

#[test]
fn whatever_the_road_and_the_power_do_nothing_is_lost() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seconds, cuts) = (number("TARAZ_SOAK_SECONDS", 45), number("TARAZ_SOAK_CUTS", 3));
    let seed = number("TARAZ_SOAK_SEED", now_ms().unsigned_abs());
    println!("{seconds} s with {cuts} power cuts, seed {seed}");
    let rig = Rig::start(&[SCHOOL]);
    let road = Road::start(rig.mosquitto.address());
    let mut board = rig.board(SCHOOL, road.address().port());
    board.emulator.switch_on();
    rig.wait_readings(SCHOOL, 5, FIRST_READINGS_LIMIT);

    let mut random = StdRng::seed_from_u64(seed);
    let begun = Instant::now();
    let pause = Duration::from_millis(seconds * 1_000 / cuts.max(1));
    for cut in 1..=cuts {
        let at = pause * u32::try_from(cut).unwrap();
        let jitter = pause.mul_f64(random.random_range(0.0..0.5));
        while begun.elapsed() + jitter < at {
            road.set(traffic(&mut random));
            std::thread::sleep(Duration::from_millis(random.random_range(500..4_000)));
        }
        board.cut_power();
        std::thread::sleep(Duration::from_millis(random.random_range(0..2_000)));
        board.emulator.switch_on();
        println!(
            "power cut {cut}: {} readings stored, {:?} bytes on the road",
            rig.readings(SCHOOL),
            road.bytes()
        );
    }
    road.set(Traffic::Free);
    let before = rig.readings(SCHOOL);
    rig.wait_readings(SCHOOL, before + 10, RECOVERY_LIMIT);
    let starts = board.emulator.starts();
    let sums = board::wait_accounted(&rig.installation, SCHOOL, RECOVERY_LIMIT);
    assert_eq!(sums.incarnations, 1, "{sums:?}");
    // A start that was cut short before its first record left no trace.
    assert!(
        sums.boots <= usize::try_from(starts).unwrap(),
        "{sums:?} after {starts} starts"
    );
    rig.end(vec![board]);
}

fn traffic(random: &mut StdRng) -> Traffic {
    match random.random_range(0..6) {
        0 => Traffic::Blocked,
        1 => Traffic::Cut,
        2 => Traffic::Slow { bytes_per_s: 200 },
        3 => Traffic::Slow { bytes_per_s: 2_000 },
        _ => Traffic::Free,
    }
}
