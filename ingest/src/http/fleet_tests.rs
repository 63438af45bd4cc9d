use super::*;
use crate::view::{DeviceView, IntervalFlags};

const NOON_MS: i64 = 1_795_422_600_000;

fn plant(id: &str, power_w: Option<i64>, draining: bool) -> PlantView {
    PlantView {
        id: id.into(),
        site: "sari-town-hall".into(),
        power_w,
        meters: Vec::new(),
        energy_today_wh: None,
        completeness_today: 0.0,
        energy_total_wh: None,
        energy_correction_wh: None,
        peer_yield_ratio: None,
        expected: PlantExpected::default(),
        sun_elevation_deg: 30.0,
        draining,
        last_reading_ms: Some(NOON_MS - 60_000),
    }
}

fn device(plant: &str, queue_records: Option<u32>) -> DeviceView {
    DeviceView {
        id: format!("{plant}-1").parse().unwrap(),
        plant: plant.into(),
        last_reading_ms: None,
        last_received_ms: None,
        queue_records,
        health: None,
    }
}

fn view(plants: Vec<PlantView>, devices: Vec<DeviceView>) -> View {
    View {
        now_ms: NOON_MS,
        plants,
        sites: Vec::new(),
        devices,
    }
}

#[test]
fn a_backlog_counts_down_from_its_highest_and_is_forgotten_when_it_is_gone() {
    let at = |a: Option<u32>, b| {
        let plants = vec![
            plant("a", None, true),
            plant("b", None, true),
            plant("c", None, false),
        ];
        // What a plant that is not draining has in its queue is its live lane.
        view(plants, vec![device("a", a), device("b", b), device("c", Some(5))])
    };
    let mut most = 0;
    let shown = |view: &View, most: &mut u64| {
        let backlog = backlog(view, most);
        (
            backlog.plants_draining,
            backlog.records_remaining,
            backlog.progress_permille,
        )
    };
    assert_eq!(shown(&at(None, None), &mut most), (2, None, None));
    assert_eq!(
        shown(&at(Some(600), Some(400)), &mut most),
        (2, Some(1_000), Some(0))
    );
    assert_eq!(
        shown(&at(Some(100), Some(150)), &mut most),
        (2, Some(250), Some(750))
    );
    assert_eq!(shown(&at(Some(0), Some(0)), &mut most), (2, Some(0), Some(1_000)));
    assert_eq!(
        shown(&view(vec![plant("a", None, false)], Vec::new()), &mut most),
        (0, None, None)
    );
    assert_eq!(most, 0, "the next backlog begins at its own highest");
}

#[test]
fn who_needs_someone_comes_first_and_unknown_is_no_part_of_a_sum() {
    let text = taraz_fleet::EXAMPLE;
    let second = text[text.find("[[plant]]").unwrap()..]
        .replace("\"sari-roof-1\"", "\"sari-roof-2\"")
        .replace("\"sari-01\"", "\"sari-02\"");
    let fleet = Fleet::parse(&format!("{text}\n{second}")).unwrap();
    let plants = vec![
        plant("sari-roof-1", Some(7_000), false),
        plant("sari-roof-2", None, false),
    ];
    let answer = describe(&fleet, &view(plants, Vec::new()), &HashMap::new());
    let order: Vec<_> = answer
        .plants
        .iter()
        .map(|plant| plant.named.id.as_str())
        .collect();
    assert_eq!(order, ["sari-roof-2", "sari-roof-1"]);
    assert_eq!(answer.plants[0].needs, [Need::Silent]);
    assert_eq!(
        (
            answer.totals.ac_power_w,
            answer.totals.plants_live,
            answer.totals.peak_w
        ),
        (Some(7_000), 1, 60_000)
    );
    assert_eq!(
        (answer.totals.generated_today_wh, answer.totals.imbalance_w),
        (None, None)
    );
}

#[test]
fn energy_spread_over_a_gap_has_no_shape() {
    let row = |generated_wh, spread| IntervalRow {
        start_ms: 0,
        end_ms: 900_000,
        generated_wh,
        consumed_wh: None,
        import_wh: None,
        export_wh: None,
        imbalance_wh: None,
        completeness: 1.0,
        flags: IntervalFlags {
            spread,
            ..IntervalFlags::default()
        },
    };
    assert_eq!(of_quarter(&row(Some(500), false)), Some(500));
    assert_eq!(of_quarter(&row(Some(500), true)), None);
    assert_eq!(
        of_quarter(&row(Some(0), true)),
        Some(0),
        "nothing over a whole night is nothing in each quarter"
    );
    assert_eq!(of_quarter(&row(None, false)), None);
}
