//! The MQTT 5 session: connect, sign in, subscribe, publish, reconnect; for ever, until told to stop.
//!
//! Every wait has an end. A connection is given up when the handshake takes longer than [`HANDSHAKE_TIMEOUT`], when a write
//! is stuck for [`WRITE_TIMEOUT`], when the broker leaves a publication without PUBACK for [`LinkSettings::puback_timeout_ms`] (it accepts and
//! never acknowledges), or when nothing at all went through for the keep-alive and [`SILENCE_GRACE`] (half-open TCP). The
//! next one follows after a jittered back-off, which begins anew once a frame got through or a connection held for as long as
//! the longest wait.

use core::future::Future;

use embassy_futures::select::{Either, Either3, select, select3};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use heapless::Vec;
use minimq::{
    Buffers, ConfigBuilder, ConfigError, Connection, Error, Op, PeerError, PubError, Publication, QoS,
    Session, SubscriptionOptions, TopicFilter, Will,
};
use taraz_telemetry::{ACK_LEN_MAX, Channel, DeviceId, FRAME_LEN_MAX, TOPIC_LEN_MAX, Topic};

use super::{Backoff, Connector, Jitter, LinkError, LinkEvent, LinkSettings, Post};
use crate::config::Identity;

/// The receive buffer: the longest acknowledgement with its topic and some properties.
pub const LINK_RX_LEN: usize = ACK_LEN_MAX + TOPIC_LEN_MAX + 128;
/// The shortest transmit buffer: one publication in flight.
pub const LINK_TX_LEN_MIN: usize = link_tx_len(1);

/// MQTT head, packet id, lengths and the encoder's own room.
const PUBLISH_LEN_MAX: usize = FRAME_LEN_MAX + TOPIC_LEN_MAX + 24;
/// CONNECT with id, user, password, will and properties; SUBSCRIBE fits too.
const CONNECT_LEN_MAX: usize = 512;
/// minimq keeps eight packets; one is left for the subscription and the state.
const WINDOW_MAX: usize = 7;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const SILENCE_GRACE: Duration = Duration::from_secs(15);
/// How long the farewell may take at a stop.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(1_000);

const ONLINE: &[u8] = b"online";
const OFFLINE: &[u8] = b"offline";

/// The length of a transmit buffer for this many publications in flight (1 to 7).
#[must_use]
pub const fn link_tx_len(publications: usize) -> usize {
    CONNECT_LEN_MAX + publications * PUBLISH_LEN_MAX
}

/// The session with the broker.
pub struct Link<'b, C> {
    connector: C,
    session: Session<'b>,
    settings: LinkSettings,
    backoff: Backoff,
    jitter: Jitter,
    window: usize,
    topics: Topics,
}

struct Topics {
    device: DeviceId,
    up: Topic,
    ack: Topic,
    state: Topic,
}

