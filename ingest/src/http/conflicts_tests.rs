//! Conflicts as HTTP tells them.

use serde_json::Value;

use super::testing::{Running, half_hour, sample};

#[tokio::test]
async fn conflicts_are_told_beside_what_is_stored() {
    let running = Running::start().await;
    running.deliver_readings(0, &half_hour()).await;
    let (status, none) = running.get("/api/v1/conflicts").await;
    assert_eq!((status, none["kept"].as_u64()), (200, Some(0)));
    assert!(!running.text("/metrics").await.contains("ingest_conflicts{"));
    // The meters take turns: each is of the other one than what is stored there.
    running.deliver_readings(1, &half_hour()[..3]).await;
    let (_, found) = running.get("/api/v1/conflicts?device=sari-01&limit=2").await;
    assert_eq!(
        (found["kept"].as_u64(), found["is_full"].as_bool()),
        (Some(3), Some(false))
    );
    assert_eq!(found["conflicts"].as_array().unwrap().len(), 2);
    let newest = &found["conflicts"][0];
    assert_eq!(
        (newest["sequence"].as_u64(), &newest["missing"]),
        (Some(3), &Value::Null)
    );
    let meter = |side: &str| newest[side]["fields"]["meter"].as_u64();
    assert_eq!((meter("stored"), meter("came")), (Some(2), Some(1)), "{newest}");
    running.get("/api/v1/gaps").await;
    let metrics = running.text("/metrics").await;
    let kept = r#"ingest_conflicts{device="sari-01",plant="sari-roof-1"}"#;
    assert_eq!(sample(&metrics, kept), Some(3.0));
    for wrong in ["limit=0", "limit=1001", "limit=x", "plant=a", "device=a&device=b"] {
        let (status, error) = running.get(&format!("/api/v1/conflicts?{wrong}")).await;
        assert_eq!(
            (status, error["error"]["code"].as_str()),
            (400, Some("bad_parameter")),
            "{wrong}"
        );
    }
}
