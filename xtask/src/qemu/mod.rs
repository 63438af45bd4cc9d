//! `cargo xtask qemu`: a board in the emulator, with everything that it talks to, for a person to try.
//!
//! An installation of its own (gateway, ingest, a simulated inverter and grid meter, a time server) runs beside the
//! emulated board; the board's console is the terminal. What stands in `target/qemu` stays: the next run is a power cycle.

mod installation;
mod time_server;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::CommandLine;
use crate::{boards, setup, workspace};
use installation::Installation;

/// The board that QEMU emulates.
const BOARD: &str = "qemu-lm3s6965";
const EMULATOR: &str = "qemu-system-arm";
/// Where everything is kept, from the root of the checkout.
const FOLDER: &str = "target/qemu";

/// Runs until somebody ends the emulator.
///
/// # Errors
/// When the emulator is missing, something can't be built, or a part does not start.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let fresh = match options {
        [] => false,
        ["--fresh"] => true,
        _ => bail!(
            "expected nothing or --fresh after `cargo xtask qemu`, found: {}",
            options.join(" ")
        ),
    };
    if Command::new(EMULATOR).arg("--version").output().is_err() {
        bail!("{EMULATOR} is missing: cargo xtask setup, or sudo apt-get install qemu-system-arm");
    }
    let folder = workspace::root().join(FOLDER);
    if fresh && folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let elf = boards::build_one(BOARD, &setup::prepare_bare_metal()?)?;
    let taraz = build_taraz()?;

    let sntp_port = time_server::start()?;
    let installation = Installation::start(&folder, &taraz)?;
    installation.write_flash(&elf, BOARD, sntp_port)?;
    println!(
        "\npage     http://{}\nfolder   {FOLDER} (--fresh begins with an empty one)\nconsole  below; `help` lists its \
         commands, Ctrl-A and then X ends everything\n",
        installation.page()
    );
    let status = Command::new(EMULATOR)
        .args(emulator_arguments(&elf, installation.bus_port()))
        .current_dir(installation.board_folder())
        .status()
        .with_context(|| format!("starting {EMULATOR}"))?;
    installation.stop()?;
    if !status.success() {
        bail!("{EMULATOR} ended: {status}");
    }
    Ok(())
}

/// The machine, its console on the terminal, its bus on the simulator's port, its flash in the working folder.
fn emulator_arguments(elf: &Path, bus_port: u16) -> Vec<String> {
    let words = [
        "-M",
        "lm3s6965evb",
        "-display",
        "none",
        "-monitor",
        "none",
        "-nic",
        "user",
        // Ctrl-C is for the console, as on a real one; the multiplexer keeps Ctrl-A for itself.
        "-chardev",
        "stdio,id=console,mux=on,signal=off",
        "-serial",
        "chardev:console",
        "-chardev",
        &format!("socket,id=bus,host=127.0.0.1,port={bus_port},reconnect=1"),
        "-serial",
        "chardev:bus",
        "-semihosting-config",
        "enable=on,target=native",
        "-kernel",
        &elf.display().to_string(),
    ];
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The program, built as `cargo build` does.
fn build_taraz() -> Result<PathBuf> {
    let build = CommandLine::new(&["cargo", "build", "--locked", "--bin", "taraz"]);
    println!("$ {build}");
    build.run()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = workspace::root().join(target).join("debug/taraz");
    path.canonicalize().with_context(|| path.display().to_string())
}
