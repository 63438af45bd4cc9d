use std::time::{Duration, Instant};

use super::*;
use crate::sinks::testing::{Told, config, eventually};

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("reading,n={n} v=1i {n}\n")).collect()
}

fn status() -> SinkStatus {
    SinkStatus::new("test".into())
}

fn answer(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// What the server holds if it stores each body it answered 204 to.
fn taken(server: &Told, refuses: impl Fn(&str) -> bool) -> Vec<String> {
    let bodies = server.bodies.lock().unwrap();
    let good = bodies
        .iter()
        .filter(|body| !refuses(body))
        .flat_map(|body| body.lines());
    good.filter(|line| line.starts_with("reading"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[tokio::test]
async fn a_poisoned_line_is_found_by_halving_and_costs_only_itself() {
    let refuses = |body: &str| body.contains(",n=7 ") || body.contains(",n=40 ");
    let server = Told::start(move |_, body| {
        if refuses(body) {
            answer(400, "partial write: field type conflict")
        } else {
            answer(204, "")
        }
    })
    .await;
    let influx = Influx::new(&config(&server.url)).unwrap();
    let (status, lines) = (status(), numbered(100));
    let outcome = deliver(
        &influx,
        &status,
        What::Readings,
        lines.clone(),
        &CancellationToken::new(),
    )
    .await;
    assert_eq!(outcome, Outcome::Delivered);
    let shown = status.snapshot();
    assert_eq!(
        (
            shown.written_readings,
            shown.quarantined_readings,
            shown.failed_writes
        ),
        (98, 2, 0)
    );
    let samples: Vec<_> = shown
        .quarantine_samples
        .iter()
        .map(|sample| sample.line.as_str())
        .collect();
    assert_eq!(samples, ["reading,n=7 v=1i 7", "reading,n=40 v=1i 40"]);
    assert!(
        shown.quarantine_samples[0].reason.contains("field type conflict"),
        "{:?}",
        shown.quarantine_samples
    );
    let expected: Vec<_> = lines
        .into_iter()
        .enumerate()
        .filter(|(n, _)| ![7, 40].contains(n))
        .map(|(_, l)| l)
        .collect();
    assert_eq!(taken(&server, refuses), expected);
}

#[tokio::test]
async fn a_server_that_refuses_everything_costs_nothing() {
    let server = Told::start(|count, _| {
        if count <= 12 {
            answer(400, "unable to parse: bad timestamp")
        } else {
            answer(204, "")
        }
    })
    .await;
    let influx = Influx::new(&config(&server.url)).unwrap();
    let status = status();
    let outcome = deliver(
        &influx,
        &status,
        What::Readings,
        numbered(8),
        &CancellationToken::new(),
    )
    .await;
    assert_eq!(outcome, Outcome::Delivered);
    let shown = status.snapshot();
    assert_eq!((shown.written_readings, shown.quarantined_readings), (8, 0));
    assert!(shown.failed_writes > 0 && shown.last_error.is_none());
}

#[tokio::test]
async fn whatever_says_nothing_about_the_lines_is_tried_again() {
    for refusal in [401, 403, 404, 429, 500, 503, 200, 302] {
        let server = Told::start(move |count, _| {
            if count == 1 {
                answer(refusal, "not now")
            } else {
                answer(204, "")
            }
        })
        .await;
        let influx = Influx::new(&config(&server.url)).unwrap();
        let status = status();
        deliver(
            &influx,
            &status,
            What::Readings,
            numbered(3),
            &CancellationToken::new(),
        )
        .await;
        let shown = status.snapshot();
        let counts = (
            shown.written_readings,
            shown.quarantined_readings,
            shown.failed_writes,
            shown.ok_writes,
        );
        assert_eq!(counts, (3, 0, 1, 1), "{refusal}");
        let bodies = server.bodies.lock().unwrap();
        assert_eq!(bodies[0], bodies[1], "{refusal}: the same lines again");
    }
}

#[tokio::test]
async fn too_much_at_once_is_halved_until_it_fits() {
    let server = Told::start(|_, body| {
        if body.len() > 100 {
            answer(413, "")
        } else {
            answer(204, "")
        }
    })
    .await;
    let influx = Influx::new(&config(&server.url)).unwrap();
    let (status, lines) = (status(), numbered(50));
    deliver(
        &influx,
        &status,
        What::Readings,
        lines.clone(),
        &CancellationToken::new(),
    )
    .await;
    assert_eq!(status.snapshot().quarantined_readings, 0);
    assert_eq!(taken(&server, |body| body.len() > 100), lines);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_the_time_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let influx = Influx::new(&config(&url))
        .unwrap()
        .with_timeout(Duration::from_millis(100));
    let (status, cancel) = (status(), CancellationToken::new());
    let started = Instant::now();
    let work = deliver(&influx, &status, What::Readings, numbered(1), &cancel);
    let watch = async {
        eventually("the first try fails", || async {
            (status.snapshot().failed_writes > 0).then_some(())
        })
        .await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(work, watch);
    assert_eq!(outcome, Outcome::Stopping);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert!(status.snapshot().last_error.unwrap().contains("no answer within"));
}
