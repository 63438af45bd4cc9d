//! A run of consecutive records becomes a frame.

use taraz_telemetry::{DeviceId, DeviceKey, FrameError, FrameWriter, RECORD_LEN_MAX, Sequence};

use super::flights::Flights;
use crate::queue::{Position, Queue};

/// A run that was written into a frame.
pub(super) struct Run {
    pub(super) last: Sequence,
    pub(super) len: usize,
    /// It ended because nothing more is pending, not because the frame was full.
    pub(super) reached_end: bool,
}

/// Writes the run of consecutive pending records from `first` on into one frame: up to `end`, to a gap, to a record in
/// flight, or until the frame is full. `None` when not even the first can be read.
pub(super) fn write_run<Q: Queue, const N: usize>(
    queue: &mut Q,
    key: &DeviceKey,
    device: &DeviceId,
    first: Position,
    end: Position,
    flights: Option<&Flights<N>>,
    buffer: &mut [u8],
) -> Result<Option<Run>, Q::Error> {
    let begun = FrameWriter::new(
        buffer,
        key.generation(),
        queue.incarnation(),
        first.boot,
        first.sequence,
    );
    let Ok(mut writer) = begun else { return Ok(None) };
    let mut record = [0; RECORD_LEN_MAX];
    let (mut at, mut last, mut reached_end) = (first, None, false);
    loop {
        let Some(bytes) = queue.read(at, &mut record)? else {
            break;
        };
        match writer.push_encoded(bytes) {
            Ok(()) => last = Some(at.sequence),
            Err(FrameError::NoRoom) => break,
            Err(_) => break,
        }
        at = at.after();
        let next = queue.next_pending(at)?;
        reached_end = next.is_none_or(|next| next >= end);
        if reached_end || next != Some(at) || flights.is_some_and(|flights| flights.covering(at).is_some()) {
            break;
        }
    }
    let Some(last) = last else { return Ok(None) };
    Ok(Some(Run {
        last,
        len: writer.finish(key, device).len(),
        reached_end,
    }))
}
