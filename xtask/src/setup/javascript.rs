//! The emulator of the RP2040 from npm, in `tests/js/node_modules`, exactly as `tests/js/package-lock.json` has it.

use std::fs;

use anyhow::{Context, Result};

use crate::command::CommandLine;
use crate::workspace;

/// Installs the packages unless they are there as the lock file names them.
///
/// # Errors
/// When npm fails: its registry can't be reached, or a hash differs.
pub(crate) fn prepare() -> Result<()> {
    let folder = workspace::root().join("tests/js");
    let lock = folder.join("package-lock.json");
    let lock = fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    // Written last: a folder without it was not finished.
    let stamp = folder.join("node_modules/package-lock.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        println!("javascript: {}", folder.display());
        return Ok(());
    }
    let options = ["--no-audit", "--no-fund", "--ignore-scripts"];
    CommandLine::new(&[&["npm", "ci"], &options[..]].concat())
        .within(&folder)
        .run()?;
    fs::write(&stamp, lock).with_context(|| format!("writing {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_locked_with_its_hash() {
        let lock = fs::read_to_string(workspace::root().join("tests/js/package-lock.json")).unwrap();
        let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        let hashed = packages
            .iter()
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, package)| (name, package["integrity"].as_str().unwrap_or_default()));
        let mut count = 0;
        for (name, hash) in hashed {
            assert!(hash.starts_with("sha512-"), "{name}");
            count += 1;
        }
        assert!(count > 0);
    }
}
