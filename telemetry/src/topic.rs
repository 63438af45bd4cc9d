//! Where things are published: `taraz/1/{device}/{channel}`.

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
        for part in [TOPIC_PREFIX, device.as_str(), "/", self.as_str()] {
            let _ = topic.push_str(part);
        }
        topic
    }
}

/// Takes a topic apart; `None` when it is not one of ours.
#[must_use]
pub fn parse_topic(topic: &str) -> Option<(DeviceId, Channel)> {
    let (device, channel) = topic.strip_prefix(TOPIC_PREFIX)?.split_once('/')?;
    let channel = [Channel::Up, Channel::Ack, Channel::State, Channel::Cmd]
        .into_iter()
        .find(|c| c.as_str() == channel)?;
    Some((DeviceId::new(device).ok()?, channel))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: &str = "abcdefghijklmnopqrstuvwxyz-01234";

    #[test]
    fn the_longest_topic_fits() {
        let device = DeviceId::new(LONGEST).unwrap();
        assert_eq!(LONGEST.len(), DEVICE_ID_LEN_MAX);
        let topic = Channel::State.topic(&device);
        assert_eq!(topic, "taraz/1/abcdefghijklmnopqrstuvwxyz-01234/state");
        assert_eq!(topic.len(), TOPIC_LEN_MAX);
    }

    #[test]
    fn what_is_not_ours_is_not_taken_apart() {
        for topic in [
            "",
            "taraz/1/",
            "taraz/1/a",
            "taraz/1/a/",
            "taraz/1//up",
            "taraz/2/a/up",
            "taraz/1/a/up/",
            "taraz/1/a/up/x",
            "taraz/1/A/up",
            "taraz/1/+/up",
            "taraz/1/#",
            "/taraz/1/a/up",
            "taraz/1/a/UP",
            "taraz/1/-a/up",
        ] {
            assert_eq!(parse_topic(topic), None, "{topic}");
        }
    }

    proptest! {
        #[test]
        fn every_topic_comes_back(id in "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?") {
            let device = DeviceId::new(&id).unwrap();
            for channel in [Channel::Up, Channel::Ack, Channel::State, Channel::Cmd] {
                prop_assert_eq!(parse_topic(&channel.topic(&device)), Some((device.clone(), channel)));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
            let _ = parse_topic(&text);
        }
    }
}
