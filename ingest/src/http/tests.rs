//! The server as its clients see it, over a socket.

use serde_json::Value;
use taraz_telemetry::{BATCH_LEN_MAX, BatchVerdict};

use super::testing::{NOON_MS, Running, TOKEN, batch, half_hour, inverter, item, sample};

#[tokio::test]
async fn a_batch_is_stored_once_and_shown_everywhere() {
    let running = Running::start().await;
    running.deliver_readings(0, &half_hour()).await;
    running.deliver_readings(0, &half_hour()).await;
    let metrics = running.text("/metrics").await;
    let expected = [
        ("ingest_readings_total{result=\"stored\"}", 62.0),
        ("ingest_readings_total{result=\"duplicate\"}", 62.0),
        ("ingest_batches_total{result=\"accepted\"}", 2.0),
        (
            "solar_ac_power_watts{device=\"sari-01\",meter=\"1\",plant=\"sari-roof-1\"}",
            8_000.0,
        ),
        ("solar_energy_imbalance_watts{site=\"sari-town-hall\"}", -2_000.0),
        ("solar_consumed_power_watts{site=\"sari-town-hall\"}", 6_000.0),
        (
            "solar_generated_energy_today_joules{plant=\"sari-roof-1\"}",
            4_000.0 * 3_600.0,
        ),
    ];
    for (name, value) in expected {
        assert_eq!(sample(&metrics, name), Some(value), "{name} in:\n{metrics}");
    }

    let (status, plants) = running.get("/api/v1/plants").await;
    assert_eq!(status, 200);
    let plant = &plants["plants"][0];
    assert_eq!(plant["id"], "sari-roof-1");
    assert!(!plant["name_fa"].as_str().unwrap().is_empty() && plant["owner"]["kind"] == "municipality");
    assert_eq!(
        (plant["ac_power_w"].as_i64(), plant["generated_today_wh"].as_i64()),
        (Some(8_000), Some(4_000))
    );
    assert_eq!(
        (
            plant["imbalance_w"].as_i64(),
            plant["last_reading_age_s"].as_i64()
        ),
        (Some(-2_000), Some(0))
    );
    assert_eq!(
        (plant["state"].as_str(), plant["stale"].as_bool()),
        (Some("producing"), Some(false))
    );
    let quarters = plant["generated_quarters_wh"].as_array().unwrap();
    let known: Vec<_> = quarters.iter().filter_map(Value::as_i64).collect();
    assert_eq!(
        (quarters.len(), known.iter().sum::<i64>()),
        (48, 4_000),
        "{quarters:?}"
    );
    assert_eq!(plants["totals"]["ac_power_w"], 8_000);

    let (_, sites) = running.get("/api/v1/sites").await;
    let site = sites["sites"]
        .as_array()
        .unwrap()
        .iter()
        .find(|site| site["id"] == "sari-town-hall")
        .unwrap();
    assert_eq!(
        (site["consumed_w"].as_i64(), site["grid_w"].as_i64()),
        (Some(6_000), Some(-2_000))
    );
    assert_eq!(site["plants"][0], "sari-roof-1");
}

#[tokio::test]
async fn after_three_missed_polls_the_gauges_are_gone_and_the_page_says_so() {
    let running = Running::start().await;
    let (before, last) = (half_hour(), half_hour().split_off(60));
    running.deliver_readings(0, &before[..60]).await;
    running.deliver_readings(60, &last).await;
    // Polled once a minute: at 2 min it is still the present, at 4 it is not.
    running.set_now(NOON_MS + 120_000);
    let power = "solar_ac_power_watts{device=\"sari-01\",meter=\"1\"";
    assert_eq!(sample(&running.text("/metrics").await, power), Some(8_000.0));
    running.set_now(NOON_MS + 240_000);
    let metrics = running.text("/metrics").await;
    for gone in [
        power,
        "solar_generation_power_watts{",
        "solar_energy_imbalance_watts{",
        "solar_inverter_state{",
    ] {
        assert_eq!(sample(&metrics, gone), None, "{gone}");
    }
    assert_eq!(
        sample(
            &metrics,
            "solar_last_reading_timestamp_seconds{device=\"sari-01\"}"
        ),
        Some(1_795_422_600.0)
    );
    let (_, plants) = running.get("/api/v1/plants").await;
    let plant = &plants["plants"][0];
    assert!(plant["ac_power_w"].is_null() && plant["stale"] == true, "{plant}");
    assert_eq!(
        (plant["last_reading_age_s"].as_i64(), plant["needs"][0].as_str()),
        (Some(240), Some("silent"))
    );
    assert_eq!(plants["totals"]["plants_live"], 0);
    assert!(plants["totals"]["ac_power_w"].is_null(), "unknown is not zero");
}

