//! Prometheus' text format, version 0.0.4, written line by line into one text: a fleet has hundreds of thousands of lines.

use std::fmt::Write as _;

/// Integers up to here are exact in a double, and are written as integers.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What a family counts or shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// The lines of one family; `N` labels, in alphabetical order.
#[derive(Debug)]
pub(super) struct Lines<'t, const N: usize> {
    text: &'t mut String,
    name: &'static str,
    labels: [&'static str; N],
}

impl<'t, const N: usize> Lines<'t, N> {
    /// Writes a family whose lines `fill` adds; nothing when it adds none, for a family without a value can't be read.
    pub(super) fn family(
        text: &'t mut String,
        kind: Kind,
        (name, labels): (&'static str, [&'static str; N]),
        help: &str,
        fill: impl FnOnce(&mut Self),
    ) {
        let begun = text.len();
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a text can't fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        let head = text.len();
        let mut lines = Self { text, name, labels };
        fill(&mut lines);
        if lines.text.len() == head {
            lines.text.truncate(begun);
        }
    }

    /// A line with these values of the labels, for what is known; nothing for what is not.
    pub(super) fn add(&mut self, values: [&str; N], value: Option<f64>) {
        let Some(value) = value else { return };
        self.text.push_str(self.name);
        for (at, (label, text)) in self.labels.iter().zip(values).enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            push_escaped(self.text, text);
            self.text.push('"');
        }
        self.text.push_str(if N == 0 { " " } else { "} " });
        push_number(self.text, value);
        self.text.push('\n');
    }
}

/// "Label values … with the backslash, double-quote and line feed characters escaped as \\, \", and \n."
fn push_escaped(text: &mut String, value: &str) {
    if !value.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        return text.push_str(value);
    }
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// The shortest digits that are read as this number again.
fn push_number(text: &mut String, value: f64) {
    // Writing to a text can't fail.
    let _ = if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
        // Whole, and inside the range.
        #[allow(clippy::cast_possible_truncation)]
        let whole = value as i64;
        write!(text, "{whole}")
    } else if value.is_infinite() {
        text.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        write!(text, "{value}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(fill: impl FnOnce(&mut Lines<'_, 2>)) -> String {
        let mut text = String::new();
        Lines::family(&mut text, Kind::Gauge, ("a_b", ["x", "y"]), "What it is.", fill);
        text
    }

    #[test]
    fn a_family_without_a_value_is_not_there() {
        assert_eq!(family(|lines| lines.add(["1", "2"], None)), "");
    }

    #[test]
    fn values_of_labels_are_escaped() {
        assert_eq!(
            family(|lines| lines.add(["a\"\\\nb", ""], Some(1.0))),
            "# HELP a_b What it is.\n# TYPE a_b gauge\na_b{x=\"a\\\"\\\\\\nb\",y=\"\"} 1\n"
        );
    }

    #[test]
    fn numbers_are_read_as_what_they_were() {
        for value in [
            0.0,
            -2_000.0,
            444_444_440_400.0,
            -3.25,
            0.1,
            1e-9,
            WHOLE_MAX,
            1e300,
            f64::INFINITY,
        ] {
            let mut text = String::new();
            push_number(&mut text, value);
            assert_eq!(text.parse::<f64>().unwrap(), value, "{text}");
        }
        let mut text = String::new();
        push_number(&mut text, f64::NAN);
        assert_eq!(text, "NaN");
    }

    #[test]
    fn a_family_without_labels_is_a_name_and_a_number() {
        let mut text = String::new();
        Lines::family(&mut text, Kind::Counter, ("a_total", []), "A.", |lines| {
            lines.add([], Some(7.0));
        });
        assert_eq!(text, "# HELP a_total A.\n# TYPE a_total counter\na_total 7\n");
    }
}
