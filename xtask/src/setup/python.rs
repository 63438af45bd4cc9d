//! A Python venv in `target/venv` with exactly `requirements.txt`.

use std::fs;

use anyhow::{Context, Result};

use crate::command::{CommandLine, text};
use crate::workspace;

const REQUIREMENTS: &str = include_str!("../../requirements.txt");

/// Makes the venv unless it is there with these requirements; gives its Python's path.
///
/// # Errors
/// When Python can't make a venv, or PyPI can't be reached, or a hash differs.
pub(crate) fn prepare() -> Result<String> {
    let venv = workspace::root().join("target/venv");
    let python = text(&venv.join("bin/python"))?.to_owned();
    // Written last: a venv without it was not finished.
    let stamp = venv.join("requirements.installed");
    let works = CommandLine::new(&[
        &python,
        "-c",
        "import jsonschema, paho.mqtt.client, serial, sunspec2",
    ])
    .output()
    .is_ok();
    if works && fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        println!("python: {python}");
        return Ok(python);
    }
    println!("python: making {}", venv.display());
    CommandLine::new(&["python3", "-m", "venv", "--clear", text(&venv)?]).run()?;
    let requirements = workspace::root().join("xtask/requirements.txt");
    let options = [
        "-q",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
    ];
    let words = [
        &[&python, "-m", "pip", "install"],
        &options[..],
        &["-r", text(&requirements)?],
    ]
    .concat();
    CommandLine::new(&words).run()?;
    CommandLine::new(&[&python, "-m", "pip", "check", "--disable-pip-version-check"]).run()?;
    fs::write(&stamp, REQUIREMENTS).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_has_an_exact_version_and_a_hash() {
        let lines = REQUIREMENTS
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let mut count = 0;
        for line in lines {
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
            count += 1;
        }
        assert!(count > 0);
    }
}