#[tokio::test]
async fn the_newest_time_is_shown_whatever_comes_last() {
    let running = Running::start().await;
    running
        .deliver_readings(0, &[(1, NOON_MS - 10_000, inverter(9_000, 60_000))])
        .await;
    running
        .deliver_readings(1, &[(1, NOON_MS - 20_000, inverter(1_000, 59_990))])
        .await;
    assert_eq!(
        sample(&running.text("/metrics").await, "solar_ac_power_watts{"),
        Some(9_000.0)
    );
    // A backlog: the counter is absent while it drains, and comes back not below what it was.
    running
        .deliver_readings(2, &[(1, NOON_MS - 7_200_000, inverter(500, 55_000))])
        .await;
    let metrics = running.text("/metrics").await;
    assert_eq!(sample(&metrics, "solar_ac_power_watts{"), Some(9_000.0));
    assert_eq!(sample(&metrics, "solar_backlog_draining{"), Some(1.0));
    assert_eq!(sample(&metrics, "solar_generated_energy_joules_total{"), None);
    assert_eq!(
        running.get("/api/v1/plants").await.1["backlog"]["plants_draining"],
        1
    );
    running.set_now(NOON_MS + 60_000);
    running
        .deliver_readings(3, &[(1, NOON_MS + 60_000, inverter(9_000, 60_100))])
        .await;
    let metrics = running.text("/metrics").await;
    assert_eq!(sample(&metrics, "solar_backlog_draining{"), Some(0.0));
    assert_eq!(
        sample(&metrics, "solar_generated_energy_joules_total{"),
        Some(5_100.0 * 3_600.0)
    );
}

#[tokio::test]
async fn who_has_no_token_is_turned_away_before_anything_is_read() {
    let running = Running::start().await;
    let longer = format!("Bearer {TOKEN}x");
    let shorter = format!("Bearer {}", &TOKEN[1..]);
    for authorization in [
        None,
        Some(""),
        Some("Bearer "),
        Some(TOKEN),
        Some(&longer),
        Some(&shorter),
    ] {
        let answer = running.post(authorization, batch(1, 0, &half_hour())).await;
        assert_eq!(answer.status(), 401, "{authorization:?}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "unauthorised");
    }
    let metrics = running.text("/metrics").await;
    assert_eq!(
        sample(&metrics, "ingest_batches_total{result=\"unauthorised\"}"),
        Some(6.0)
    );
    assert_eq!(
        sample(&metrics, "ingest_readings_total{result=\"stored\"}"),
        Some(0.0)
    );
    let answer = running
        .post(Some(&format!("bearer {TOKEN}")), batch(1, 0, &half_hour()))
        .await;
    assert_eq!(answer.status(), 200, "the scheme is written in any case");
}

#[tokio::test]
async fn what_can_never_be_taken_is_told_apart() {
    let running = Running::start().await;
    let answer = running.deliver(vec![1; BATCH_LEN_MAX + 1]).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["error"]["code"],
        "too_large"
    );
    for body in [Vec::new(), vec![99], b"\x01nonsense".to_vec()] {
        assert_eq!(running.deliver(body.clone()).await.status(), 400, "{body:?}");
    }
    let answer = running.deliver(item(42, 0, &[250, 250, 250])).await;
    assert_eq!(answer.status(), 422);
    let verdict: BatchVerdict = answer.json().await.unwrap();
    assert_eq!((verdict.accepted, verdict.rejected[0].position), (0, 42));
    let metrics = running.text("/metrics").await;
    assert_eq!(
        sample(&metrics, "ingest_batches_total{result=\"rejected\"}"),
        Some(5.0)
    );
}

