//! VictoriaMetrics: an InfluxDB v2 write endpoint with Prometheus' questions.

use std::net::SocketAddr;
use std::process::Command;

use crate::service::{Ready, Service};
use crate::{Process, get, require};

/// A running VictoriaMetrics that keeps data of any age and answers with the newest.
pub struct VictoriaMetrics(Service);

impl VictoriaMetrics {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let program = require("victoria-metrics");
        Self(Service::start(
            "victoria-metrics",
            Ready::Answers("/health"),
            move |folder, address| {
                let mut command = Command::new(&program);
                command.current_dir(folder).args([
                    "-storageDataPath=data",
                    "-retentionPeriod=100y",
                    // It hides the last 30 s otherwise.
                    "-search.latencyOffset=0s",
                    // It remembers answers without the data that came later otherwise.
                    "-search.disableCache",
                    "-loggerLevel=WARN",
                    &format!("-httpListenAddr={address}"),
                ]);
                command
            },
        ))
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Makes everything written so far visible to questions.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn flush(&self) {
        let response = get(self.address(), "/internal/force_flush").expect("an answer of VictoriaMetrics");
        assert_eq!(response.status, 200, "{}", response.body);
    }

    /// Every stored sample of the series that `selector` matches, as lines of JSON
    /// (`{"metric":{..},"values":[..],"timestamps":[..]}`), as its export gives them.
    ///
    /// # Panics
    /// When it does not answer with lines of JSON.
    #[must_use]
    pub fn export(&self, selector: &str) -> Vec<serde_json::Value> {
        self.flush();
        let path = format!("/api/v1/export?match[]={}", super::escaped(selector));
        let response = get(self.address(), &path).expect("an answer of VictoriaMetrics");
        assert_eq!(response.status, 200, "{}", response.body);
        response
            .body
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again on the same port with the same data, after [`VictoriaMetrics::kill`].
    pub fn start_again(&mut self) {
        self.0.start_again();
    }
}
