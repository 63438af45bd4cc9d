//! The gateway's acknowledgement: which records are committed. Only it frees anything on the device.
//!
//! ```text
//! version u8 · key generation u8 · count u8 · { incarnation u32 LE · boot varint · first varint · last − first varint } … · tag [16]
//! ```

use heapless::Vec;

use crate::key::TAG_LEN;
use crate::{DeviceId, DeviceKey, Direction, RecordRange, VERSION, VERSION_MIN};

/// The most ranges in one acknowledgement.
pub const ACK_RANGES_MAX: usize = 32;
/// The longest acknowledgement in bytes.
pub const ACK_LEN_MAX: usize = HEAD_LEN + ACK_RANGES_MAX * (4 + 3 * 5) + TAG_LEN;

const HEAD_LEN: usize = 3;

/// The ranges of one acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// What was committed.
    pub ranges: Vec<RecordRange, ACK_RANGES_MAX>,
}

/// Bytes that are no acknowledgement for this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// Not a known version, or not the form of an acknowledgement; when written: a range whose last is below its first.
    #[error(
        "not an acknowledgement of version {VERSION_MIN} to {VERSION}, or a range that ends before it begins"
    )]
    Malformed,
    /// The tag does not fit: not from our gateway, or not for us.
    #[error("the tag of the acknowledgement does not fit")]
    Tag,
    /// The buffer is too short; [`ACK_LEN_MAX`] bytes always suffice.
    #[error("no room for the acknowledgement")]
    NoRoom,
}

impl Ack {
    /// Writes the acknowledgement with its tag.
    ///
    /// # Errors
    /// [`AckError::NoRoom`] when the buffer is too short; [`AckError::Malformed`] for a range whose last is below its
    /// first: it names nothing, and nothing must never free a record.
    pub fn encode<'b>(
        &self,
        buffer: &'b mut [u8],
        key: &DeviceKey,
        device: &DeviceId,
    ) -> Result<&'b [u8], AckError> {
        // ACK_RANGES_MAX bounds the length far below 256.
        #[allow(clippy::cast_possible_truncation)]
        let head = [VERSION, key.generation(), self.ranges.len() as u8];
        let mut used = put(buffer, 0, &head)?;
        for range in &self.ranges {
            used = put(buffer, used, &range.incarnation.to_le_bytes())?;
            let more = range.last.checked_sub(range.first).ok_or(AckError::Malformed)?;
            let counters = (range.boot, range.first, more);
            used += postcard::to_slice(&counters, &mut buffer[used..])
                .map_err(|_| AckError::NoRoom)?
                .len();
        }
        let tag = key.tag(Direction::Down, device, &buffer[..used]);
        let end = put(buffer, used, &tag)?;
        Ok(&buffer[..end])
    }

    /// Checks the tag, then reads the ranges.
    ///
    /// # Errors
    /// [`AckError::Malformed`] or [`AckError::Tag`].
    pub fn decode(bytes: &[u8], key: &DeviceKey, device: &DeviceId) -> Result<Self, AckError> {
        if !(HEAD_LEN + TAG_LEN..=ACK_LEN_MAX).contains(&bytes.len())
            || !(VERSION_MIN..=VERSION).contains(&bytes[0])
        {
            return Err(AckError::Malformed);
        }
        let (content, tag) = bytes.split_at(bytes.len() - TAG_LEN);
        if content[1] != key.generation() || !key.verify(Direction::Down, device, content, tag) {
            return Err(AckError::Tag);
        }
        let mut ack = Self::default();
        let mut rest = &content[HEAD_LEN..];
        for _ in 0..content[2] {
            let (incarnation, after) = rest.split_first_chunk::<4>().ok_or(AckError::Malformed)?;
            let ((boot, first, more), after) =
                postcard::take_from_bytes::<(u32, u32, u32)>(after).map_err(|_| AckError::Malformed)?;
            let last = first.checked_add(more).ok_or(AckError::Malformed)?;
            let range = RecordRange {
                incarnation: u32::from_le_bytes(*incarnation),
                boot,
                first,
                last,
            };
            ack.ranges.push(range).map_err(|_| AckError::Malformed)?;
            rest = after;
        }
        if rest.is_empty() {
            Ok(ack)
        } else {
            Err(AckError::Malformed)
        }
    }
}

fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) -> Result<usize, AckError> {
    let end = at + bytes.len();
    buffer
        .get_mut(at..end)
        .ok_or(AckError::NoRoom)?
        .copy_from_slice(bytes);
    Ok(end)
}
