//! `taraz spool` on a real gateway's folder.

use std::process::{Command, Output};

use super::client::{Client, Device, fleet_toml};
use super::common::field::{stop_services, wait_forwarded};
use super::common::installation::{Installation, TARAZ, Way};
use super::common::oracle;

fn taraz(installation: &Installation, arguments: &[&str]) -> Output {
    let mut command = Command::new(TARAZ);
    command
        .arg("spool")
        .args(arguments)
        .current_dir(installation.folder());
    command.output().unwrap()
}

/// What a command that succeeds prints.
fn said(installation: &Installation, arguments: &[&str]) -> String {
    let output = taraz(installation, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that fails says, both outputs.
fn refused(installation: &Installation, arguments: &[&str]) -> String {
    let output = taraz(installation, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

const CONFIG: [&str; 2] = ["--config", "taraz.toml"];

fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &CONFIG].concat()
}

#[test]
fn what_waits_is_listed_verified_repaired_and_taken_elsewhere() {
    let installation = Installation::new(&fleet_toml(2), Way::Door);
    assert!(refused(&installation, &with(&["list"])).contains("there is no spool"));
    let mut gateway = installation.start_gateway();
    let mut devices = [1, 2].map(|n| Device::new(&installation.master, n));
    for device in &mut devices {
        let mut client = Client::reach(installation.mqtt_port(), device);
        for _ in 0..3 {
            client.deliver(&device.frame(2));
        }
    }
    // Beside the running gateway.
    let listed = said(&installation, &with(&["list"]));
    assert!(
        listed.contains("waiting for ingest: 6 runs with 12 records"),
        "{listed}"
    );
    assert!(
        listed.contains("incarnation 7a6b5c4d  boot 3  records 0 to 5"),
        "{listed}"
    );
    let json = said(&installation, &["list", "--json", "--data", "gateway"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["waiting"][1]["device"], "dev-2");
    assert_eq!(json["waiting"][1]["records"], 6);
    assert!(said(&installation, &with(&["verify"])).contains(": good"));
    assert!(refused(&installation, &with(&["repair"])).contains("another gateway works"));
    said(
        &installation,
        &with(&["export", "--out", "dev-2.spool", "--device", "dev-2"]),
    );
    let nothing = refused(
        &installation,
        &with(&["export", "--out", "typo.spool", "--device", "dev-3"]),
    );
    assert!(
        nothing.contains("nothing of a device \"dev-3\" waits"),
        "{nothing}"
    );
    assert!(!installation.folder().join("typo.spool").exists());
    gateway.kill();

    let spool = rusqlite::Connection::open(installation.folder().join("gateway/spool.sqlite")).unwrap();
    let sql = "UPDATE items SET records = zeroblob(length(records)) WHERE position = (SELECT max(position) FROM items WHERE device = 'dev-2')";
    assert_eq!(spool.execute(sql, []).unwrap(), 1);
    drop(spool);
    let found = refused(&installation, &with(&["verify"]));
    assert!(
        found.contains("dev-2  it does not fit its check sum") && found.contains("taraz spool repair"),
        "{found}"
    );
    assert!(
        said(&installation, &with(&["repair"])).contains("5 good, 1 run put into the quarantine")
            || said(&installation, &with(&["list"])).contains("in the quarantine: 1 run")
    );

    // The lost row comes back from the export, the others of it once more.
    let imported = said(&installation, &with(&["import", "dev-2.spool"]));
    assert!(imported.contains("3 runs with 6 records now wait"), "{imported}");
    let found = refused(&installation, &with(&["verify"]));
    assert!(
        found.contains("4 records sent twice") && found.contains("taraz quarantine drop"),
        "{found}"
    );
    let ingest = installation.start_ingest();
    let gateway = installation.start_gateway();
    wait_forwarded(&installation);
    stop_services(gateway, ingest);
    for device in &devices {
        let records = oracle::identities(&installation.store(), device.id.as_str());
        let stored: Vec<u32> = records.iter().map(|record| record.sequence).collect();
        assert_eq!(stored, [0, 1, 2, 3, 4, 5], "{}", device.id);
    }
}
