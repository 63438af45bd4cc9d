//! What the commands print, to somebody who does not read it all.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");

fn taraz(folder: &Path, arguments: &[&str], stdout: Stdio) -> Output {
    let mut command = Command::new(TARAZ);
    command.args(arguments).current_dir(folder).stdout(stdout);
    command
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

/// A configuration of the examples, and a master key.
fn installation() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (example, file) in [("taraz", "taraz.toml"), ("fleet", "fleet.toml")] {
        let out = taraz(folder.path(), &["config", "example", example], Stdio::piped());
        std::fs::write(folder.path().join(file), out.stdout).unwrap();
    }
    let drawn = taraz(
        folder.path(),
        &["config", "master-key", "master.key"],
        Stdio::piped(),
    );
    assert!(drawn.status.success());
    folder
}

/// Commands that print text at once, line by line, and as a whole file.
const COMMANDS: [&[&str]; 3] = [
    &["config", "example", "taraz"],
    &["config", "check", "taraz.toml"],
    &["device", "config", "sari-01", "--config", "taraz.toml"],
];

#[test]
fn a_reader_who_leaves_ends_no_command_with_a_complaint() {
    let folder = installation();
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = taraz(folder.path(), arguments, writer.into());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn output_that_can_not_be_written_is_a_failure() {
    let folder = installation();
    for arguments in COMMANDS {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = taraz(folder.path(), arguments, full.into());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(
            said.starts_with("taraz: can't print everything: No space left"),
            "{said}"
        );
    }
}
