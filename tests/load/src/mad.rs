//! What a device gone mad sends beside its readings: the same frame again and again, and what is no frame.

use crate::packets::{self, Version};

/// Messages without PUBACK at a time; the door allows 128, and new readings come on top.
const IN_FLIGHT: usize = 80;
/// As long as a frame of ten readings.
const GARBAGE: [u8; 400] = [0x5a; 400];

/// What it has in flight on the present connection.
#[derive(Debug, Default)]
pub(crate) struct Mad {
    in_flight: usize,
    sent: u64,
}

impl Mad {
    /// The connection is over.
    pub(crate) const fn lost(&mut self) {
        self.in_flight = 0;
    }

    /// A frame of its own was sent.
    pub(crate) const fn sent(&mut self) {
        self.in_flight += 1;
    }

    /// Something was answered.
    pub(crate) const fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Appends as much as it may have in flight: `known`, a frame that was sent before, and garbage in turn.
    pub(crate) fn flood(
        &mut self,
        out: &mut Vec<u8>,
        version: Version,
        topic: &str,
        id: &mut dyn FnMut() -> u16,
        known: Option<&[u8]>,
    ) {
        while self.in_flight < IN_FLIGHT {
            self.in_flight += 1;
            self.sent += 1;
            let payload = known.filter(|_| self.sent.is_multiple_of(2)).unwrap_or(&GARBAGE);
            packets::publish(out, version, id(), topic, payload, false);
        }
    }
}
