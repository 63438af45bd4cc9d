//! What a herd went through, in figures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::beast::Heard;
use crate::histogram::Histogram;

/// How far a herd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Only the live ones are there.
    Before,
    Herd,
    /// Half of the backlog is acknowledged: whatever was done then is felt.
    AfterHalf,
    /// Nothing new is published.
    Ending,
}

/// Counts, and times in µs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Readings of the herd that were acknowledged.
    pub(crate) backlog_acknowledged: u64,
    /// Readings of all that were published.
    pub(crate) published: u64,
    /// Connections that were tried.
    pub(crate) comings: u64,
    /// From what was done at half until every live device was back.
    pub(crate) live_back_us: Option<u64>,
    /// Frames of mad devices that were refused.
    refused: u64,
    /// Publish to PUBACK of live readings, until half and from then on.
    live: [Histogram; 2],
    live_ack: Histogram,
    /// Why connections ended, and how often.
    ends: BTreeMap<String, u64>,
}

impl Tally {
    /// A device of the herd was told, or a mad one, of which only what was refused is counted.
    pub(crate) const fn backlog(&mut self, heard: &Heard, is_mad: bool) {
        self.backlog_acknowledged += if is_mad { 0 } else { heard.acknowledged };
        self.refused += heard.refused;
    }

    /// A live device was told.
    pub(crate) fn live(&mut self, heard: &Heard, phase: Phase) {
        let is_after = matches!(phase, Phase::AfterHalf | Phase::Ending);
        if phase != Phase::Before {
            let histogram = &mut self.live[usize::from(is_after)];
            heard.puback_us.iter().for_each(|&us| histogram.add(us));
        }
        heard.ack_us.iter().for_each(|&us| self.live_ack.add(us));
    }

    /// A connection ended.
    pub(crate) fn ended(&mut self, why: &str) {
        *self.ends.entry(why.to_owned()).or_default() += 1;
    }

    /// Why connections ended, and how often.
    pub(crate) const fn ends(&self) -> &BTreeMap<String, u64> {
        &self.ends
    }

    /// All of it.
    pub(crate) fn json(&self) -> Value {
        let [before, after] = &self.live;
        json!({
            "backlog_readings": self.backlog_acknowledged,
            "published_readings": self.published,
            "connects": self.comings,
            "connections_ended": self.ends,
            "frames_refused": self.refused,
            "live_back_us": self.live_back_us,
            "live_publish_to_puback": before.json(),
            "live_publish_to_puback_after_half": after.json(),
            "live_publish_to_ack": self.live_ack.json(),
        })
    }
}
