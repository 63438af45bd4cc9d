//! All clients on one thread: sockets, readiness, and who publishes when.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::{Client, Tally};
use crate::curve::Curve;
use crate::payload::Written;

/// Connections that are made at once: below any server's backlog.
const CONNECTING_MAX: usize = 128;
const CONNECT_LIMIT: Duration = Duration::from_secs(120);
const EVENTS_MAX: usize = 1_024;
const READ_LEN: usize = 64 << 10;
/// The longest sleep; and the shortest while messages are due at a rate.
const TURN_MAX: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(1);

struct Peer {
    stream: Option<TcpStream>,
    client: Client,
    is_connected: bool,
}

/// When messages are due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Nothing is published.
    Silence,
    /// Whenever a window has room.
    FlatOut,
    /// One client after the other, evenly; lateness counts as latency.
    Every {
        /// From one message to the next in µs.
        interval_us: f64,
    },
}

/// The clients and their sockets.
pub(crate) struct Engine {
    broker: SocketAddr,
    poll: Poll,
    peers: Vec<Peer>,
    begun: Instant,
    begun_utc: Duration,
    pub(crate) tally: Tally,
    pub(crate) published: Curve,
    /// Every message of the first client: when, and which power it stated.
    pub(crate) numbered: Vec<(u64, Written)>,
    payload: Vec<u8>,
    buffer: Vec<u8>,
    /// Messages of the present phase that may still be published.
    allowance: u64,
    pace: Pace,
    due_us: f64,
    next: usize,
}

impl Engine {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(broker: SocketAddr, clients: Vec<Client>) -> Result<Self> {
        let peers = clients.into_iter().map(|client| Peer {
            stream: None,
            client,
            is_connected: false,
        });
        Ok(Self {
            broker,
            poll: Poll::new()?,
            peers: peers.collect(),
            begun: Instant::now(),
            begun_utc: SystemTime::now().duration_since(UNIX_EPOCH)?,
            tally: Tally::default(),
            published: Curve::default(),
            numbered: Vec::new(),
            payload: Vec::new(),
            buffer: vec![0; READ_LEN],
            allowance: 0,
            pace: Pace::Silence,
            due_us: 0.0,
            next: 0,
        })
    }

    /// µs since the engine was made.
    pub(crate) fn now_us(&self) -> u64 {
        // 2⁶⁴ µs are half a million years.
        #[allow(clippy::cast_possible_truncation)]
        let us = self.begun.elapsed().as_micros() as u64;
        us
    }

    /// The instant that [`Self::now_us`] counts from.
    pub(crate) const fn begun(&self) -> Instant {
        self.begun
    }

    fn now_ms(&self) -> u64 {
        // Steps of the clock in a run must not turn the devices' time back.
        #[allow(clippy::cast_possible_truncation)]
        let ms = (self.begun_utc + self.begun.elapsed()).as_millis() as u64;
        ms
    }

    /// Connects all clients, a few at a time, until each is ready to publish.
    ///
    /// # Errors
    /// When one is refused, or not all are ready in time.
    pub(crate) fn connect(&mut self) -> Result<()> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        let (mut opened, mut ready) = (0, 0);
        while ready < self.peers.len() {
            while opened < self.peers.len() && opened - ready < CONNECTING_MAX {
                self.open(opened)?;
                opened += 1;
            }
            self.turn(TURN_MAX)?;
            let waiting = &self.peers[ready..opened];
            ready += waiting.iter().take_while(|peer| peer.client.is_ready()).count();
            if Instant::now() >= deadline {
                bail!(
                    "{ready} of {} connections are ready after {} s",
                    self.peers.len(),
                    CONNECT_LIMIT.as_secs()
                );
            }
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> Result<()> {
        let mut stream = TcpStream::connect(self.broker).with_context(|| self.broker.to_string())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(index), interest)?;
        self.peers[index].stream = Some(stream);
        Ok(())
    }

    /// From now on publishes at `pace`, at most `messages`.
    ///
    /// # Errors
    /// When the readings do not fit a frame, or a connection breaks.
    pub(crate) fn publish(&mut self, pace: Pace, messages: u64) -> Result<()> {
        self.pace = pace;
        self.allowance = messages;
        // Microseconds of a run are far below 2⁵³.
        #[allow(clippy::cast_precision_loss)]
        let now_us = self.now_us() as f64;
        self.due_us = now_us;
        if matches!(pace, Pace::FlatOut) {
            for index in 0..self.peers.len() {
                self.fill(index)?;
                self.flush(index)?;
            }
        }
        Ok(())
    }

