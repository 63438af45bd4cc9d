//! `cargo xtask setup`: what the tests need and a checkout does not bring.
//!
//! Servers and a browser from Debian, a Python venv with second implementations to compare with, an emulator from npm,
//! and `core` for the bare-metal targets. Each part looks first and does nothing when all is there. No daemon is left
//! running.

mod bare_metal;
mod javascript;
mod packages;
mod python;

pub(crate) use bare_metal::{LIBRARY_TARGET, prepare as prepare_bare_metal};

use anyhow::{Context, Result};

/// Prepares everything and gives the environment variables that the checks then need.
///
/// # Errors
/// When a part is missing and can't be had here; the message holds the command to run by hand.
pub(crate) fn run() -> Result<Vec<(String, String)>> {
    packages::prepare().context("setup: programs")?;
    let python = python::prepare().context("setup: Python")?;
    javascript::prepare().context("setup: JavaScript")?;
    let mut environment = vec![("TARAZ_PYTHON".to_owned(), python)];
    environment.extend(bare_metal::prepare().context("setup: bare-metal targets")?);
    Ok(environment)
}
