//! What a disk loses of a spool without a word: found at the next look and start, named, and told until a person has taken note.

use std::collections::BTreeMap;
use std::path::Path;

use super::tests::Bench;
use super::*;

type Files = BTreeMap<std::ffi::OsString, Vec<u8>>;

const LOG: &str = "spool.sqlite-wal";
const MARK: &str = "spool.mark";
/// Of a log: its head, and a page with what stands before it (sqlite.org/fileformat2.html, 4.1).
const HEAD_LEN: usize = 32;
const PAGE_LEN: usize = 24 + 4_096;

/// The files of a spool, as a kill leaves them.
fn files(bench: &Bench) -> Files {
    let entries = std::fs::read_dir(bench.folder.path())
        .unwrap()
        .map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// Ends the spool as a kill does, with what `change` makes of its files.
fn kill(bench: &mut Bench, change: impl FnOnce(&mut Files)) {
    let mut left = files(bench);
    bench.close();
    change(&mut left);
    lay_out(bench.folder.path(), &left);
}

fn lay_out(folder: &Path, files: &Files) {
    for entry in std::fs::read_dir(folder).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn of<'a>(files: &'a mut Files, name: &str) -> &'a mut Vec<u8> {
    files.get_mut(std::ffi::OsStr::new(name)).unwrap()
}

/// Ten rows in the log, one commit each.
fn ten() -> Bench {
    let mut bench = Bench::new(1 << 20);
    for n in 0..10_u32 {
        bench.put(n.into(), n * 10, &[1, 2]);
    }
    bench
}

fn verify(bench: &Bench) -> Verification {
    let spool = SpoolFile::open(bench.folder.path()).unwrap();
    spool.expect("a spool").verify().unwrap()
}

/// Where rows are said to be missing; nothing else may be found.
fn found(bench: &Bench) -> Vec<u64> {
    let verified = verify(bench);
    let missing = verified.findings.iter().map(|finding| {
        assert_eq!(finding.kind, FindingKind::Missing, "{verified:?}");
        finding.position.unwrap()
    });
    missing.collect()
}

fn positions(bench: &Bench) -> Vec<u64> {
    bench.rows().iter().map(|row| row.0).collect()
}

/// A look, the gateway's start, a look beside it, a repair: all of them say that of ten rows those from `first` on are missing, and
/// after the repair nobody does.
fn assert_told(mut bench: Bench, first: u64) {
    assert_eq!(
        (found(&bench), verify(&bench).missing_rows),
        (vec![first], 11 - first)
    );
    bench.open();
    assert_eq!(bench.metrics.missing.get(), i64::try_from(11 - first).unwrap());
    assert_eq!(positions(&bench), (1..first).collect::<Vec<_>>());
    bench.put(90, 900, &[1]);
    assert_eq!(
        bench.rows().last().unwrap().0,
        11,
        "no position is given out twice"
    );
    assert_eq!(
        (found(&bench), verify(&bench).missing_rows),
        (vec![first], 11 - first)
    );
    bench.close();
    bench.open();
    assert_eq!(bench.metrics.missing.get(), i64::try_from(11 - first).unwrap());
    bench.close();
    let repaired = repair(bench.folder.path(), 7).unwrap();
    assert_eq!(
        (repaired.missing_rows, repaired.missing),
        (11 - first, vec![(first, 10)])
    );
    assert!(verify(&bench).is_good());
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 0);
}

/// SQLite itself takes a log that was cut between two commits for a whole one.
#[test]
fn the_end_of_a_log_that_is_gone_is_missed() {
    let mut bench = ten();
    kill(&mut bench, |files| {
        let log = of(files, LOG);
        log.truncate(log.len() - 3 * PAGE_LEN);
    });
    assert!(log::unreadable(&bench.folder.path().join(LOG)).unwrap().is_none());
    assert_told(bench, 8);
}

#[test]
fn a_log_that_is_gone_altogether_is_missed() {
    let mut bench = ten();
    kill(&mut bench, |files| drop(files.remove(std::ffi::OsStr::new(LOG))));
    assert_told(bench, 1);
}

