//! What is published: frames of the device protocol, or the same readings as JSON for other brokers.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use taraz_telemetry::{
    Clock, DeviceId, DeviceKey, FRAME_LEN_MAX, FrameWriter, Incarnation, MeterAddress, Outcome, Reading,
    Record, ResetCause, Sequence, Stamp, Start,
};

use crate::series::{Sample, Series};

/// The one boot that every device of a run has.
pub(crate) const BOOT: u32 = 1;

/// How readings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `docs/protocol.md`: frames with their tags, under `taraz/1/{device}/up`.
    Frames,
    /// One JSON object for each reading, under `solar/{plant}/{meter}`; several of a message in an array.
    Json,
}

/// One message's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) first: Sequence,
    pub(crate) last: Sequence,
    /// Newest power that it states.
    pub(crate) power_w: i64,
}

/// Writes the messages of one device.
#[derive(Debug)]
pub(crate) struct Author {
    device: DeviceId,
    key: DeviceKey,
    incarnation: Incarnation,
    series: Series,
    next: Sequence,
    /// States a power that tells which reading it is, instead of a plausible one.
    numbered: bool,
    with_registers: bool,
    readings: u64,
}

impl Author {
    pub(crate) fn new(device: DeviceId, key: DeviceKey, incarnation: Incarnation, series: Series) -> Self {
        Self {
            device,
            key,
            incarnation,
            series,
            next: 0,
            numbered: false,
            with_registers: true,
            readings: 0,
        }
    }

    /// From now on power counts readings: [`numbered_power_w`].
    pub(crate) fn number(&mut self) {
        self.numbered = true;
    }

    /// From now on no reading states a register.
    pub(crate) fn leave_registers_out(&mut self) {
        self.with_registers = false;
    }

    pub(crate) const fn device(&self) -> &DeviceId {
        &self.device
    }

    pub(crate) const fn key(&self) -> &DeviceKey {
        &self.key
    }

    pub(crate) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Makes a message of `readings` readings in `out`, which is emptied before. A device's first frame begins with its
    /// start.
    ///
    /// # Errors
    /// When they do not fit one frame.
    pub(crate) fn write(
        &mut self,
        out: &mut Vec<u8>,
        format: Format,
        readings: usize,
        now_ms: u64,
    ) -> Result<Written> {
        out.clear();
        match format {
            Format::Frames => self.write_frame(out, readings, now_ms),
            Format::Json => Ok(self.write_json(out, readings, now_ms)),
        }
    }

    fn write_frame(&mut self, out: &mut Vec<u8>, readings: usize, now_ms: u64) -> Result<Written> {
        out.resize(FRAME_LEN_MAX, 0);
        let first = self.next;
        let mut power_w = 0;
        let (generation, incarnation) = (self.key.generation(), self.incarnation);
        let mut frame = FrameWriter::new(out, generation, incarnation, BOOT, first)?;
        if first == 0 {
            frame.push(&start(now_ms)).context("the start of a device")?;
        }
        for _ in 0..readings {
            let sample = self.sample(now_ms);
            power_w = power_of(&sample);
            let reading = Reading {
                meter: MeterAddress::new(sample.meter).context("an address of a meter")?,
                stamp: Stamp {
                    ms: sample.time_ms,
                    clock: Clock::Synced,
                },
                outcome: Outcome::Values(sample.values),
            };
            frame.push(&Record::Reading(reading)).with_context(|| {
                format!("--readings-per-frame {readings}: so many do not fit {FRAME_LEN_MAX} bytes, expected at most 20")
            })?;
        }
        let records = frame.records();
        let length = frame.finish(&self.key, &self.device).len();
        out.truncate(length);
        self.next += records;
        Ok(Written {
            first,
            last: self.next - 1,
            power_w,
        })
    }