impl<C> core::fmt::Debug for Link<'_, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Link")
            .field("device", &self.topics.device)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl<'b, C: Connector> Link<'b, C> {
    /// A link that is not connected. `rx` should have [`LINK_RX_LEN`] bytes, `tx` [`link_tx_len`] of the publications that
    /// may be in flight at once.
    ///
    /// # Errors
    /// A buffer is too short.
    pub fn new(
        connector: C,
        identity: &'b Identity,
        settings: LinkSettings,
        seed: u64,
        rx: &'b mut [u8],
        tx: &'b mut [u8],
    ) -> Result<Self, ConfigError> {
        if rx.len() < LINK_RX_LEN || tx.len() < LINK_TX_LEN_MIN {
            return Err(ConfigError::BufferSplit);
        }
        let window = ((tx.len() - CONNECT_LEN_MAX) / PUBLISH_LEN_MAX).clamp(1, WINDOW_MAX);
        let device = identity.device().clone();
        let topics = Topics {
            up: Channel::Up.topic(&device),
            ack: Channel::Ack.topic(&device),
            state: Channel::State.topic(&device),
            device,
        };
        let will = Will::new(&topics.state, OFFLINE, &[])?
            .retained()
            .qos(QoS::AtLeastOnce);
        let config = ConfigBuilder::new(Buffers::new(rx, tx))
            .client_id(identity.device().as_str())?
            .auth(identity.device().as_str(), identity.password().as_bytes())?
            .keepalive_interval(settings.keep_alive_s)
            .will(will)?;
        let backoff = Backoff::new(settings.backoff_min_ms, settings.backoff_max_ms);
        let session = Session::new(config);
        Ok(Self {
            connector,
            session,
            settings,
            backoff,
            jitter: Jitter::new(seed),
            window,
            topics,
        })
    }

    /// Keeps a session until the post says stop.
    pub async fn run<P: Post>(&mut self, post: &P) {
        while !post.is_stopping() {
            let Err(error) = self.connection(post).await else {
                break;
            };
            if post.is_stopping() {
                break;
            }
            let wait_ms = self.backoff.after_failure_ms(&mut self.jitter);
            let refused = matches!(error, LinkError::SignInRefused { .. });
            let retry_ms = if refused {
                wait_ms.max(self.settings.refused_wait_ms)
            } else {
                wait_ms
            };
            let now = Instant::now();
            post.event(now, LinkEvent::Failed { error, retry_ms });
            let until = now + Duration::from_millis(retry_ms);
            while !post.is_stopping() && Instant::now() < until {
                select(Timer::at(until), post.changed()).await;
            }
        }
        post.event(Instant::now(), LinkEvent::Stopped);
    }

    /// One connection from its opening to its end; `Ok` only at a stop.
    async fn connection<P: Post>(&mut self, post: &P) -> Result<(), LinkError> {
        let opening = stoppable(post, with_timeout(CONNECT_TIMEOUT, self.connector.connect()));
        let Some(opened) = opening.await else {
            return Ok(());
        };
        let io = opened.map_err(|_| LinkError::TimedOut)??;
        let handshake = stoppable(post, with_timeout(HANDSHAKE_TIMEOUT, self.session.connect(io)));
        let Some(signed_in) = handshake.await else {
            return Ok(());
        };
        let connection = signed_in
            .map_err(|_| LinkError::TimedOut)?
            .map_err(|error| match error {
                Error::Peer(PeerError::Rejected(code)) => LinkError::SignInRefused {
                    reason_code: code.into(),
                },
                other => fault(&other),
            })?;
        let mut live = Live {
            connection,
            topics: &self.topics,
            window: self.window,
            unacknowledged: Vec::new(),
            silence_max: Duration::from_secs(u64::from(self.settings.keep_alive_s)) + SILENCE_GRACE,
            puback_timeout: Duration::from_millis(self.settings.puback_timeout_ms),
            progress: Instant::now(),
        };
        with_timeout(HANDSHAKE_TIMEOUT, live.begin(post))
            .await
            .map_err(|_| LinkError::TimedOut)??;
        let since = Instant::now();
        post.event(since, LinkEvent::Connected);
        let ended = live.carry(post, &mut self.backoff).await;
        if since.elapsed() >= Duration::from_millis(self.settings.backoff_max_ms) {
            self.backoff.reset();
        }
        ended
    }
}

/// Runs a future unless the post stops first.
async fn stoppable<P: Post, T>(post: &P, future: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        while !post.is_stopping() {
            post.changed().await;
        }
    };
    match select(future, stopped).await {
        Either::First(done) => Some(done),
        Either::Second(()) => None,
    }
}

/// A publication without PUBACK.
struct Unacknowledged {
    op: Op,
    sent: Instant,
    is_frame: bool,
}

/// A connection that is signed in.
struct Live<'l, 'b, IO> {
    connection: Connection<'l, 'b, IO>,
    topics: &'l Topics,
    window: usize,
    /// Publications without PUBACK, oldest first.
    unacknowledged: Vec<Unacknowledged, { WINDOW_MAX + 1 }>,
    silence_max: Duration,
    puback_timeout: Duration,
    progress: Instant,
}

