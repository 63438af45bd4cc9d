//! For the tests of the sinks: real servers with a folder of their own, and one that answers as it is told.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use taraz_telemetry::{Field, MeterAddress, MeterRole, Mppt, Quantities};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::InfluxConfig;
use crate::view::StoredReading;

/// How long a server may take to start, or a value to appear.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server process; it ends with its folder when this is dropped.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:port`.
    pub(crate) url: String,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// VictoriaMetrics: takes `/api/v2/write`.
    pub(crate) async fn victoria_metrics() -> Self {
        let start = |folder: &TempDir, port: u16| {
            let mut command = Command::new("victoria-metrics");
            command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
            command.arg(format!(
                "-storageDataPath={}",
                folder.path().join("data").display()
            ));
            command.args(["-retentionPeriod=100y", "-search.latencyOffset=0s"]);
            // It keeps a point that comes again as a second one unless it is told not to.
            command.arg("-dedup.minScrapeInterval=1ms");
            command
        };
        Self::start(start, "victoria-metrics", "/health").await
    }

    /// InfluxDB 1.6: its `/write` is strict about line protocol.
    pub(crate) async fn influxdb() -> Self {
        let start = |folder: &TempDir, port: u16| {
            let at = |name: &str| folder.path().join(name).display().to_string();
            let config = format!(
                "reporting-disabled = true\nbind-address = \"127.0.0.1:0\"\n[meta]\ndir = \"{}\"\n[data]\ndir = \"{}\"\n\
                 wal-dir = \"{}\"\n[http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n",
                at("meta"),
                at("data"),
                at("wal"),
            );
            std::fs::write(folder.path().join("influxdb.conf"), config).unwrap();
            let mut command = Command::new("influxd");
            command.args(["run", "-config", &at("influxdb.conf")]);
            command
        };
        Self::start(start, "influxdb", "/ping").await
    }

    async fn start(command: impl Fn(&TempDir, u16) -> Command, package: &str, ready: &str) -> Self {
        // The port is free when it is found, not for ever: another one is tried if somebody was quicker.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let folder = tempfile::tempdir().unwrap();
            let child = command(&folder, port)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| {
                    panic!(
                        "{package} is missing ({error}): apt-get install --no-install-recommends {package}"
                    )
                });
            let url = format!("http://127.0.0.1:{port}");
            let mut server = Self {
                child,
                url,
                _folder: folder,
            };
            let started = Instant::now();
            while started.elapsed() < DEADLINE && server.child.try_wait().unwrap().is_none() {
                let answer = reqwest::get(format!("{}{ready}", server.url)).await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return server;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("{package} does not start");
    }

    /// GET, as text.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> String {
        let url = format!("{}{path}?{}", self.url, encoded(query));
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    /// POST; status and text.
    pub(crate) async fn post(&self, path: &str, query: &[(&str, &str)], body: String) -> (u16, String) {
        let url = format!("{}{path}?{}", self.url, encoded(query));
        let answer = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

fn encoded(query: &[(&str, &str)]) -> String {
    let one = |text: &str| -> String {
        text.bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect()
    };
    query
        .iter()
        .map(|(key, value)| format!("{key}={}", one(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Asks until the answer is there.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not happen within {DEADLINE:?}");
}

/// A sink's configuration for a server.
pub(crate) fn config(url: &str) -> InfluxConfig {
    InfluxConfig {
        name: "test".into(),
        url: url.into(),
        org: "org".into(),
        bucket: "bucket".into(),
        token: String::new(),
        overwrites: false,
    }
}

/// A server that answers every write as `answer` says (status, text), and remembers what was sent.
pub(crate) struct Told {
    /// Where it listens.
    pub(crate) url: String,
    /// The bodies in their order.
    pub(crate) bodies: Arc<Mutex<Vec<String>>>,
}

impl Told {
    pub(crate) async fn start(answer: impl Fn(usize, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&bodies);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // One request a connection keeps it simple; the client opens the next.
                if let Some(body) = read_body(&mut stream).await {
                    let count = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(body.clone());
                        seen.len()
                    };
                    let (status, text) = answer(count, &body);
                    let reply = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                        text.len()
                    );
                    let _ = stream.write_all(reply.as_bytes()).await;
                }
            }
        });
        Self { url, bodies }
    }
}

async fn read_body(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = vec![0; 65_536];
        let read = stream.read(&mut chunk).await.ok().filter(|&read| read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        if body.len() >= length {
            return Some(body.to_owned());
        }
    }
}

/// Readings with every field and every kind of value, at times of their own.
pub(crate) fn readings(count: usize, from_ms: i64) -> Vec<StoredReading> {
    (0..count).map(|n| reading(n, from_ms)).collect()
}

fn reading(n: usize, from_ms: i64) -> StoredReading {
    let value = i64::try_from(n).unwrap();
    let mut quantities = Quantities::default();
    for (at, &field) in Field::ALL.iter().enumerate() {
        // Each reading lacks other fields; signs and sizes vary.
        if !(at + n).is_multiple_of(4) {
            let sign = if (at + n).is_multiple_of(2) { 1 } else { -1 };
            let _ = quantities.set(field, sign * (value * 37 + 200)) || quantities.set(field, value % 200);
        }
    }
    quantities.energy_wh = Some(9_007_199_254_000_000 / 1_000 + n as u64);
    let input = |power_w| Mppt {
        voltage_dv: Some(6_300),
        current_ca: None,
        power_w: Some(power_w),
    };
    quantities.mppt.push(input(0)).unwrap();
    quantities.mppt.push(input(-1)).unwrap();
    StoredReading {
        rowid: value + 1,
        device: format!("sari-0{}", n % 3).parse().unwrap(),
        meter: MeterAddress::new(1).unwrap(),
        plant: format!("plant-{}", n % 3),
        role: MeterRole::Inverter,
        time_ms: from_ms + value * 1_000 + 1,
        quantities,
    }
}
