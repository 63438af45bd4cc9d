//! The quarantine in a person's hands.

use super::tests::Bench;
use super::*;

/// Six items of one record each, of which ingest has rejected the second and the third and taken the rest.
fn rejected() -> Bench {
    let mut bench = Bench::new(1 << 20);
    for n in 0..6 {
        bench.put(n, u32::try_from(n).unwrap(), &[i32::try_from(n).unwrap()]);
    }
    let reasons = [(2, "a bad one"), (3, "another")].map(|(position, why)| (position, why.to_owned()));
    bench.remove(6, reasons.into());
    bench
}

#[test]
fn it_can_be_looked_at_while_the_gateway_runs_but_not_changed() {
    let bench = rejected();
    let items = Quarantine::list(bench.folder.path()).unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|item| {
            (
                item.position,
                item.first,
                item.count,
                item.reason.as_str(),
                item.damaged,
            )
        })
        .collect();
    assert_eq!(told, [(2, 1, 1, "a bad one", false), (3, 2, 1, "another", false)]);
    assert!(
        items
            .iter()
            .all(|item| item.device == "sari-01" && !item.records.is_empty())
    );
    assert!(matches!(
        Quarantine::open(bench.folder.path()),
        Err(SpoolError::InUse { .. })
    ));
    let nowhere = tempfile::tempdir().unwrap();
    assert_eq!(Quarantine::list(nowhere.path()).unwrap(), []);
    assert_eq!(
        std::fs::read_dir(nowhere.path()).unwrap().count(),
        0,
        "looking makes nothing"
    );
    std::fs::write(nowhere.path().join(FILE_NAME), "").unwrap();
    assert_eq!(
        Quarantine::list(nowhere.path()).unwrap(),
        [],
        "a gateway has just begun to make it"
    );
}

#[test]
fn an_item_goes_to_ingest_once_more_or_away() {
    let mut bench = rejected();
    bench.close();
    let mut quarantine = Quarantine::open(bench.folder.path()).unwrap();
    assert!(quarantine.retry(2).unwrap());
    assert!(!quarantine.retry(2).unwrap(), "it is there no more");
    assert!(quarantine.drop_item(3).unwrap());
    assert!(!quarantine.drop_item(3).unwrap());
    drop(quarantine);
    bench.open();
    // Behind everything that ever was, whole, and counted as what it is now.
    assert_eq!(bench.rows(), [(7, 1, 1, None, false)]);
    assert_eq!(
        (bench.metrics.backlog.get(), bench.metrics.quarantined.get()),
        (1, 0)
    );
    bench.put(9, 100, &[1]);
    assert_eq!(bench.rows()[1].0, 8);
    bench.remove(7, vec![(7, "still bad".to_owned())]);
    assert_eq!(bench.quarantine(), [(7, "still bad".to_owned())]);
}

#[test]
fn a_damaged_item_is_not_sent_and_a_position_never_comes_again() {
    let mut bench = rejected();
    bench.close();
    let file = bench.file();
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection
        .execute_batch("UPDATE quarantine SET crc = (crc + 1) % 4294967296 WHERE position = 3; UPDATE meta SET value = 1;")
        .unwrap();
    drop(connection);
    let damaged = Quarantine::list(bench.folder.path()).unwrap();
    assert_eq!(
        damaged.iter().map(|item| item.damaged).collect::<Vec<_>>(),
        [false, true]
    );
    let mut quarantine = Quarantine::open(bench.folder.path()).unwrap();
    assert!(!quarantine.retry(3).unwrap());
    assert!(quarantine.drop_item(3).unwrap());
    drop(quarantine);
    bench.open();
    bench.put(9, 100, &[1]);
    assert_eq!(bench.rows()[0].0, 4, "not 3, which was dropped");
}

/// Changes what the tables would not take: a bit that flips on a disk asks nobody.
fn damage(bench: &Bench, sql: &str) {
    let connection = rusqlite::Connection::open(bench.file()).unwrap();
    let described = |from: &str, to: &str| {
        let sql = format!(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE name = 'items';
             PRAGMA writable_schema = RESET;"
        );
        connection.execute_batch(&sql).unwrap();
    };
    described(" STRICT", "/**/");
    described("NOT NULL", "/*****/");
    assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
    described("/*****/", "NOT NULL");
    described("/**/", " STRICT");
}

#[test]
fn a_row_that_no_table_would_take_is_put_aside_and_keeps_nothing_waiting() {
    let mut bench = Bench::new(1 << 20);
    for n in 0..4 {
        bench.put(n, u32::try_from(n).unwrap(), &[i32::try_from(n).unwrap()]);
    }
    bench.close();
    damage(
        &bench,
        "UPDATE items SET device = CAST(device AS BLOB) WHERE position = 2",
    );
    damage(&bench, "UPDATE items SET boot = NULL WHERE position = 3");
    bench.open();
    let damaged: Vec<_> = bench.rows().iter().filter(|row| row.4).map(|row| row.0).collect();
    assert_eq!(damaged, [2, 3]);
    let reasons = [2, 3].map(|position| (position, "damaged in the spool".to_owned()));
    let removed = bench.begin_removal(4, reasons.to_vec());
    bench.put(9, 50, &[5]);
    bench.until("the rest is removed", |bench| bench.rows().len() == 1);
    drop(removed);
    assert_eq!(bench.quarantine(), reasons, "no row goes without a trace");
    let items = Quarantine::list(bench.folder.path()).unwrap();
    assert!(
        items
            .iter()
            .all(|item| item.device == "sari-01" && !item.records.is_empty())
    );
    // What only its type kept from being read is whole again, and ingest can have it.
    assert_eq!(
        items.iter().map(|item| item.damaged).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn what_a_damaged_row_held_is_stored_when_it_comes_again() {
    let mut bench = Bench::new(1 << 20);
    bench.put(1, 0, &[1, 2]);
    bench.put(2, 10, &[3]);
    bench.close();
    damage(&bench, "UPDATE items SET crc = crc + 1 WHERE position = 1");
    bench.open();
    bench.put(3, 0, &[1, 2]);
    bench.put(4, 10, &[3]);
    let rows: Vec<_> = bench.rows().iter().map(|row| (row.0, row.1, row.4)).collect();
    assert_eq!(rows, [(1, 0, true), (2, 10, false), (3, 0, false)]);
}
