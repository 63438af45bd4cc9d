//! A Mosquitto on a free port, with a password for every device.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A broker process; killed when dropped.
pub struct Mosquitto {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one that knows these users.
    pub fn start(users: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Mosquitto drops to its own user when started as root; our folder is ours.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut broker = Self {
            dir,
            port,
            child: None,
        };
        broker.set_users(users);
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nuser root\nmax_queued_messages 0\nmax_inflight_messages 0\n",
            broker.path("passwords").display(),
        );
        std::fs::write(broker.path("mosquitto.conf"), config).unwrap();
        broker.resume();
        broker
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Replaces the password file; running brokers read it at the next [`Self::resume`].
    pub fn set_users(&self, users: &[(&str, &str)]) {
        let path = self.path("passwords");
        let mut file = std::fs::File::create(&path).unwrap();
        for (user, password) in users {
            writeln!(file, "{user}:{password}").unwrap();
        }
        drop(file);
        let hashed = Command::new("mosquitto_passwd").arg("-U").arg(&path).status();
        let hashed = hashed.expect("mosquitto_passwd is missing: apt-get install mosquitto");
        assert!(hashed.success());
    }

    /// Starts the process (again) on the same port.
    pub fn resume(&mut self) {
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.path("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is missing: apt-get install mosquitto");
        self.child = Some(child);
        let began = Instant::now();
        while TcpStream::connect(self.addr()).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "mosquitto does not listen"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the process; what it held in memory is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}
