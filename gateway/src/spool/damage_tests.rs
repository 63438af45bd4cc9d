//! What a disk or a person does to a spool's file: told, put aside, and everything else goes on.

use std::os::unix::fs::FileExt as _;

use super::tests::Bench;
use super::*;

/// Eight rows of two records each, in a spool that no gateway works on.
fn closed() -> Bench {
    let mut bench = Bench::new(1 << 20);
    for n in 0..8_u32 {
        bench.put(n.into(), n * 10, &[1, 2]);
    }
    bench.close();
    bench
}

fn change(bench: &Bench, sql: &str) {
    let connection = rusqlite::Connection::open(bench.file()).unwrap();
    assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
}

fn verify(bench: &Bench) -> Verification {
    let spool = SpoolFile::open(bench.folder.path()).unwrap();
    spool.expect("a spool").verify().unwrap()
}

fn told(found: &Verification) -> Vec<(FindingKind, Option<u64>)> {
    found
        .findings
        .iter()
        .map(|each| (each.kind, each.position))
        .collect()
}

#[test]
fn a_listing_adds_up_beside_a_running_gateway() {
    let mut bench = Bench::new(1 << 20);
    bench.put(1, 0, &[1, 2, 90_000]);
    bench.put(2, 3, &[4]);
    bench.put(3, 70, &[5]);
    bench.remove(1, vec![(1, "bad".to_owned())]);
    let spool = SpoolFile::open(bench.folder.path()).unwrap().unwrap();
    let listing = spool.list().unwrap();
    let [device] = listing.waiting.as_slice() else {
        panic!("{listing:?}")
    };
    assert_eq!(
        (device.device.as_str(), device.runs, device.records),
        ("sari-01", 3, 3)
    );
    assert_eq!(
        (device.held_records, device.damaged_runs, device.lanes_total),
        (1, 0, 2)
    );
    let lane = |first, last| Lane {
        incarnation: 5,
        boot: 2,
        first,
        last,
    };
    assert_eq!(device.lanes, [lane(2, 3), lane(70, 70)]);
    let [quarantined] = listing.quarantined.as_slice() else {
        panic!("{listing:?}")
    };
    assert_eq!((quarantined.reason.as_str(), quarantined.records), ("bad", 2));
    assert_eq!(listing.next_position, 5);
    assert!(listing.file_bytes + listing.log_bytes > 0);
    assert!(verify(&bench).is_good());
    let nowhere = tempfile::tempdir().unwrap();
    assert!(SpoolFile::open(nowhere.path()).unwrap().is_none());
}

#[test]
fn a_poisoned_row_is_told_and_put_aside_and_what_is_behind_it_goes_on() {
    let mut bench = closed();
    change(
        &bench,
        "UPDATE items SET records = zeroblob(length(records)) WHERE position = 2",
    );
    change(&bench, "UPDATE items SET first = -1 WHERE position = 4");
    change(&bench, "UPDATE items SET hold = 'boredom' WHERE position = 5");
    change(
        &bench,
        "UPDATE items SET device = CAST(x'ff' AS TEXT) WHERE position = 6",
    );
    let row = |position| (FindingKind::Row, Some(position));
    assert_eq!(told(&verify(&bench)), [row(2), row(4), row(5), row(6)]);
    // A gateway starts with such rows, and reads over them.
    bench.open();
    let damaged: Vec<_> = bench.rows().iter().filter(|row| row.4).map(|row| row.0).collect();
    assert_eq!(damaged, [2, 4, 5, 6]);
    let refused = repair(bench.folder.path(), 7);
    assert!(matches!(refused, Err(SpoolError::InUse { .. })), "{refused:?}");
    bench.close();

    let repaired = repair(bench.folder.path(), 7).unwrap();
    assert_eq!(
        (repaired.good_rows, repaired.put_aside, repaired.damaged_file),
        (4, 4, None)
    );
    let found = verify(&bench);
    let aside = |position| (FindingKind::QuarantinedRow, Some(position));
    assert_eq!(told(&found), [aside(2), aside(4), aside(5), aside(6)]);
    assert_eq!((found.rows, found.records, found.quarantined_rows), (4, 8, 4));
    let reasons = bench.quarantine();
    assert!(
        reasons.iter().all(|(_, reason)| reason.contains("check sum")),
        "{reasons:?}"
    );
    bench.open();
    assert_eq!(
        bench.rows().iter().map(|row| row.0).collect::<Vec<_>>(),
        [1, 3, 7, 8]
    );
}

#[test]
fn an_identity_that_stands_there_twice_is_a_repetition_or_a_conflict() {
    let mut bench = Bench::new(1 << 20);
    bench.put(1, 0, &[1, 2, 3, 4]);
    bench.put(2, 2, &[9, 4]);
    bench.close();
    // The same bytes once more, as after a memory that has forgotten them.
    change(
        &bench,
        "INSERT INTO items SELECT 3, received_ms, device, incarnation, boot, first, count, hold, crc, records
         FROM items WHERE position = 1",
    );
    let found = verify(&bench);
    assert_eq!(told(&found), [(FindingKind::Conflict, Some(2))]);
    assert!(
        found.findings[0].what.contains("record 2 stands at position"),
        "{found:?}"
    );
    assert_eq!(found.repeated_records, 4);
}

