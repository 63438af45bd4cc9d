//! Where a crate may be named: the libraries that we may want to change one day each have one home.

use super::Problem;
use super::metadata::Metadata;
use super::tree::{Tree, code_lines, has_word};

/// A crate and the only places that may name it; in tests it may be the peer. A place that ends with `/` is a folder, otherwise a file, or a module
/// with its folder (`gateway/src/spool` is `spool.rs` and `spool/`).
struct Home {
    name: &'static str,
    places: &'static [&'static str],
}

const HOMES: &[Home] = &[
    Home {
        name: "rumqttc",
        places: &["gateway/src/doors/broker", "gateway/tests/"],
    },
    Home {
        name: "mqtt_protocol_core",
        places: &["gateway/src/doors/listener/"],
    },
    Home {
        name: "influxdb2",
        places: &["ingest/src/sinks/influx/"],
    },
    Home {
        name: "rusqlite",
        places: &[
            "gateway/src/spool",
            "ingest/src/store",
            "gateway/tests/",
            "ingest/tests/",
            "tests/",
        ],
    },
    Home {
        name: "axum",
        places: &[
            "gateway/src/http",
            "ingest/src/http",
            "gateway/tests/",
            "ingest/tests/",
            "tests/",
        ],
    },
    Home {
        name: "minimq",
        places: &["firmware/src/link", "firmware/host/tests/"],
    },
    Home {
        name: "tokio_modbus",
        places: &["simulator/", "tests/"],
    },
    Home {
        name: "postcard",
        places: &["telemetry/"],
    },
    Home {
        name: "hmac",
        places: &["telemetry/"],
    },
    Home {
        name: "hkdf",
        places: &["telemetry/"],
    },
];

/// Dependencies that no source names, with the reason.
const NAMED_NOWHERE: &[(&str, &str, &str)] = &[
    (
        "feather-nrf52840",
        "cortex-m-rt",
        "embassy's `main` begins with its `entry`",
    ),
    (
        "w5500-evb-pico",
        "cortex-m-rt",
        "embassy's `main` begins with its `entry`",
    ),
    (
        "w5500-evb-pico",
        "portable-atomic",
        "turns on the critical section for the crates that use it",
    ),
];

/// Every crate of [`HOMES`] is named in its home only.
pub(super) fn homes(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree
        .texts(&[".rs"])
        .filter(|(path, _)| !path.starts_with("xtask/"))
    {
        for home in HOMES
            .iter()
            .filter(|home| !home.places.iter().any(|place| is_in(path, place)))
        {
            for (number, _) in code_lines(text).filter(|(_, line)| has_word(line, home.name)) {
                let what = format!("names {}, which only {} may", home.name, home.places.join(", "));
                problems.push(Problem::new(format!("{path}:{number}"), what));
            }
        }
    }
    problems
}

fn is_in(path: &str, place: &str) -> bool {
    let Some(rest) = path.strip_prefix(place) else {
        return false;
    };
    place.ends_with('/') || rest == ".rs" || rest.starts_with('/')
}

/// Every dependency of a member is named in its sources: the others cost compile time and trust for nothing.
pub(super) fn unused(tree: &Tree, metadata: &Metadata) -> Vec<Problem> {
    let mut problems = Vec::new();
    let folders: Vec<&str> = metadata
        .members()
        .map(|member| member.folder.as_str())
        .filter(|f| !f.is_empty())
        .collect();
    for member in metadata.members() {
        let own = |path: &str| {
            if member.folder.is_empty() {
                path.starts_with("src/") || path.starts_with("tests/")
            } else {
                let nested = folders.iter().any(|folder| {
                    folder.len() > member.folder.len()
                        && folder.starts_with(&member.folder)
                        && path.starts_with(*folder)
                });
                path.starts_with(&format!("{}/", member.folder)) && !nested
            }
        };
        let sources: Vec<&str> = tree
            .texts(&[".rs"])
            .filter(|(path, _)| own(path))
            .map(|(_, text)| text)
            .collect();
        for dependency in member
            .dependencies
            .iter()
            .filter(|dependency| dependency.name != member.name)
        {
            let name = dependency.name.replace('-', "_");
            let excused = NAMED_NOWHERE
                .iter()
                .any(|(package, crate_name, _)| *package == member.name && *crate_name == dependency.name);
            let named = sources
                .iter()
                .any(|text| code_lines(text).any(|(_, line)| has_word(line, &name)));
            if !named && !excused {
                problems.push(Problem::new(
                    &member.name,
                    format!(
                        "depends on {} but no source of it names it: remove it from its Cargo.toml",
                        dependency.name
                    ),
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::metadata::member;
    use super::*;

    #[test]
    fn a_crate_in_its_home_is_fine() {
        let tree = Tree::of(&[
            ("gateway/src/doors/broker.rs", "use rumqttc::v5;"),
            (
                "gateway/src/doors/listener/session.rs",
                "use mqtt_protocol_core as mqtt;",
            ),
            ("gateway/src/spool.rs", "use rusqlite::Connection;"),
            ("ingest/src/store/read.rs", "use rusqlite::Connection;"),
            (
                "gateway/src/forward.rs",
                "// not rumqttc: this side speaks HTTP\nlet rumqttc_like = 1;",
            ),
        ]);
        assert_eq!(homes(&tree), []);
    }

    #[test]
    fn a_crate_outside_its_home_is_found_with_its_line() {
        for (name, place) in [
            ("rumqttc", "gateway/src/doors/listener/session.rs"),
            ("mqtt_protocol_core", "gateway/src/doors/broker.rs"),
            ("influxdb2", "ingest/src/sinks/mod.rs"),
            ("rusqlite", "gateway/src/forward.rs"),
            ("rusqlite", "ingest/src/storekeeper.rs"),
            ("axum", "ingest/src/metrics.rs"),
        ] {
            let text = format!("//! Module.\nuse {name}::Thing;");
            let problems = homes(&Tree::of(&[(place, &text)]));
            assert_eq!(problems.len(), 1, "{name} in {place}");
            assert_eq!(problems[0].place, format!("{place}:2"));
        }
    }

    #[test]
    fn an_unused_dependency_is_found() {
        let metadata = Metadata {
            packages: vec![
                member("taraz-firmware", "firmware", &["embedded-hal"], &[]),
                member("taraz-device-host", "firmware/host", &["tokio"], &["tempfile"]),
            ],
        };
        let hal = ("firmware/src/lib.rs", "use embedded_hal::digital;");
        let used = Tree::of(&[
            hal,
            ("firmware/host/src/lib.rs", "use tokio::net;"),
            ("firmware/host/tests/a.rs", "use tempfile::tempdir;"),
        ]);
        assert_eq!(unused(&used, &metadata), []);
        // The host's sources do not count for the library below which they lie, nor comments.
        let elsewhere = Tree::of(&[
            ("firmware/src/lib.rs", "// embedded_hal"),
            ("firmware/host/src/lib.rs", "use embedded_hal::x;"),
        ]);
        assert_eq!(unused(&elsewhere, &metadata).len(), 3);
    }
}
