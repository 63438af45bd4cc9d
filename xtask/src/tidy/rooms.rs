//! Which room may know which, and that ARCHITECTURE.md names them all.

use super::Problem;
use super::metadata::Metadata;
use super::tree::Tree;

/// A room, and the rooms that it may depend on.
struct Room {
    package: &'static str,
    uses: &'static [&'static str],
    /// In its tests only, on top of `uses`.
    dev_uses: &'static [&'static str],
}

const SUPPORT: &str = "taraz-test-support";

/// A board knows what boards share and the device library.
const BOARD_USES: &[&str] = &["taraz-board", "taraz-firmware", "taraz-telemetry"];

/// telemetry ← fleet ← {fieldkit, gateway, ingest, simulator} ← taraz; telemetry ← analytics ← ingest; telemetry ← firmware ←
/// device-host ← taraz; settings below whatever reads a file. Device, gateway and ingest meet in the contract alone. The
/// simulator shares no code with the firmware: a shared mistake would hide.
const ROOMS: &[Room] = &[
    Room {
        package: "taraz-telemetry",
        uses: &[],
        dev_uses: &[],
    },
    Room {
        package: "taraz-settings",
        uses: &[],
        dev_uses: &[],
    },
    Room {
        package: "taraz-fleet",
        uses: &["taraz-settings", "taraz-telemetry"],
        dev_uses: &[],
    },
    Room {
        package: "taraz-fieldkit",
        uses: &["taraz-fleet", "taraz-telemetry"],
        dev_uses: &[],
    },
    Room {
        package: "taraz-firmware",
        uses: &["taraz-telemetry"],
        dev_uses: &[],
    },
    Room {
        package: "taraz-device-host",
        uses: &["taraz-firmware", "taraz-settings", "taraz-telemetry"],
        dev_uses: &["taraz-simulator", SUPPORT],
    },
    Room {
        package: "taraz-gateway",
        uses: &["taraz-fleet", "taraz-settings", "taraz-telemetry"],
        dev_uses: &[SUPPORT],
    },
    Room {
        package: "taraz-analytics",
        uses: &["taraz-telemetry"],
        dev_uses: &[],
    },
    Room {
        package: "taraz-ingest",
        uses: &[
            "taraz-analytics",
            "taraz-fleet",
            "taraz-settings",
            "taraz-telemetry",
        ],
        dev_uses: &[SUPPORT],
    },
    Room {
        package: "taraz-simulator",
        uses: &["taraz-fleet", "taraz-settings", "taraz-telemetry"],
        dev_uses: &[SUPPORT],
    },
    Room {
        package: "taraz",
        uses: &[
            "taraz-analytics",
            "taraz-device-host",
            "taraz-fieldkit",
            "taraz-fleet",
            "taraz-gateway",
            "taraz-ingest",
            "taraz-settings",
            "taraz-simulator",
            "taraz-telemetry",
        ],
        dev_uses: &["taraz-firmware", "taraz-load", SUPPORT],
    },
    Room {
        package: "taraz-board",
        uses: &["taraz-firmware", "taraz-telemetry"],
        dev_uses: &[],
    },
    Room {
        package: "feather-nrf52840",
        uses: BOARD_USES,
        dev_uses: &[],
    },
    Room {
        package: "qemu-lm3s6965",
        uses: BOARD_USES,
        dev_uses: &[],
    },
    Room {
        package: "w5500-evb-pico",
        uses: BOARD_USES,
        dev_uses: &[],
    },
    Room {
        package: "taraz-fuzz",
        uses: &[
            "taraz-fleet",
            "taraz-gateway",
            "taraz-ingest",
            "taraz-load",
            "taraz-settings",
            "taraz-telemetry",
        ],
        dev_uses: &[],
    },
    Room {
        package: "taraz-load",
        uses: &["taraz-telemetry"],
        dev_uses: &[],
    },
    Room {
        package: "taraz-stages",
        uses: &[
            "taraz-analytics",
            "taraz-fleet",
            "taraz-gateway",
            "taraz-ingest",
            "taraz-load",
            "taraz-telemetry",
        ],
        dev_uses: &[],
    },
    Room {
        package: SUPPORT,
        uses: &[],
        dev_uses: &[],
    },
    Room {
        package: "xtask",
        uses: &["taraz-fieldkit", "taraz-load"],
        dev_uses: &[],
    },
];

