//! A wrong configuration stops the program before it opens a socket, naming key, value and what is allowed.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");

fn taraz(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(TARAZ)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = taraz(folder, arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A folder laid out as the README says.
fn installation() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("taraz.toml"), printed(at, &["config", "example"])).unwrap();
    std::fs::write(
        at.join("fleet.toml"),
        printed(at, &["config", "example", "fleet"]),
    )
    .unwrap();
    printed(at, &["config", "master-key", "master.key"]);
    folder
}

#[test]
fn the_readmes_way_gives_a_good_installation() {
    let folder = installation();
    let checked = printed(folder.path(), &["config", "check", "taraz.toml"]);
    assert!(checked.contains("good: 1 plants, 1 devices"), "{checked}");
    let device = printed(
        folder.path(),
        &["device", "config", "sari-01", "--config", "taraz.toml"],
    );
    assert!(device.contains("sari-01"), "{device}");
}

#[test]
fn every_example_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["taraz", "fleet", "device", "simulation", "faults"] {
        assert!(
            printed(folder.path(), &["config", "example", file])
                .lines()
                .count()
                > 5,
            "{file}"
        );
    }
}

#[test]
fn what_is_wrong_is_named_before_a_socket_opens() {
    // Both ports are taken: a program that opened a socket first would complain of that instead.
    let taken = [
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    ];
    let [http, mqtt] = taken
        .each_ref()
        .map(|listener| listener.local_addr().unwrap().to_string());
    let cases = [
        ("taraz.toml", "fleet =", "flet =", "flet"),
        ("taraz.toml", "master_key =", "master_kee =", "master_kee"),
        (
            "taraz.toml",
            "spool_max_mib = 4096",
            "spool_max_mib = 0",
            "1 to 1000000",
        ),
        (
            "taraz.toml",
            "\ntoken = \"replace-me-with-a-long-random-text\"",
            "\ntoken = \"short\"",
            "16",
        ),
        ("fleet.toml", "kind = \"municipality\"", "kind = \"city\"", "city"),
        (
            "fleet.toml",
            "latitude_deg = 36.563",
            "latitude_deg = 236.563",
            "-90 to 90",
        ),
        (
            "fleet.toml",
            "owner = \"sari-municipality\"",
            "owner = \"babol\"",
            "sari-municipality",
        ),
        ("fleet.toml", "address = 2", "address = 1", "each address once"),
    ];
    for (file, right, wrong, named) in cases {
        let folder = installation();
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(right), "{file} has no {right:?}");
        std::fs::write(&path, text.replacen(right, wrong, 1)).unwrap();
        let output = taraz(
            folder.path(),
            &["up", "--config", "taraz.toml", "--http", &http, "--mqtt", &mqtt],
        );
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && message.contains(named),
            "{wrong}: {message}"
        );
        assert!(
            !message.contains(&http) && !message.contains(&mqtt),
            "{wrong}: {message}"
        );
    }
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let folder = installation();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = taraz(
        folder.path(),
        &[
            "up",
            "--config",
            "taraz.toml",
            "--data",
            "elsewhere",
            "--http",
            &address,
            "--mqtt",
            "127.0.0.1:0",
        ],
    );
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && message.contains(&address),
        "{message}"
    );
}