/// A repair that was killed between giving the new file its name and putting it in place, at each step of that.
#[test]
fn a_repair_that_was_killed_is_finished_and_nothing_starts_before() {
    for (is_damaged_there, is_log_there) in [(true, true), (true, false), (false, false)] {
        let mut bench = closed();
        let beside = |ending: &str| bench.folder.path().join(format!("{FILE_NAME}{ending}"));
        std::fs::rename(bench.file(), beside(".rescued")).unwrap();
        std::fs::write(beside(".damaged-42"), [0xA5; 8_192]).unwrap();
        if is_damaged_there {
            std::fs::hard_link(beside(".damaged-42"), bench.file()).unwrap();
        }
        if is_log_there {
            std::fs::write(beside("-wal"), [0x5A; 4_096]).unwrap();
        }
        let folder = bench.folder.path();
        let export_to = folder.join("export");
        for refused in [
            bench.try_open().map(drop),
            SpoolFile::open(folder).map(drop),
            Quarantine::open(folder).map(drop),
        ] {
            assert!(
                matches!(refused, Err(SpoolError::HalfRepaired { .. })),
                "{refused:?}"
            );
        }
        let exported = export(folder, None, &export_to);
        let half = |error| matches!(error, TransferError::Spool(SpoolError::HalfRepaired { .. }));
        assert!(exported.is_err_and(half));
        let elsewhere = closed();
        let other = elsewhere.folder.path().join("export");
        export(elsewhere.folder.path(), None, &other).unwrap();
        assert!(import(folder, &other).is_err_and(half));

        let repaired = repair(folder, 43).unwrap();
        assert_eq!((repaired.good_rows, repaired.put_aside), (8, 0));
        assert!(
            repaired
                .damaged_file
                .unwrap()
                .ends_with("spool.sqlite.damaged-42")
        );
        assert_eq!(std::fs::read(beside(".damaged-42")).unwrap(), [0xA5; 8_192]);
        assert!(verify(&bench).is_good());
        bench.open();
        assert_eq!(bench.rows().len(), 8);
    }
}

/// Until the new file has its name, a killed repair has changed nothing: the next one begins anew.
#[test]
fn a_repair_that_was_killed_while_it_copied_begins_anew() {
    let mut bench = closed();
    let copying = bench.folder.path().join("spool.sqlite.copying");
    std::fs::write(&copying, [0xA5; 4_096]).unwrap();
    assert_eq!(repair(bench.folder.path(), 7).unwrap().good_rows, 8);
    bench.open();
    assert_eq!(bench.rows().len(), 8);
    bench.close();
    // The head of the file.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(bench.file())
        .unwrap();
    file.write_all_at(&[0xA5; 100], 0).unwrap();
    let repaired = repair(bench.folder.path(), 8).unwrap();
    assert!(repaired.damaged_file.unwrap().ends_with("spool.sqlite.damaged-8"));
    assert!(!copying.exists() && verify(&bench).is_good());
}

/// Pages overwritten with noise: whatever can still be read goes into a new file, and the old one is kept.
#[test]
fn a_file_with_destroyed_pages_gives_what_it_still_has() {
    let mut bench = Bench::new(1 << 24);
    for n in 0..400_u32 {
        bench.put(n.into(), n * 100, &[1; 40]);
    }
    bench.close();
    let len = std::fs::metadata(bench.file()).unwrap().len();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(bench.file())
        .unwrap();
    let at = len / 2 / 4_096 * 4_096;
    file.write_all_at(&[0xA5; 8_192], at).unwrap();
    drop(file);
    let found = verify(&bench);
    assert!(
        found.findings.iter().any(|each| each.kind == FindingKind::File),
        "{found:?}"
    );

    let repaired = repair(bench.folder.path(), 42).unwrap();
    assert!(
        repaired.good_rows > 300 && repaired.good_rows < 400,
        "{repaired:?}"
    );
    assert!(!repaired.unreadable.is_empty());
    let kept = repaired.damaged_file.unwrap();
    assert!(kept.ends_with("spool.sqlite.damaged-42"));
    assert_eq!(std::fs::metadata(kept).unwrap().len(), len);
    assert!(verify(&bench).is_good());
    bench.open();
    let rows = bench.rows();
    assert_eq!(rows.len() as u64, repaired.good_rows);
    let is_lost = |position: &u64| {
        repaired
            .unreadable
            .iter()
            .any(|(a, b)| (a..=b).contains(&position))
    };
    let there: Vec<u64> = rows.iter().map(|row| row.0).collect();
    assert!((1..=400_u64).all(|position| there.contains(&position) != is_lost(&position)));
    bench.put(9_000, 900_000, &[1]);
    assert_eq!(
        bench.rows().last().unwrap().0,
        401,
        "no position is given out twice"
    );
}

