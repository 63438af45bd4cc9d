//! A device of an installation as a board in QEMU: its image, its power, and what became of every poll.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use taraz_test_support::{Emulator, HOST_IN_EMULATOR, Machine, Process, Signal, wait_for};

use super::installation::{Installation, START_LIMIT, TARAZ};
use super::oracle::Values;

/// The board that QEMU emulates.
pub(crate) const QEMU: &str = "qemu-lm3s6965";
/// The board that rp2040js emulates.
pub(crate) const PICO: &str = "w5500-evb-pico";
/// How often QEMU's board polls, in s.
pub(crate) const POLL_INTERVAL_S: u32 = 1;
const LINE: &str = "baud=9600,timeout_ms=1500";
/// How often rp2040js' does: its clock is what the host can spare.
const PICO_POLL_INTERVAL_S: u32 = 6;
/// Its line takes its time; so fast the reads of a poll follow each other as closely as QEMU's.
const PICO_LINE: &str = "baud=38400,timeout_ms=1500";

/// Sari's solar noon in UTC: the sun stands highest at 53° E about 3.5 h before it does in Greenwich.
const NOON_UTC_S: i64 = 8 * 3_600 + 1_800;
const DAY_S: i64 = 86_400;

/// How long a console may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The program of a board, built from the sources as they are: an old one would prove nothing about them.
fn program(board: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Whoever comes while it is built waits for it.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(board) {
        let mut build = Command::new("cargo");
        let output = build
            .current_dir(root)
            .args(["xtask", "boards", board])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "cargo xtask boards {board}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        built.insert(board);
    }
    root.join(format!("target/boards/{board}.elf"))
}

