//! Our own line protocol encoder: a stored reading, or a figure's point → one line.
//!
//! In: a reading whose identifiers are ours, and names that need not be. Out: text in which no value can end its place,
//! its line or its quoting. It never writes a float, and a field has one type for ever: integer.

use std::fmt::Write as _;

use crate::figures::{Point, Value};
use crate::view::StoredReading;

/// The measurement of every reading.
pub(crate) const MEASUREMENT: &str = "reading";

/// Appends the line of a reading, with its line feed. False, and nothing appended, when the reading carries no value.
///
/// Tags and timestamp come from the reading alone, so that writing it again changes nothing.
pub(crate) fn encode(reading: &StoredReading, out: &mut String) -> bool {
    let mut line = Line::new(out, MEASUREMENT);
    // In the order of their keys, as InfluxDB sorts them anyway.
    line.tag("device", reading.device.as_str());
    line.tag("meter", &reading.meter.to_string());
    line.tag("plant", &reading.plant);
    line.tag("role", reading.role.as_str());
    for (field, value) in reading.quantities.iter() {
        line.field(field.name(), value);
    }
    for (index, input) in reading.quantities.mppt.iter().enumerate() {
        let values = [
            ("voltage_dv", input.voltage_dv.map(i64::from)),
            ("current_ca", input.current_ca.map(i64::from)),
            ("power_w", input.power_w.map(i64::from)),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                line.field(&format!("mppt{}_{name}", index + 1), value);
            }
        }
    }
    line.finish(reading.time_ms)
}

/// Appends the line of a figure's point at a time in ms, with its line feed. What may be unknown has a field of its own that says so (1 is
/// known): a value that was written once can't be taken back.
pub(crate) fn encode_point(point: &Point, time_ms: i64, out: &mut String) {
    let mut line = Line::new(out, point.measurement);
    for (key, value) in &point.tags {
        line.tag(key, value);
    }
    for &(name, value) in &point.fields {
        match value {
            Value::Is(value) => line.field(name, value),
            Value::Maybe(value) => {
                if let Some(value) = value {
                    line.field(name, value);
                }
                line.field(&format!("{name}_known"), i64::from(value.is_some()));
            }
        }
    }
    line.finish(time_ms);
}

/// One line being written.
pub(crate) struct Line<'o> {
    out: &'o mut String,
    start: usize,
    fields: usize,
}

impl<'o> Line<'o> {
    /// Begins a line. The measurement is ours: letters and `_` only.
    pub(crate) fn new(out: &'o mut String, measurement: &'static str) -> Self {
        let start = out.len();
        out.push_str(measurement);
        Self {
            out,
            start,
            fields: 0,
        }
    }

    /// Appends a tag; all tags come before the first field. Line protocol has no empty tag, so an empty one is left out.
    pub(crate) fn tag(&mut self, key: &str, value: &str) {
        if !key.is_empty() && !value.is_empty() {
            self.out.push(',');
            escape(key, self.out);
            self.out.push('=');
            escape(value, self.out);
        }
    }

    /// Appends an integer field.
    pub(crate) fn field(&mut self, key: &str, value: i64) {
        self.out.push(if self.fields == 0 { ' ' } else { ',' });
        escape(key, self.out);
        // Writing into a String can't fail.
        let _ = write!(self.out, "={value}i");
        self.fields += 1;
    }

    /// Ends the line with its time in ms. False, and the line taken back, when it has no field.
    pub(crate) fn finish(self, time_ms: i64) -> bool {
        if self.fields == 0 {
            self.out.truncate(self.start);
            return false;
        }
        let _ = writeln!(self.out, " {time_ms}");
        true
    }
}

/// Writes a key or a tag value.
///
/// "Tag keys, tag values and field keys: escape comma, equals sign, space with a backslash" (InfluxDB v2, Line protocol,
/// "Special characters"). A backslash itself has no form that all engines read alike (InfluxDB keeps `\\` as two,
/// VictoriaMetrics as one, and one before a comma can't be told from an escape), and a line feed has none at all: these
/// and the other control characters become `_`.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            ',' | '=' | ' ' => {
                out.push('\\');
                out.push(character);
            }
            '\\' => out.push('_'),
            control if control.is_control() => out.push('_'),
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
