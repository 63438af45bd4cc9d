//! The keys of `device.toml`, and what is allowed at each.

use taraz_settings::{Key, Section};

pub(super) const KEY: &str = "the device's key as 64 hexadecimal digits";
pub(super) const GENERATION: &str = "1 to 255, as 1";
pub(super) const BUS: &str = "tcp://HOST:PORT, as \"tcp://192.168.1.20:5020\", or serial:PATH?baud=…&parity=…&stop_bits=…, as \
                              \"serial:/dev/ttyUSB0?baud=9600&parity=none&stop_bits=1\" (baud 300 to 921600; parity none, \
                              even or odd; stop_bits 1 or 2)";
pub(super) const BROKER: &str = "mqtt://HOST or mqtt://HOST:PORT, as \"mqtt://127.0.0.1:1883\"";
pub(super) const POLL_INTERVAL: &str = "0.2 to 86400 seconds, as 10";
pub(super) const TIMEOUT: &str = "1 to 60000 ms, as 1000";
pub(super) const RETRIES: &str = "0 to 5, as 1";
pub(super) const QUEUE: &str = "256 to 50000000 records, as 500000";
pub(super) const CLOCK: &str = "0 to 1000 ms, as 500; a worse clock is not synced";
pub(super) const KEEP_ALIVE: &str = "10 to 3600 seconds, as 60";
pub(super) const ACK_TIMEOUT: &str = "1 to 3600 seconds, as 30";
pub(super) const HISTORY_DAYS: &str = "1 to 366, as 30";
pub(super) const HISTORY_STEP: &str = "at least 10 s, and a day must be a multiple of it, as 300";
pub(super) const ADDRESS: &str = "1 to 247, as 1";

/// Everything that the file may hold.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        head: "",
        keys: &[
            Key::must("device", "1 to 32 of a-z, 0-9 and '-' in quotes, as \"sari-01\""),
            Key::may("key_generation", GENERATION),
            Key::may("key", KEY).secret(),
            Key::may("key_file", "the path of a file in quotes, as \"sari-01.key\""),
            Key::must("bus", BUS),
            Key::must("broker", BROKER),
            Key::must("state", "the path of a folder in quotes, as \"state/sari-01\""),
            Key::may("poll_interval_s", POLL_INTERVAL),
            Key::may("response_timeout_ms", TIMEOUT),
            Key::may("retries", RETRIES),
            Key::may("queue_records", QUEUE),
            Key::may("clock_error_ms", CLOCK),
            Key::may("keep_alive_s", KEEP_ALIVE),
            Key::may("ack_timeout_s", ACK_TIMEOUT),
            Key::table("history", "history = { days = 30, step_s = 300 }"),
            Key::tables("meter", "a table for each meter: [[meter]]").needed(),
        ],
    },
    Section {
        head: "history",
        keys: &[Key::must("days", HISTORY_DAYS), Key::must("step_s", HISTORY_STEP)],
    },
    Section {
        head: "meter",
        keys: &[
            Key::must("address", ADDRESS),
            Key::may("driver", "one of: sunspec, sdm630, growatt, si_rs485"),
        ],
    },
];