    fn write_json(&mut self, out: &mut Vec<u8>, readings: usize, now_ms: u64) -> Written {
        let first = self.next;
        let mut power_w = 0;
        let mut text = String::from(if readings > 1 { "[" } else { "" });
        for index in 0..readings {
            let sample = self.sample(now_ms);
            power_w = power_of(&sample);
            if index > 0 {
                text.push(',');
            }
            // Writing to a text can't fail.
            let _ = write!(
                text,
                "{{\"plant\":\"{}\",\"meter\":{},\"ts\":{}",
                self.device, sample.meter, sample.time_ms
            );
            for (field, value) in sample.values.iter() {
                let _ = write!(text, ",\"{}\":{value}", field.name());
            }
            text.push('}');
        }
        if readings > 1 {
            text.push(']');
        }
        out.extend_from_slice(text.as_bytes());
        // A run's readings of one device stay far below 2³².
        #[allow(clippy::cast_possible_truncation)]
        let count = readings as u32;
        self.next += count;
        Written {
            first,
            last: self.next - 1,
            power_w,
        }
    }

    fn sample(&mut self, now_ms: u64) -> Sample {
        let mut sample = self.series.next(now_ms);
        if self.numbered {
            sample.values.ac_power_w = Some(numbered_power_w(self.readings));
        }
        if !self.with_registers {
            sample.values.energy_wh = None;
            sample.values.import_wh = None;
        }
        self.readings += 1;
        sample
    }
}

/// Powers of numbered readings repeat after so many.
pub(crate) const NUMBERS: u64 = 6_000;
const NUMBERED_FROM_W: i32 = 2_000;

/// The power that the `number`-th reading of a numbered device states.
pub(crate) fn numbered_power_w(number: u64) -> i32 {
    NUMBERED_FROM_W + i32::try_from(number % NUMBERS).unwrap_or(0)
}

fn power_of(sample: &Sample) -> i64 {
    sample.values.ac_power_w.map_or(0, i64::from)
}

fn start(now_ms: u64) -> Record {
    let mut firmware = taraz_telemetry::FirmwareVersion::new();
    // 24 bytes have room.
    let _ = firmware.push_str("0.1.0-load");
    Record::Start(Start {
        stamp: Stamp {
            ms: now_ms,
            clock: Clock::Synced,
        },
        reset_cause: ResetCause::PowerOn,
        recovered: None,
        firmware,
    })
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::{Frame, MasterKey};

    use super::*;
    use crate::series::Times;

    const NOW_MS: u64 = 1_795_000_000_000;

    fn author() -> Author {
        let device = DeviceId::new("load-00001").unwrap();
        let key = MasterKey::new([7; 32]).device_key(&device, 1);
        Author::new(device, key, 9, Series::new(0, 1, Times::Live))
    }

    #[test]
    fn frames_are_authentic_and_follow_each_other() {
        let mut author = author();
        let mut bytes = Vec::new();
        let mut next = 0;
        for readings in [1, 10, 20] {
            let written = author
                .write(&mut bytes, Format::Frames, readings, NOW_MS)
                .unwrap();
            let frame = Frame::open(&bytes, author.key(), author.device()).unwrap();
            let range = frame.range();
            assert_eq!((range.first, range.last), (written.first, written.last));
            assert_eq!((range.first, range.incarnation, range.boot), (next, 9, BOOT));
            let found = frame
                .records()
                .filter(|r| matches!(r, Ok(Record::Reading(_))))
                .count();
            assert_eq!(found, readings);
            next = range.last + 1;
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_told() {
        let error = author()
            .write(&mut Vec::new(), Format::Frames, 40, NOW_MS)
            .unwrap_err();
        assert!(
            format!("{error:#}").contains("--readings-per-frame 40"),
            "{error:#}"
        );
    }

    #[test]
    fn json_holds_the_same_twelve_fields() {
        let mut bytes = Vec::new();
        author().write(&mut bytes, Format::Json, 1, NOW_MS).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let object = value.as_object().unwrap();
        assert_eq!(object["plant"], "load-00001");
        assert_eq!(object["ts"], NOW_MS);
        assert_eq!(object.len(), 3 + 12, "{object:?}");
        author().write(&mut bytes, Format::Json, 3, NOW_MS).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 3);
    }
}
