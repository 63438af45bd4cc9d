//! The HTTP interface of a lone gateway.

use std::io::Write as _;
use std::process::{Command, Stdio};

use taraz_gateway::http::{Server, serve};
use taraz_telemetry::Channel;

use crate::mosquitto::program;
use crate::raw::{Raw, V5};
use crate::rig::{Device, Rig, until};

async fn get(server: &Server, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("http://{}{path}", server.addr))
        .await
        .unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_happens() {
    let rig = Rig::start().await;
    let any = "127.0.0.1:0".parse().unwrap();
    let server = serve(any, rig.registry.clone(), rig.gateway.view(), rig.stop.clone())
        .await
        .unwrap();
    assert_eq!(get(&server, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&server, "/readyz").await, (200, "ready\n".to_owned()));

    let mut device = Device::new(1);
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    raw.publish(&device.topic(Channel::State), 1, 1, b"online").await;
    raw.puback(1).await;
    raw.publish(&device.up(), 1, 2, b"nonsense").await;
    raw.puback(2).await;
    let (status, devices) = get(&server, "/api/v1/devices").await;
    assert!(status == 200 && devices.starts_with("[{\"device\":\"dev-1\",\"state\":\"online\",\"at_ms\":"));
    let (status, refused) = get(&server, "/api/v1/refused").await;
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(
        (status, &refused[0]["reason"], &refused[0]["len"]),
        (200, &"length".into(), &8.into())
    );
    assert_eq!(refused[0]["head_hex"], "6e6f6e73656e7365");

    let (status, text) = get(&server, "/metrics").await;
    assert!(
        status == 200 && text.contains("gateway_refused_total{reason=\"length\"} 1\n"),
        "{text}"
    );
    promtool(&text);

    // The commits fail: what is acknowledged is nothing, and that is what it says.
    let held_back = rig.hold_commits();
    let frame = device.frame(1);
    raw.publish(&device.up(), 1, 3, &frame).await;
    until("not ready", || rig.gateway.view().not_ready().is_some()).await;
    let (status, reason) = get(&server, "/readyz").await;
    assert!(
        status == 503 && reason.contains("nothing is acknowledged"),
        "{reason}"
    );
    assert_eq!(get(&server, "/healthz").await.0, 200);
    drop(held_back);
    assert_eq!(raw.puback(3).await, 0);
    assert_eq!(get(&server, "/readyz").await.0, 200);
}

/// Names, types and help texts as Prometheus wants them.
fn promtool(metrics: &str) {
    let mut command = Command::new(program("promtool"));
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
