//! Tables and migrations. A store that a later version of the program has written is refused, never changed.
//!
//! Truth: `record`, `run`, `chunk`, `conflict`, `received`, `cursor`, `changed`, `export`, `exported_site`, `exported_day`. Cache, made again from the records by a rebuild: `anchor`, `interval`,
//! `segment`, `ignored`, `checkpoint`, `late`, `held`, `unstated` and the accounts in `series`. `newest` and the times in `device` only serve the start.

mod versions;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use self::versions::MIGRATIONS;
use super::{StoreError, upgrade};

/// The schema that this program writes: the number of migrations.
pub(crate) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// This version makes every interval anew.
const ACCOUNTS_ANEW: i64 = 7;
/// This version gives runs a check sum.
const RUN_SUMS: i64 = 9;
/// This version gives records with a row of their own a check sum.
const RECORD_SUMS: i64 = 10;

/// The log is folded into the file when it has so many pages (16 MB): a page that changes with every commit is written home once for
/// many of them.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Sets what must hold on every connection: readers see commits at once, a commit is on the disk when it returns.
pub(crate) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous())?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // Else the planner looks at bound values, and plans anew whenever they change: a quarter of the time of ingest.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// `FULL`, always. In a debug build alone the environment can say OFF: with it what is acknowledged is not durable. It is there for
/// the test that must see the proof of durability fail.
fn synchronous() -> &'static str {
    const UNSAFE: &str = "TARAZ_UNSAFE_NO_FSYNC";
    if cfg!(debug_assertions) && std::env::var_os(UNSAFE).is_some() {
        tracing::error!("{UNSAFE} is set: nothing is synced, and a power cut loses what was acknowledged");
        return "OFF";
    }
    "FULL"
}

/// Brings the schema to [`SCHEMA_VERSION`], each step in one transaction.
pub(crate) fn migrate(connection: &mut Connection, now_ms: i64) -> Result<(), StoreError> {
    migrate_to(connection, MIGRATIONS.len(), now_ms)
}

/// Brings an earlier schema to this version.
pub(super) fn migrate_to(connection: &mut Connection, version: usize, now_ms: i64) -> Result<(), StoreError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL)",
    )?;
    let found = check(connection)?;
    for (from, sql) in (0_i64..)
        .zip(&MIGRATIONS[..version])
        .skip_while(|&(from, _)| from < found)
    {
        let transaction = connection.transaction()?;
        if from + 1 == ACCOUNTS_ANEW {
            check_has_all(&transaction)?;
        }
        step(&transaction, from + 1, sql, now_ms)?;
        if from + 1 == RUN_SUMS {
            upgrade::sum_runs(&transaction)?;
        }
        if from + 1 == RECORD_SUMS {
            upgrade::sum_records(&transaction)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

/// The store's version, unless it is newer than this program.
pub(crate) fn check(connection: &Connection) -> Result<i64, StoreError> {
    let found = version(connection)?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer {
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(found)
}

/// Whether the schema is the present one, for whoever only reads.
pub(crate) fn check_is_present(connection: &Connection) -> Result<(), StoreError> {
    let (found, known) = (version(connection)?, SCHEMA_VERSION);
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(StoreError::Older { found, known }),
        std::cmp::Ordering::Greater => Err(StoreError::Newer { found, known }),
    }
}

/// What is accounted for anew needs every reading: what stands in the intervals of given-up ones can't be made again.
fn check_has_all(connection: &Connection) -> Result<(), StoreError> {
    let readings: i64 =
        connection.query_row("SELECT coalesce(sum(readings), 0) FROM forgotten", (), |row| {
            row.get(0)
        })?;
    if readings == 0 {
        return Ok(());
    }
    Err(StoreError::GivenUp {
        readings: readings.unsigned_abs(),
        version: ACCOUNTS_ANEW,
    })
}

fn step(transaction: &Transaction<'_>, version: i64, sql: &str, now_ms: i64) -> rusqlite::Result<()> {
    transaction.execute_batch(sql)?;
    transaction.execute(
        "INSERT INTO migration (version, applied_ms) VALUES (?, ?)",
        (version, now_ms),
    )?;
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let newest = connection
        .query_row("SELECT max(version) FROM migration", (), |row| row.get(0))
        .optional()?;
    Ok(newest.flatten().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(connection: &Connection) -> Vec<String> {
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        statement
            .query_map((), |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn every_earlier_version_becomes_the_present_one() {
        let mut fresh = Connection::open_in_memory().unwrap();
        migrate(&mut fresh, 1).unwrap();
        let expected = dump(&fresh);
        for from in 0..MIGRATIONS.len() {
            let mut old = Connection::open_in_memory().unwrap();
            old.execute_batch("CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL)")
                .unwrap();
            for (version, sql) in (1_i64..).zip(&MIGRATIONS[..from]) {
                let transaction = old.transaction().unwrap();
                step(&transaction, version, sql, 0).unwrap();
                transaction.commit().unwrap();
            }
            migrate(&mut old, 2).unwrap();
            assert_eq!(version(&old).unwrap(), SCHEMA_VERSION);
            assert_eq!(dump(&old), expected, "from version {from}");
        }
    }

    #[test]
    fn migrating_again_changes_nothing_and_a_newer_store_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 1).unwrap();
        migrate(&mut connection, 2).unwrap();
        let applied: i64 = connection
            .query_row("SELECT sum(applied_ms) FROM migration", (), |r| r.get(0))
            .unwrap();
        // Each was applied once, the first time.
        assert_eq!(applied, SCHEMA_VERSION);
        connection
            .execute("INSERT INTO migration VALUES (?, 3)", [SCHEMA_VERSION + 1])
            .unwrap();
        let error = migrate(&mut connection, 4).unwrap_err();
        assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    }
}
