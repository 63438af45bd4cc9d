//! `taraz store` on the store of a running installation: verified, compacted, backed up, and a damage told with exit code 1.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::installation::{START_LIMIT, TARAZ};
use taraz_test_support::{Process, Signal, free_port, get, wait_for};

const READY_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What a command says, and whether it succeeded.
fn taraz(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(TARAZ)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn a_running_store_is_verified_compacted_and_backed_up() {
    let folder = tempfile::tempdir().unwrap();
    let http = format!("127.0.0.1:{}", free_port());
    let arguments = [
        "up",
        "--demo",
        "--data",
        "data",
        "--http",
        &http,
        "--mqtt",
        "127.0.0.1:0",
        "--history-days",
        "5",
    ];
    let mut demo = Process::taraz(TARAZ, "demo", &arguments, folder.path());
    demo.wait_accepting(START_LIMIT, http.parse().unwrap());
    demo.wait_for_output(READY_LIMIT, "ready after");
    let address = http.parse().unwrap();
    wait_for(READY_LIMIT, "the history in the store", || {
        let found = get(address, "/api/v1/plants")?.json();
        let plants = found["plants"].as_array().ok_or("no plants")?;
        let settled = plants
            .iter()
            .filter(|plant| plant["draining"] == false && plant["last_reading_ms"].is_i64());
        let count = settled.count();
        (count == 12).then_some(()).ok_or(format!("{count} of 12 plants"))
    });

    let (is_ok, said) = taraz(folder.path(), &["store", "verify", "--data", "data"]);
    assert!(
        is_ok && said.contains("everything is as it was written"),
        "{said}"
    );
    let (is_ok, said) = taraz(folder.path(), &["store", "compact", "--data", "data"]);
    assert!(
        is_ok && said.contains("sealed ") && !said.contains("sealed 0 readings"),
        "{said}"
    );
    let (is_ok, said) = taraz(
        folder.path(),
        &["store", "backup", "--to", "copy.sqlite", "--data", "data"],
    );
    assert!(is_ok && said.contains("written and verified"), "{said}");
    let (is_ok, said) = taraz(
        folder.path(),
        &["store", "backup", "--to", "copy.sqlite", "--data", "data"],
    );
    assert!(!is_ok && said.contains("it exists already"), "{said}");
    let (is_ok, said) = taraz(folder.path(), &["store", "verify", "--data", "data"]);
    assert!(is_ok && !said.contains(" 0 sealed chunks"), "{said}");
    demo.signal(Signal::Interrupt);
    assert!(demo.wait(STOP_LIMIT).success());

    a_backup_is_verified_and_tells_conflicts(&folder);
}

/// A backup is a data folder's store.
fn a_backup_is_verified_and_tells_conflicts(folder: &tempfile::TempDir) {
    let restored = folder.path().join("restored/ingest");
    std::fs::create_dir_all(&restored).unwrap();
    std::fs::rename(folder.path().join("copy.sqlite"), restored.join("store.sqlite")).unwrap();
    let (is_ok, said) = taraz(folder.path(), &["store", "verify", "--data", "restored"]);
    assert!(is_ok, "{said}");
    let store = rusqlite::Connection::open(restored.join("store.sqlite")).unwrap();
    // What a device says of its start, under the identity of how another one is.
    let conflict = "INSERT INTO conflict (device, incarnation, boot, sequence, received_ms, bytes)
        SELECT a.device, a.incarnation, a.boot, a.sequence, a.received_ms, b.bytes
        FROM record a JOIN record b ON a.kind = 5 AND b.kind = 2 LIMIT 1";
    assert_eq!(store.execute(conflict, ()).unwrap(), 1);
    let (is_ok, said) = taraz(folder.path(), &["store", "conflicts", "--data", "restored"]);
    let lines = [
        "1 conflict kept, at most 100000",
        "≠ record ",
        "≠ queue_records ",
        "What to do: ",
    ];
    for line in lines {
        assert!(is_ok && said.contains(line), "{line} in {said}");
    }
    let nobody = [
        "store",
        "conflicts",
        "--device",
        "nobody-01",
        "--data",
        "restored",
    ];
    let (is_ok, said) = taraz(folder.path(), &nobody);
    assert!(is_ok && !said.contains('≠'), "{said}");
    assert!(store.execute("UPDATE chunk SET crc = crc + 1", ()).unwrap() > 0);
    drop(store);
    let (is_ok, said) = taraz(folder.path(), &["store", "verify", "--data", "restored"]);
    assert!(
        !is_ok && said.contains("wrong: chunk") && said.contains("check sum"),
        "{said}"
    );
}
