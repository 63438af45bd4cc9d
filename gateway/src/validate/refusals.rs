//! What was refused: counted by reason, and the last few of each kept to look at.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::metrics::Metrics;

/// How many refused messages are kept for each reason.
pub const REFUSED_SAMPLES_MAX: usize = 16;
/// How much of a refused message is kept, in bytes.
const HEAD_LEN_MAX: usize = 32;
/// How much of its topic is kept, in characters.
const TOPIC_CHARS_MAX: usize = 80;
/// One log line per reason in this time.
const LOG_INTERVAL_MS: u64 = 10_000;

/// Why a message is not an authentic frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedReason {
    /// Not `taraz/1/{device}/up`.
    Topic,
    /// Another device's topic.
    ForeignTopic,
    /// The device is not in the registry.
    UnknownDevice,
    /// Shorter or longer than a frame can be.
    Length,
    /// A version that is not read.
    Version,
    /// Tagged with another generation of the key than the registry's.
    KeyGeneration,
    /// The tag does not fit.
    Tag,
    /// Authentic, but its head or records can't be read.
    Malformed,
}

impl RefusedReason {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [Self; 8] = [
        Self::Topic,
        Self::ForeignTopic,
        Self::UnknownDevice,
        Self::Length,
        Self::Version,
        Self::KeyGeneration,
        Self::Tag,
        Self::Malformed,
    ];

    /// The word that stands for it in labels and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::ForeignTopic => "foreign_topic",
            Self::UnknownDevice => "unknown_device",
            Self::Length => "length",
            Self::Version => "version",
            Self::KeyGeneration => "key_generation",
            Self::Tag => "tag",
            Self::Malformed => "malformed",
        }
    }
}

/// One refused message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedSample {
    /// When, UTC ms.
    pub at_ms: u64,
    /// Why.
    pub reason: RefusedReason,
    /// Who had signed in, or the address of the broker it came through.
    pub from: String,
    /// Its topic, cut after 80 characters.
    pub topic: String,
    /// Its length in bytes.
    pub len: usize,
    /// Its first 32 bytes in hexadecimal digits.
    pub head_hex: String,
}

/// Counts and samples what was refused.
#[derive(Debug)]
pub(crate) struct Refusals {
    metrics: Metrics,
    kept: Mutex<[Kept; RefusedReason::ALL.len()]>,
}

#[derive(Debug, Default)]
struct Kept {
    samples: VecDeque<RefusedSample>,
    logged_ms: Option<u64>,
    unlogged: u64,
}

impl Refusals {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            kept: Mutex::default(),
        }
    }

    /// Counts a refused message, keeps its sample, and logs unless the same reason was logged a moment ago.
    pub(crate) fn add(&self, reason: RefusedReason, from: &str, topic: &str, bytes: &[u8], now_ms: u64) {
        self.metrics.refused(reason);
        let sample = RefusedSample {
            at_ms: now_ms,
            reason,
            from: from.to_owned(),
            topic: topic.chars().take(TOPIC_CHARS_MAX).collect(),
            len: bytes.len(),
            head_hex: hex(&bytes[..bytes.len().min(HEAD_LEN_MAX)]),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut kept[reason as usize];
        let due = kept
            .logged_ms
            .is_none_or(|at| now_ms.abs_diff(at) >= LOG_INTERVAL_MS);
        if due {
            let more = std::mem::take(&mut kept.unlogged);
            kept.logged_ms = Some(now_ms);
            tracing::warn!(
                reason = reason.as_str(),
                from,
                topic = sample.topic,
                len = sample.len,
                more,
                "refused a message; see /api/v1/refused"
            );
        } else {
            kept.unlogged += 1;
        }
        if kept.samples.len() == REFUSED_SAMPLES_MAX {
            kept.samples.pop_front();
        }
        kept.samples.push_back(sample);
    }

    /// The kept samples, reason by reason, oldest first.
    pub(crate) fn samples(&self) -> Vec<RefusedSample> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .flat_map(|kept| kept.samples.iter().cloned())
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_bounded_sample_of_each_reason_is_kept() {
        let registry = Registry::new();
        let refusals = Refusals::new(Metrics::new(&registry).unwrap());
        for n in 0..100_u8 {
            refusals.add(
                RefusedReason::Tag,
                "sari-01",
                "taraz/1/sari-01/up",
                &[n; 100],
                u64::from(n),
            );
        }
        refusals.add(RefusedReason::Topic, "sari-01", &"x".repeat(500), &[], 1);
        let samples = refusals.samples();
        assert_eq!(samples.len(), REFUSED_SAMPLES_MAX + 1);
        assert_eq!(samples[0].topic.len(), TOPIC_CHARS_MAX);
        assert_eq!(samples[1].at_ms, 84);
        assert_eq!(samples[16].head_hex, "63".repeat(HEAD_LEN_MAX));
        assert_eq!(samples[16].len, 100);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(text.contains("gateway_refused_total{reason=\"tag\"} 100"));
        assert!(text.contains("gateway_frames_total{result=\"refused\"} 101"));
    }

    #[test]
    fn reasons_stand_in_the_order_of_their_discriminants() {
        for (at, reason) in RefusedReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
