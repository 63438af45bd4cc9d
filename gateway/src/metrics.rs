//! The gateway's own metrics: every name of this crate stands here.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::validate::RefusedReason;

/// All metrics of one gateway, registered on the registry that was passed to [`crate::Gateway::start`].
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `gateway_backlog_frames`: rows of the spool (runs, each of one frame or more) not yet taken by ingest.
    pub(crate) backlog: IntGauge,
    /// `gateway_connections`: devices' open MQTT sessions.
    pub(crate) connections: IntGauge,
    /// `gateway_spool_commits_total`.
    pub(crate) commits: IntCounter,
    /// `gateway_spool_commit_failures_total`.
    pub(crate) commit_failures: IntCounter,
    /// `gateway_spool_bytes`: live bytes, the quarantine included.
    pub(crate) spool_bytes: IntGauge,
    /// `gateway_spool_blocked`: 1 while nothing is acknowledged.
    pub(crate) blocked: IntGauge,
    /// `gateway_forward_paused`: 1 while ingest takes nothing.
    pub(crate) paused: IntGauge,
    /// `gateway_throttled_total`.
    pub(crate) throttled: IntCounter,
    /// `gateway_quarantined_items`.
    pub(crate) quarantined: IntGauge,
    /// `gateway_spool_missing_rows`.
    pub(crate) missing: IntGauge,
    frames: IntCounterVec,
    refused: IntCounterVec,
    batches: IntCounterVec,
    rejected_connects: IntCounterVec,
    sessions_ended: IntCounterVec,
    /// `gateway_broker_connected`: registered by [`Metrics::show_broker`] alone.
    broker_connected: IntGauge,
}

/// What became of an authentic frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameResult {
    Accepted,
    Held,
    Refused,
    Duplicate,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchResult {
    Accepted,
    Rejected,
    TooLarge,
    Refused,
    Unavailable,
}

/// Why a connection to our listener did not become a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectRejected {
    TooMany,
    Displaced,
    TooOften,
    Unauthorised,
    Timeout,
    Protocol,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    Goodbye,
    Gone,
    TakenOver,
    KeepAlive,
    TooSlow,
    Protocol,
    Closing,
}

impl SessionEnd {
    const ALL: [Self; 7] = [
        Self::Goodbye,
        Self::Gone,
        Self::TakenOver,
        Self::KeepAlive,
        Self::TooSlow,
        Self::Protocol,
        Self::Closing,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Gone => "gone",
            Self::TakenOver => "taken_over",
            Self::KeepAlive => "keep_alive",
            Self::TooSlow => "too_slow",
            Self::Protocol => "protocol",
            Self::Closing => "closing",
        }
    }
}

impl FrameResult {
    const ALL: [Self; 4] = [Self::Accepted, Self::Held, Self::Refused, Self::Duplicate];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Duplicate => "duplicate",
        }
    }
}

