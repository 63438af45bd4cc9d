//! The SQL of every version of the schema, the oldest first. Only ever added to.

/// Each brings the schema from its index to the next version; a released one is never changed.
pub(super) const MIGRATIONS: &[&str] = &[
    VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8, VERSION_9,
    VERSION_10,
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

const VERSION_10: &str = "
-- CRC-32 of the columns that never change. Records of earlier versions get the sum of what stands in them at the upgrade.
ALTER TABLE record ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
";
