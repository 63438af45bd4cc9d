//! `taraz calc` and `taraz replay`: files in, files out, held against independent vectors and a recorded bench.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");
const QUARTERS: usize = 96;

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("ingest/analytics/tests/data")
        .join(name)
}

fn taraz(arguments: &[&str]) -> Output {
    Command::new(TARAZ).args(arguments).output().unwrap()
}

#[track_caller]
fn succeed(arguments: &[&str]) {
    let output = taraz(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Header and rows of a file without quotes.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

/// A file of vectors with only these columns, and one that nobody asked for.
fn inputs(folder: &Path, name: &str, columns: &[&str]) -> PathBuf {
    let text = std::fs::read_to_string(vectors(name)).unwrap();
    let rows = cells(&text);
    let places: Vec<usize> = columns
        .iter()
        .map(|wanted| rows[0].iter().position(|column| column == wanted).unwrap())
        .collect();
    let mut shorter = format!("remark,{}\n", columns.join(","));
    for row in &rows[1..] {
        let kept: Vec<&str> = places.iter().map(|&place| row[place]).collect();
        writeln!(shorter, "any,{}", kept.join(",")).unwrap();
    }
    let path = folder.join(name);
    std::fs::write(&path, shorter).unwrap();
    path
}

/// Compares every cell of a file with the vectors: numbers within a tolerance, all else exactly.
#[track_caller]
fn assert_same_table(found: &Path, name: &str, tolerance: f64) {
    let (found, expected) = (
        std::fs::read_to_string(found).unwrap(),
        std::fs::read_to_string(vectors(name)).unwrap(),
    );
    let (found, expected) = (cells(&found), cells(&expected));
    assert_eq!(found.len(), expected.len());
    assert_eq!(found[0], expected[0]);
    for (row, expected_row) in found.iter().zip(&expected) {
        for ((cell, wanted), column) in row.iter().zip(expected_row).zip(&expected[0]) {
            let numbers = cell.parse::<f64>().ok().zip(wanted.parse::<f64>().ok());
            let is_same = numbers.map_or(cell == wanted, |(a, b)| (a - b).abs() <= tolerance);
            assert!(is_same, "{column}: {cell}, expected {wanted}");
        }
    }
}

/// Everything that is expected stands there, numbers within 1e-6.
#[track_caller]
fn assert_holds(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (key, value) in expected {
                let within = found.get(key).unwrap_or_else(|| panic!("{at}.{key} is missing"));
                assert_holds(within, value, &format!("{at}.{key}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{at}");
            for (index, (one, other)) in found.iter().zip(expected).enumerate() {
                assert_holds(one, other, &format!("{at}[{index}]"));
            }
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (found - expected).abs() <= 1e-6,
                "{at}: {found}, expected {expected}"
            );
        }
        _ => assert_eq!(found, expected, "{at}"),
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn tables_are_completed_from_their_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let solar = [
        "site", "lat", "lon", "alt_m", "tilt", "surf_az", "pdc0_kw", "pac0_kw", "tl", "ts_utc", "temp_air",
        "wind",
    ];
    let phases = ["v1", "ang1", "v2", "ang2", "v3", "ang3", "i1", "i2", "i3"];
    for (what, name, columns, tolerance) in [
        ("solar", "reference_solar.csv", &solar[..], 0.02),
        ("phases", "imbalance_example_phases.csv", &phases, 1e-5),
        ("jalali", "jalali_vectors.csv", &["gregorian"], 0.0),
        ("jalali", "jalali_vectors.csv", &["jalali"], 0.0),
    ] {
        let (input, output) = (
            inputs(folder.path(), name, columns),
            folder.path().join("out.csv"),
        );
        succeed(&[
            "calc",
            what,
            "--in",
            input.to_str().unwrap(),
            "--out",
            output.to_str().unwrap(),
        ]);
        assert_same_table(&output, name, tolerance);
    }
}

#[test]
fn figures_have_the_shape_of_the_expected_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.json");
    for (what, name) in [
        ("iec61724", "iec61724_example"),
        ("imbalance", "imbalance_example"),
    ] {
        let (input, expected) = (
            vectors(&format!("{name}.csv")),
            vectors(&format!("{name}_expected.json")),
        );
        succeed(&[
            "calc",
            what,
            "--in",
            input.to_str().unwrap(),
            "--params",
            expected.to_str().unwrap(),
            "--out",
            output.to_str().unwrap(),
        ]);
        assert_holds(&json(&output), &json(&expected), what);
    }
    // Of a file of results only the parameters are read, and schedules that are not in the table are made.
    let parameters = folder.path().join("params.json");
    let rule = "gen2=round(reverse(gen)*0.4,3), load2=round(load*0.3,3)";
    let text = serde_json::json!({"P0_kw": 30.0, "obligation_share": 0.2, "site2_rule": rule});
    std::fs::write(&parameters, text.to_string()).unwrap();
    let input = inputs(
        folder.path(),
        "imbalance_example.csv",
        &["ts_utc", "gen_kwh", "load_kwh", "clearsky_kwh"],
    );
    succeed(&[
        "calc",
        "imbalance",
        "--in",
        input.to_str().unwrap(),
        "--params",
        parameters.to_str().unwrap(),
        "--out",
        output.to_str().unwrap(),
    ]);
    assert_holds(
        &json(&output),
        &json(&vectors("imbalance_example_expected.json")),
        "own",
    );
}

/// Two plants over four days of a bench: what each quarter-hour counted, what was read, and what of it came late.
struct Bench {
    healthy_wh: [Vec<i64>; 2],
    on_time: [Vec<Option<i64>>; 2],
    late: Vec<(usize, i64)>,
}

/// The first plant's register is reset on day 1 and stuck from noon of day 2 to its end; the second is silent for most of day 1 and sends
/// it at the begin of day 3, one reading is lost for good, and one is a glitch.
fn bench() -> Bench {
    let of_day = |quarter: usize| {
        if (24..72).contains(&(quarter % QUARTERS)) {
            1_500
        } else {
            0
        }
    };
    let healthy: Vec<i64> = (0..4 * QUARTERS).map(of_day).collect();
    let register = |start_wh: i64| {
        healthy.iter().scan(start_wh, |value, rise| {
            *value += rise;
            Some(*value)
        })
    };
    let mut reset: Vec<Option<i64>> = register(13_000_000).map(Some).collect();
    let lost = 13_000_000 + healthy[..QUARTERS + 40].iter().sum::<i64>();
    for value in &mut reset[QUARTERS + 40..] {
        *value = value.map(|value| value - lost);
    }
    let stuck = reset[2 * QUARTERS + 48];
    reset[2 * QUARTERS + 48..3 * QUARTERS].fill(stuck);
    let mut silent: Vec<Option<i64>> = register(700_000).map(Some).collect();
    let mut late = Vec::new();
    let silence = QUARTERS + 30..QUARTERS + 60;
    for (index, value) in silence.clone().zip(&mut silent[silence]) {
        late.push((index, value.take().unwrap()));
    }
    silent[3 * QUARTERS + 50] = None;
    silent[2 * QUARTERS + 50] = Some(0);
    Bench {
        healthy_wh: [healthy.clone(), healthy],
        on_time: [reset, silent],
        late,
    }
}

/// The end of the quarter-hour with this number; the first one's begin is that of 1404-01-01 in Tehran.
fn instant(quarter: usize) -> String {
    let first: jiff::Timestamp = "2025-03-20T20:45:00Z".parse().unwrap();
    let at = first + jiff::SignedDuration::from_mins(15 * i64::try_from(quarter).unwrap());
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

fn write_bench(folder: &Path, bench: &Bench) {
    let mut register = "ts_utc,p00,p01\n".to_owned();
    for quarter in 0..4 * QUARTERS {
        let cell =
            |plant: usize| bench.on_time[plant][quarter].map_or_else(String::new, |value| value.to_string());
        writeln!(register, "{},{},{}", instant(quarter), cell(0), cell(1)).unwrap();
    }
    let mut late = "plant,ts_utc,received_utc,register_wh\n".to_owned();
    for (quarter, value_wh) in &bench.late {
        writeln!(
            late,
            "p01,{},{},{value_wh}",
            instant(*quarter),
            instant(3 * QUARTERS + 2)
        )
        .unwrap();
    }
    std::fs::write(folder.join("register_wh.csv"), register).unwrap();
    std::fs::write(folder.join("late.csv"), late).unwrap();
    std::fs::write(
        folder.join("plants.csv"),
        "plant,p0_kw,pac_kw\np00,10.0,8.0\np01,10.0,8.0\n",
    )
    .unwrap();
}

/// Rows of `energy.csv` by plant: day, energy, completeness, flags.
fn energies(folder: &Path, plant: &str) -> Vec<(String, i64, f64, String)> {
    let text = std::fs::read_to_string(folder.join("energy.csv")).unwrap();
    let rows = cells(&text);
    assert_eq!(
        rows[0],
        ["plant", "local_day", "energy_wh", "completeness", "flags"]
    );
    rows.iter()
        .filter(|row| row[0] == plant)
        .map(|row| {
            (
                row[1].to_owned(),
                row[2].parse().unwrap(),
                row[3].parse().unwrap(),
                row[4].to_owned(),
            )
        })
        .collect()
}

#[test]
fn a_bench_is_replayed() {
    let (folder, bench) = (tempfile::tempdir().unwrap(), bench());
    write_bench(folder.path(), &bench);
    let (from, to) = (folder.path().to_str().unwrap(), folder.path().join("out"));
    succeed(&["replay", from, "--out", to.to_str().unwrap()]);
    let first = energies(&to, "p00");
    assert_eq!(first[0].0, "2025-03-21");
    let truth = |plant: usize, day: usize| -> i64 {
        bench.healthy_wh[plant][day * QUARTERS..(day + 1) * QUARTERS]
            .iter()
            .sum()
    };
    // The reset took nothing with it but what was not read; the standstill was caught up within the day that follows.
    assert_eq!((first[0].1, first[1].1), (truth(0, 0), truth(0, 1)));
    assert!(first[1].3 == "reset" && first[1].2 < 1.0, "{:?}", first[1]);
    let both: i64 = first[2].1 + first[3].1;
    assert_eq!(both, truth(0, 2) + truth(0, 3));
    assert!(first[2].3.contains("caught_up"), "{:?}", first[2]);
    let second = energies(&to, "p01");
    for (day, (_, energy_wh, completeness, flags)) in second.iter().enumerate() {
        assert_eq!(*energy_wh, truth(1, day), "day {day}");
        assert_eq!(flags, ["", "", "spread|glitch", "spread"][day], "day {day}");
        assert!(*completeness > 0.98, "day {day}: {completeness}");
    }
}

#[test]
fn a_replay_uses_nothing_from_the_future() {
    let (folder, mut bench) = (tempfile::tempdir().unwrap(), bench());
    write_bench(folder.path(), &bench);
    let (from, to) = (folder.path().to_str().unwrap(), folder.path().join("out"));
    let until = instant(2 * QUARTERS - 1);
    let replay = || {
        succeed(&["replay", from, "--out", to.to_str().unwrap(), "--until", &until]);
        std::fs::read_to_string(to.join("energy.csv")).unwrap()
    };
    let before = replay();
    let silent = energies(&to, "p01");
    assert_eq!((silent.len(), silent[1].3.as_str()), (2, "spread"));
    // Whatever is read later.
    for plant in &mut bench.on_time {
        plant[2 * QUARTERS..].fill(Some(77_000_000));
    }
    bench.late.clear();
    write_bench(folder.path(), &bench);
    assert_eq!(replay(), before);
}

#[test]
fn a_register_that_begins_anew_is_read_by_its_width() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("register_wh.csv"), "ts_utc,roof\n2025-06-10T08:00Z,98000\n2025-06-10T08:15Z,99000\n2025-06-10T08:30Z,1000\n2025-06-10T08:45Z,2000\n2025-06-10T09:00Z,3000\n").unwrap();
    std::fs::write(path("late.csv"), "plant,ts_utc,received_utc,register_wh\n").unwrap();
    let replayed = |plants: &str| {
        std::fs::write(path("plants.csv"), plants).unwrap();
        let from = folder.path().to_str().unwrap().to_owned();
        succeed(&["replay", &from, "--out", path("out").to_str().unwrap()]);
        std::fs::read_to_string(path("out/energy.csv")).unwrap()
    };
    let known = replayed("plant,p0_kw,rolls_over_wh\nroof,10,100000\n");
    assert!(
        known.contains("roof,2025-06-10,5000,0.041667,rolled_over"),
        "{known}"
    );
    let unknown = replayed("plant,p0_kw,rolls_over_wh\nroof,10,\n");
    assert!(
        unknown.contains("reset") && !unknown.contains("rolled_over"),
        "{unknown}"
    );
}
