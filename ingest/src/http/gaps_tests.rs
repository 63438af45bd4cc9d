//! The gap ledger as HTTP tells it.

use serde_json::Value;

use super::testing::{Running, half_hour, sample};

#[tokio::test]
async fn the_gap_ledger_is_told_to_whoever_asks() {
    let running = Running::start().await;
    // Readings 0 to 9 never came.
    running.deliver_readings(10, &half_hour()).await;
    let (status, gaps) = running.get("/api/v1/gaps").await;
    assert_eq!(status, 200);
    let device = &gaps["devices"][0];
    assert_eq!(
        (device["device"].as_str(), device["plant"].as_str()),
        (Some("sari-01"), Some("sari-roof-1"))
    );
    let state = |of: &Value, state: &str| of[state].as_u64();
    for of in [device, &gaps["totals"]] {
        assert_eq!(state(of, "written"), Some(72), "{of}");
        assert_eq!((state(of, "stored"), state(of, "pending")), (Some(62), Some(10)));
    }
    let gap = &device["boots"][0]["gaps"][0];
    assert_eq!(
        (gap["first"].as_u64(), gap["last"].as_u64(), gap["fate"].as_str()),
        (Some(0), Some(9), Some("pending"))
    );
    let metrics = running.text("/metrics").await;
    let pending = r#"ingest_gap_readings{device="sari-01",plant="sari-roof-1",state="pending"}"#;
    assert_eq!(sample(&metrics, pending), Some(10.0));
    let (_, plants) = running.get("/api/v1/plants").await;
    assert_eq!(plants["plants"][0]["gaps"]["pending"], 10);

    assert_eq!(
        running.get("/api/v1/gaps?device=sari-01").await.1["totals"]["written"],
        72
    );
    let span = |gaps: &Value| gaps["devices"][0]["boots"][0]["gaps"][0]["span"].clone();
    assert_eq!(span(&gaps), Value::Null, "nobody has asked when");
    let (_, of_it) = running.get("/api/v1/gaps?device=sari-01").await;
    assert_eq!(span(&of_it)["before_ms"].as_i64(), Some(half_hour()[0].1));
    assert_eq!(of_it["devices"][0]["unplaced"]["gaps"], 0);
    let (_, then) = running.get("/api/v1/gaps?from=2026-01-01&to=2026-01-02").await;
    assert_eq!(
        span(&then),
        span(&of_it),
        "nothing in front of it says since when"
    );
    let (_, after) = running.get("/api/v1/gaps?from=2027-01-01&to=2027-01-02").await;
    assert_eq!(
        (span(&after), state(&after["totals"], "written")),
        (Value::Null, Some(72))
    );
    assert_eq!(running.get("/api/v1/gaps?device=nobody-01").await.0, 404);
    assert_eq!(running.get("/api/v1/gaps?plant=sari-roof-1").await.0, 400);
}
