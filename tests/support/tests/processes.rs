//! The guards do what end-to-end tests rely on.

use std::process::Command;
use std::time::Duration;

use taraz_test_support::{Process, Signal, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

fn shell(script: &str, folder: &tempfile::TempDir) -> Process {
    Process::start(
        "shell",
        Command::new("sh").args(["-c", script]),
        &folder.path().join("shell.log"),
    )
}

#[test]
fn output_is_kept_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo one; echo 'two: 2' >&2; exec sleep 60", &folder);
    assert_eq!(process.wait_for_output(LIMIT, "two"), "two: 2");
    assert_eq!(process.output(), "one\ntwo: 2\n");
    assert!(process.is_running());
}

#[test]
fn signals_arrive() {
    let folder = tempfile::tempdir().unwrap();
    // Not SIGINT: a shell can't trap what was ignored when it began, as it is in what a script runs in the background.
    let mut process = shell(
        "trap 'echo ended; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
        &folder,
    );
    process.wait_for_output(LIMIT, "ready");
    process.signal(Signal::Stop);
    let state = format!("/proc/{}/stat", process.id());
    let stopped = || std::fs::read_to_string(&state).unwrap().contains(") T ");
    wait_until(LIMIT, "the process to stand still", stopped);
    process.signal(Signal::Continue);
    process.signal(Signal::Terminate);
    assert_eq!(process.wait(LIMIT).code(), Some(5));
    assert!(process.output().contains("ended"));
}

#[test]
fn a_dropped_process_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell("exec sleep 60", &folder);
    let entry = format!("/proc/{}", process.id());
    assert!(std::path::Path::new(&entry).exists());
    drop(process);
    assert!(!std::path::Path::new(&entry).exists());
}

#[test]
#[should_panic(expected = "shell ended (exit status: 3) before the output \"never\" of shell")]
fn an_early_end_is_told_with_the_output() {
    let folder = tempfile::tempdir().unwrap();
    shell("echo broken; exit 3", &folder).wait_for_output(LIMIT, "never");
}
