//! What the peers need: servers from Debian, Node-RED from npm, the bridge's libraries from PyPI.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{CommandLine, find_program, text};
use crate::workspace;

const LOCK: &str = include_str!("../../../peers/package-lock.json");
const PACKAGE: &str = include_str!("../../../peers/package.json");
const REQUIREMENTS: &str = include_str!("../../../peers/requirements.txt");

/// Where everything is.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) mosquitto: PathBuf,
    pub(super) victoria: PathBuf,
    pub(super) node: PathBuf,
    pub(super) node_red: PathBuf,
    pub(super) python: PathBuf,
}

impl Installed {
    /// Finds the servers, and installs the rest below `target/` exactly as the lock files say.
    ///
    /// # Errors
    /// When a server is not there, with the command that installs it; when npm or pip fails.
    pub(super) fn prepare() -> Result<Self> {
        let need = |program: &str, package: &str| {
            let error = format!("{program} is missing: apt-get install {package} (or `cargo xtask setup`)");
            find_program(program).context(error)
        };
        Ok(Self {
            mosquitto: need("mosquitto", "mosquitto")?,
            victoria: need("victoria-metrics", "victoria-metrics")?,
            node: need("node", "nodejs")?,
            node_red: node_red(&workspace::root().join("target/peers"))?,
            python: python(&workspace::root().join("target/peers-venv"))?,
        })
    }
}

fn node_red(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("node_modules/node-red/red.js");
    // Written last: a folder without it was not finished.
    let stamp = folder.join("installed.json");
    if !is_stamped(&stamp, LOCK) {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        std::fs::write(folder.join("package.json"), PACKAGE)?;
        std::fs::write(folder.join("package-lock.json"), LOCK)?;
        let words = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"];
        CommandLine::new(&words).within(folder).run()?;
        std::fs::write(stamp, LOCK)?;
    }
    if !program.is_file() {
        bail!(
            "{} is missing: remove {} and try again",
            program.display(),
            folder.display()
        );
    }
    Ok(program)
}

fn python(venv: &Path) -> Result<PathBuf> {
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements.installed");
    if !is_stamped(&stamp, REQUIREMENTS) {
        CommandLine::new(&["python3", "-m", "venv", "--clear", text(venv)?]).run()?;
        let requirements = workspace::root().join("xtask/peers/requirements.txt");
        let install = [
            text(&python)?,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
        ];
        let exactly = ["--require-hashes", "--no-deps", "-r", text(&requirements)?];
        CommandLine::new(&[&install[..], &exactly[..]].concat()).run()?;
        std::fs::write(stamp, REQUIREMENTS)?;
    }
    Ok(python)
}

fn is_stamped(stamp: &Path, text: &str) -> bool {
    std::fs::read_to_string(stamp).is_ok_and(|installed| installed == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_locked_with_its_hash() {
        let lock: serde_json::Value = serde_json::from_str(LOCK).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        let mut count = 0;
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            let hash = package["integrity"].as_str().unwrap_or_default();
            // What another package brings along has no hash of its own.
            assert!(
                hash.starts_with("sha512-") || package["inBundle"] == true,
                "{name}"
            );
            count += 1;
        }
        assert!(count > 100);
        let lines: Vec<&str> = REQUIREMENTS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(lines.len() > 5);
        for line in lines {
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
        }
    }
}