#[test]
fn a_file_that_is_no_database_any_more_makes_room_for_one() {
    let bench = closed();
    std::fs::write(bench.file(), [0x5A; 20_000]).unwrap();
    let opened = SpoolFile::open(bench.folder.path());
    assert!(opened.unwrap_err().to_string().contains("taraz spool repair"));
    let repaired = repair(bench.folder.path(), 1).unwrap();
    assert_eq!((repaired.good_rows, repaired.put_aside), (0, 0));
    assert!(repaired.damaged_file.is_some());
    assert!(verify(&bench).is_good());
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(
        repair(nowhere.path(), 1),
        Err(SpoolError::Missing { .. })
    ));
}

#[test]
fn an_export_is_imported_whole_or_not_at_all() {
    let mut bench = Bench::new(1 << 20);
    bench.put(1, 0, &[1, 90_000, 3]);
    bench.put(2, 3, &[4]);
    bench.close();
    change(&bench, "UPDATE items SET crc = crc + 1 WHERE position = 4");
    let out = bench.folder.path().join("export");
    let exported = export(bench.folder.path(), None, &out).unwrap();
    assert_eq!((exported.rows, exported.records, exported.left_out), (3, 3, 1));
    assert!(matches!(
        export(bench.folder.path(), None, &out),
        Err(TransferError::File { .. })
    ));
    let other = bench.folder.path().join("other");
    assert!(matches!(
        export(bench.folder.path(), Some("sari-99"), &other),
        Err(TransferError::NothingOf { .. })
    ));
    assert!(!other.exists());

    let elsewhere = Bench::new(1 << 20);
    let refused = import(elsewhere.folder.path(), &out).unwrap_err();
    assert!(refused.to_string().contains("another gateway works"), "{refused}");
    let mut elsewhere = elsewhere;
    elsewhere.put(1, 500, &[7]);
    elsewhere.close();
    let whole = std::fs::read(&out).unwrap();
    for cut in [whole.len() - 1, whole.len() - 9, whole.len() / 2, 5] {
        std::fs::write(&out, &whole[..cut]).unwrap();
        let refused = import(elsewhere.folder.path(), &out);
        assert!(
            matches!(refused, Err(TransferError::Malformed { .. })),
            "{cut}: {refused:?}"
        );
    }
    for at in [0, 8, 20, whole.len() / 2] {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        std::fs::write(&out, &bent).unwrap();
        let refused = import(elsewhere.folder.path(), &out);
        assert!(
            matches!(refused, Err(TransferError::Malformed { .. })),
            "{at}: {refused:?}"
        );
    }
    std::fs::write(&out, &whole).unwrap();
    assert_eq!(
        import(elsewhere.folder.path(), &out).unwrap(),
        Imported { rows: 3, records: 3 }
    );
    assert!(verify(&elsewhere).is_good());
    elsewhere.open();
    let held = Some(taraz_telemetry::Hold::ImplausibleValue);
    assert_eq!(
        elsewhere.rows(),
        [
            (1, 500, 1, None, false),
            (2, 0, 1, None, false),
            (3, 1, 1, held, false),
            (4, 2, 1, None, false)
        ]
    );
}

#[test]
fn a_table_that_is_described_otherwise_makes_room_for_a_new_file() {
    let mut bench = closed();
    let mut bytes = std::fs::read(bench.file()).unwrap();
    let column = b"incarnation";
    let at = bytes.windows(column.len()).position(|each| each == column);
    // SQLite's own check takes the other name for the column's.
    bytes[at.expect("the first page has it")] ^= 2;
    std::fs::write(bench.file(), bytes).unwrap();
    let found = verify(&bench);
    assert!(told(&found).contains(&(FindingKind::File, None)), "{found:?}");
    let repaired = repair(bench.folder.path(), 1).unwrap();
    assert_eq!((repaired.good_rows, repaired.put_aside), (8, 0));
    assert!(repaired.damaged_file.is_some() && repaired.unreadable.is_empty());
    assert!(verify(&bench).is_good());
    bench.open();
    assert_eq!(bench.rows().len(), 8);
}

#[test]
fn a_damaged_row_is_found_by_its_crc() {
    let mut bench = closed();
    change(
        &bench,
        "UPDATE items SET records = zeroblob(length(records)) WHERE position = 1",
    );
    bench.open();
    let damaged: Vec<bool> = bench.rows().iter().map(|row| row.4).collect();
    assert_eq!(damaged, [true, false, false, false, false, false, false, false]);
}

#[test]
fn what_was_put_aside_as_damaged_is_stored_when_it_comes_again() {
    let mut bench = Bench::new(1 << 20);
    bench.put(1, 0, &[1, 2]);
    change(&bench, "UPDATE items SET crc = crc + 1");
    bench.remove(1, vec![(1, DAMAGED.to_owned())]);
    // Its acknowledgement was lost on the way.
    bench.put(2, 0, &[1, 2]);
    let rows: Vec<_> = bench.rows().iter().map(|row| (row.0, row.1, row.4)).collect();
    assert_eq!(rows, [(2, 0, false)]);
}