#[test]
fn the_last_commit_is_missed_when_it_was_acknowledged_and_a_log_that_can_not_be_read_is_kept() {
    let mut bench = ten();
    let mut log = Vec::new();
    kill(&mut bench, |files| {
        let last = of(files, LOG).len() - 1;
        of(files, LOG)[last] ^= 1;
        log.clone_from(of(files, LOG));
    });
    let told = verify(&bench);
    assert_eq!(told.missing_rows, 1);
    assert_eq!(told.findings[0].kind, FindingKind::File, "{told:?}");
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 1);
    let is_kept = |(name, bytes): (std::ffi::OsString, Vec<u8>)| {
        name.to_string_lossy().starts_with("spool.sqlite.damaged-") && bytes == log
    };
    assert!(files(&bench).into_iter().any(is_kept));
}

/// What was being written when the power went was not acknowledged.
#[test]
fn a_commit_that_was_under_way_is_not_missed() {
    let mut bench = ten();
    let before = files(&bench);
    bench.put(11, 110, &[1, 2]);
    for cut in [1, 100, 4_000] {
        let mut left = files(&bench);
        left.insert(MARK.into(), before[std::ffi::OsStr::new(MARK)].clone());
        let log = of(&mut left, LOG);
        assert_eq!((log.len() - HEAD_LEN) % PAGE_LEN, 0);
        log.truncate(log.len() - cut);
        let mut after = Bench::new(1 << 20);
        after.close();
        lay_out(after.folder.path(), &left);
        assert!(log::unreadable(&after.folder.path().join(LOG)).unwrap().is_some());
        assert!(verify(&after).is_good());
        after.open();
        assert_eq!(after.metrics.missing.get(), 0);
        assert_eq!(positions(&after), (1..=10).collect::<Vec<_>>());
        after.close();
        assert_eq!(repair(after.folder.path(), 7).unwrap().damaged_file, None);
    }
}

/// After a power cut the mark may be older than the file: of what was added and what has gone since, nothing is missed.
#[test]
fn an_older_mark_misses_nothing() {
    let mut bench = ten();
    let old = files(&bench)[std::ffi::OsStr::new(MARK)].clone();
    bench.remove(4, vec![(2, "bad".to_owned())]);
    bench.put(11, 110, &[1]);
    kill(&mut bench, |files| of(files, MARK).clone_from(&old));
    assert!(verify(&bench).is_good());
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 0);
    assert_eq!(positions(&bench), (5..=11).collect::<Vec<_>>());
}

#[test]
fn what_has_gone_to_ingest_or_by_a_decision_is_not_missed() {
    let mut bench = ten();
    bench.remove(4, vec![(2, "bad".to_owned()), (3, "bad".to_owned())]);
    bench.close();
    // Rows that a repair puts aside leave from the middle.
    let connection = rusqlite::Connection::open(bench.file()).unwrap();
    let sql = "UPDATE items SET count = 3, crc = 0 WHERE position IN (6, 8)";
    assert_eq!(connection.execute(sql, []).unwrap(), 2);
    drop(connection);
    assert_eq!(repair(bench.folder.path(), 7).unwrap().put_aside, 2);
    let mut quarantine = Quarantine::open(bench.folder.path()).unwrap();
    assert!(quarantine.retry(2).unwrap());
    assert!(quarantine.drop_item(3).unwrap());
    assert!(quarantine.drop_item(6).unwrap());
    drop(quarantine);
    let verified = verify(&bench);
    assert_eq!(verified.missing_rows, 0, "{verified:?}");
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 0);
    assert_eq!(positions(&bench), [5, 7, 9, 10, 11]);
    bench.remove(11, Vec::new());
    bench.close();
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 0);
}

/// Live rows go before a backlog: they are not missed where the file has forgotten that they were there.
#[test]
fn rows_that_went_ahead_are_not_missed_with_a_log_that_is_gone() {
    let mut bench = ten();
    bench.remove_ahead(1, 6..=7);
    bench.remove_ahead(2, 9..=9);
    let left = files(&bench);
    bench.close();
    assert!(verify(&bench).is_good());
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 0);
    assert_eq!(positions(&bench), [3, 4, 5, 8, 10]);
    bench.close();
    lay_out(bench.folder.path(), &left);
    std::fs::remove_file(bench.folder.path().join(LOG)).unwrap();
    assert_eq!((found(&bench), verify(&bench).missing_rows), (vec![3, 8, 10], 5));
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 5);
}

