//! The generator's account of a herd or an overload, as figures.

use serde_json::Value;

use super::report::Figure;

/// What of a live reading is timed until the gateway is killed (or all the time, where it is not) and from then on.
pub(super) const LIVE_TIMES: [(&str, &str); 4] = [
    ("live_publish_to_puback", "live reading to PUBACK"),
    (
        "live_publish_to_puback_after_half",
        "live reading to PUBACK from the kill on",
    ),
    ("live_to_stored", "live reading to stored"),
    (
        "live_to_stored_after_half",
        "live reading to stored from the kill on",
    ),
];

/// Every figure that there is.
pub(super) fn told(part: &str, figures: &Value) -> Vec<Figure> {
    let of = |pointer: &str| figures.pointer(pointer).and_then(Value::as_f64);
    let mut told = Vec::new();
    let mut add = |name: &str, pointer: &str, scale: f64, unit| {
        told.extend(of(pointer).map(|value| Figure::new(part, name, value * scale, unit)));
    };
    add("devices that come back at once", "/connections", 1.0, "");
    add("devices that publish live beside them", "/live", 1.0, "");
    add("readings of backlog acknowledged", "/accepted_readings", 1.0, "");
    let is_killed = part == "herd";
    let in_time = if is_killed { "in, a kill included" } else { "in" };
    add(in_time, "/drained_s", 1.0, "s");
    add("connections that were tried", "/connects", 1.0, "");
    add("frames sent again", "/frames_sent_again", 1.0, "");
    add("frames of mad devices refused", "/frames_refused", 1.0, "");
    add("kill to the last live device back", "/live_back_us", 1e-3, "ms");
    let of_kill = |key: &str| key.ends_with("_after_half");
    for (key, name) in LIVE_TIMES
        .into_iter()
        .filter(|(key, _)| is_killed || !of_kill(key))
    {
        for (share, field) in [("p50", "p50_us"), ("p99", "p99_us"), ("longest", "max_us")] {
            add(
                &format!("{name}, {share}"),
                &format!("/{key}/{field}"),
                1e-3,
                "ms",
            );
        }
    }
    add("readings missing in the end", "/missing_readings", 1.0, "");
    if let (Some(accepted), Some(seconds)) = (of("/accepted_readings"), of("/drained_s")) {
        told.push(Figure::new(part, "accepted", accepted / seconds, "readings/s"));
    }
    told
}
