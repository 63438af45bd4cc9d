//! Roughly how fast the door and the spool are here; printed, never asserted.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::raw::{PUBACK, Raw, V5};
use crate::rig::{Device, Rig, until};

#[tokio::test(flavor = "multi_thread")]
async fn readings_through_door_and_spool() {
    for (connections, window, frames, readings) in [(10, 1, 200, 1), (10, 20, 2_000, 1), (40, 100, 1_000, 10)]
    {
        let rig = Rig::start().await;
        rig.recorder.away.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        let mut clients = Vec::new();
        for n in 1..=connections {
            let addr = rig.mqtt();
            clients.push(tokio::spawn(async move {
                let mut device = Device::new(n);
                let mut raw = Raw::session(addr, V5, &device).await;
                let (mut sent, mut acknowledged) = (0_u16, 0);
                while acknowledged < frames {
                    let mut bytes = Vec::new();
                    while sent < frames && sent - acknowledged < window {
                        sent += 1;
                        bytes.extend(raw.publish_bytes(&device.up(), 1, sent, &device.frame(readings)));
                    }
                    raw.send(&bytes).await;
                    assert_eq!(raw.next().await.unwrap().0, PUBACK);
                    acknowledged += 1;
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
        let seconds = begun.elapsed().as_secs_f64();
        let records = connections * usize::from(frames) * readings as usize;
        let count = records as f64;
        let commits = rig.metric("gateway_spool_commits_total");
        println!(
            "{connections} connections × {window} in flight, {readings} readings a frame: \
             {:.0} readings/s through door and spool, {commits} commits",
            count / seconds
        );
        rig.recorder.away.store(false, Ordering::Relaxed);
        let forwarding = Instant::now();
        until("ingest has it", || rig.recorder.records() == records).await;
        println!(
            "  and {:.0} readings/s from the spool on",
            count / forwarding.elapsed().as_secs_f64()
        );
    }
}