    /// Publishes nothing more, owed messages neither; gives how many were due and not published.
    pub(crate) fn stop(&mut self) -> u64 {
        self.pace = Pace::Silence;
        self.allowance = 0;
        let forgotten = self.peers.iter_mut().map(|peer| peer.client.forget_owed());
        forgotten.map(|count| count as u64).sum()
    }

    /// Everything allowed is published.
    pub(crate) const fn is_through(&self) -> bool {
        self.allowance == 0
    }

    /// Makes the power of the first client's readings count them.
    pub(crate) fn number(&mut self) {
        if let Some(first) = self.peers.first_mut() {
            first.client.author().number();
        }
    }

    /// Says goodbye on every connection.
    pub(crate) fn disconnect(&mut self) {
        for index in 0..self.peers.len() {
            self.peers[index].client.disconnect();
            // Whoever has gone already need not hear it.
            let _ = self.flush(index);
        }
    }

    /// Sleeps until something happens, at most `longest`, and does what there is to do.
    ///
    /// # Errors
    /// When a connection breaks.
    pub(crate) fn turn(&mut self, longest: Duration) -> Result<()> {
        let longest = match self.pace {
            Pace::Every { .. } => longest.min(TICK),
            _ => longest,
        };
        let mut events = Events::with_capacity(EVENTS_MAX);
        match self.poll.poll(&mut events, Some(longest)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            let index = event.token().0;
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(index)?;
            }
            if event.is_writable() {
                self.writable(index)?;
            }
            self.fill(index)?;
            self.flush(index)?;
        }
        self.publish_due()?;
        let now_us = self.now_us();
        self.published.push(now_us, self.tally.readings);
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let Peer { stream, client, .. } = &mut self.peers[index];
        let Some(stream) = stream else { return Ok(()) };
        loop {
            match stream.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed connection {}", index + 1),
                Ok(count) => {
                    #[allow(clippy::cast_possible_truncation)]
                    let now_us = self.begun.elapsed().as_micros() as u64;
                    client.receive(&self.buffer[..count], now_us, &mut self.tally)?;
                    // epoll(7): less than was asked for means that the socket is empty.
                    if count < self.buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("connection {}", index + 1)),
            }
        }
    }

    fn writable(&mut self, index: usize) -> Result<()> {
        let peer = &mut self.peers[index];
        if !peer.is_connected
            && let Some(stream) = &peer.stream
        {
            if let Some(error) = stream.take_error()? {
                return Err(error).with_context(|| format!("connection {} to {}", index + 1, self.broker));
            }
            if stream.peer_addr().is_ok() {
                stream.set_nodelay(true)?;
                peer.is_connected = true;
                peer.client.connect();
            }
        }
        Ok(())
    }

    /// Publishes what the client owes, and flat out whatever its window takes.
    fn fill(&mut self, index: usize) -> Result<()> {
        if self.allowance == 0 || !self.peers[index].client.is_ready() {
            return Ok(());
        }
        match self.pace {
            Pace::Silence => {}
            Pace::FlatOut => {
                while self.allowance > 0 && self.peers[index].client.has_room() {
                    let now_us = self.now_us();
                    self.send(index, now_us)?;
                }
            }
            Pace::Every { .. } => {
                while self.allowance > 0 {
                    let Some(due_us) = self.peers[index].client.take_owed() else {
                        break;
                    };
                    self.send(index, due_us)?;
                }
            }
        }
        Ok(())
    }

    fn publish_due(&mut self) -> Result<()> {
        let Pace::Every { interval_us } = self.pace else {
            return Ok(());
        };
        #[allow(clippy::cast_precision_loss)]
        let now_us = self.now_us() as f64;
        while self.due_us <= now_us && self.allowance > 0 {
            // Positive, and far below 2⁵³.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let due_us = self.due_us as u64;
            self.due_us += interval_us;
            let index = self.next;
            self.next = (index + 1) % self.peers.len();
            self.peers[index].client.owe(due_us);
            self.fill(index)?;
            self.flush(index)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, due_us: u64) -> Result<()> {
        let now_ms = self.now_ms();
        let client = &mut self.peers[index].client;
        let written = client.publish(&mut self.tally, &mut self.payload, due_us, now_ms)?;
        self.allowance -= 1;
        if index == 0 {
            self.numbered.push((due_us, written));
        }
        Ok(())
    }

    fn flush(&mut self, index: usize) -> Result<()> {
        let Peer { stream, client, .. } = &mut self.peers[index];
        let Some(stream) = stream else { return Ok(()) };
        while !client.output().is_empty() {
            match stream.write(client.output()) {
                Ok(count) => client.took(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("connection {}", index + 1)),
            }
        }
        Ok(())
    }
}
