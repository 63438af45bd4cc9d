//! `taraz report duty` and `taraz energy explain` on a real store, beside the ingest that has it open: figures that were worked out by hand, every form, both
//! languages as they print.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use taraz_fleet::Fleet;
use taraz_ingest::Store;
use taraz_telemetry::{
    BatchItem, BatchWriter, Clock, MeterAddress, Outcome, Quantities, RECORD_LEN_MAX, Reading, Record, Stamp,
};

const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 2025-03-20T20:30Z: 1404 begins.
const START_MS: i64 = 1_742_502_600_000;
/// The first readings: ten days later.
const FIRST_DAY: i64 = 10;
/// Nothing is read on these days; the registers go on counting.
const SILENT_DAYS: std::ops::Range<i64> = 50..53;
/// Readings end with this day.
const LAST_DAY: i64 = 199;
/// 200 days of the year are over: 1404-07-15 begins.
const UNTIL: &str = "2025-10-06T20:30:00Z";
/// Each day the roof generates 8 kWh from 8 to 16 o'clock and the grid meter counts 5 kWh an hour.
const GENERATED_DAY_WH: i64 = 8_000;
const IMPORT_HOUR_WH: i64 = 5_000;

const DUTY: &[&str] = &["report", "duty", "--until", UNTIL];

/// A town with a metered town hall and a school that nobody reads; a village whose consumption is not metered.
const FLEET: &str = r#"
[[district]]
id = "sari"
name = "Sari"
name_fa = "ساری"

[[owner]]
id = "town"
name = "Municipality of Sari"
name_fa = "شهرداری ساری"
kind = "municipality"

[[owner]]
id = "village"
name = "Farahabad <village>"
name_fa = "دهیاری فرح‌آباد"
kind = "village"

[[plant]]
id = "roof"
name = "Town hall roof"
name_fa = "بام ساختمان شهرداری"
owner = "town"
district = "sari"
latitude_deg = 36.563
longitude_deg = 53.060
altitude_m = 23.0
inverter_ac_w = 10000
commissioned = "2024-03-20"
arrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 10000 }]

[[plant.device]]
id = "roof-01"
meter = [
    { address = 1, role = "inverter", driver = "sunspec", rated_w = 10000 },
    { address = 2, role = "grid", driver = "sdm630", rated_w = 69000 },
]

[[plant]]
id = "school"
name = "School"
name_fa = "دبستان"
owner = "town"
district = "sari"
latitude_deg = 36.563
longitude_deg = 53.060
altitude_m = 23.0
inverter_ac_w = 5000
commissioned = "2024-03-20"
arrays = [{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 5000 }]

[[plant.device]]
id = "school-01"
meter = [{ address = 1, role = "inverter", driver = "sunspec", rated_w = 5000 }]

[[plant]]
id = "hall"
name = "Village hall"
name_fa = "خانهٔ دهیاری"
owner = "village"
district = "sari"
latitude_deg = 36.80
longitude_deg = 53.10
altitude_m = -20.0
inverter_ac_w = 10000
commissioned = "2024-03-20"
arrays = [{ tilt_deg = 20.0, azimuth_deg = 170.0, peak_w = 10000 }]

[[plant.device]]
id = "hall-01"
meter = [{ address = 1, role = "inverter", driver = "sunspec", rated_w = 10000 }]

[[duty]]
from_year = 1404
owner_kind = "municipality"
share_per_myriad = 1000
rial_per_kwh = 30000
"#;

/// An installation whose ingest runs.
struct Installation {
    folder: tempfile::TempDir,
    store: Store,
}

