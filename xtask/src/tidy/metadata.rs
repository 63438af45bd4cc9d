//! What `cargo metadata` says, as far as the rules ask.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::CommandLine;
use crate::workspace;

/// The boards' workspace, from the root of the checkout.
const BOARDS: &str = "firmware/boards";

/// All packages that the workspaces can pull in on the platforms of `deny.toml`.
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
}

/// One package.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// SPDX expression.
    pub(super) licence: Option<String>,
    /// `None` for a package of this checkout.
    pub(super) source: Option<String>,
    /// The folder of its manifest, relative to the root; empty for the root itself. Only for members.
    pub(super) folder: String,
    /// Whether it is a member of the workspace.
    pub(super) is_member: bool,
    pub(super) dependencies: Vec<Dependency>,
}

/// What a package's manifest asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// The version asked for, as in the manifest; `*` when none is given.
    pub(super) version: String,
    pub(super) is_dev: bool,
    pub(super) is_path: bool,
}

impl Metadata {
    /// Asks cargo about both workspaces, the root's and the boards', for these platforms.
    pub(super) fn read(targets: &[String]) -> Result<Self> {
        let root = workspace::root();
        let boards = Self::read_in(&root.join(BOARDS), targets).context("the boards' workspace")?;
        Ok(Self::read_in(&root, targets)?.with(boards))
    }

    /// With the packages of another workspace of this checkout. What it takes from here by path is no stranger there.
    fn with(mut self, other: Self) -> Self {
        let key = |package: &Package| {
            (
                package.name.clone(),
                package.version.clone(),
                package.source.clone(),
            )
        };
        let known: BTreeSet<_> = self.packages.iter().map(key).collect();
        let new = other
            .packages
            .into_iter()
            .filter(|package| !known.contains(&key(package)));
        self.packages.extend(new);
        self
    }

    fn read_in(folder: &Path, targets: &[String]) -> Result<Self> {
        let mut words = vec![
            "cargo",
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ];
        for target in targets {
            words.extend(["--filter-platform", target]);
        }
        let output = CommandLine::new(&words).within(folder).output()?;
        Self::parse(&output).context("cargo metadata speaks otherwise than expected")
    }

    fn parse(output: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(output)?;
        let members = value["workspace_members"]
            .as_array()
            .context("workspace_members")?;
        let packages = value["packages"].as_array().context("packages")?;
        let packages = packages
            .iter()
            .map(|package| Package::parse(package, members))
            .collect::<Result<_>>()?;
        Ok(Self { packages })
    }

    /// The packages of this checkout.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_member)
    }
}

impl Package {
    fn parse(value: &Value, members: &[Value]) -> Result<Self> {
        let string = |field: &str| value[field].as_str().map(str::to_owned);
        let root = workspace::root();
        let manifest = string("manifest_path").context("manifest_path")?;
        let folder = std::path::Path::new(&manifest)
            .parent()
            .and_then(|folder| folder.strip_prefix(&root).ok());
        let dependencies = value["dependencies"].as_array().context("dependencies")?;
        Ok(Self {
            name: string("name").context("name")?,
            version: string("version").context("version")?,
            licence: string("license"),
            source: string("source"),
            folder: folder
                .and_then(|folder| folder.to_str())
                .unwrap_or_default()
                .to_owned(),
            is_member: members.contains(&value["id"]),
            dependencies: dependencies
                .iter()
                .map(Dependency::parse)
                .collect::<Result<_>>()?,
        })
    }
}

impl Dependency {
    fn parse(value: &Value) -> Result<Self> {
        Ok(Self {
            name: value["name"].as_str().context("name of a dependency")?.to_owned(),
            version: value["req"].as_str().context("req of a dependency")?.to_owned(),
            is_dev: value["kind"].as_str() == Some("dev"),
            is_path: value["path"].is_string(),
        })
    }
}

/// A member with path dependencies, for tests.
#[cfg(test)]
pub(super) fn member(name: &str, folder: &str, uses: &[&str], dev_uses: &[&str]) -> Package {
    let dependency = |name: &&str, is_dev| Dependency {
        name: (*name).to_owned(),
        version: "*".to_owned(),
        is_dev,
        is_path: name.starts_with("taraz"),
    };
    Package {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        licence: Some("Apache-2.0 OR MIT".to_owned()),
        folder: folder.to_owned(),
        is_member: true,
        dependencies: uses
            .iter()
            .map(|name| dependency(name, false))
            .chain(dev_uses.iter().map(|name| dependency(name, true)))
            .collect(),
        ..Package::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_workspace_lends_to_the_other_counts_once() {
        let lent = Package {
            is_member: false,
            ..member("taraz-firmware", "firmware", &[], &[])
        };
        let root = Metadata {
            packages: vec![member("taraz-firmware", "firmware", &[], &[])],
        };
        let boards = Metadata {
            packages: vec![lent, member("taraz-board", "firmware/boards/common", &[], &[])],
        };
        let both = root.with(boards);
        let names: Vec<&str> = both.members().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["taraz-firmware", "taraz-board"]);
        assert_eq!(both.packages.len(), 2);
    }

    #[test]
    fn cargo_is_understood() {
        let manifest = workspace::root().join("telemetry/Cargo.toml");
        let text = format!(
            r#"{{"workspace_members": ["a#1"], "packages": [{{"id": "a#1", "name": "a", "version": "1.0.0", "license": "MIT",
            "source": null, "manifest_path": "{}", "dependencies": [{{"name": "b", "req": "^1", "kind": "dev"}}]}}]}}"#,
            manifest.display()
        );
        let metadata = Metadata::parse(&text).unwrap();
        let package = metadata.members().next().unwrap();
        assert_eq!(
            (package.name.as_str(), package.folder.as_str()),
            ("a", "telemetry")
        );
        assert!(package.dependencies[0].is_dev && !package.dependencies[0].is_path);
        assert!(Metadata::parse("{}").is_err());
    }
}