/// Now, in UTC ms.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The plants of the boards, in a noon that begins now: the buses' clocks are ahead of the wall by what is missing to it.
pub(crate) struct Plants {
    process: Process,
    buses: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Plants {
    /// Starts a simulator for these devices of the demo.
    pub(crate) fn start(installation: &Installation, devices: &[&str]) -> Self {
        let folder = installation.folder().to_owned();
        std::fs::write(folder.join("simulation.toml"), simulation_of(devices)).unwrap();
        std::fs::write(folder.join("faults.toml"), "").unwrap();
        let offset_s = NOON_UTC_S - (now_ms() / 1_000) % DAY_S;
        let offset = offset_s.to_string();
        let mut arguments = vec!["simulate", "--fleet", "fleet.toml", "--plants", "simulation.toml"];
        arguments.extend([
            "--first-port",
            "0",
            "--faults",
            "faults.toml",
            "--journal",
            "journal.jsonl",
        ]);
        arguments.extend(["--offset-s", &offset]);
        let mut process = Process::taraz(TARAZ, "simulate", &arguments, &folder);
        process.wait_for_output(START_LIMIT, "Ctrl-C stops");
        let buses = process
            .output()
            .lines()
            .filter_map(super::installation::bus_of_line)
            .collect();
        Self {
            process,
            buses,
            folder,
        }
    }

    /// Unplugs a meter of a plant, or plugs everything in again.
    pub(crate) fn unplug(&self, meter: Option<(&str, u8)>) {
        let text = meter.map_or(String::new(), |(plant, unit)| {
            format!("[[fault]]\nplant = \"{plant}\"\nunit = {unit}\nkind = \"silent\"\n")
        });
        let new = self.folder.join("faults.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.join("faults.toml")).unwrap();
    }

    /// Ends the simulator; the journal is whole.
    pub(crate) fn end(&mut self) {
        self.process.signal(Signal::Interrupt);
        assert!(self.process.wait(Duration::from_secs(30)).success());
    }
}

/// The demo's simulation, only with these devices.
fn simulation_of(devices: &[&str]) -> String {
    let all: toml::Table = taraz_simulator::demo::simulation_toml().parse().unwrap();
    let of_us = |device: &&toml::Value| devices.iter().any(|id| device["id"].as_str() == Some(id));
    let chosen: Vec<_> = all["device"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of_us)
        .cloned()
        .collect();
    assert_eq!(chosen.len(), devices.len());
    toml::to_string(&toml::Table::from_iter([("device".to_owned(), chosen.into())])).unwrap()
}

/// A registered device as a board.
pub(crate) struct Board {
    /// Its kind.
    board: &'static str,
    /// The device's id.
    pub(crate) device: String,
    /// The emulated board.
    pub(crate) emulator: Emulator,
    broker_port: u16,
    sntp_port: u16,
    /// When its power was cut, UTC ms.
    pub(crate) cuts_ms: Vec<i64>,
}

impl Board {
    /// A board that is off, with an image made by the command line.
    pub(crate) fn new(
        board: &'static str,
        installation: &Installation,
        plants: &Plants,
        device: &str,
        broker_port: u16,
        sntp_port: u16,
    ) -> Self {
        let folder = installation.folder().join(format!("board-{device}"));
        std::fs::create_dir(&folder).unwrap();
        let bus = plants.buses[device]
            .strip_prefix("tcp://")
            .unwrap()
            .parse()
            .unwrap();
        let machine = match board {
            PICO => Machine::W5500EvbPico(folder.join("device.uf2")),
            _ => Machine::Lm3s6965(program(board)),
        };
        let emulator = Emulator::new(device, machine, &folder, bus);
        let board = Self {
            board,
            device: device.to_owned(),
            emulator,
            broker_port,
            sntp_port,
            cuts_ms: Vec::new(),
        };
        board.write_image(installation);
        board
    }

    /// Makes its flash anew with `taraz device image`: the queue is empty, the configuration is there.
    pub(crate) fn write_image(&self, installation: &Installation) {
        let _ = std::fs::remove_file(self.emulator.flash());
        // The boot loader writes a UF2 into the flash; the flash of QEMU's board is the image itself.
        let image = match self.board {
            PICO => self.emulator.folder().join("device.uf2"),
            _ => self.emulator.flash(),
        };
        let _ = std::fs::remove_file(&image);
        let (interval_s, line) = match self.board {
            PICO => (PICO_POLL_INTERVAL_S, PICO_LINE),
            _ => (POLL_INTERVAL_S, LINE),
        };
        let made = Command::new(TARAZ)
            .current_dir(installation.folder())
            .args([
                "device",
                "image",
                &self.device,
                "--config",
                "taraz.toml",
                "--board",
                self.board,
            ])
            .args(["--program".as_ref(), program(self.board).as_os_str()])
            .args(["--broker", &format!("{HOST_IN_EMULATOR}:{}", self.broker_port)])
            .args(["--sntp", &format!("{HOST_IN_EMULATOR}:{}", self.sntp_port)])
            .args(["--poll-interval-s", &interval_s.to_string()])
            .args(["--bus", line])
            .args(["--out".as_ref(), image.as_os_str()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Types a command on its console; gives the line of the answer that begins so.
    pub(crate) fn ask(&mut self, command: &str, begins: &str) -> Result<String, String> {
        let from = self.emulator.console().len();
        self.emulator.type_line(command);
        let begun = Instant::now();
        while begun.elapsed() < ANSWER_WITHIN {
            let said = self.emulator.console();
            let answer = said.get(from..).unwrap_or_default();
            // The last line may not be whole yet.
            let mut whole = answer.lines().take(answer.matches('\n').count());
            if let Some(line) = whole.find(|line| line.starts_with(begins)) {
                return Ok(line.to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the console does not answer".to_owned())
    }

    /// Leaves the most of its stack that was ever used where `cargo xtask size` looks for it.
    pub(crate) fn note_stack(&mut self) -> Result<(), String> {
        let line = self.ask("status", "stack")?;
        let bytes = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse::<u64>().ok());
        let bytes = bytes.ok_or_else(|| line.clone())?;
        let file = program(self.board).with_extension("stack");
        let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
        // What another program left counts for nothing.
        let is_of_this = changed(&file) > changed(&program(self.board));
        let before = std::fs::read_to_string(&file).ok().filter(|_| is_of_this);
        let before = before.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        std::fs::write(&file, format!("{}\n", bytes.max(before))).map_err(|error| error.to_string())
    }

    /// Cuts its power.
    pub(crate) fn cut_power(&mut self) {
        self.emulator.cut_power();
        self.cuts_ms.push(now_ms());
    }
}

/// One answered poll: when it was answered, by the wall's clock, and what it said.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) at_ms: i64,
    pub(crate) values: Values,
}

/// Reads that follow each other closer than this belong to one poll, unless they state again what was stated.
const POLL_GAP_MS: i64 = 450;
/// The same where the host decides how long the board takes between two reads.
const PICO_POLL_GAP_MS: i64 = 1_900;

/// Every answered poll of a device by the meter's address, in the order of time. The simulator should have ended.
pub(crate) fn served(installation: &Installation, board: &Board) -> BTreeMap<u8, Vec<Served>> {
    let gap_ms = match board.board {
        PICO => PICO_POLL_GAP_MS,
        _ => POLL_GAP_MS,
    };
    let mut polls: BTreeMap<u8, Vec<Served>> = BTreeMap::new();
    for read in super::oracle::reads(&installation.journal()) {
        if read.bus != board.device {
            continue;
        }
        let polls = polls.entry(read.unit).or_default();
        let goes_on = |poll: &&mut Served| {
            read.wall_ms - poll.at_ms < gap_ms
                && read.values.keys().all(|name| !poll.values.contains_key(name))
        };
        match polls.last_mut().filter(goes_on) {
            Some(poll) => {
                poll.values.extend(read.values);
                poll.at_ms = read.wall_ms;
            }
            None => polls.push(Served {
                at_ms: read.wall_ms,
                values: read.values,
            }),
        }
    }
    polls
}

/// How far the stamp of a reading may be from the wall's clock when its poll was answered, ms.
const STAMP_WITHIN_MS: u64 = 900;
/// The same where the board's clock is what the host can spare, above all at a start.
const PICO_STAMP_WITHIN_MS: u64 = 2_900;
/// A poll that was answered at most this long before the power was cut may be missing, once for each meter.
const LOST_BEFORE_CUT_MS: i64 = 1_500;

/// What became of the polls of a device.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) polls: usize,
    pub(crate) values: usize,
    pub(crate) missing: usize,
}

/// Every stored poll was served, digit for digit and at its time; every served poll is stored once, or was answered just
/// before a power cut (one for each meter and cut at most) or as the simulator ended (the very last). `stored` is by meter and time, UTC ms.
///
/// # Panics
/// At the first difference, saying where.
pub(crate) fn assert_served_is_stored(
    board: &Board,
    served: &BTreeMap<u8, Vec<Served>>,
    stored: &BTreeMap<u8, Vec<(i64, Values)>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let within_ms = match board.board {
        PICO => PICO_STAMP_WITHIN_MS,
        _ => STAMP_WITHIN_MS,
    };
    let last_ms = served.values().flatten().map(|poll| poll.at_ms).max();
    let meters: BTreeSet<_> = served.keys().chain(stored.keys()).collect();
    for meter in meters {
        let mut left = served.get(meter).cloned().unwrap_or_default();
        for (at_ms, values) in stored.get(meter).into_iter().flatten() {
            // Just before and just after a power cut two polls may have been served about then: the one that says the same.
            let distance = |index: &usize| {
                (
                    left[*index].values != *values,
                    left[*index].at_ms.abs_diff(*at_ms),
                )
            };
            let about_then = |index: &usize| left[*index].at_ms.abs_diff(*at_ms) <= within_ms;
            let nearest = (0..left.len()).min_by_key(|&index| left[index].at_ms.abs_diff(*at_ms));
            let Some(index) = (0..left.len()).filter(about_then).min_by_key(distance) else {
                panic!(
                    "{} meter {meter}: stored at {at_ms}, and no poll was served about then; the nearest at {:?}",
                    board.device,
                    nearest.map(|index| left[index].at_ms)
                )
            };
            let poll = left.remove(index);
            assert_eq!(
                &poll.values, values,
                "{} meter {meter} at {at_ms}: served (left) and stored (right) differ",
                board.device
            );
            outcome.polls += 1;
            outcome.values += values.len();
        }
        let mut cuts = board.cuts_ms.clone();
        for poll in left {
            // The simulator ended with it: its last answer, or what was still to be asked, never reached the board.
            if Some(poll.at_ms) == last_ms {
                continue;
            }
            let cut = cuts
                .iter()
                .position(|cut| (0..=LOST_BEFORE_CUT_MS).contains(&(cut - poll.at_ms)));
            let Some(cut) = cut else {
                panic!(
                    "{} meter {meter}: served at {} (the last at {last_ms:?}) and not stored; the power was cut at {:?}",
                    board.device, poll.at_ms, board.cuts_ms
                )
            };
            cuts.remove(cut);
            outcome.missing += 1;
        }
    }
    outcome
}

/// What the store holds of a device, by identity.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) written: u64,
    pub(crate) stored: u64,
    pub(crate) dropped: u64,
    pub(crate) incarnations: usize,
    pub(crate) boots: usize,
}

/// Waits until every identity that the device says it wrote is stored or named as dropped, and gives the sums.
pub(crate) fn wait_accounted(installation: &Installation, device: &str, limit: Duration) -> Accounts {
    wait_for(
        limit,
        &format!("every record of {device} to be accounted for"),
        || accounts(&super::oracle::identities(&installation.store(), device)),
    )
}

/// The sums, or which identities are unknown.
fn accounts(records: &[super::oracle::Identified]) -> Result<Accounts, String> {
    use taraz_telemetry::Record;
    let mut sums = Accounts::default();
    let mut boots: BTreeMap<(u32, u32), BTreeSet<u32>> = BTreeMap::new();
    let mut dropped: BTreeSet<(u32, u32, u32)> = BTreeSet::new();
    let mut last: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for record in records {
        let boot = (record.incarnation, record.boot);
        boots.entry(boot).or_default().insert(record.sequence);
        let written = last.entry(boot).or_default();
        *written = (*written).max(record.sequence);
        match &record.record {
            Record::Start(start) => {
                if let Some(recovered) = start.recovered {
                    let written = last.entry((record.incarnation, recovered.boot)).or_default();
                    *written = (*written).max(recovered.sequence);
                }
            }
            Record::Dropped(named) => {
                for &(boot, first, to) in &named.ranges {
                    dropped.extend((first..=to).map(|sequence| (record.incarnation, boot, sequence)));
                }
            }
            _ => {}
        }
    }
    for (&(incarnation, boot), &to) in &last {
        let stored = boots.get(&(incarnation, boot));
        for sequence in 0..=to {
            let is_stored = stored.is_some_and(|stored| stored.contains(&sequence));
            let is_dropped = dropped.contains(&(incarnation, boot, sequence));
            if !is_stored && !is_dropped {
                return Err(format!("boot {boot} record {sequence} (of {to}) is unknown"));
            }
            sums.written += 1;
            sums.stored += u64::from(is_stored);
            sums.dropped += u64::from(is_dropped && !is_stored);
        }
    }
    sums.boots = last.len();
    sums.incarnations = last
        .keys()
        .map(|(incarnation, _)| incarnation)
        .collect::<BTreeSet<_>>()
        .len();
    Ok(sums)
}
