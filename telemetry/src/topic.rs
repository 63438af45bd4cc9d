//! Where things are published: `taraz/1/{device}/{channel}`.

use core::fmt::Write as _;

use heapless::String;

use crate::{DEVICE_ID_LEN_MAX, DeviceId};

/// What every topic of version 1 begins with.
pub const TOPIC_PREFIX: &str = "taraz/1/";
/// The longest topic in bytes.
pub const TOPIC_LEN_MAX: usize = TOPIC_PREFIX.len() + DEVICE_ID_LEN_MAX + 1 + 5;

/// A topic's text.
pub type Topic = String<TOPIC_LEN_MAX>;

/// The four channels of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Frames, device to gateway.
    Up,
    /// Acknowledgements, gateway to device.
    Ack,
    /// `online` or `offline`, retained, the latter as last will.
    State,
    /// Commands, gateway to device; reserved in version 1.
    Cmd,
}

impl Channel {
    /// The last level of its topic.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ack => "ack",
            Self::State => "state",
            Self::Cmd => "cmd",
        }
    }

    /// The channel's topic for a device.
    #[must_use]
    pub fn topic(self, device: &DeviceId) -> Topic {
        let mut topic = Topic::new();
        // TOPIC_LEN_MAX has room for the longest id and channel (tested).
        let _ = write!(topic, "{TOPIC_PREFIX}{device}/{}", self.as_str());
        topic
    }
}

/// Takes a topic apart; `None` when it is not one of ours.
#[must_use]
pub fn parse_topic(topic: &str) -> Option<(DeviceId, Channel)> {
    let (device, channel) = topic.strip_prefix(TOPIC_PREFIX)?.split_once('/')?;
    let channel = [Channel::Up, Channel::Ack, Channel::State, Channel::Cmd].into_iter().find(|c| c.as_str() == channel)?;
    Some((DeviceId::new(device).ok()?, channel))
}
