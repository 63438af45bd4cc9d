//! A real Mosquitto of the test's own, on a free port.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::rig::DEADLINE;

const INSTALL: &str = "apt-get install -y mosquitto mosquitto-clients prometheus";

/// The program's path; a test that needs it fails without it and says how to install it.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let found = path
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing; install it with: {INSTALL}"))
}

/// A broker that can be killed and started again with what it has on disk.
pub(crate) struct Mosquitto {
    folder: TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// With a user `gateway` and a user `device`, both with the password `secret`.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let passwords = folder.path().join("passwords");
        std::fs::write(&passwords, "").unwrap();
        for user in ["gateway", "device"] {
            let mut command = Command::new(program("mosquitto_passwd"));
            let made = command
                .arg("-b")
                .arg(&passwords)
                .args([user, "secret"])
                .stderr(Stdio::null())
                .status();
            assert!(made.unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let data = folder.path().display().to_string();
        let mut config = format!("listener {port} 127.0.0.1\npassword_file {data}/passwords\n");
        config += &format!("persistence true\npersistence_location {data}/\nautosave_interval 1\n");
        config += "autosave_on_changes true\nmax_queued_messages 0\nmax_inflight_messages 1000\n";
        // Started by root, it would drop to a user who may not read this folder.
        if std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("Uid:\t0")) {
            config += "user root\n";
        }
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut mosquitto = Self {
            folder,
            port,
            child: None,
        };
        mosquitto.up();
        mosquitto
    }

    pub(crate) fn up(&mut self) {
        let config = self.folder.path().join("mosquitto.conf");
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program("mosquitto"));
        let child = command
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "mosquitto does not listen:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// As after a crash.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Forgets every session and message.
    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_file(self.folder.path().join("mosquitto.db"));
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}
