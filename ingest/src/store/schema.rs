//! Tables and migrations. A store that a later version of the program has written is refused, never changed.
//!
//! Truth: `record`, `run`, `chunk`, `conflict`, `received`, `cursor`, `changed`, `export`, `exported_site`, `exported_day`. Cache, made again from the records by a rebuild: `anchor`, `interval`,
//! `segment`, `ignored`, `checkpoint`, `late`, `held`, `unstated` and the accounts in `series`. `newest` and the times in `device` only serve the start.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::{StoreError, upgrade};

/// The schema that this program writes: the number of migrations.
pub(crate) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Each brings the schema from its index to the next version; a released one is never changed.
const MIGRATIONS: &[&str] = &[
    VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8, VERSION_9,
];

const VERSION_1: &str = "
-- Devices by a short key.
CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_reading_ms INTEGER,
    last_received_ms INTEGER
);

-- Every record once; the rowid is its place in the feed. A record that is placed in time later moves to the feed's end.
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind INTEGER NOT NULL,      -- 0 reading, 1 failure, 2 start, 3 dropped, 4 anchor, 5 diagnostics
    meter INTEGER,              -- of kinds 0 and 1
    clock INTEGER NOT NULL,     -- 0 synced, 1 holdover, 2 unsynced
    time_ms INTEGER,            -- UTC; null while it can't be placed
    hold TEXT,                  -- why it is kept out of analytics
    received_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL
);
CREATE INDEX record_identity ON record (device, incarnation, boot, sequence);
CREATE INDEX record_unsynced ON record (device, incarnation, boot) WHERE clock = 2;

-- What was received of each boot, as runs; kept for ever.
CREATE TABLE received (
    device INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (device, incarnation, boot, first)
) WITHOUT ROWID;

-- The same identity with other bytes than the record that came first.
CREATE TABLE conflict (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL
);
CREATE INDEX conflict_identity ON conflict (device, incarnation, boot, sequence);

-- How far each sink has got.
CREATE TABLE cursor (sink TEXT PRIMARY KEY, record INTEGER NOT NULL) WITHOUT ROWID;

-- The best anchor of each boot.
CREATE TABLE anchor (
    device INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    monotonic_ms INTEGER NOT NULL,
    utc_ms INTEGER NOT NULL,
    error_ms INTEGER NOT NULL,
    PRIMARY KEY (device, incarnation, boot)
) WITHOUT ROWID;

-- One energy register of one meter. total_wh: all its rises; shown_wh: the highest total_wh ever.
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    meter INTEGER NOT NULL,
    register INTEGER NOT NULL,  -- 0 energy, 1 import, 2 export
    total_wh INTEGER NOT NULL DEFAULT 0,
    shown_wh INTEGER NOT NULL DEFAULT 0,
    UNIQUE (device, meter, register)
);

-- Register values that count, each with how many readings state it. Of several at one instant the highest holds.
CREATE TABLE point (
    series INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    value_wh INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    PRIMARY KEY (series, time_ms, value_wh)
) WITHOUT ROWID;

-- What spans up to 6 h state about each quarter-hour.
CREATE TABLE interval (
    series INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL,
    known_ms INTEGER NOT NULL,
    spread INTEGER NOT NULL,
    resets INTEGER NOT NULL,
    PRIMARY KEY (series, quarter)
) WITHOUT ROWID;

-- Longer spans, each as itself.
CREATE TABLE span (
    series INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    from_wh INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    to_wh INTEGER NOT NULL,
    PRIMARY KEY (series, from_ms)
) WITHOUT ROWID;

-- How many readings are held back per meter and quarter-hour.
CREATE TABLE held (
    device INTEGER NOT NULL,
    meter INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    PRIMARY KEY (device, meter, quarter)
) WITHOUT ROWID;

-- The newest reading of each meter.
CREATE TABLE newest (
    device INTEGER NOT NULL,
    meter INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, meter)
) WITHOUT ROWID;
";

const VERSION_2: &str = "
-- The meter's rated power in W, by which the series' spans and intervals were made; 0 bounds nothing.
ALTER TABLE series ADD COLUMN rated_w INTEGER NOT NULL DEFAULT 0;
";

const VERSION_3: &str = "
-- What is judged again at every start.
CREATE INDEX record_held ON record (id) WHERE hold IS NOT NULL;
";

const VERSION_4: &str = "
-- Since when a record that an anchor has placed waits for what could place it otherwise, by our clock; it stays out of the
-- feed meanwhile. Null when it does not wait: what earlier versions have placed was given away already.
ALTER TABLE record ADD COLUMN waiting_ms INTEGER;
CREATE INDEX record_waiting ON record (device, incarnation, boot, sequence) WHERE waiting_ms IS NOT NULL;
CREATE INDEX record_waiting_ms ON record (waiting_ms) WHERE waiting_ms IS NOT NULL;
CREATE INDEX record_anchor ON record (device, incarnation, boot, sequence) WHERE kind = 4;

-- Every anchor of a boot that counts, no longer only the best one.
DROP TABLE anchor;
CREATE TABLE anchor (
    device INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    monotonic_ms INTEGER NOT NULL,
    utc_ms INTEGER NOT NULL,
    error_ms INTEGER NOT NULL,
    PRIMARY KEY (device, incarnation, boot, monotonic_ms)
) WITHOUT ROWID;

