//! `taraz calc` with inputs that are none: each mistake is named with its place and what to do, and leaves no result behind.

#![allow(clippy::unwrap_used)]

use std::process::Command;

#[track_caller]
fn fail(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_taraz"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let calc = |what: &str, text: &str| {
        std::fs::write(path("in.csv"), text).unwrap();
        fail(&["calc", what, "--in", &path("in.csv"), "--out", &path("out.csv")])
    };
    let missing = calc("solar", "lat,lon,ts_utc\n36,53,2025-01-01T00:00Z\n");
    assert!(
        missing.contains("lacks the column alt_m") && missing.contains("it has: lat, lon, ts_utc"),
        "{missing}"
    );
    let number = calc("solar", "lat,lon,alt_m,ts_utc\n36,53,high,2025-01-01T00:00Z\n");
    assert!(
        number.contains("line 2: expected a number in alt_m, got \"high\""),
        "{number}"
    );
    let place = calc("solar", "lat,lon,alt_m,ts_utc\n136,53,0,2025-01-01T00:00Z\n");
    assert!(place.contains("expected lat of -90 to 90°, got 136"), "{place}");
    for (text, named) in [
        ("", "is empty: expected a line with the names"),
        ("lat;lon;alt_m;ts_utc\n", "separate the columns by commas"),
        ("lat,lat,lon\n", "has the column lat twice"),
        (
            "lat,lon,alt_m,ts_utc\n36,53\n",
            "line 2: 2 cells, but the header has 4",
        ),
        (
            "lat,lon,alt_m,ts_utc,wind\n36,53,0,2025-01-01T00:00Z,-1\n",
            "expected wind of 0 to 200 m/s",
        ),
        (
            "lat,lon,alt_m,ts_utc\nnan,53,0,2025-01-01T00:00Z\n",
            "line 2: lat is empty",
        ),
        (
            "lat,lon,alt_m,ts_utc,tl\n36,53,0,2025-01-01T00:00Z,NaN\n",
            "line 2: tl (Linke turbidity) is NaN",
        ),
    ] {
        let said = calc("solar", text);
        assert!(said.contains(named), "{said}");
    }
    let other = calc("jalali", "jalali,gregorian\n1404-01-02,2025-03-21\n");
    assert!(other.contains("2025-03-21 is 1404-01-01, but"), "{other}");
    // A mistake leaves no table behind that looks like a result.
    assert!(!folder.path().join("out.csv").exists());
    let date = calc("jalali", "jalali\n1404-12-30\n");
    assert!(
        date.contains("line 2") && date.contains("there is no 1404-12-30"),
        "{date}"
    );
    let phases = calc("phases", "a,b\n1,2\n");
    assert!(phases.contains("has neither v1, v2, v3"), "{phases}");
}

#[test]
fn intervals_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("params.json"), r#"{"P0": 30, "tau_h": 0.25}"#).unwrap();
    let iec = |rows: &str| {
        std::fs::write(
            path("in.csv"),
            format!("ts_utc,g_poa_wm2,e_ac_kwh,t_mod_c\n{rows}"),
        )
        .unwrap();
        let (input, params, output) = (path("in.csv"), path("params.json"), path("out.json"));
        fail(&[
            "calc", "iec61724", "--in", &input, "--params", &params, "--out", &output,
        ])
    };
    let at = |minute: &str, warm: &str| format!("2025-06-10T08:{minute}Z,500,3,{warm}\n");
    for (rows, named) in [
        (at("15", "30"), "lack gamma"),
        (String::new(), "has no rows"),
        (at("15", "") + &at("15", ""), "the same ts_utc as in"),
        (
            at("15", "") + &at("37", ""),
            "line 3: expected ts_utc a multiple of 0.25 h",
        ),
    ] {
        let said = iec(&rows);
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn a_parameter_that_there_is_not_is_named_beside_those_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        path("in.csv"),
        "ts_utc,g_poa_wm2,e_ac_kwh\n2025-06-10T08:15Z,500,3\n",
    )
    .unwrap();
    for text in [
        r#"{"P0": 30, "tau_h": 0.25, "gmin": 200}"#,
        r#"{"params": {"P0": 30, "tau_h": 0.25, "gmin": 200}}"#,
    ] {
        std::fs::write(path("params.json"), text).unwrap();
        let (input, params, output) = (path("in.csv"), path("params.json"), path("out.json"));
        let said = fail(&[
            "calc", "iec61724", "--in", &input, "--params", &params, "--out", &output,
        ]);
        assert!(
            said.contains("no parameter gmin; expected some of: P0, Pac, gamma, Tann, Gmin, tau_h"),
            "{said}"
        );
    }
}