/// Every dependency between members is one that [`ROOMS`] allows.
pub(super) fn dependencies(metadata: &Metadata) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in metadata.members() {
        let Some(room) = ROOMS.iter().find(|room| room.package == member.name) else {
            problems.push(Problem::new(
                &member.name,
                "is not among ROOMS of xtask/src/tidy/rooms.rs: say what it may use",
            ));
            continue;
        };
        for dependency in &member.dependencies {
            let name = dependency.name.as_str();
            let is_room = dependency.is_path || ROOMS.iter().any(|room| room.package == name);
            // A room that names itself in its tests turns on a feature of its own there.
            let in_tests = dependency.is_dev && (room.dev_uses.contains(&name) || room.package == name);
            let allowed = room.uses.contains(&name) || in_tests;
            if is_room && !allowed {
                let kind = if dependency.is_dev {
                    "dev-depends"
                } else {
                    "depends"
                };
                let expected = [room.uses, room.dev_uses].concat().join(", ");
                problems.push(Problem::new(
                    &member.name,
                    format!("{kind} on {name}; it may use only: [{expected}]"),
                ));
            }
        }
    }
    problems
}

/// Every room stands in ARCHITECTURE.md as `` `folder/` ``.
pub(super) fn map(tree: &Tree, metadata: &Metadata) -> Vec<Problem> {
    const FILE: &str = "ARCHITECTURE.md";
    let Some(text) = tree.text(FILE) else {
        return vec![Problem::new(FILE, "is missing: it is the map of the rooms")];
    };
    let folders = metadata
        .members()
        .map(|member| member.folder.as_str())
        .chain(tree.top_folders());
    let mut folders: Vec<&str> = folders.filter(|folder| !folder.is_empty()).collect();
    folders.sort_unstable();
    folders.dedup();
    let missing = folders.into_iter().filter(|folder| !names_folder(text, folder));
    missing
        .map(|folder| Problem::new(FILE, format!("does not name the room `{folder}/`")))
        .collect()
}

/// Whether `folder/` stands in `text`, alone or with more of the path after it; a nested one also without the slash
/// (`tests/support`), or by its last part (`host/`), as in an indented tree.
fn names_folder(text: &str, folder: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || "-_".contains(c);
    let stands = |name: &str| {
        let mut places = text.match_indices(name);
        let ends = |at: usize| name.ends_with('/') || !text[at + name.len()..].starts_with(part);
        places.any(|(at, _)| !text[..at].ends_with(part) && ends(at))
    };
    match folder.rsplit_once('/') {
        None => stands(&format!("{folder}/")),
        Some((_, last)) => stands(folder) || stands(&format!("{last}/")),
    }
}

