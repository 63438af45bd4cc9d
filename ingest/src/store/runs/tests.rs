//! Where the run of an identity is looked for, in the table and among those under way.

use rusqlite::StatementStatus;

use super::super::schema;
use super::*;

const BOOT: BootKey = BootKey {
    device: 7,
    incarnation: 1,
    boot: 1,
};

/// What a look for a record costs among a thousand runs of one record each, in steps of `SQLite`'s machine.
fn steps_to(sequence: Sequence, day: Option<i64>) -> i32 {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection, 1).unwrap();
    let mut open = OpenRuns::default();
    open.push(BOOT, 0, 0, 0, &[]);
    let mut run = open.runs.remove(0);
    let mut inserting = Run::inserting(&connection).unwrap();
    for sequence in 0..1_000 {
        (run.id, run.first) = (i64::from(sequence) + 1, sequence);
        run.insert(&mut inserting).unwrap();
    }
    drop(inserting);
    assert_eq!(
        find(&connection, BOOT, sequence, day).unwrap().unwrap().first,
        sequence
    );
    let mut statement = connection.prepare(&find_sql(day.is_some())).unwrap();
    let parameters = (BOOT.device, BOOT.incarnation, BOOT.boot, sequence, day);
    statement.query_row(parameters, Run::read).unwrap();
    statement.get_status(StatementStatus::VmStep)
}

#[test]
fn a_record_of_the_last_commit_is_found_without_looking_at_the_day_before_it() {
    for day in [Some(0), None] {
        let (newest, oldest) = (steps_to(999, day), steps_to(0, day));
        assert!(newest < oldest / 20, "{newest} and {oldest} steps for {day:?}");
    }
}

#[test]
fn a_run_under_way_is_found_behind_later_ones_of_its_boot_and_of_others() {
    let mut open = OpenRuns::default();
    let other = BootKey { boot: 2, ..BOOT };
    for (boot, sequence) in [(BOOT, 5), (other, 5), (BOOT, 9), (BOOT, 10), (other, 7)] {
        open.push(boot, sequence, 0, 0, &[]);
    }
    let first = |boot, sequence| open.find(boot, sequence).map(|run| (run.boot, run.first));
    assert_eq!(first(BOOT, 5), Some((BOOT, 5)));
    assert_eq!(first(BOOT, 10), Some((BOOT, 9)));
    assert_eq!(first(other, 5), Some((other, 5)));
    assert_eq!(first(other, 7), Some((other, 7)));
    assert_eq!(first(other, 9), None);
    assert_eq!(first(BootKey { boot: 3, ..BOOT }, 5), None);
}
