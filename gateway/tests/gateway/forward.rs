//! What each answer of ingest leads to: a real HTTP server that misbehaves on purpose, and the spool behind.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use prometheus::Registry;
use taraz_gateway::{HttpUplink, RunningGateway};
use taraz_telemetry::{Batch, BatchVerdict, Record, RejectedItem};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::raw::{Raw, V5};
use crate::rig::{DEADLINE, Device, metric, spool_file, start, until};

const TOKEN: &str = "the-token";

/// How the peer answers one request.
#[derive(Clone)]
enum Answer {
    /// Takes everything.
    Ok,
    /// A status, a body, and perhaps Retry-After in seconds.
    Status(u16, &'static str, Option<u64>),
    /// Takes everything but the items whose records begin with this sequence.
    Reject(u16, u32),
    /// 413 above so many items.
    TooLargeAbove(usize),
    /// Names an item that was not in the batch.
    RejectUnknown,
    /// Closes the connection without an answer.
    Hang,
}

#[derive(Clone, Default)]
struct Peer {
    /// Consumed one by one; the last one stays.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// First sequence of every item that was taken.
    taken: Arc<Mutex<Vec<u32>>>,
    requests: Arc<Mutex<Vec<(Instant, usize)>>>,
}

impl Peer {
    async fn serve(answers: impl IntoIterator<Item = Answer>) -> (Self, SocketAddr) {
        let peer = Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Self::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/api/v1/batches", post(answer))
            .with_state(peer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (peer, addr)
    }

    fn taken(&self) -> Vec<u32> {
        let mut taken = self.taken.lock().unwrap().clone();
        taken.sort_unstable();
        taken
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn answer(State(peer): State<Peer>, headers: HeaderMap, body: Bytes) -> Response {
    let authorised = headers
        .get("authorization")
        .is_some_and(|value| value == &format!("Bearer {TOKEN}"));
    assert!(authorised, "every request carries the token");
    let batch = Batch::decode(&body).unwrap();
    peer.requests
        .lock()
        .unwrap()
        .push((Instant::now(), batch.items().len()));
    let answer = {
        let mut answers = peer.answers.lock().unwrap();
        if answers.len() > 1 {
            answers.pop_front().unwrap()
        } else {
            answers[0].clone()
        }
    };
    let take = |rejected: Vec<RejectedItem>, status: u16| {
        let items = batch
            .items()
            .iter()
            .filter(|item| rejected.iter().all(|no| no.position != item.position));
        let first: Vec<u32> = items.map(|item| item.first).collect();
        let verdict = BatchVerdict {
            accepted: first.len() as u64,
            rejected,
        };
        peer.taken.lock().unwrap().extend(first);
        (
            StatusCode::from_u16(status).unwrap(),
            serde_json::to_string(&verdict).unwrap(),
        )
            .into_response()
    };
    let rejected = |position| RejectedItem {
        position,
        reason: "can't be read".to_owned(),
    };
    match answer {
        Answer::Ok => take(Vec::new(), 200),
        Answer::TooLargeAbove(max) if batch.items().len() <= max => take(Vec::new(), 200),
        Answer::TooLargeAbove(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Answer::Reject(status, first) => {
            let bad = batch.items().iter().filter(|item| item.first == first);
            take(bad.map(|item| rejected(item.position)).collect(), status)
        }
        Answer::RejectUnknown => {
            let verdict = BatchVerdict {
                accepted: 0,
                rejected: vec![rejected(1 << 40)],
            };
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                serde_json::to_string(&verdict).unwrap(),
            )
                .into_response()
        }
        Answer::Status(status, body, retry_after) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            response
        }
        Answer::Hang => std::future::pending().await,
    }
}

struct Chain {
    folder: Arc<TempDir>,
    registry: Registry,
    gateway: Option<RunningGateway>,
    stop: CancellationToken,
}

impl Chain {
    /// A gateway in front of the peer, with `frames` frames of one record committed.
    async fn start(addr: SocketAddr, frames: u32) -> Self {
        let chain = Self::on(Arc::new(tempfile::tempdir().unwrap()), addr).await;
        let mut device = Device::new(1);
        let mut raw = Raw::session(chain.gateway.as_ref().unwrap().mqtt_addr.unwrap(), V5, &device).await;
        for id in 1..=u16::try_from(frames).unwrap() {
            let frame = device.frame(1);
            raw.publish(&device.up(), 1, id, &frame).await;
            raw.puback(id).await;
        }
        chain
    }

    async fn on(folder: Arc<TempDir>, addr: SocketAddr) -> Self {
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let uplink = HttpUplink::new(&format!("http://{addr}"), TOKEN).unwrap();
        let gateway = Some(start(folder.path(), uplink, &registry, &stop, |_| {}).await);
        Self {
            folder,
            registry,
            gateway,
            stop,
        }
    }

    fn metric(&self, line: &str) -> u64 {
        metric(&self.registry, line)
    }

    fn quarantine(&self) -> Vec<(u32, String)> {
        let spool = rusqlite::Connection::open(spool_file(self.folder.path())).unwrap();
        let mut statement = spool
            .prepare("SELECT first, reason FROM quarantine ORDER BY first")
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    async fn drained(&self) {
        until("the spool is empty", || {
            self.metric("gateway_backlog_frames") == 0
        })
        .await;
        until("forwarding is not paused", || {
            self.metric("gateway_forward_paused") == 0
        })
        .await;
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whatever says nothing about the items pauses, quarantines nothing, and goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_without_a_verdict_pauses_and_touches_nothing() {
    let pausing = [
        Answer::Status(400, "Bad Request", None),
        Answer::Status(401, "the token expired", None),
        Answer::Status(403, "", None),
        Answer::Status(404, "no such page", None),
        Answer::Status(408, "", None),
        Answer::Status(422, "{\"error\":\"?\"}", None),
        Answer::Status(429, "", None),
        Answer::Status(500, "", None),
        Answer::Status(502, "<html>", None),
        Answer::Status(503, "", None),
        Answer::Status(302, "", None),
        // A captive portal answers 200 to everything: that truncates nothing either.
        Answer::Status(200, "<html>Welcome</html>", None),
        Answer::Status(204, "", None),
        Answer::RejectUnknown,
        // A verdict counts only with the statuses it belongs to.
        Answer::Status(500, "{\"accepted\":1,\"rejected\":[]}", None),
    ];
    let mut running = Vec::new();
    for answer in pausing {
        let (peer, addr) = Peer::serve([answer.clone(), answer, Answer::Ok]).await;
        running.push((peer, Chain::start(addr, 3).await));
    }
    for (peer, chain) in &running {
        until("the pause is shown, or over", || {
            chain.metric("gateway_forward_paused") == 1 || peer.requests() == 3
        })
        .await;
    }
    for (peer, chain) in &running {
        chain.drained().await;
        assert_eq!(peer.taken(), [0, 1, 2], "everything arrived once");
        assert_eq!(chain.quarantine(), []);
        assert_eq!(chain.metric("gateway_quarantined_items"), 0);
        assert_eq!(
            chain.metric("gateway_forward_batches_total{result=\"accepted\"}"),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_quarantines_exactly_the_items_it_names() {
    for status in [400, 422, 200] {
        let (peer, addr) = Peer::serve([Answer::Status(503, "", None), Answer::Reject(status, 3)]).await;
        let chain = Chain::start(addr, 6).await;
        chain.drained().await;
        assert_eq!(peer.taken(), [0, 1, 2, 4, 5], "status {status}");
        assert_eq!(chain.quarantine(), [(3, "can't be read".to_owned())]);
        assert_eq!(chain.metric("gateway_quarantined_items"), 1);
        assert!(chain.metric("gateway_spool_bytes") > 0, "the quarantine counts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_too_large_is_halved_until_it_fits() {
    let (peer, addr) = Peer::serve([Answer::Status(503, "", Some(1)), Answer::TooLargeAbove(3)]).await;
    let chain = Chain::start(addr, 20).await;
    chain.drained().await;
    assert_eq!(peer.taken(), (0..20).collect::<Vec<_>>());
    assert_eq!(chain.quarantine(), []);
    assert!(chain.metric("gateway_forward_batches_total{result=\"too_large\"}") >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_item_that_is_too_large_does_not_jam_the_rest() {
    let (peer, addr) = Peer::serve([Answer::TooLargeAbove(0), Answer::Ok]).await;
    let chain = Chain::start(addr, 1).await;
    chain.drained().await;
    assert!(peer.taken().is_empty());
    assert_eq!(chain.quarantine(), [(0, "too large for ingest".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let (peer, addr) = Peer::serve([Answer::Status(503, "", Some(2)), Answer::Ok]).await;
    let chain = Chain::start(addr, 1).await;
    chain.drained().await;
    let requests = peer.requests.lock().unwrap();
    let waited = requests[1].0 - requests[0].0;
    assert!(
        waited >= Duration::from_secs(2) && waited < DEADLINE,
        "{waited:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_is_away_finds_everything_when_it_comes() {
    // Nobody listens here yet.
    let addr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let chain = Chain::start(addr, 5).await;
    until("the pause is shown", || {
        chain.metric("gateway_forward_paused") == 1
    })
    .await;
    let peer = Peer {
        answers: Arc::new(Mutex::new([Answer::Ok].into())),
        ..Peer::default()
    };
    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    let app = Router::new()
        .route("/api/v1/batches", post(answer))
        .with_state(peer.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    chain.drained().await;
    assert_eq!(peer.taken(), [0, 1, 2, 3, 4]);
}

/// The gateway stops in the middle of a delivery: ingest may have it already, and gets it again.
/// Records of an outage, enough for more than one batch.
const BACKLOG_FRAMES: u16 = 300;
const BACKLOG_FRAME_RECORDS: u32 = 40;

/// A frame of readings that were taken a day ago.
fn old_frame(device: &mut Device) -> Vec<u8> {
    let day_old = |n| {
        let Record::Reading(mut reading) = device.reading(device.next + n, 1_000) else {
            unreachable!("a reading")
        };
        reading.stamp.ms -= 86_400_000;
        Record::Reading(reading)
    };
    let records: Vec<_> = (0..BACKLOG_FRAME_RECORDS).map(day_old).collect();
    let frame = device.frame_of(device.next, &records);
    device.next += BACKLOG_FRAME_RECORDS;
    frame
}

#[tokio::test]
async fn what_is_live_goes_before_a_backlog_that_waited_longer() {
    let (peer, addr) = Peer::serve([Answer::Status(503, "not now", None)]).await;
    let chain = Chain::start(addr, 0).await;
    let mqtt = chain.gateway.as_ref().unwrap().mqtt_addr.unwrap();
    let (mut old, mut live) = (Device::new(1), Device::new(2));
    let mut raw = Raw::session(mqtt, V5, &old).await;
    for id in 1..=BACKLOG_FRAMES {
        raw.publish(&old.up(), 1, id, &old_frame(&mut old)).await;
        raw.puback(id).await;
    }
    live.next = 1_000_000;
    let mut raw = Raw::session(mqtt, V5, &live).await;
    raw.publish(&live.up(), 1, 1, &live.frame(1)).await;
    raw.puback(1).await;
    // One batch may have been made before.
    let seen = peer.requests();
    until("another batch", || peer.requests() > seen).await;
    *peer.answers.lock().unwrap() = VecDeque::from([Answer::Ok]);
    chain.drained().await;
    let taken = peer.taken.lock().unwrap().clone();
    assert_eq!(taken[0], 1_000_000, "the live reading first");
    let mut each = peer.taken();
    each.dedup();
    assert_eq!((each.len(), each[0]), (taken.len(), 0), "every row once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_an_answer_is_repeated_after_a_restart() {
    let (peer, addr) = Peer::serve([Answer::Hang, Answer::Ok]).await;
    let mut chain = Chain::start(addr, 4).await;
    until("it is under way", || peer.requests() == 1).await;
    chain.stop.cancel();
    let backlog = chain.metric("gateway_backlog_frames");
    assert_eq!(backlog, 4);
    chain.gateway.take().unwrap().stopped().await.unwrap();
    let again = Chain::on(Arc::clone(&chain.folder), addr).await;
    again.drained().await;
    assert_eq!(peer.taken(), [0, 1, 2, 3]);
}