/// Every member takes the lints, the edition, the version and the licence of the workspace.
pub(super) fn manifests(tree: &Tree, metadata: &Metadata) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in metadata.members() {
        let path = if member.folder.is_empty() {
            "Cargo.toml".into()
        } else {
            format!("{}/Cargo.toml", member.folder)
        };
        let Some(manifest) = tree.text(&path).and_then(|text| text.parse::<toml::Table>().ok()) else {
            problems.push(Problem::new(path, "can't be read as TOML"));
            continue;
        };
        let inherits = |value: Option<&toml::Value>| {
            value
                .and_then(|value| value.get("workspace"))
                .and_then(toml::Value::as_bool)
                == Some(true)
        };
        if !inherits(manifest.get("lints")) {
            problems.push(Problem::new(&path, "expected [lints] workspace = true"));
        }
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(manifest.get("package").and_then(|package| package.get(field))) {
                problems.push(Problem::new(
                    &path,
                    format!("expected {field}.workspace = true in [package]"),
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
    fn the_plan_is_allowed() {
        let packages = vec![
            member("taraz-telemetry", "telemetry", &["postcard"], &[]),
            member("taraz-fleet", "fleet", &["taraz-telemetry", "toml"], &[]),
            member(
                "taraz-gateway",
                "gateway",
                &["taraz-fleet", "taraz-telemetry"],
                &[SUPPORT],
            ),
        ];
        assert_eq!(dependencies(&Metadata { packages }), []);
    }

    #[test]
    fn rooms_that_must_not_know_each_other_are_found() {
        for (package, other) in [
            ("taraz-gateway", "taraz-ingest"),
            ("taraz-ingest", "taraz-firmware"),
            ("taraz-firmware", "taraz-fleet"),
            ("taraz-simulator", "taraz-firmware"),
            ("taraz-telemetry", "taraz-fleet"),
        ] {
            let packages = vec![member(package, "x", &[other], &[])];
            let problems = dependencies(&Metadata { packages });
            assert!(
                problems[0].what.contains(&format!("depends on {other}")),
                "{problems:?}"
            );
        }
        // What tests may use, the room itself may not.
        let packages = vec![member("taraz-gateway", "gateway", &[SUPPORT], &[])];
        assert_eq!(dependencies(&Metadata { packages }).len(), 1);
        let packages = vec![member("taraz-gateway", "gateway", &[], &["taraz-ingest"])];
        assert!(
            dependencies(&Metadata { packages })[0]
                .what
                .contains("dev-depends")
        );
    }

    #[test]
    fn a_new_room_must_be_placed() {
        let packages = vec![member("taraz-cellar", "cellar", &[], &[])];
        assert!(
            dependencies(&Metadata { packages })[0]
                .what
                .contains("not among ROOMS")
        );
    }

    #[test]
    fn the_map_must_name_every_room() {
        let packages = vec![
            member("taraz-gateway", "gateway", &[], &[]),
            member("h", "firmware/host", &[], &[]),
        ];
        let metadata = Metadata { packages };
        let named = |text: &str| {
            map(
                &Tree::of(&[("ARCHITECTURE.md", text), ("docs/a.md", "")]),
                &metadata,
            )
        };
        assert_eq!(named("`gateway/src` `docs/`\nfirmware/\n  host/"), []);
        assert_eq!(named("gateway/ docs/ `firmware/host`"), []);
        let places: Vec<String> = named("gatewayx/ old-docs/ the gateway, firmware/host/")
            .into_iter()
            .map(|p| p.what)
            .collect();
        assert_eq!(
            places,
            [
                "does not name the room `docs/`",
                "does not name the room `gateway/`"
            ]
        );
        assert_eq!(map(&Tree::of(&[]), &metadata).len(), 1);
    }

    #[test]
    fn a_manifest_must_take_what_the_workspace_sets() {
        let metadata = Metadata {
            packages: vec![member("a", "a", &[], &[])],
        };
        let package = "[package]\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
                       license.workspace = true\npublish.workspace = true\n";
        let good = format!("{package}[lints]\nworkspace = true\n");
        assert_eq!(manifests(&Tree::of(&[("a/Cargo.toml", &good)]), &metadata), []);
        assert!(
            manifests(&Tree::of(&[("a/Cargo.toml", package)]), &metadata)[0]
                .what
                .contains("[lints]")
        );
        let own = good.replace("license.workspace = true", "license = \"GPL-3.0\"");
        assert!(
            manifests(&Tree::of(&[("a/Cargo.toml", &own)]), &metadata)[0]
                .what
                .contains("license")
        );
    }
}
