//! The servers, each with the settings that make it good for a test.

mod alertmanager;
mod influxd;
mod mosquitto;
mod prometheus;
mod victoria;

pub use alertmanager::Alertmanager;
pub use influxd::Influxd;
pub use mosquitto::{Mosquitto, MosquittoOptions};
pub use prometheus::{Prometheus, Sample};
pub use victoria::VictoriaMetrics;

use std::fs;
use std::path::Path;

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
}

/// Escapes text for the query of an address (RFC 3986: everything but unreserved characters).
fn escaped(text: &str) -> String {
    let escape = |byte: u8| {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if plain {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_escaped() {
        assert_eq!(super::escaped("up{a=\"b\"} + 1"), "up%7Ba%3D%22b%22%7D%20%2B%201");
    }
}
