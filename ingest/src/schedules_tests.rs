//! Uploads that are taken, replaced, and refused.

use super::*;

fn schedules(folder: &Path) -> Schedules {
    Schedules::new(folder, Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap()))
}

#[test]
fn a_later_upload_replaces_the_same_periods_and_a_new_start_reads_both() {
    let folder = tempfile::tempdir().unwrap();
    let first = "plant,start,minutes,scheduled_kwh\nsari-roof-1,2026-11-23 10:00,60,4.5\nsari-roof-1,2026-11-23T11:00:00+03:30,15,1.2345\n";
    let imported = schedules(folder.path()).import(first).unwrap();
    assert_eq!(
        (imported.plants, imported.periods),
        (vec!["sari-roof-1".to_owned()], 2)
    );
    let second = "plant,start,minutes,scheduled_kwh\r\nsari-roof-1,2026-11-23T06:30:00Z,60,5\r\n";
    schedules(folder.path()).import(second).unwrap();
    let start_ms = "2026-11-23T06:30:00Z"
        .parse::<Timestamp>()
        .unwrap()
        .as_millisecond();
    let one = |start_ms, minutes, energy_wh| Scheduled {
        start_ms,
        minutes,
        energy_wh,
    };
    // 1.2345 kWh in whole Wh, halves up.
    let expected = [
        one(start_ms, 60, 5_000),
        one(start_ms + 60 * MINUTE_MS, 15, 1_235),
    ];
    assert_eq!(schedules(folder.path()).read("sari-roof-1").unwrap(), expected);
}

#[test]
fn an_overlap_is_refused_and_the_stored_periods_stay() {
    let folder = tempfile::tempdir().unwrap();
    let import = |rows: &[(&str, i64, &str)]| {
        let row = |(time, minutes, kwh): &(&str, i64, &str)| {
            format!("sari-roof-1,2026-11-23 {time},{minutes},{kwh}\n")
        };
        let rows: String = rows.iter().map(row).collect();
        schedules(folder.path()).import(&format!("{COLUMNS}\n{rows}"))
    };
    import(&[("10:00", 60, "4.5"), ("11:00", 15, "1")]).unwrap();
    let before = schedules(folder.path()).read("sari-roof-1").unwrap();
    for (time, minutes) in [("10:15", 15), ("10:00", 30), ("10:45", 60), ("09:30", 60)] {
        let error = import(&[("12:00", 15, "1"), (time, minutes, "1")]).unwrap_err();
        assert!(matches!(error, ScheduleError::Stored { line: 3, .. }), "{error}");
        let stored = "stored one of 2026-11-23T06:30:00Z, 60 minutes, 4.500 kWh";
        assert!(error.to_string().contains(stored), "{error}");
    }
    // Within a file, the lines are named, in whatever order they stand.
    for rows in [
        [("12:00", 60, "2"), ("12:15", 15, "1")],
        [("12:15", 15, "1"), ("12:00", 60, "2")],
        [("12:00", 15, "1"), ("12:00", 15, "2")],
    ] {
        let said = import(&rows).unwrap_err().to_string();
        assert!(said.starts_with("line 3: ") && said.contains("line 2"), "{said}");
    }
    assert_eq!(schedules(folder.path()).read("sari-roof-1").unwrap(), before);
    import(&[("10:00", 60, "5"), ("09:45", 15, "1")]).unwrap();
    let kept = schedules(folder.path()).read("sari-roof-1").unwrap();
    let energies: Vec<i64> = kept.iter().map(|one| one.energy_wh).collect();
    assert_eq!(energies, [1_000, 5_000, 1_000]);
}

#[test]
fn more_than_a_plant_can_generate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let schedules = schedules(folder.path());
    let rated_w = i64::from(schedules.fleet.plant("sari-roof-1").unwrap().inverter_ac_w);
    for minutes in [15, 30, 60] {
        let max_wh = rated_w * 3 / 2 * minutes / 60;
        let import = |wh: i64| {
            let row = format!("sari-roof-1,2026-11-23 10:00,{minutes},{}", kwh_text(wh));
            Schedules::new(
                &folder.path().join(minutes.to_string()),
                Arc::clone(&schedules.fleet),
            )
            .import(&format!("{COLUMNS}\n{row}\n"))
        };
        import(max_wh).unwrap();
        let said = import(max_wh + 1).unwrap_err().to_string();
        assert!(said.starts_with("line 2: scheduled_kwh: found"), "{said}");
    }
}

#[test]
fn an_upload_has_so_many_rows_and_a_plant_may_keep_more() {
    let folder = tempfile::tempdir().unwrap();
    let first_ms = start_ms("2026-01-01 00:00").unwrap();
    let rows = |numbers: std::ops::Range<usize>| {
        let row = |number: usize| {
            let start_ms = first_ms + i64::try_from(number).unwrap() * 15 * MINUTE_MS;
            let start = Timestamp::from_millisecond(start_ms).unwrap();
            format!("sari-roof-1,{start},15,1\n")
        };
        format!("{COLUMNS}\n{}", numbers.map(row).collect::<String>())
    };
    let schedules = schedules(folder.path());
    let error = schedules.import(&rows(0..SCHEDULE_ROWS_MAX + 1)).unwrap_err();
    assert!(error.to_string().contains("at most 100000 rows"), "{error}");
    schedules.import(&rows(0..SCHEDULE_ROWS_MAX)).unwrap();
    schedules
        .import(&rows(SCHEDULE_ROWS_MAX..SCHEDULE_PERIODS_MAX))
        .unwrap();
    assert_eq!(schedules.read("sari-roof-1").unwrap().len(), SCHEDULE_PERIODS_MAX);
    let more = schedules.import(&rows(SCHEDULE_PERIODS_MAX..SCHEDULE_PERIODS_MAX + 1));
    assert!(matches!(more, Err(ScheduleError::TooMany(_))));
}

#[test]
fn a_wrong_line_is_named_and_nothing_of_the_upload_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let right = "plant,start,minutes,scheduled_kwh\nsari-roof-1,2026-11-23 10:00,60,4.5\n";
    for (line, expected) in [
        ("nobody,2026-11-23 10:00,60,1", "line 3: plant: found \"nobody\""),
        (
            "sari-roof-1,2026-11-23 10:07,60,1",
            "line 3: start: found \"2026-11-23 10:07\"",
        ),
        (
            "sari-roof-1,2026-11-23 10:00,45,1",
            "line 3: minutes: found \"45\"; allowed: 15, 30 or 60",
        ),
        (
            "sari-roof-1,2026-11-23 10:00,60,-1",
            "line 3: scheduled_kwh: found \"-1\"",
        ),
        (
            "sari-roof-1,2026-11-23 10:00,60,NaN",
            "line 3: scheduled_kwh: found \"NaN\"",
        ),
        ("sari-roof-1,2026-11-23 10:00,60", "line 3: expected 4 cells"),
    ] {
        let error = schedules(folder.path())
            .import(&format!("{right}{line}\n"))
            .unwrap_err();
        assert!(error.to_string().starts_with(expected), "{line}: {error}");
    }
    assert!(
        schedules(folder.path())
            .import("a,b\n")
            .unwrap_err()
            .to_string()
            .starts_with("line 1")
    );
    assert_eq!(schedules(folder.path()).read("sari-roof-1").unwrap(), []);
}
