//! Disks: full, read-only from the start, with a limit. The gateway says so, acknowledges nothing, and goes on by itself.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use taraz_test_support::{Process, get, require, wait_for};

use super::client::{Client, Device, LIMIT, Packet, fleet_toml};
use super::common::field::{stop_services, wait_forwarded};
use super::common::installation::{Installation, Way};
use super::common::oracle;

/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(2);

/// A program that first puts a small file system in the gateway's folder, visible to itself and its children alone, so that it
/// goes with them.
fn small_disk(options: &str) -> Vec<String> {
    let unshare = require("unshare").to_str().unwrap().to_owned();
    let id = Command::new(require("id")).arg("-u").output().unwrap();
    let is_root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    // Who is not root is it within a user namespace of their own.
    let namespaces = if is_root { "-m" } else { "-rm" };
    let script = format!("mkdir -p gateway && mount -t tmpfs -o {options} tmpfs gateway && exec \"$@\"");
    [&unshare, namespaces, "sh", "-c", &script, "sh"]
        .map(str::to_owned)
        .to_vec()
}

/// The gateway's folder as the process sees it.
fn seen_by(process: &Process, installation: &Installation) -> PathBuf {
    let folder = installation.folder().canonicalize().unwrap().join("gateway");
    PathBuf::from(format!("/proc/{}/root", process.id())).join(folder.strip_prefix("/").unwrap())
}

/// Publishes until nothing is acknowledged any more; then nothing must be, and the gateway must say so.
fn publish_until_blocked(installation: &Installation, client: &mut Client, device: &mut Device) -> u32 {
    let mut acknowledged = 0;
    while installation.gateway_metric("gateway_spool_blocked", "") == 0.0 {
        client.publish(&device.frame(20).bytes).unwrap();
        acknowledged = acknowledged.max(heard(client));
        assert!(device.written() < 200_000, "the disk is never full");
    }
    // What was under way may have been acknowledged still.
    while let Some(more) = client.next().unwrap() {
        acknowledged = acknowledged.max(last_of(&more));
    }
    client.publish(&device.frame(20).bytes).unwrap();
    client.nothing_for(SILENCE);
    assert!(installation.gateway_metric("gateway_spool_commit_failures_total", "") > 0.0);
    acknowledged
}

fn heard(client: &mut Client) -> u32 {
    client.next().unwrap().as_ref().map_or(0, last_of)
}

/// One behind the last record that an acknowledgement names.
fn last_of(packet: &Packet) -> u32 {
    match packet {
        Packet::Ack(ranges) => ranges.iter().map(|range| range.last + 1).max().unwrap_or(0),
        _ => 0,
    }
}

fn wait_acknowledged(client: &mut Client, device: &Device) {
    let deadline = std::time::Instant::now() + LIMIT;
    let mut acknowledged = 0;
    while acknowledged < device.written() {
        acknowledged = acknowledged.max(heard(client));
        assert!(
            std::time::Instant::now() < deadline,
            "acknowledged {acknowledged} of {}",
            device.written()
        );
    }
}

/// Everything that was written is stored, once each.
fn assert_stored(installation: &Installation, gateway: Process, device: &Device) {
    let ingest = installation.start_ingest();
    wait_forwarded(installation);
    stop_services(gateway, ingest);
    let records = oracle::identities(&installation.store(), device.id.as_str());
    let stored: Vec<u32> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(stored, (0..device.written()).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_stops_acknowledging_and_goes_on_when_there_is_room() {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    let gateway = installation.start_gateway_under(&small_disk("size=14m"), &[]);
    let filler = seen_by(&gateway, &installation).join("filler");
    // A disk that others have filled.
    std::fs::write(&filler, vec![1; 4 << 20]).unwrap();
    let mut device = Device::new(&installation.master, 1);
    let mut client = Client::reach(installation.mqtt_port(), &device);
    let acknowledged = publish_until_blocked(&installation, &mut client, &mut device);
    assert!(acknowledged > 0 && acknowledged < device.written());
    let ready = get(installation.gateway_http, "/readyz").unwrap();
    assert!(
        ready.status == 503 && ready.body.contains("nothing is acknowledged"),
        "{}",
        ready.body
    );

    // However often it was tried: one line, with what to do.
    let failed = "a commit of the spool failed, nothing is acknowledged: the disk is full: make room on it";
    assert_eq!(
        gateway.output().matches(failed).count(),
        1,
        "{}",
        gateway.output()
    );
    assert!(!gateway.output().contains("taraz spool repair"));

    std::fs::remove_file(&filler).unwrap();
    wait_acknowledged(&mut client, &device);
    let over = gateway.output().matches("the spool commits again").count();
    assert_eq!(over, 1, "{}", gateway.output());
    wait_for(LIMIT, "readiness", || {
        let ready = get(installation.gateway_http, "/readyz")?;
        (ready.status == 200).then_some(()).ok_or(ready.body)
    });
    assert_stored(&installation, gateway, &device);
}

/// With room for nothing new, ingest's return alone must set it going: what ingest has makes room.
#[test]
fn a_full_disk_empties_itself_when_ingest_returns() {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    let gateway = installation.start_gateway_under(&small_disk("size=11m"), &[]);
    let mut device = Device::new(&installation.master, 1);
    let mut client = Client::reach(installation.mqtt_port(), &device);
    publish_until_blocked(&installation, &mut client, &mut device);
    assert!(gateway.output().contains("forwarding pauses"));
    let ingest = installation.start_ingest();
    wait_acknowledged(&mut client, &device);
    assert!(
        gateway.output().contains("forwarding goes on"),
        "{}",
        gateway.output()
    );
    stop_services_later(gateway, ingest, &installation, &device);
}

fn stop_services_later(gateway: Process, ingest: Process, installation: &Installation, device: &Device) {
    wait_forwarded(installation);
    stop_services(gateway, ingest);
    let records = oracle::identities(&installation.store(), device.id.as_str());
    assert_eq!(records.len(), device.written() as usize);
}

/// Writes beyond a limit fail (RLIMIT_FSIZE), as they do on a disk that has begun to fail.
#[test]
fn a_disk_that_takes_no_more_bytes_stops_acknowledging_and_goes_on_later() {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    // The signal that comes with it would end the program; a disk sends none.
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"].map(str::to_owned);
    let gateway = installation.start_gateway_under(&wrapper, &[]);
    let limit = |bytes: &str| {
        let status = Command::new(require("prlimit"))
            .args([
                "--pid",
                &gateway.id().to_string(),
                &format!("--fsize={bytes}:unlimited"),
            ])
            .status();
        assert!(status.unwrap().success());
    };
    let mut device = Device::new(&installation.master, 1);
    let mut client = Client::reach(installation.mqtt_port(), &device);
    limit("300000");
    publish_until_blocked(&installation, &mut client, &mut device);
    limit("unlimited");
    wait_acknowledged(&mut client, &device);
    assert_stored(&installation, gateway, &device);
}

#[test]
fn a_disk_that_is_read_only_is_told_before_anything_is_taken_in() {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    let wrapper = small_disk("size=1m,ro");
    let mut command = Command::new(&wrapper[0]);
    command.args(&wrapper[1..]).args([
        super::common::installation::TARAZ,
        "gateway",
        "--config",
        "taraz.toml",
    ]);
    let output = command.current_dir(installation.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("can't use the spool's folder") && said.contains("ead-only"),
        "{said}"
    );
    let mode = std::fs::metadata(installation.folder().join("gateway"))
        .unwrap()
        .permissions()
        .mode();
    assert_ne!(mode & 0o200, 0, "it was the disk, not the folder");
}
