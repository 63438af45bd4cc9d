//! The frame decoder, with the tag as it came and with the right one: whoever has a key can be damaged, too.

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_telemetry::{
    Ack, DeviceId, DeviceKey, Direction, FRAME_LEN_MAX, Frame, FrameError, FrameWriter, MasterKey, TAG_LEN,
    parse_topic,
};

use crate::harness::Target;
use crate::records;

/// Fuzzes `Frame::open`, `Ack::decode` and `parse_topic`.
pub(crate) struct Frames {
    device: DeviceId,
    key: DeviceKey,
}

impl Frames {
    pub(crate) fn new() -> Result<Self> {
        let device = DeviceId::new("sari-01")?;
        let key = MasterKey::new([7; 32]).device_key(&device, 1);
        Ok(Self { device, key })
    }
}

impl Target for Frames {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let first = u32::try_from(records::number(random) & 0xFFFF_FFFF).unwrap_or(0);
        let count_max = [1, 3, 40][random.random_range(0..3)];
        records::frame(random, &self.key, &self.device, first, count_max)
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        // Nothing that can be checked: they must only return.
        let _ = Ack::decode(input, &self.key, &self.device);
        let _ = std::str::from_utf8(input).map(parse_topic);
        let as_it_came = Frame::open(input, &self.key, &self.device);
        let Some(content) = input.len().checked_sub(TAG_LEN).map(|end| &input[..end]) else {
            return Ok("too short for a tag".to_owned());
        };
        let tag = self.key.tag(Direction::Up, &self.device, content);
        let tagged = [content, &tag].concat();
        if let Ok(frame) = as_it_came {
            if tagged != input {
                return Err("a frame with a wrong tag was opened".to_owned());
            }
            return self.check(&frame, input).map(|()| "authentic".to_owned());
        }
        match Frame::open(&tagged, &self.key, &self.device) {
            Ok(frame) => self
                .check(&frame, &tagged)
                .map(|()| "opened with a right tag".to_owned()),
            Err(error @ (FrameError::Tag | FrameError::NoRoom)) => Err(format!("with a right tag: {error}")),
            Err(error) => Ok(named(error).to_owned()),
        }
    }
}

impl Frames {
    /// Every record of an opened frame can be read, and written again it gives the same bytes: one spelling.
    fn check(&self, frame: &Frame<'_>, bytes: &[u8]) -> Result<(), String> {
        let range = frame.range();
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(
            &mut buffer,
            self.key.generation(),
            range.incarnation,
            range.boot,
            range.first,
        )
        .map_err(|error| error.to_string())?;
        for record in frame.records() {
            let record = record.map_err(|error| format!("a record of an opened frame: {error}"))?;
            writer
                .push(&record)
                .map_err(|error| format!("written again: {error}"))?;
        }
        if writer.records() != frame.count() {
            return Err(format!("{} records, stated {}", writer.records(), frame.count()));
        }
        let again = writer.finish(&self.key, &self.device);
        (again == bytes)
            .then_some(())
            .ok_or_else(|| "written again it has other bytes".to_owned())
    }
}

const fn named(error: FrameError) -> &'static str {
    match error {
        FrameError::NoRoom => "no room",
        FrameError::Length(_) => "length",
        FrameError::Version(_) => "version",
        FrameError::Generation(_) => "generation",
        FrameError::Tag => "tag",
        FrameError::Malformed(0) => "malformed at once",
        FrameError::Malformed(_) => "malformed behind a good record",
    }
}