impl Installation {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = "fleet = \"fleet.toml\"\n[ingest]\ndata = \"data\"\ntoken = \"0123456789abcdef\"\n";
        std::fs::write(folder.path().join("taraz.toml"), config).unwrap();
        std::fs::write(folder.path().join("fleet.toml"), FLEET).unwrap();
        let fleet = Arc::new(Fleet::parse(FLEET).unwrap());
        let now = Arc::new(|| START_MS + 365 * DAY_MS);
        let store = Store::open(&folder.path().join("data"), fleet, now).unwrap();
        Self { folder, store }
    }

    /// Delivers what a device read every hour.
    async fn deliver(&self, device: &str, read: impl Fn(i64) -> Vec<(u8, Quantities)>) {
        let hours = FIRST_DAY * 24..=(LAST_DAY + 1) * 24;
        let is_silent = |hour: &i64| {
            let silent = SILENT_DAYS.start * 24..SILENT_DAYS.end * 24;
            silent.contains(hour) && *hour != silent.start
        };
        let records: Vec<Record> = hours
            .filter(|hour| !is_silent(hour))
            .flat_map(|hour| read(hour).into_iter().map(move |values| (hour, values)))
            .map(|(hour, (meter, quantities))| record(START_MS + hour * HOUR_MS, meter, quantities))
            .collect();
        for (index, chunk) in records.chunks(400).enumerate() {
            let mut bytes = Vec::new();
            for record in chunk {
                bytes.extend_from_slice(record.encode(&mut [0; RECORD_LEN_MAX]).unwrap());
            }
            let mut batch = BatchWriter::new();
            assert!(batch.push(&BatchItem {
                position: 1 + u64::try_from(index).unwrap(),
                received_ms: u64::try_from(START_MS + 300 * DAY_MS).unwrap(),
                device,
                incarnation: 1,
                boot: 1,
                first: u32::try_from(index * 400).unwrap(),
                hold: None,
                records: &bytes,
            }));
            self.store.receiver().receive(batch.finish()).await.unwrap();
        }
    }

    async fn deliver_all(&self) {
        self.deliver("roof-01", |hour| {
            let grid = Quantities {
                import_wh: Some(700 + (hour * IMPORT_HOUR_WH).unsigned_abs()),
                export_wh: Some(0),
                ..Quantities::default()
            };
            vec![(1, generated(hour)), (2, grid)]
        })
        .await;
        self.deliver("hall-01", |hour| vec![(1, generated(hour))]).await;
    }

    fn taraz(&self, what: &[&str], arguments: &[&str]) -> Output {
        let mut command = Command::new(TARAZ);
        command
            .args(what)
            .arg("--config")
            .arg(self.folder.path().join("taraz.toml"));
        command.args(arguments).output().unwrap()
    }

    #[track_caller]
    fn report(&self, arguments: &[&str]) -> String {
        let output = self.taraz(DUTY, arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.taraz(DUTY, arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The inverter's register after so many hours of the year.
fn generated(hour: i64) -> Quantities {
    let of_day = (hour % 24 - 8).clamp(0, 8) * GENERATED_DAY_WH / 8;
    Quantities {
        energy_wh: Some((1_000_000 + hour / 24 * GENERATED_DAY_WH + of_day).unsigned_abs()),
        ..Quantities::default()
    }
}

fn record(time_ms: i64, meter: u8, quantities: Quantities) -> Record {
    Record::Reading(Reading {
        meter: MeterAddress::new(meter).unwrap(),
        stamp: Stamp {
            ms: u64::try_from(time_ms).unwrap(),
            clock: Clock::Synced,
        },
        outcome: Outcome::Values(quantities),
    })
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Holds a document against the golden one, without font and version. The present one is left in the target folder.
#[track_caller]
fn compare(text: &str, name: &str) {
    let (head, rest) = text.split_once("base64,").unwrap();
    let (font, tail) = rest.split_once(')').unwrap();
    assert!(font.len() > 10_000, "the Persian letters are in the file");
    let present = format!("{head}base64,FONT){tail}").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&kept, &present).unwrap();
    let expected = std::fs::read_to_string(golden(name)).unwrap_or_default();
    assert_eq!(
        present,
        expected,
        "{} is not {}",
        kept.display(),
        golden(name).display()
    );
}

#[tokio::test]
async fn figures_are_those_that_follow_from_the_registers_by_hand() {
    let installation = Installation::start().await;
    installation.deliver_all().await;
    let report: Value =
        serde_json::from_str(&installation.report(&["--year", "1404", "--format", "json"])).unwrap();
    assert_eq!(
        (report["days_so_far"].as_u64(), report["days_of_year"].as_u64()),
        (Some(200), Some(365))
    );
    let town = &report["owners"][0];
    // 190 known days, the silent ones among them: 8 kWh generated, 120 + 8 kWh consumed, a tenth of it due.
    assert_eq!(town["known_days"], 190);
    assert_eq!(town["generated_wh"], 190 * GENERATED_DAY_WH);
    assert_eq!(
        town["consumed_wh"],
        190 * (24 * IMPORT_HOUR_WH + GENERATED_DAY_WH)
    );
    assert_eq!(town["due_wh"], 190 * 12_800);
    assert_eq!(town["gap_wh"], 190 * 4_800);
    assert_eq!(town["covered_ratio"], 0.0625);
    let end = &town["projection"];
    assert_eq!(
        end["consumed_wh"]["mid"],
        365 * 128_000,
        "each day is like the others"
    );
    assert_eq!(end["due_wh"], 365 * 12_800);
    let generated_wh = end["generated_wh"]["mid"].as_i64().unwrap();
    // Winter is darker: less than 8 kWh a day, but most of it.
    assert!((2_300_000..365 * 8_000).contains(&generated_wh), "{generated_wh}");
    let gap = |at: &str| end["gap_wh"][at].as_i64().unwrap();
    assert!(
        (gap("mid") - (365 * 12_800 - generated_wh)).abs() <= 1
            && gap("low") < gap("mid")
            && gap("mid") < gap("high")
    );
    assert_eq!(end["gap_rial"], gap("mid") * 30);
    // At this owner's own yield, by the plant that states one: gap over generation, times 10 kW.
    let missing_w = end["missing_peak_w"].as_i64().unwrap();
    assert!(
        (missing_w - gap("mid") * 10_000 / generated_wh).abs() <= 1,
        "{missing_w}"
    );
    let (roof, school) = (&town["plants"][0], &town["plants"][1]);
    assert_eq!(roof["generated_wh"], 190 * GENERATED_DAY_WH);
    assert_eq!(roof["completeness"], 0.95);
    assert_eq!(roof["flags"], serde_json::json!(["spread"]));
    assert_eq!(school["generated_wh"], Value::Null);
    assert_eq!(
        (&town["sites"][0]["source"], &town["sites"][1]["source"]),
        (&"balance".into(), &"unmetered".into())
    );
    let village = &report["owners"][1];
    assert_eq!(village["plants"][0]["generated_wh"], 190 * GENERATED_DAY_WH);
    for unknown in [
        "generated_wh",
        "consumed_wh",
        "gap_wh",
        "covered_ratio",
        "projection",
    ] {
        assert_eq!(village[unknown], Value::Null, "{unknown}");
    }
}

#[tokio::test]
async fn both_languages_are_as_they_were_looked_at() {
    let installation = Installation::start().await;
    installation.deliver_all().await;
    for language in ["fa", "en"] {
        let text = installation.report(&["--year", "1404", "--lang", language]);
        compare(&text, &format!("duty-{language}.html"));
    }
}

#[tokio::test]
async fn one_owner_as_csv_into_a_file_while_readings_keep_coming() {
    let installation = Installation::start().await;
    installation.deliver_all().await;
    let out = installation.folder.path().join("duty.csv");
    let arguments = ["--year", "1404", "--owner", "town", "--format", "csv", "--out"];
    installation.report(&[&arguments[..], &[out.to_str().unwrap()]].concat());
    let text = std::fs::read_to_string(&out).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| {
        let at = columns.iter().position(|column| column == name).unwrap();
        rows[row][at].to_owned()
    };
    let levels: Vec<String> = (0..rows.len()).map(|row| cell(row, "level")).collect();
    assert_eq!(levels, ["owner", "plant", "plant", "site", "site"]);
    assert_eq!(
        (cell(0, "gap_wh"), cell(0, "through")),
        ("912000".into(), "1404-07-14".into())
    );
    assert_eq!(cell(2, "generated_wh"), "", "what is not known is empty");
    assert_eq!(cell(0, "completeness"), "0.95");
    assert_eq!(cell(0, "flags"), "unmetered_site|silent_plant|days_left_out");
    // The store is nobody's but ingest's: it goes on storing.
    installation
        .deliver("school-01", |hour| vec![(1, generated(hour))])
        .await;
    let with_school = installation.report(&["--year", "1404", "--owner", "town", "--format", "json"]);
    let with_school: Value = serde_json::from_str(&with_school).unwrap();
    // Nobody meters the school's consumption: its generation covers nobody's duty, and is told beside.
    let town = &with_school["owners"][0];
    assert_eq!(town["generated_wh"], 190 * GENERATED_DAY_WH);
    assert_eq!(town["covered_ratio"], 0.0625);
    assert_eq!(town["left_out_generated_wh"], 190 * GENERATED_DAY_WH);
    assert_eq!(
        town["flags"],
        serde_json::json!(["unmetered_site", "days_left_out"])
    );
    for (language, mark) in [
        ("en", "a site without a consumption meter left out"),
        ("fa", "محلی بدون کنتور مصرف کنار گذاشته شده"),
    ] {
        let text = installation.report(&["--year", "1404", "--lang", language]);
        assert!(text.contains(mark), "the overview says it in {language}");
    }
}

#[tokio::test]
async fn what_can_not_be_reported_is_said() {
    let installation = Installation::start().await;
    let said = installation.refusal(&["--year", "1404", "--owner", "nobody"]);
    assert!(
        said.contains("no owner \"nobody\"") && said.contains("town, village"),
        "{said}"
    );
    let said = installation.refusal(&["--year", "2025"]);
    assert!(
        said.contains("Jalali year") && said.contains("got 2025"),
        "{said}"
    );
    // A year without readings, and one without a duty: unknown, never zero.
    let report: Value =
        serde_json::from_str(&installation.report(&["--year", "1402", "--format", "json"])).unwrap();
    assert_eq!(report["owners"][0]["share_per_myriad"], Value::Null);
    assert_eq!(report["owners"][0]["generated_wh"], Value::Null);
    installation.store.close().await;
    std::fs::remove_dir_all(installation.folder.path().join("data")).unwrap();
    let said = installation.refusal(&["--year", "1404"]);
    assert!(said.contains("there is no store at"), "{said}");
    assert!(
        !installation.folder.path().join("data").exists(),
        "nothing is made"
    );
}

#[tokio::test]
async fn an_energy_is_explained_by_lines_that_add_up() {
    let installation = Installation::start().await;
    installation.deliver_all().await;
    // From the second known day to the day after the silence: 42 days of 8 kWh, three of them spread.
    let arguments = [
        "energy",
        "explain",
        "roof",
        "--from",
        "1404-01-12",
        "--to",
        "1404-02-23",
    ];
    let output = installation.taraz(&arguments, &["--format", "json"]);
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["energy_wh"], 42 * GENERATED_DAY_WH);
    assert_eq!(
        explained["completeness"], 1.0,
        "the total of the silence is known"
    );
    let register = &explained["registers"][0];
    assert_eq!(
        (&register["device"], &register["flags"]),
        (&"roof-01".into(), &serde_json::json!(["spread"]))
    );
    let lines = register["lines"].as_array().unwrap();
    let sum: i64 = lines.iter().map(|line| line["energy_wh"].as_i64().unwrap()).sum();
    assert_eq!(sum, 42 * GENERATED_DAY_WH);
    assert_eq!(lines.last().unwrap()["sum_wh"], sum);
    let silence = lines
        .iter()
        .find(|line| line["energy_wh"] == 3 * GENERATED_DAY_WH)
        .unwrap();
    let length_ms = silence["to_ms"].as_i64().unwrap() - silence["from_ms"].as_i64().unwrap();
    assert_eq!(length_ms, 3 * DAY_MS);
    let text = installation.taraz(&arguments, &[]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("spread evenly")
            && text.ends_with("plant roof: 336000 Wh, 100.0 % of the time known\n"),
        "{text}"
    );
    let nothing = [
        "energy",
        "explain",
        "school",
        "--from",
        "1404-01-12",
        "--to",
        "1404-02-23",
    ];
    let text = String::from_utf8(installation.taraz(&nothing, &[]).stdout).unwrap();
    assert!(text.contains("plant school: unknown, 0.0 %"), "{text}");
    let refused = installation.taraz(
        &[
            "energy",
            "explain",
            "x",
            "--from",
            "1404-01-12",
            "--to",
            "1404-02-23",
        ],
        &[],
    );
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("no plant \"x\"") && said.contains("roof, school, hall"),
        "{said}"
    );
}