impl BatchResult {
    const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Rejected,
        Self::TooLarge,
        Self::Refused,
        Self::Unavailable,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

impl ConnectRejected {
    const ALL: [Self; 6] = [
        Self::TooMany,
        Self::Displaced,
        Self::TooOften,
        Self::Unauthorised,
        Self::Timeout,
        Self::Protocol,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::Displaced => "displaced",
            Self::TooOften => "too_often",
            Self::Unauthorised => "unauthorised",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }
}

impl Metrics {
    /// Registers every metric; each label value that can occur exists from the start.
    ///
    /// # Errors
    /// [`prometheus::Error`] when the registry already holds one of the names: one registry, one gateway.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let register = Register(registry);
        let metrics = Self {
            backlog: register.gauge(
                "gateway_backlog_frames",
                "Rows of the spool that ingest has not taken yet; a row is a run of consecutive records of one device, from one frame or several that were committed together",
            )?,
            connections: register.gauge(
                "gateway_connections",
                "Open MQTT sessions of devices at the listener",
            )?,
            commits: register.counter("gateway_spool_commits_total", "Durable commits of the spool")?,
            commit_failures: register.counter(
                "gateway_spool_commit_failures_total",
                "Commits of the spool that failed and are retried; nothing is acknowledged meanwhile",
            )?,
            spool_bytes: register.gauge(
                "gateway_spool_bytes",
                "Live bytes in the spool, the quarantine included",
            )?,
            blocked: register.gauge(
                "gateway_spool_blocked",
                "1 while nothing is acknowledged because the spool is full or its disk fails",
            )?,
            paused: register.gauge("gateway_forward_paused", "1 while ingest takes no batch")?,
            throttled: register.counter(
                "gateway_throttled_total",
                "Times that a session was not read for a while because its device is above its rate",
            )?,
            quarantined: register.gauge(
                "gateway_quarantined_items",
                "Items that ingest rejected, kept until somebody decides",
            )?,
            missing: register.gauge(
                "gateway_spool_missing_rows",
                "Acknowledged rows that were gone from the spool when a gateway started, until `taraz spool repair` has taken note of them",
            )?,
            frames: register.vec("gateway_frames_total", "Frames by what became of them", "result")?,
            refused: register.vec("gateway_refused_total", "Frames refused, by reason", "reason")?,
            batches: register.vec(
                "gateway_forward_batches_total",
                "Batches by ingest's answer",
                "result",
            )?,
            rejected_connects: register.vec(
                "gateway_connects_rejected_total",
                "Connections to the listener that did not become a session, by reason",
                "reason",
            )?,
            sessions_ended: register.vec(
                "gateway_sessions_ended_total",
                "MQTT sessions at the listener that ended, by reason",
                "reason",
            )?,
            broker_connected: IntGauge::new(
                "gateway_broker_connected",
                "1 while the session with the external broker stands and is subscribed; absent where none is configured",
            )?,
        };
        metrics.name_label_values();
        Ok(metrics)
    }

    /// Each exists before anything happened.
    fn name_label_values(&self) {
        for result in FrameResult::ALL {
            self.frames.with_label_values(&[result.as_str()]);
        }
        for reason in RefusedReason::ALL {
            self.refused.with_label_values(&[reason.as_str()]);
        }
        for result in BatchResult::ALL {
            self.batches.with_label_values(&[result.as_str()]);
        }
        for reason in ConnectRejected::ALL {
            self.rejected_connects.with_label_values(&[reason.as_str()]);
        }
        for reason in SessionEnd::ALL {
            self.sessions_ended.with_label_values(&[reason.as_str()]);
        }
    }

    pub(crate) fn frames(&self, result: FrameResult, count: u64) {
        if count > 0 {
            self.frames.with_label_values(&[result.as_str()]).inc_by(count);
        }
    }

    pub(crate) fn refused(&self, reason: RefusedReason) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
        self.frames(FrameResult::Refused, 1);
    }

    pub(crate) fn batch(&self, result: BatchResult) {
        self.batches.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn connect_rejected(&self, reason: ConnectRejected) {
        self.rejected_connects.with_label_values(&[reason.as_str()]).inc();
    }

    pub(crate) fn session_ended(&self, reason: SessionEnd) {
        self.sessions_ended.with_label_values(&[reason.as_str()]).inc();
    }

    /// Shows `gateway_broker_connected`: where no broker is configured, its absence says so, and no alert fires.
    pub(crate) fn show_broker(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.broker_connected.clone()))
    }

    pub(crate) fn broker_connected(&self, connected: bool) {
        self.broker_connected.set(connected.into());
    }

    pub(crate) fn is_broker_connected(&self) -> bool {
        self.broker_connected.get() != 0
    }
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone())).map(|()| gauge)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = IntCounter::new(name, help)?;
        self.0.register(Box::new(counter.clone())).map(|()| counter)
    }

    fn vec(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
        let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
        self.0.register(Box::new(counter.clone())).map(|()| counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_registry_holds_one_gateway() {
        let registry = Registry::new();
        assert!(Metrics::new(&registry).is_ok());
        assert!(Metrics::new(&registry).is_err());
    }

    #[test]
    fn every_label_value_exists_before_anything_happened() {
        let registry = Registry::new();
        let _metrics = Metrics::new(&registry).unwrap();
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "gateway_frames_total{result=\"duplicate\"} 0",
            "gateway_refused_total{reason=\"tag\"} 0",
            "gateway_forward_batches_total{result=\"too_large\"} 0",
            "gateway_forward_paused 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
