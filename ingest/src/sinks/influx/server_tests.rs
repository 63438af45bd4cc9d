//! The encoder against two engines that did not write it: what was written is what is read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::sinks::testing::{Server, config, eventually, readings};
use crate::view::StoredReading;

/// 2026-11-01T00:00:00Z.
const FROM_MS: i64 = 1_793_491_200_000;

/// (device, field, time) → value, as the readings state it.
fn stated(readings: &[StoredReading]) -> BTreeMap<(String, String, i64), i64> {
    let mut all = BTreeMap::new();
    for reading in readings {
        let mut put = |field: String, value| {
            all.insert((reading.device.to_string(), field, reading.time_ms), value);
        };
        for (field, value) in reading.quantities.iter() {
            put(field.name().to_owned(), value);
        }
        for (at, input) in reading.quantities.mppt.iter().enumerate() {
            put(
                format!("mppt{}_voltage_dv", at + 1),
                input.voltage_dv.unwrap().into(),
            );
            put(format!("mppt{}_power_w", at + 1), input.power_w.unwrap().into());
        }
    }
    all
}

fn lines(readings: &[StoredReading]) -> String {
    let mut out = String::new();
    for reading in readings {
        assert!(encode(reading, &mut out));
    }
    out
}

#[tokio::test]
async fn victoria_metrics_returns_every_value() {
    let server = Server::victoria_metrics().await;
    let influx = Influx::new(&config(&server.url)).unwrap();
    let readings = readings(500, FROM_MS);
    // Twice: the second time must change nothing.
    for _ in 0..2 {
        influx.write(lines(&readings)).await.unwrap();
    }
    let expected = stated(&readings);
    let query = [
        ("match[]", "{__name__=~\"reading_.+\"}"),
        ("start", "1793491200"),
        ("end", "1793577600"),
        ("reduce_mem_usage", "0"),
    ];
    let found = eventually("everything written is shown", || async {
        server.get("/internal/force_flush", &[]).await;
        let found = exported(&server.get("/api/v1/export", &query).await);
        (found.len() >= expected.len()).then_some(found)
    })
    .await;
    assert_eq!(found, expected);
}

/// VictoriaMetrics' JSON lines: one series each, with its values and times.
fn exported(text: &str) -> BTreeMap<(String, String, i64), i64> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let series: Value = serde_json::from_str(line).unwrap();
        let label = |name: &str| series["metric"][name].as_str().unwrap().to_owned();
        assert_eq!(
            (label("role"), label("meter")),
            ("inverter".to_owned(), "1".to_owned())
        );
        assert_eq!(
            label("plant").replace("plant-", "sari-0"),
            label("device"),
            "the tags stand together"
        );
        let field = label("__name__").strip_prefix("reading_").unwrap().to_owned();
        let times = series["timestamps"].as_array().unwrap();
        let values = series["values"].as_array().unwrap();
        for (time, value) in times.iter().zip(values) {
            let value = value
                .as_i64()
                .or_else(|| {
                    value
                        .as_f64()
                        .filter(|v| v.fract() == 0.0)
                        .map(|v| format!("{v}").parse().unwrap())
                })
                .unwrap();
            assert_eq!(
                all.insert((label("device"), field.clone(), time.as_i64().unwrap()), value),
                None,
                "a point twice"
            );
        }
    }
    all
}

#[tokio::test]
async fn influxdb_takes_every_line_and_returns_every_value() {
    let server = Server::influxdb().await;
    let (status, text) = server
        .post("/query", &[("q", "CREATE DATABASE taraz")], String::new())
        .await;
    assert_eq!(status, 200, "{text}");
    let readings = readings(500, FROM_MS);
    let write = [("db", "taraz"), ("precision", "ms")];
    for _ in 0..2 {
        let (status, text) = server.post("/write", &write, lines(&readings)).await;
        // 204 means every line: a bad one would be 400 "partial write".
        assert_eq!((status, text.as_str()), (204, ""));
    }
    let query = [
        ("db", "taraz"),
        ("epoch", "ms"),
        ("q", "SELECT * FROM reading GROUP BY device"),
    ];
    let answer: Value = serde_json::from_str(&server.get("/query", &query).await).unwrap();
    let mut found = BTreeMap::new();
    for series in answer["results"][0]["series"].as_array().unwrap() {
        let device = series["tags"]["device"].as_str().unwrap();
        let columns = series["columns"].as_array().unwrap();
        for row in series["values"].as_array().unwrap() {
            let time = row[0].as_i64().unwrap();
            for (column, value) in columns.iter().zip(row.as_array().unwrap()).skip(1) {
                let column = column.as_str().unwrap();
                if let (false, Some(value)) = (["meter", "plant", "role"].contains(&column), value.as_i64()) {
                    found.insert((device.to_owned(), column.to_owned(), time), value);
                }
            }
        }
    }
    assert_eq!(found, stated(&readings));
}

#[tokio::test]
async fn influxdb_reads_nasty_text_as_it_was_meant() {
    let server = Server::influxdb().await;
    server
        .post("/query", &[("q", "CREATE DATABASE taraz")], String::new())
        .await;
    let texts = [
        "a b",
        "a,b",
        "a=b",
        "ends\\",
        "a\\,b",
        "two\nlines x=1i",
        "\"quoted\"",
        "# no comment",
        "ساری ۱",
        " , = ",
    ];
    let mut body = String::new();
    for (at, text) in texts.iter().enumerate() {
        let mut line = Line::new(&mut body, "nasty");
        line.tag("text", text);
        line.field(text, i64::MAX);
        line.field("low", i64::MIN);
        assert!(line.finish(FROM_MS + i64::try_from(at).unwrap()));
    }
    let (status, answer) = server
        .post("/write", &[("db", "taraz"), ("precision", "ms")], body)
        .await;
    assert_eq!((status, answer.as_str()), (204, ""));
    let query = [
        ("db", "taraz"),
        ("epoch", "ms"),
        ("q", "SELECT low, text FROM nasty"),
    ];
    let answer: Value = serde_json::from_str(&server.get("/query", &query).await).unwrap();
    let rows = answer["results"][0]["series"][0]["values"].as_array().unwrap();
    let carried = |text: &str| text.replace(['\\', '\n'], "_");
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row[1].as_i64().unwrap(), row[2].as_str().unwrap().to_owned()))
        .collect();
    let expected: Vec<_> = texts.iter().map(|text| (i64::MIN, carried(text))).collect();
    assert_eq!(found, expected);
}
