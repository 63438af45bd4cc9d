//! `taraz quarantine` on a real installation: what ingest rejected or holds back is looked at, tried again and dropped.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use taraz_telemetry::{
    BatchItem, BatchWriter, Clock, Crc32, Hold, MeterAddress, Outcome, Quantities, RECORD_LEN_MAX, Reading,
    Record, Stamp,
};
use taraz_test_support::{Process, Signal, free_port, get, request, wait_for};

const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");
const LIMIT: Duration = Duration::from_secs(60);
/// In the place of what `config example` draws.
const TOKEN: &str = "the-token-of-this-test-alone";
/// 2026-06-21T08:00:00Z.
const NOON_MS: u64 = 1_782_028_800_000;
const CONFIG: [&str; 2] = ["--config", "taraz.toml"];

struct Site {
    folder: tempfile::TempDir,
    http: SocketAddr,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            http: ([127, 0, 0, 1], free_port()).into(),
        };
        for (file, example) in [("taraz.toml", "taraz"), ("fleet.toml", "fleet")] {
            let text = site.said(&["config", "example", example]);
            let token = text.lines().find(|line| line.starts_with("token = "));
            let own = format!("token = \"{TOKEN}\"");
            std::fs::write(
                site.path(file),
                token.map_or(text.clone(), |token| text.replace(token, &own)),
            )
            .unwrap();
        }
        site.said(&["config", "master-key", "master.key"]);
        site
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    fn taraz(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(TARAZ);
        let arguments = arguments.iter().map(AsRef::<Path>::as_ref);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// What a command that succeeds prints.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.taraz(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {message}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn quarantine(&self, arguments: &[&str]) -> String {
        self.said(&[&["quarantine"], arguments, &CONFIG].concat())
    }

    /// What a command that fails says.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.taraz(&[&["quarantine"], arguments, &CONFIG].concat());
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn start(&self) -> Process {
        let http = self.http.to_string();
        let arguments = [
            "up",
            "--config",
            "taraz.toml",
            "--http",
            &http,
            "--mqtt",
            "127.0.0.1:0",
        ];
        let mut up = Process::taraz(TARAZ, "up", &arguments, self.folder.path());
        up.wait_accepting(LIMIT, self.http);
        up
    }

    fn deliver(&self, items: &[BatchItem<'_>]) {
        let mut batch = BatchWriter::new();
        assert!(items.iter().all(|item| batch.push(item)));
        let token = format!("Bearer {TOKEN}");
        let headers = [("authorization", token.as_str())];
        let answer = request("POST", self.http, "/api/v1/batches", &headers, &batch.finish()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn end(mut up: Process) {
    up.signal(Signal::Interrupt);
    assert!(up.wait(LIMIT).success());
}

fn reading(meter: u8, minute: u64, ac_power_w: i32) -> Vec<u8> {
    let values = Quantities {
        ac_power_w: Some(ac_power_w),
        ..Quantities::default()
    };
    let record = Record::Reading(Reading {
        meter: MeterAddress::new(meter).unwrap(),
        stamp: Stamp {
            ms: NOON_MS + minute * 60_000,
            clock: Clock::Synced,
        },
        outcome: Outcome::Values(values),
    });
    record.encode(&mut [0; RECORD_LEN_MAX]).unwrap().to_vec()
}

fn item(first: u32, hold: Option<Hold>, records: &[u8]) -> BatchItem<'_> {
    BatchItem {
        position: u64::from(first) + 1,
        received_ms: NOON_MS,
        device: "sari-01",
        incarnation: 77,
        boot: 1,
        first,
        hold,
        records,
    }
}

/// Puts an item where the gateway puts what ingest rejects: one record, the spool's row with its check sum.
fn reject(spool: &Path, first: u32, records: &[u8]) {
    let (boot, count) = (1_u32, 1_u32);
    let head = Crc32::new()
        .bytes(b"sari-01")
        .word(77)
        .word(boot)
        .word(first)
        .word(count);
    let crc = head.bytes(records).sum();
    let received_ms = i64::try_from(NOON_MS).unwrap();
    rusqlite::Connection::open(spool)
        .unwrap()
        .execute(
            "INSERT INTO quarantine VALUES (?1, ?2, 'sari-01', 77, ?3, ?4, ?5, NULL, ?6, ?7, 'ingest was wrong', ?2)",
            (first, received_ms, boot, first, count, crc, records),
        )
        .unwrap();
}

/// Beside the running program.
fn the_held_records_are_listed_and_shown(site: &Site) {
    let listed = site.quarantine(&["list"]);
    assert!(listed.contains(": 0 items that ingest rejected"), "{listed}");
    assert!(listed.contains(": 3 records held back"), "{listed}");
    assert!(
        listed.contains("sari-01  meter 1  implausible_value  2 records  2026-06-21T08:01:00Z to"),
        "{listed}"
    );
    assert!(listed.contains("meter 9  unknown_meter  1 record"), "{listed}");
    // A data folder says enough for looking, as the demo's does, and nothing for judging.
    let by_data = site.said(&["quarantine", "list", "--data", "taraz-data"]);
    assert_eq!(by_data, listed);
    let gaps: serde_json::Value =
        serde_json::from_str(&site.said(&[&["gaps", "--json"], &CONFIG[..]].concat())).unwrap();
    assert_eq!(
        gaps["devices"][0]["held_by_reason"]["implausible_value"], 2,
        "{gaps}"
    );
    let shown = site.quarantine(&["show", "--reason", "implausible_value"]);
    assert!(
        shown.contains("boot 1 record 2  implausible_value") && shown.contains("meter 1  ac_power_w 91000"),
        "{shown}"
    );
}

/// Two items in the gateway's spool, as ingest's verdict puts them there.
fn rejected_items_are_listed_and_shown(site: &Site) {
    let spool = site.path("taraz-data/gateway/spool.sqlite");
    let (kept, lost) = (reading(1, 4, 8_000), reading(1, 5, 7_000));
    reject(&spool, 7, &kept);
    reject(&spool, 8, &lost);
    let listed = site.quarantine(&["list"]);
    assert!(listed.contains(": 2 items that ingest rejected"), "{listed}");
    assert!(listed.contains("g7  sari-01  boot 1 records 7 to 7"), "{listed}");
    let shown = site.quarantine(&["show", "g7"]);
    assert!(
        shown.contains("ingest was wrong") && shown.contains("ac_power_w 8000"),
        "{shown}"
    );
    assert!(!shown.contains("7000"), "{shown}");
}

fn only_what_is_named_changes(site: &Site) {
    let judged = site.taraz(&["quarantine", "retry", "--all", "--data", "taraz-data"]);
    let why = String::from_utf8(judged.stderr).unwrap();
    assert!(
        !judged.status.success() && why.contains("whose registry?"),
        "{why}"
    );
    let nowhere = site.taraz(&["quarantine", "list", "--data", "never"]);
    let why = String::from_utf8(nowhere.stderr).unwrap();
    assert!(
        !nowhere.status.success() && why.contains("ever run with never/gateway"),
        "{why}"
    );
    // Nothing changes for somebody who does not say what.
    assert!(site.refused(&["drop"]).contains("which?"));
    assert!(
        site.refused(&["retry", "x7"])
            .contains("allowed: g or h and a number")
    );
    assert!(
        site.refused(&["drop", "--reason", "boredom"])
            .contains("allowed: implausible_time, implausible_value")
    );
    assert!(
        site.quarantine(&["retry", "g7"])
            .contains("g7: goes to ingest again")
    );
    assert!(site.quarantine(&["drop", "g8"]).contains("dropped: g8"));
    assert!(
        site.quarantine(&["drop", "--reason", "unknown_meter"])
            .contains("1 record dropped")
    );
    let still = site.quarantine(&["retry", "--all"]);
    assert!(still.contains("0 records held no longer, 2 still"), "{still}");
    let fleet = std::fs::read_to_string(site.path("fleet.toml")).unwrap();
    std::fs::write(
        site.path("fleet.toml"),
        fleet.replace("rated_w = 27600", "rated_w = 127600"),
    )
    .unwrap();
    let judged = site.quarantine(&["retry", "--all"]);
    assert!(judged.contains("2 records held no longer, 0 still"), "{judged}");
}

/// The item is delivered when the gateway runs again, and everything is where it belongs.
fn everything_is_where_it_belongs(site: &Site) {
    let up = site.start();
    wait_for(LIMIT, "the item that was tried again", || {
        let metrics = get(site.http, "/metrics")?.body;
        let is_there = metrics.contains("ingest_readings_total{result=\"stored\"} 1\n");
        is_there.then_some(()).ok_or("not stored yet".to_owned())
    });
    end(up);
    let listed = site.quarantine(&["list"]);
    assert!(
        listed.contains(": 0 items") && listed.contains(": 0 records held back"),
        "{listed}"
    );
    let store = rusqlite::Connection::open(site.path("taraz-data/ingest/store.sqlite")).unwrap();
    let count = |sql: &str| -> i64 { store.query_row(sql, (), |row| row.get(0)).unwrap() };
    let dropped = count("SELECT count(*) FROM record WHERE hold = 'dropped'");
    let counted = count("SELECT count(*) FROM record WHERE hold IS NULL");
    assert_eq!((counted, count("SELECT sum(count) FROM run"), dropped), (0, 4, 1));
}

#[test]
fn what_waits_is_looked_at_tried_again_and_dropped() {
    let site = Site::new();
    let up = site.start();
    let (good, high, higher, unknown) = (
        reading(1, 0, 9_000),
        reading(1, 1, 90_000),
        reading(1, 2, 91_000),
        reading(9, 3, 1),
    );
    site.deliver(&[
        item(0, None, &good),
        item(1, Some(Hold::ImplausibleValue), &high),
        item(2, Some(Hold::ImplausibleValue), &higher),
        item(3, Some(Hold::UnknownMeter), &unknown),
    ]);

    the_held_records_are_listed_and_shown(&site);
    assert!(
        site.refused(&["drop", "--reason", "unknown_meter"])
            .contains("another ingest works on the store")
    );
    let nothing = site.refused(&["show", "h4711"]);
    assert!(nothing.contains("not in the quarantine: h4711;"), "{nothing}");
    let listed = site.quarantine(&["list"]);
    let id = listed
        .split("  ")
        .find(|word| word.starts_with('h') && word.contains(" to h"));
    let known = id.unwrap().split(" to ").next().unwrap();
    let some = site.taraz(&[
        "quarantine",
        "show",
        known,
        "h4711",
        "g99",
        "--config",
        "taraz.toml",
    ]);
    let (shown, said) = (
        String::from_utf8(some.stdout).unwrap(),
        String::from_utf8(some.stderr).unwrap(),
    );
    assert_eq!(some.status.code(), Some(1));
    assert!(
        shown.contains(known) && said.contains("h4711, g99;") && !said.contains(known),
        "{shown}{said}"
    );
    end(up);
    rejected_items_are_listed_and_shown(&site);
    only_what_is_named_changes(&site);
    everything_is_where_it_belongs(&site);
}
