//! `taraz calc` against other people's programs at other places and times: what `tests/python/foreign_vectors.py` wrote with
//! pvlib, jdatetime, NumPy and pandas. The script makes more of them; each cell must be within the tolerance of its quantity.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One row of a table by column name.
type Row = HashMap<String, String>;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/vectors")
        .join(name)
}

fn rows(path: &Path) -> Vec<Row> {
    let mut csv = csv::Reader::from_path(path).unwrap();
    csv.deserialize().map(Result::unwrap).collect()
}

/// Lets `taraz calc` complete a table that has only these columns of a file of vectors, in reverse order.
fn completed(what: &str, columns: &[&str]) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
    let mut csv = csv::Writer::from_path(&input).unwrap();
    csv.write_record(columns.iter().rev()).unwrap();
    for row in rows(&data(&format!("{what}.csv"))) {
        csv.write_record(columns.iter().rev().map(|&column| &row[column]))
            .unwrap();
    }
    csv.flush().unwrap();
    calc(what, &["--in", input.to_str().unwrap()], &output);
    rows(&output)
}

#[track_caller]
fn calc(what: &str, inputs: &[&str], output: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taraz"));
    command.args(["calc", what]).args(inputs).arg("--out").arg(output);
    let ended = command.output().unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

fn number(row: &Row, column: &str) -> Option<f64> {
    (!row[column].is_empty()).then(|| row[column].parse().unwrap())
}

/// Both unknown, or both known and no farther apart than `most` allows for the expected value.
#[track_caller]
fn assert_near(column: &str, found: &Row, expected: &Row, most: impl Fn(f64) -> f64) {
    match (number(found, column), number(expected, column)) {
        (None, None) => {}
        (Some(ours), Some(theirs)) if (ours - theirs).abs() <= most(theirs) => {}
        (ours, theirs) => panic!("{column}: {ours:?}, expected {theirs:?} of {expected:?}"),
    }
}

#[test]
fn sun_sky_plane_cell_and_power() {
    let columns = [
        "site", "lat", "lon", "alt_m", "tilt", "surf_az", "pdc0_kw", "pac0_kw", "tl", "ts_utc", "temp_air",
        "wind",
    ];
    let (found, expected) = (completed("solar", &columns), rows(&data("solar.csv")));
    assert!(found.len() == expected.len() && expected.len() > 90);
    let fixed: [(&str, f64); 17] = [
        ("pressure_pa", 0.01),
        ("zenith", 0.001),
        ("apparent_zenith", 0.001),
        ("elevation", 0.001),
        ("equation_of_time_min", 0.001),
        ("dni_extra", 0.001),
        ("am_rel", 0.001),
        ("am_abs", 0.001),
        ("ghi_ineichen", 0.05),
        ("dni_ineichen", 0.05),
        ("dhi_ineichen", 0.05),
        ("ghi_haurwitz", 0.05),
        ("aoi", 0.001),
        ("poa_isotropic", 0.1),
        ("poa_haydavies", 0.1),
        ("tcell_faiman", 0.02),
        ("tcell_sapm", 0.02),
    ];
    for (found, expected) in found.iter().zip(&expected) {
        for (column, most) in fixed {
            assert_near(column, found, expected, |_| most);
        }
        for column in ["pdc_kw", "pdc_net_kw", "pac_kw"] {
            // Exactly dark stays exactly dark; else 0.1 % or 5 W.
            assert_near(column, found, expected, |kw| {
                if kw > 0.0 { (kw * 0.001).max(0.005) } else { 0.0 }
            });
        }
        let azimuth = |row: &Row| number(row, "azimuth").unwrap();
        let off_deg = (azimuth(found) - azimuth(expected) + 180.0).rem_euclid(360.0) - 180.0;
        let sin_zenith = number(expected, "zenith").unwrap().to_radians().sin();
        assert!((off_deg * sin_zenith).abs() <= 0.001, "{found:?} {expected:?}");
    }
}

#[test]
fn phases_at_their_extremes() {
    let columns = ["v1", "ang1", "v2", "ang2", "v3", "ang3", "i1", "i2", "i3"];
    let (found, expected) = (completed("phases", &columns), rows(&data("phases.csv")));
    assert!(found.len() == expected.len() && expected.len() > 15);
    for (found, expected) in found.iter().zip(&expected) {
        for column in expected.keys() {
            assert_near(column, found, expected, |_| 1e-3);
        }
    }
    // Line voltages alone state what they can.
    for (found, expected) in completed("phases", &["u12", "u23", "u31"]).iter().zip(&expected) {
        for column in ["vuf_iec61000_4_30_lines_pct", "nema_lvur_pct"] {
            assert_near(column, found, expected, |_| 1e-3);
        }
        assert_eq!(number(found, "vuf_true_u2_pct"), None);
    }
}

#[test]
fn days_of_two_centuries() {
    let expected = rows(&data("jalali.csv"));
    assert!(expected.len() > 80);
    for column in ["gregorian", "jalali"] {
        assert_eq!(completed("jalali", &[column]), expected);
    }
}

/// Everything that is expected stands there, numbers within what six decimals allow.
#[track_caller]
fn assert_holds(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (_, Value::Object(expected)) => {
            for (key, value) in expected {
                assert_holds(&found[key], value, &format!("{at}.{key}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{at}");
            for (index, (one, other)) in ours.iter().zip(theirs).enumerate() {
                assert_holds(one, other, &format!("{at}[{index}]"));
            }
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
            assert!(
                (ours - theirs).abs() <= 1.01e-6,
                "{at}: {ours}, expected {theirs}"
            );
        }
        _ => assert_eq!(found, expected, "{at}"),
    }
}

/// The figures that a command makes of a table, whose rows may stand in any order.
fn figures(what: &str, table: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.json"));
    std::fs::write(&input, table).unwrap();
    let params = data(&format!("{what}_expected.json"));
    let inputs = [
        "--in",
        input.to_str().unwrap(),
        "--params",
        params.to_str().unwrap(),
    ];
    calc(what, &inputs, &output);
    serde_json::from_slice(&std::fs::read(&output).unwrap()).unwrap()
}

#[test]
fn yields_and_balances_in_any_order_of_the_rows_with_rows_missing() {
    for what in ["iec61724", "imbalance"] {
        let expected = std::fs::read(data(&format!("{what}_expected.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let table = std::fs::read_to_string(data(&format!("{what}.csv"))).unwrap();
        assert_holds(&figures(what, &table), &expected, what);
        // Backwards, by other programs' habits, and without a row that is not known anyway.
        let (header, rows) = table.split_once('\n').unwrap();
        let unknown = rows.lines().find(|row| row.contains(",,")).unwrap();
        let mut turned: Vec<&str> = rows.lines().filter(|&row| row != unknown).rev().collect();
        turned.insert(0, header);
        let table = format!("\u{feff}{}\r\n", turned.join("\r\n"));
        assert_holds(&figures(what, &table), &expected, what);
    }
}
