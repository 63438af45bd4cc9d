//! Gets a batch of lines to the server, whatever it says: again after a failure, in halves around a line it refuses.
//!
//! A server that refuses everything is no reason to set everything aside: before the first line of a batch is set aside, a
//! line of our own must have been taken. So a wrong precision, a proxy or a full disk that answers 400 stops the sink and
//! costs nothing.

use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::influx::{Influx, Line, WriteError};
use super::status::{Quarantined, SinkStatus, What};

/// The measurement of the line that shows whether the server takes anything at all.
const PROBE: &str = "taraz_sink_probe";

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every line was taken or set aside.
    Delivered,
    /// The program stops; nothing is known of the rest.
    Stopping,
}

/// Writes all lines. Returns only when each was taken or set aside, or when the program stops.
pub(super) async fn deliver(
    influx: &Influx,
    status: &SinkStatus,
    what: What,
    lines: Vec<String>,
    cancel: &CancellationToken,
) -> Outcome {
    let mut backoff = Backoff::new();
    let mut probed = false;
    // What is left as ranges of `lines` (first, end), the next on top: at most one for each halving and its other half.
    let mut left = Vec::from([(0, lines.len())]);
    while let Some((first, end)) = left.pop() {
        let range = first..end;
        if range.is_empty() {
            continue;
        }
        let result = tokio::select! {
            () = cancel.cancelled() => return Outcome::Stopping,
            result = influx.write(lines[range.clone()].concat()) => result,
        };
        let reason = match result {
            Ok(()) => {
                status.written(what, range.len());
                backoff = Backoff::new();
                continue;
            }
            Err(WriteError::Later(reason)) => {
                left.push((first, end));
                reason
            }
            Err(refusal) => {
                status.refused();
                if range.len() > 1 {
                    let middle = first + range.len() / 2;
                    left.push((middle, end));
                    left.push((first, middle));
                    continue;
                }
                if probed {
                    set_aside(status, what, &lines[first], &refusal);
                    continue;
                }
                left.push((first, end));
                match probe(influx, status.name(), cancel).await {
                    Some(Ok(())) => {
                        probed = true;
                        continue;
                    }
                    Some(Err(error)) => {
                        format!("{refusal}; it refuses every line, even our own probe: {error}")
                    }
                    None => return Outcome::Stopping,
                }
            }
        };
        tracing::warn!(sink = status.name(), %reason, "the sink did not take a write; trying again");
        status.failed(reason);
        tokio::select! {
            () = cancel.cancelled() => return Outcome::Stopping,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
    Outcome::Delivered
}

fn set_aside(status: &SinkStatus, what: What, line: &str, refusal: &WriteError) {
    let sample = Quarantined {
        line: line.trim_end().to_owned(),
        reason: refusal.to_string(),
    };
    tracing::warn!(sink = status.name(), line = %sample.line, reason = %sample.reason, "the sink will never take this line; set aside");
    status.quarantined(what, sample);
}

/// Writes a line that nothing can be wrong with, always the same one. `None` when the program stops.
async fn probe(influx: &Influx, sink: &str, cancel: &CancellationToken) -> Option<Result<(), WriteError>> {
    let mut text = String::new();
    let mut line = Line::new(&mut text, PROBE);
    line.tag("sink", sink);
    line.field("taken", 1);
    // 2020-01-01T00:00:00Z: fixed, so that it stays one point.
    line.finish(1_577_836_800_000);
    tokio::select! {
        () = cancel.cancelled() => None,
        result = influx.write(text) => Some(result),
    }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