#[test]
fn a_row_that_is_gone_from_the_middle_is_missed() {
    let mut bench = ten();
    bench.close();
    let connection = rusqlite::Connection::open(bench.file()).unwrap();
    let sql = "DELETE FROM items WHERE position IN (3, 6, 7)";
    assert_eq!(connection.execute(sql, []).unwrap(), 3);
    drop(connection);
    assert_eq!(found(&bench), [3, 6]);
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 3);
    bench.close();
    assert_eq!(repair(bench.folder.path(), 7).unwrap().missing, [(3, 3), (6, 7)]);
}

#[test]
fn a_file_that_is_gone_is_told_with_how_much_it_held() {
    let mut bench = ten();
    bench.remove(4, Vec::new());
    bench.close();
    std::fs::remove_file(bench.file()).unwrap();
    let refused = SpoolFile::open(bench.folder.path()).map(drop);
    assert!(
        matches!(refused, Err(SpoolError::Gone { rows: 6, .. })),
        "{refused:?}"
    );
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 6);
    assert_eq!(found(&bench), [5]);
    bench.close();
    std::fs::remove_file(bench.file()).unwrap();
    let repaired = repair(bench.folder.path(), 7).unwrap();
    assert_eq!((repaired.missing_rows, repaired.missing), (6, vec![(5, 10)]));
}

#[test]
fn a_damaged_mark_is_told_until_a_repair_and_made_anew() {
    let mut bench = ten();
    kill(&mut bench, |files| of(files, MARK)[20] ^= 1);
    let kinds = |bench: &Bench| -> Vec<_> {
        let verified = verify(bench);
        assert_eq!(verified.missing_rows, 0);
        verified.findings.iter().map(|finding| finding.kind).collect()
    };
    assert_eq!(kinds(&bench), [FindingKind::Mark]);
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 0);
    assert!(mark::Marked::read(bench.folder.path()).unwrap().is_whole());
    bench.close();
    assert_eq!(kinds(&bench), [FindingKind::Mark], "what was not known then");
    assert_eq!(repair(bench.folder.path(), 7).unwrap().good_rows, 10);
    assert!(verify(&bench).is_good());
    std::fs::write(bench.folder.path().join(MARK), b"").unwrap();
    repair(bench.folder.path(), 8).unwrap();
    assert!(verify(&bench).is_good(), "the repair made it anew");
}

/// A spool of an earlier version has no mark.
#[test]
fn a_spool_without_a_mark_gets_one() {
    let mut bench = ten();
    bench.close();
    std::fs::remove_file(bench.folder.path().join(MARK)).unwrap();
    assert!(verify(&bench).is_good());
    bench.open();
    assert_eq!(bench.metrics.missing.get(), 0);
    let marked = mark::Marked::read(bench.folder.path()).unwrap();
    assert_eq!(marked.mark.unwrap().next_position, 11);
}

#[test]
fn a_spool_with_other_tables_is_refused_until_it_is_repaired() {
    let swap = |bytes: &mut Vec<u8>, from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|each| each == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
    };
    // Two columns in each other's place: every query still finds both.
    let columns = |bytes: &mut Vec<u8>| {
        swap(bytes, b"incarnation INTEGER", b"boot        INTEGER");
        swap(
            bytes,
            b"boot        INTEGER NOT NULL,\n    first",
            b"incarnation INTEGER NOT NULL,\n    first",
        );
    };
    // The version that stands in bytes 60 to 63 of the head.
    let version = |bytes: &mut Vec<u8>| bytes[63] = 0;
    for change in [&columns as &dyn Fn(&mut Vec<u8>), &version] {
        let mut bench = ten();
        bench.close();
        let mut bytes = std::fs::read(bench.file()).unwrap();
        change(&mut bytes);
        std::fs::write(bench.file(), bytes).unwrap();
        let refused = bench.try_open().map(drop);
        assert!(
            matches!(refused, Err(SpoolError::Described { .. })),
            "{refused:?}"
        );
        assert!(refused.unwrap_err().to_string().contains("taraz spool repair"));
        assert!(!verify(&bench).is_good());
        let repaired = repair(bench.folder.path(), 7).unwrap();
        assert_eq!((repaired.good_rows, repaired.put_aside), (10, 0));
        bench.open();
        assert_eq!(positions(&bench), (1..=10).collect::<Vec<_>>());
    }
}