-- Has a row while anchors and places have to be made again from the records.
CREATE TABLE places_due (since INTEGER PRIMARY KEY);
INSERT INTO places_due VALUES (4);
";

const VERSION_5: &str = "
-- How many readings say nothing of a register although power flows its way, per meter and quarter-hour.
CREATE TABLE unstated (
    device INTEGER NOT NULL,
    meter INTEGER NOT NULL,
    register INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    PRIMARY KEY (device, meter, register, quarter)
) WITHOUT ROWID;

-- Has a row while the caches have to be made again from the records.
CREATE TABLE caches_due (since INTEGER PRIMARY KEY);
INSERT INTO caches_due VALUES (5);
";

const VERSION_6: &str = "
-- Readings that were placed by their own clock and held for nothing: consecutive records of one boot and one day that were
-- committed together. The rowid is the place in the feed of the last of them; the others stand right in front of it.
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    day INTEGER NOT NULL,         -- of UTC, since 1970-01-01
    from_ms INTEGER NOT NULL,     -- the earliest time
    to_ms INTEGER NOT NULL,       -- the latest time
    received_ms INTEGER NOT NULL, -- when the gateway had taken in all of it
    bytes BLOB NOT NULL           -- the records as they came, one behind the other
);
CREATE INDEX run_day ON run (device, day);

-- Sealed: what runs of one device and day held, columnar and compressed. The rowid is the place in the feed of the last of it.
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    day INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    format INTEGER NOT NULL,      -- how the bytes are to be read
    identities BLOB NOT NULL,     -- runs of identities, in the order of the records
    crc INTEGER NOT NULL,         -- CRC-32 of the identities and, behind them, the records as they came
    bytes BLOB NOT NULL
);
CREATE INDEX chunk_day ON chunk (device, day);

-- Readings that a policy has given up, per day of UTC. Their identities stay in `received`, what they stated in the intervals.
CREATE TABLE forgotten (day INTEGER PRIMARY KEY, readings INTEGER NOT NULL);

-- Has a row while readings that have a row each have to be put into runs.
CREATE TABLE runs_due (since INTEGER PRIMARY KEY);
INSERT INTO runs_due VALUES (6);
";

const VERSION_7: &str = "
-- Registers are accounted for by the auditors' arithmetic: in place of the values and the spans between them stand settled
-- quarter-hours, longer segments as themselves, readings that were left out, and where each account stands.
DROP TABLE point;
DROP TABLE span;
DROP TABLE interval;

-- What segments up to 15 minutes state about each quarter-hour, once nothing can add to it any more.
CREATE TABLE interval (
    series INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL,
    known_ms INTEGER NOT NULL,
    covered_ms INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    PRIMARY KEY (series, quarter)
) WITHOUT ROWID;

-- Longer segments.
CREATE TABLE segment (
    series INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    from_wh INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    to_wh INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    PRIMARY KEY (series, from_ms)
) WITHOUT ROWID;

-- Readings that are part of no segment.
CREATE TABLE ignored (
    series INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    value_wh INTEGER NOT NULL,
    why INTEGER NOT NULL,
    PRIMARY KEY (series, time_ms)
) WITHOUT ROWID;

-- How each account stood before its first reading of a UTC day; every day with readings that are accounted for has one.
CREATE TABLE checkpoint (
    series INTEGER NOT NULL,
    day INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (series, day)
) WITHOUT ROWID;

-- A device's day is read for its accounts.
CREATE INDEX record_time ON record (device, time_ms) WHERE time_ms IS NOT NULL;

-- Days of devices from which on accounts have to be made again.
CREATE TABLE late (device INTEGER NOT NULL, day INTEGER NOT NULL, PRIMARY KEY (device, day)) WITHOUT ROWID;

-- What is known of the register, as the account was made with; how the account stands; the energy of its rows; its first value.
ALTER TABLE series ADD COLUMN meter_known BLOB;
ALTER TABLE series ADD COLUMN state BLOB;
ALTER TABLE series ADD COLUMN handed_wh INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN first_ms INTEGER;
ALTER TABLE series ADD COLUMN first_wh INTEGER;
INSERT OR IGNORE INTO caches_due VALUES (7);
";

const VERSION_8: &str = "
-- Which quarter-hours of a device have changed since the sinks have got them, first and last one; nothing while there are no sinks.
CREATE TABLE changed (
    revision INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
);

-- How far each sink has got with the figures: the last change, and the end of the last local day (UTC ms) that was sent for all sites.
CREATE TABLE export (sink TEXT PRIMARY KEY, revision INTEGER NOT NULL, closed_ms INTEGER NOT NULL) WITHOUT ROWID;

-- With which facts of the registry all figures of a site were sent to a sink.
CREATE TABLE exported_site (
    sink TEXT NOT NULL,
    site TEXT NOT NULL,
    facts INTEGER NOT NULL,
    PRIMARY KEY (sink, site)
) WITHOUT ROWID;

-- How often figures of a site or plant (plant/ID) and UTC day were sent.
CREATE TABLE exported_day (
    site TEXT NOT NULL,
    day INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (site, day)
) WITHOUT ROWID;
";

const VERSION_9: &str = "
-- CRC-32 of all the other columns. Runs of earlier versions get the sum of what stands in them at the upgrade.
ALTER TABLE run ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
";

/// This version makes every interval anew.
const ACCOUNTS_ANEW: i64 = 7;
/// This version gives runs a check sum.
const RUN_SUMS: i64 = 9;

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