impl<IO: Read + Write> Live<'_, '_, IO> {
    /// Subscribes, and says that the device is there.
    async fn begin<P: Post>(&mut self, post: &P) -> Result<(), LinkError> {
        // A session that the broker resumed first delivers what it still holds.
        while !self.connection.session().is_publish_quiescent() {
            self.poll(post).await?;
        }
        let options = SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce);
        let filter = [TopicFilter::new(&self.topics.ack).options(options)];
        let subscription = self
            .connection
            .subscribe(&filter, &[])
            .await
            .map_err(|error| fault(&error))?;
        while !self.connection.is_complete(&subscription) {
            match self.connection.poll().await {
                Ok(Some(message)) => deliver(self.topics, post, message.topic(), message.payload()),
                Ok(None) => {}
                Err(Error::Peer(PeerError::Rejected(code))) => {
                    return Err(LinkError::SubscriptionRefused {
                        reason_code: code.into(),
                    });
                }
                Err(error) => return Err(fault(&error)),
            }
        }
        let online = Publication::bytes(&self.topics.state, ONLINE)
            .qos(QoS::AtLeastOnce)
            .retain();
        let op = self
            .connection
            .publish(online)
            .await
            .map_err(|error| publish_fault(&error))?;
        self.track(op, false);
        Ok(())
    }

    /// Publishes and receives until the connection ends or the post stops.
    async fn carry<P: Post>(mut self, post: &P, backoff: &mut Backoff) -> Result<(), LinkError> {
        let mut buffer = [0; FRAME_LEN_MAX];
        loop {
            if post.is_stopping() {
                let _ = with_timeout(FAREWELL_TIMEOUT, self.farewell(post)).await;
                return Ok(());
            }
            let room = self.publish_all(post, &mut buffer, backoff).await?;
            let wake = self.wake(if room { post.next_due() } else { None })?;
            match select3(self.poll(post), post.changed(), Timer::at(wake)).await {
                Either3::First(result) => result?,
                Either3::Second(()) | Either3::Third(()) => {}
            }
        }
    }

    /// Publishes while there is something and room for it. True if there is room left.
    async fn publish_all<P: Post>(
        &mut self,
        post: &P,
        buffer: &mut [u8; FRAME_LEN_MAX],
        backoff: &mut Backoff,
    ) -> Result<bool, LinkError> {
        loop {
            let connection = &self.connection;
            self.unacknowledged.retain(|publication| {
                let is_pending = connection.is_pending(&publication.op);
                // A frame got through. Only that proves the connection good: a broker that signs everybody in and then falls
                // over must not be stormed.
                if !is_pending && publication.is_frame {
                    backoff.reset();
                }
                is_pending
            });
            if self.unacknowledged.len() >= self.window || !connection.can_publish(QoS::AtLeastOnce) {
                return Ok(false);
            }
            let Some(frame) = post.next_frame(Instant::now(), buffer) else {
                return Ok(true);
            };
            let publication = Publication::bytes(&self.topics.up, frame).qos(QoS::AtLeastOnce);
            let sent = with_timeout(WRITE_TIMEOUT, self.connection.publish(publication)).await;
            let op = sent
                .map_err(|_| LinkError::TimedOut)?
                .map_err(|error| publish_fault(&error))?;
            self.track(op, true);
        }
    }

    fn track(&mut self, op: Option<Op>, is_frame: bool) {
        let sent = Instant::now();
        self.progress = sent;
        if let Some(op) = op {
            // The window is checked before every publication.
            let _ = self.unacknowledged.push(Unacknowledged { op, sent, is_frame });
        }
    }

    /// When to look again at the latest, or why the connection is to be given up.
    fn wake(&self, due: Option<Instant>) -> Result<Instant, LinkError> {
        let now = Instant::now();
        let silent = self.progress + self.silence_max;
        let puback = self
            .unacknowledged
            .first()
            .map(|publication| publication.sent + self.puback_timeout);
        if puback.is_some_and(|puback| puback <= now) {
            return Err(LinkError::NoPuback);
        }
        if silent <= now {
            return Err(LinkError::Lost);
        }
        let due = due.map(|due| due.max(now + Duration::from_millis(10)));
        Ok([Some(silent), puback, due]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(silent))
    }

    /// Waits for progress. Dropping it loses nothing (minimq's `poll` is cancel-safe over a transport that is).
    async fn poll<P: Post>(&mut self, post: &P) -> Result<(), LinkError> {
        match self.connection.poll().await {
            Ok(Some(message)) => deliver(self.topics, post, message.topic(), message.payload()),
            Ok(None) => {}
            Err(Error::Peer(PeerError::Rejected(code))) => {
                post.event(
                    Instant::now(),
                    LinkEvent::PublishRefused {
                        reason_code: code.into(),
                    },
                );
            }
            Err(error) => return Err(fault(&error)),
        }
        self.progress = Instant::now();
        Ok(())
    }

    /// Says that the device goes, and waits until the broker has closed: a connection torn down while something is still
    /// on its way may cost the broker our DISCONNECT, and it would publish the last will.
    async fn farewell<P: Post>(mut self, post: &P) -> Result<(), LinkError> {
        let offline = Publication::bytes(&self.topics.state, OFFLINE)
            .qos(QoS::AtLeastOnce)
            .retain();
        if let Some(op) = self
            .connection
            .publish(offline)
            .await
            .map_err(|error| publish_fault(&error))?
        {
            while self.connection.is_pending(&op) {
                self.poll(post).await?;
            }
        }
        self.connection
            .disconnect()
            .await
            .map_err(|error| fault(&error))?;
        let mut io = self.connection.into_inner();
        let mut rest = [0; 64];
        while io.read(&mut rest).await.is_ok_and(|len| len > 0) {}
        Ok(())
    }
}

fn deliver<P: Post>(topics: &Topics, post: &P, topic: &str, payload: &[u8]) {
    if topic == topics.ack.as_str() {
        post.received(Instant::now(), Channel::Ack, payload);
    }
}

fn publish_fault<P, E>(error: &PubError<P, E>) -> LinkError {
    match error {
        PubError::Session(error) => fault(error),
        // A frame is copied as it is; this can't fail.
        PubError::Payload(_) => LinkError::Malformed,
    }
}

fn fault<E>(error: &Error<E>) -> LinkError {
    match error {
        Error::Peer(_) | Error::Resource(_) | Error::InvalidRequest => LinkError::Malformed,
        _ => LinkError::Lost,
    }
}
