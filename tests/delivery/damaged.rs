//! A disk that loses what was acknowledged: the gateway says how much, and the gap ledger which records.

use std::process::Command;

use taraz_test_support::wait_for;

use super::client::{BOOT, Client, Device, INCARNATION, LIMIT, fleet_toml};
use super::common::field::{stop_services, wait_forwarded};
use super::common::installation::{Installation, TARAZ, Way};
use super::common::ledger::Ledger;

/// Of the spool's log: what stands before its first page, and a page with its head (sqlite.org/fileformat2.html, 4.1).
const LOG_HEAD_LEN: u64 = 32;
const LOG_PAGE_LEN: u64 = 24 + 4_096;
const FRAMES: u32 = 8;
const READINGS: u32 = 2;
const MISSING: &str = "gateway_spool_missing_rows";

fn verify(installation: &Installation) -> (bool, String) {
    let mut command = Command::new(TARAZ);
    command.args(["spool", "verify", "--config", "taraz.toml"]);
    let output = command.current_dir(installation.folder()).output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Killed, as by a power cut, with eight frames acknowledged and in the spool's log.
fn killed(installation: &Installation, device: &mut Device) {
    let mut gateway = installation.start_gateway();
    let mut client = Client::reach(installation.mqtt_port(), device);
    for _ in 0..FRAMES {
        client.deliver(&device.frame(READINGS));
    }
    gateway.kill();
}

/// The log ends after a commit, as if the disk had never kept what it said it had: SQLite takes it for whole.
#[test]
fn acknowledged_rows_that_the_disk_lost_are_named_by_gateway_and_ledger() {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    let mut device = Device::new(&installation.master, 1);
    killed(&installation, &mut device);
    let log = installation.folder().join("gateway/spool.sqlite-wal");
    let log = std::fs::OpenOptions::new().write(true).open(log).unwrap();
    let len = log.metadata().unwrap().len();
    assert_eq!((len - LOG_HEAD_LEN) % LOG_PAGE_LEN, 0);
    log.set_len(len - 3 * LOG_PAGE_LEN).unwrap();
    drop(log);
    let (is_good, said) = verify(&installation);
    let found = "the rows 6 to 8 were acknowledged and are not there";
    assert!(!is_good && said.contains(found), "{said}");
    assert!(
        said.contains("3 runs missing") && said.contains("taraz gaps"),
        "{said}"
    );

    let ingest = installation.start_ingest();
    let mut gateway = installation.start_gateway();
    let told = gateway.wait_for_output(LIMIT, "acknowledged rows of the spool are gone");
    assert!(told.contains("6 to 8"), "{told}");
    // The device has let go of them: it goes on behind, and says that it has nothing left.
    let mut client = Client::reach(installation.mqtt_port(), &device);
    client.deliver(&device.frame(READINGS));
    client.deliver(&device.nothing_left());
    wait_forwarded(&installation);
    assert_eq!(installation.gateway_metric(MISSING, ""), 3.0);
    let lost = (5 * READINGS..8 * READINGS).map(|sequence| (INCARNATION, BOOT, sequence));
    let lost: std::collections::BTreeSet<_> = lost.collect();
    let ledger = wait_for(LIMIT, "the ledger", || {
        let ledger = Ledger::ask(&installation, device.id.as_str());
        let unknown = ledger.identities("unknown");
        (unknown == lost).then_some(ledger).ok_or(format!("{unknown:?}"))
    });
    ledger.assert_balances();
    assert_eq!(ledger.written, u64::from(device.written()));
    let (_, said) = verify(&installation);
    assert!(said.contains(found), "beside the gateway, too: {said}");
    stop_services(gateway, ingest);
}

/// A kill loses nothing: what was being written when it came was not acknowledged.
#[test]
fn a_gateway_that_was_killed_misses_nothing() {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    let mut device = Device::new(&installation.master, 1);
    killed(&installation, &mut device);
    // The next commit had begun: a part of a page, of this log.
    let log = installation.folder().join("gateway/spool.sqlite-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    let page = usize::try_from(LOG_PAGE_LEN).unwrap();
    let begun = bytes[bytes.len() - page..][..page / 2].to_vec();
    bytes.extend(begun);
    std::fs::write(&log, bytes).unwrap();
    let (is_good, said) = verify(&installation);
    assert!(is_good && said.contains("0 runs missing"), "{said}");
    let gateway = installation.start_gateway();
    let ingest = installation.start_ingest();
    let mut client = Client::reach(installation.mqtt_port(), &device);
    client.deliver(&device.frame(READINGS));
    wait_forwarded(&installation);
    assert_eq!(installation.gateway_metric(MISSING, ""), 0.0);
    let said = gateway.output();
    assert!(
        said.contains("it was not acknowledged") && !said.contains("ERROR"),
        "{said}"
    );
    stop_services(gateway, ingest);
    let ledger = Ledger::ask(&installation, device.id.as_str());
    ledger.assert_balances();
    assert_eq!(
        (ledger.stored, ledger.written),
        (u64::from(device.written()), ledger.stored)
    );
}