#[tokio::test]
async fn a_store_that_does_not_commit_is_503_and_not_ready() {
    let running = Running::start().await;
    assert_eq!(running.get("/readyz").await.0, 200);
    running.store.close().await;
    running.set_now(NOON_MS + 10_000);
    let answer = running.deliver(batch(1, 0, &half_hour())).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "1")
    );
    let (status, body) = running.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("not ready: "),
        "{body}"
    );
    let (status, body) = running.get("/healthz").await;
    assert_eq!(
        (status, body["status"].as_str()),
        (200, Some("ok")),
        "the process itself is alive"
    );
}

#[tokio::test]
async fn intervals_state_units_and_leave_the_unknown_null() {
    let running = Running::start().await;
    running.deliver_readings(0, &half_hour()).await;
    let (status, day) = running.get("/api/v1/plants/sari-roof-1/intervals").await;
    assert_eq!(
        (status, day["step"].as_str(), day["time_zone"].as_str()),
        (200, Some("15m"), Some("Asia/Tehran"))
    );
    let rows = day["intervals"].as_array().unwrap();
    assert_eq!(rows.len(), 96);
    assert!(rows[0]["generated_wh"].is_null() && rows[0]["imbalance_wh"].is_null());
    let row = rows.iter().find(|row| !row["generated_wh"].is_null()).unwrap();
    assert_eq!(row["start_ms"].as_i64(), Some(NOON_MS - 1_800_000));
    assert_eq!(
        (row["generated_wh"].as_i64(), row["export_wh"].as_i64()),
        (Some(2_000), Some(500))
    );
    assert_eq!(
        (row["consumed_wh"].as_i64(), row["imbalance_wh"].as_i64()),
        (Some(1_500), Some(-500))
    );
    let (_, days) = running
        .get("/api/v1/plants/sari-roof-1/intervals?from=2026-11-22&to=2026-11-24&step=1d")
        .await;
    let generated: Vec<_> = days["intervals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["generated_wh"].as_i64())
        .collect();
    assert_eq!(generated, [None, Some(4_000)]);
    let (status, error) = running.get("/api/v1/plants/sari-roof-1/intervals?step=1h").await;
    assert_eq!(
        (
            status,
            error["error"]["key"].as_str(),
            error["error"]["value"].as_str()
        ),
        (400, Some("step"), Some("1h"))
    );
    assert_eq!(error["error"]["allowed"], "15m or 1d");
    // A year of days is answered, one of quarter-hours in parts.
    let year = "/api/v1/plants/sari-roof-1/expectation?from=2025-11-24&to=2026-11-24&step=";
    let (status, days) = running.get(&format!("{year}1d")).await;
    assert_eq!(
        (status, days["periods"].as_array().map(Vec::len)),
        (200, Some(365))
    );
    let (status, error) = running.get(&format!("{year}15m")).await;
    assert_eq!(
        (status, error["error"]["allowed"].as_str()),
        (400, Some("at most 92 days after \"from\": ask for more in parts"))
    );
    assert_eq!(running.get("/api/v1/plants/nowhere/intervals").await.0, 404);
}

#[tokio::test]
async fn the_page_comes_whole_from_here_and_is_fetched_once() {
    let running = Running::start().await;
    for asset in crate::page::ASSETS {
        let answer = running
            .client
            .get(format!("{}{}", running.url, asset.path))
            .send()
            .await
            .unwrap();
        let headers = answer.headers().clone();
        assert_eq!(
            (
                answer.status().as_u16(),
                headers["content-type"].to_str().unwrap()
            ),
            (200, asset.mime),
            "{}",
            asset.path
        );
        assert!(
            headers["content-security-policy"]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'")
        );
        assert_eq!(answer.bytes().await.unwrap(), asset.bytes);
        let again = running
            .client
            .get(format!("{}{}", running.url, asset.path))
            .header("if-none-match", &headers["etag"]);
        assert_eq!(again.send().await.unwrap().status(), 304, "{}", asset.path);
    }
    let (status, error) = running.get("/api/v2/plants").await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (404, Some("not_found"))
    );
    let (status, error) = running.get("/api/v1/batches").await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (405, Some("method_not_allowed"))
    );
}

#[test]
fn every_route_is_described_and_everything_described_is_a_route() {
    let document: Value = serde_json::from_str(include_str!("../../../docs/api/openapi.json")).unwrap();
    let described: std::collections::BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let served: std::collections::BTreeSet<&str> =
        super::routes().into_iter().map(|(path, _)| path).collect();
    assert_eq!(described, served);
}
