//! Prometheus with a database of its own, and questions to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{escaped, write};
use crate::service::{Ready, Service};
use crate::{Process, get, request, require};

/// A running Prometheus.
pub struct Prometheus(Service);

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// The value at the time of the question.
    pub value: f64,
}

impl Prometheus {
    /// Starts it with the text of a `prometheus.yml`. Files named in it need absolute paths.
    ///
    /// # Panics
    /// When it is not installed or does not start; what it says of a wrong configuration is in the message.
    #[must_use]
    pub fn start(configuration: &str) -> Self {
        let program = require("prometheus");
        let configuration = configuration.to_owned();
        Self(Service::start(
            "prometheus",
            Ready::Answers("/-/ready"),
            move |folder, address| {
                write(&folder.join("prometheus.yml"), &configuration);
                let mut command = Command::new(&program);
                command.current_dir(folder).args([
                    "--config.file=prometheus.yml",
                    "--storage.tsdb.path=data",
                    "--web.enable-lifecycle",
                    "--log.level=warn",
                    // An alert that fires before the Alertmanager is discovered would be sent again only after a minute.
                    "--rules.alert.resend-delay=1s",
                    &format!("--web.listen-address={address}"),
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

    /// Its folder, with `prometheus.yml`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    /// Reads the configuration and the rules again.
    ///
    /// # Panics
    /// When it refuses them.
    pub fn reload(&self) {
        let response =
            request("POST", self.address(), "/-/reload", &[], b"").expect("an answer of Prometheus");
        assert_eq!(response.status, 200, "{}", response.body);
    }

    /// The answer to a PromQL question as of now: one sample a series; a scalar has no labels.
    ///
    /// # Errors
    /// When Prometheus can't be reached or refuses the question; its reason is the message.
    pub fn query(&self, question: &str) -> Result<Vec<Sample>, String> {
        let data = self.api(&format!("/api/v1/query?query={}", escaped(question)))?;
        let sample = |labels: &Value, value: &Value| {
            let value = value[1].as_str().and_then(|text| text.parse().ok());
            value
                .map(|value| Sample {
                    labels: labels_of(labels),
                    value,
                })
                .ok_or_else(|| format!("no number in {data}"))
        };
        match (data["resultType"].as_str(), &data["result"]) {
            (Some("scalar"), result) => Ok(vec![sample(&Value::Null, result)?]),
            (Some("vector"), Value::Array(series)) => series
                .iter()
                .map(|series| sample(&series["metric"], &series["value"]))
                .collect(),
            _ => Err(format!(
                "expected a vector or a scalar for {question}, found {data}"
            )),
        }
    }

    /// The series of a range question, from `from_s` to `to_s` (Unix seconds) every `step_s` seconds, with the number of
    /// values of each.
    ///
    /// # Errors
    /// As [`Prometheus::query`].
    pub fn query_range(
        &self,
        question: &str,
        from_s: f64,
        to_s: f64,
        step_s: u32,
    ) -> Result<Vec<(Sample, usize)>, String> {
        let question = escaped(question);
        let path = format!("/api/v1/query_range?query={question}&start={from_s}&end={to_s}&step={step_s}");
        let data = self.api(&path)?;
        let series = data["result"]
            .as_array()
            .ok_or_else(|| format!("expected a matrix, found {data}"))?;
        let last = |series: &Value| {
            let values = series["values"].as_array()?;
            let value = values.last()?[1].as_str()?.parse().ok()?;
            Some((
                Sample {
                    labels: labels_of(&series["metric"]),
                    value,
                },
                values.len(),
            ))
        };
        series
            .iter()
            .map(|series| last(series).ok_or_else(|| format!("no values in {series}")))
            .collect()
    }

    /// The names of the alerts that fire now, with all labels of each.
    ///
    /// # Errors
    /// When Prometheus can't be reached.
    pub fn firing(&self) -> Result<Vec<BTreeMap<String, String>>, String> {
        let data = self.api("/api/v1/alerts")?;
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        Ok(alerts
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| labels_of(&alert["labels"]))
            .collect())
    }

    /// The `data` of an answer of the API.
    ///
    /// # Errors
    /// When Prometheus can't be reached or answers with an error.
    pub fn api(&self, path: &str) -> Result<Value, String> {
        let response = get(self.address(), path)?;
        let mut answer = response.json();
        if answer["status"] != "success" {
            return Err(format!("{path}: {} {}", response.status, answer["error"]));
        }
        Ok(answer["data"].take())
    }
}

fn labels_of(value: &Value) -> BTreeMap<String, String> {
    let labels = value.as_object().into_iter().flatten();
    labels
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}
