//! A real process that is killed while it stores: what it said is stored, is stored.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::super::testing::*;

/// Names the child's folder; the parent has none.
const FOLDER: &str = "TARAZ_TEST_KILLED_STORE";
/// How many acknowledgements the parent sees before it kills.
const ACKNOWLEDGED_MIN: [u32; 3] = [1, 40, 150];

fn run_at(n: u32) -> Run {
    let time_ms = NOON_MS + i64::from(n) * 30_000;
    Run::new(
        "a-01",
        1,
        n * 2,
        &[
            inverter(time_ms, 5_000, u64::from(n) * 50),
            grid(1, time_ms, 0, 0, 0),
        ],
    )
}

/// Stores without end and prints each number after its acknowledgement.
async fn child(folder: &str) {
    let store = open(folder.as_ref(), &TestClock::new(NOON_MS));
    let mut stdout = std::io::stdout();
    for n in 0.. {
        deliver(&store, &[run_at(n)]).await;
        // The harness prints too, so that the line has a mark of its own.
        if writeln!(stdout, "\nacknowledged {n}")
            .and_then(|()| stdout.flush())
            .is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_process_that_is_killed_has_stored_what_it_acknowledged() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return child(&folder).await;
    }
    for acknowledged_min in ACKNOWLEDGED_MIN {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "store::tests::killed::a_process_that_is_killed_has_stored_what_it_acknowledged",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut last = None;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            if let Some(n) = line.unwrap().strip_prefix("acknowledged ") {
                last = Some(n.parse::<u32>().unwrap());
            }
            if last >= Some(acknowledged_min) {
                // SIGKILL; lines that are still in the pipe are read to their end.
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let last = last.unwrap();
        let store = open(folder.path(), &TestClock::new(NOON_MS));
        let stored = store.readings_after(0, 10_000).unwrap();
        assert!(
            stored.len() >= (usize::try_from(last).unwrap() + 1) * 2,
            "{} stored, {last} acknowledged",
            stored.len()
        );
        // What the caches say is what the records say, and every identity is known.
        let as_killed = caches(folder.path());
        store.rebuild().await.unwrap();
        assert_eq!(caches(folder.path()), as_killed);
        let again: Vec<_> = (0..=last).map(run_at).collect();
        deliver(&store, &again).await;
        assert_eq!(
            (readings(&store, "stored"), readings(&store, "duplicate")),
            (0, u64::from(last + 1) * 2)
        );
    }
}
