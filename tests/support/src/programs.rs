//! Programs that tests start: found, or the test fails with the command that installs them.

use std::path::{Path, PathBuf};

/// Program → Debian package, where the names differ.
const PACKAGES: &[(&str, &str)] = &[
    ("amtool", "prometheus-alertmanager"),
    ("faketime", "faketime"),
    ("influx", "influxdb-client"),
    ("influxd", "influxdb"),
    ("mosquitto_passwd", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("node", "nodejs"),
    ("prlimit", "util-linux"),
    ("promtool", "prometheus"),
    ("unshare", "util-linux"),
];

/// Where `program` is: in PATH, or in the folders for administrators, which an ordinary user's PATH lacks.
///
/// # Panics
/// When it is nowhere: says how to install it.
#[must_use]
pub fn require(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| {
        let package = PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
        panic!(
            "this test needs {program}, which is not installed. Install all that the tests need:\n  cargo xtask setup\n\
             or this alone:\n  sudo apt-get install --no-install-recommends {package}"
        )
    })
}

/// The Python with `jsonschema`, `paho-mqtt`, `pysunspec2` and `pyserial`: the one that TARAZ_PYTHON names, else that of `target/venv`.
///
/// # Panics
/// When there is none: says how to make it.
#[must_use]
pub fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
    let python = std::env::var_os("TARAZ_PYTHON").map_or(venv, PathBuf::from);
    assert!(
        python.is_file(),
        "this test needs the Python of the tests, and {} is none. Make it:\n  cargo xtask setup",
        python.display()
    );
    python
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_program_is_found() {
        assert!(require("sh").is_file());
    }

    #[test]
    #[should_panic(expected = "sudo apt-get install --no-install-recommends no-such-program")]
    fn a_missing_program_fails_with_the_command_that_installs_it() {
        let _ = require("no-such-program");
    }

    #[test]
    fn the_python_of_the_tests_has_its_libraries() {
        let script = "import jsonschema, paho.mqtt.client, serial, sunspec2.modbus.client";
        let output = std::process::Command::new(python())
            .args(["-c", script])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
