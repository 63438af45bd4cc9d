//! A herd: devices that all come back at once with a backlog, beside others that publish live.
//!
//! In: an address, a key, how many and how much ([`HerdOptions`]). Out: how long the backlog took, what the live ones waited for, and
//! how often anybody had to come again, as JSON. A device keeps every frame until its `/ack`, comes again with a jittered back-off,
//! and sends again what it kept: nothing is lost unless the server loses it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;
use taraz_telemetry::{KEY_LEN, MasterKey};

use crate::beast::{Beast, Heard, REFUSED};
use crate::herd_options::HerdOptions;
use crate::layout::{KEY_GENERATION, device_id};
use crate::payload::Author;
use crate::random::Random;
use crate::series::{Series, Times};
use crate::tally::{Phase, Tally};

const EVENTS_MAX: usize = 1_024;
const READ_LEN: usize = 64 << 10;
const TURN: Duration = Duration::from_millis(2);
/// How often waiting frames are looked at.
const LOOK_US: u64 = 1_000_000;
const WEEK_MS: u64 = 7 * 86_400_000;
/// The back-off before a connection is tried again, least and most: that of a device's own link.
const BACKOFF_US: RangeInclusive<u64> = 1_000_000..=60_000_000;
/// And that after a refused sign-in (`docs/protocol.md`, 4: "at least 10 s").
const REFUSED_US: u64 = 10_000_000;
/// Of a stranger that knocks again and again.
const STRANGER_US: RangeInclusive<u64> = 10_000..=20_000;
/// From one reading of an endless backlog to the next.
const ENDLESS_STEP_MS: u64 = 60_000;

/// Lets the herd come; `at_half` is called once, when half of the backlog is acknowledged.
///
/// # Errors
/// When not everything is acknowledged, or not every device is connected in the end, within the limit; or `at_half` fails.
pub fn herd(options: &HerdOptions, at_half: &mut dyn FnMut() -> Result<()>) -> Result<Value> {
    let mut herd = Herd::new(options)?;
    let deadline = Instant::now() + Duration::from_secs(options.limit_seconds);
    // The live ones are there before anything happens.
    for index in 0..options.live {
        herd.open(index);
    }
    while herd.ready_live() < options.live {
        herd.turn(deadline)?;
    }
    let begun = Instant::now();
    herd.phase = Phase::Herd;
    for index in options.live..herd.beasts.len() {
        herd.open(index);
    }
    let is_over = |herd: &Herd<'_>| match options.seconds {
        Some(seconds) => begun.elapsed().as_secs_f64() >= seconds,
        None => herd.tally.backlog_acknowledged >= herd.backlog(),
    };
    while !is_over(&herd) {
        herd.turn(deadline)?;
        let is_half = options.seconds.is_none() && herd.tally.backlog_acknowledged * 2 >= herd.backlog();
        if herd.phase == Phase::Herd && is_half {
            herd.phase = Phase::AfterHalf;
            herd.half_us = herd.now_us();
            at_half()?;
        }
    }
    let (drained_s, accepted) = (begun.elapsed().as_secs_f64(), herd.tally.backlog_acknowledged);
    herd.phase = Phase::Ending;
    // Everybody comes again, also who has nothing left to send.
    while !herd.beasts[..options.devices()]
        .iter()
        .all(|beast| beast.is_ready() && beast.waiting() == 0)
    {
        herd.turn(deadline)?;
    }
    let missing = herd.wait_stored(deadline)?;
    let mut figures = herd.figures();
    figures["drained_s"] = drained_s.into();
    figures["accepted_readings"] = accepted.into();
    figures["missing_readings"] = missing.into();
    Ok(figures)
}

struct Herd<'o> {
    options: &'o HerdOptions,
    poll: Poll,
    beasts: Vec<Beast>,
    streams: Vec<Option<TcpStream>>,
    retries: BinaryHeap<Reverse<(u64, usize)>>,
    random: Random,
    begun: Instant,
    phase: Phase,
    looked_us: u64,
    buffer: Vec<u8>,
    /// When half of the backlog was acknowledged.
    half_us: u64,
    /// Since then a live device was not there.
    was_away: bool,
    tally: Tally,
}

impl<'o> Herd<'o> {
    fn new(options: &'o HerdOptions) -> Result<Self> {
        options.check()?;
        let devices = options.devices();
        let text = std::fs::read_to_string(&options.master_key)
            .with_context(|| options.master_key.display().to_string())?;
        let master = MasterKey::from_hex(&text).with_context(|| options.master_key.display().to_string())?;
        let utc = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let now_ms = u64::try_from(utc.as_millis())?;
        let backlog = if options.seconds.is_some() {
            u64::MAX
        } else {
            options.backlog_readings
        };
        let step_ms = if options.seconds.is_some() {
            ENDLESS_STEP_MS
        } else {
            (WEEK_MS / backlog.max(1)).max(1)
        };
        let past = Times::Backlog {
            start_ms: now_ms - step_ms * backlog.min(WEEK_MS / step_ms),
            step_ms,
        };
        let author = |index, master: &MasterKey, times| -> Result<Author> {
            let device = device_id(index)?;
            let key = master.device_key(&device, KEY_GENERATION);
            Ok(Author::new(
                device,
                key,
                utc.subsec_nanos(),
                Series::new(index, 1, times),
            ))
        };
        let beast = |index| -> Result<Beast> {
            if index < options.live {
                let begin_us = index as u64 * 7_919 % 1_000_000;
                let author = author(index, &master, Times::Live)?;
                Ok(Beast::new(author, true, 0, begin_us, options.window))
            } else if index < options.live + options.connections {
                let author = author(index, &master, past)?;
                Ok(Beast::new(author, false, backlog, 0, options.window))
            } else if index < devices {
                let author = author(index, &master, Times::Live)?;
                Ok(Beast::new(author, false, 0, 0, options.window).gone_mad())
            } else {
                // A device that there is, and a key that is not its own.
                let author = author(index % devices, &MasterKey::new([0; KEY_LEN]), Times::Live)?;
                Ok(Beast::new(author, false, 0, 0, options.window))
            }
        };
        let all = devices + options.strangers;
        Ok(Self {
            options,
            poll: Poll::new()?,
            beasts: (0..all).map(beast).collect::<Result<_>>()?,
            streams: (0..all).map(|_| None).collect(),
            retries: BinaryHeap::new(),
            random: Random::new(now_ms),
            begun: Instant::now(),
            phase: Phase::Before,
            looked_us: 0,
            buffer: vec![0; READ_LEN],
            half_us: 0,
            was_away: false,
            tally: Tally::default(),
        })
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Readings of the whole herd, where their backlog ends.
    const fn backlog(&self) -> u64 {
        self.options.backlog_readings * self.options.connections as u64
    }

    fn ready_live(&self) -> usize {
        let live = &self.beasts[..self.options.live];
        live.iter().filter(|beast| beast.is_ready()).count()
    }

    fn open(&mut self, index: usize) {
        self.tally.comings += 1;
        let now_us = self.now_us();
        self.beasts[index].opening(now_us);
        let opened = TcpStream::connect(self.options.broker).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(index), interest)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => self.streams[index] = Some(stream),
            Err(error) => self.lost(index, &error.kind().to_string()),
        }
    }

    /// The connection is over: the device comes again after its back-off.
    fn lost(&mut self, index: usize, why: &str) {
        self.streams[index] = None;
        self.tally.ended(why);
        let is_stranger = index >= self.options.devices();
        let wait_us = if is_stranger {
            self.beasts[index].lost(STRANGER_US)
        } else if why.starts_with(REFUSED) {
            self.beasts[index].lost(BACKOFF_US).max(REFUSED_US)
        } else {
            self.beasts[index].lost(BACKOFF_US)
        };
        // Three quarters to five quarters of it.
        let jitter = u64::try_from(self.random.noise(250) + 1_000).unwrap_or(1_000);
        let at_us = self.now_us() + wait_us * jitter / 1_000;
        self.retries.push(Reverse((at_us, index)));
    }

    /// Sleeps until something happens, for a moment at most, and does what there is to do.
    fn turn(&mut self, deadline: Instant) -> Result<()> {
        if Instant::now() >= deadline {
            bail!(
                "after {} s {} of {} readings of the backlog are acknowledged, {} devices are connected; connections ended: {:?}",
                self.options.limit_seconds,
                self.tally.backlog_acknowledged,
                self.backlog(),
                self.streams.iter().flatten().count(),
                self.tally.ends()
            );
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        match self.poll.poll(&mut events, Some(TURN)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            let index = event.token().0;
            if let Err(why) = self.serve(index, event.is_readable() || event.is_read_closed()) {
                self.lost(index, &why);
            }
        }
        let now_us = self.now_us();
        while self
            .retries
            .peek()
            .is_some_and(|Reverse((at_us, _))| *at_us <= now_us)
        {
            if let Some(Reverse((_, index))) = self.retries.pop() {
                self.open(index);
            }
        }
        for index in 0..self.options.live {
            self.publish(index)?;
        }
        if now_us >= self.looked_us + LOOK_US {
            self.looked_us = now_us;
            self.look(now_us)?;
        }
        self.note_return(now_us);
        Ok(())
    }

    /// Who has waited too long: for an answer to its connection, or for an `/ack`.
    fn look(&mut self, now_us: u64) -> Result<()> {
        for index in 0..self.beasts.len() {
            if self.streams[index].is_some() && self.beasts[index].is_stuck(now_us) {
                self.lost(index, "no answer in time");
            }
            self.beasts[index].repeat_late(now_us);
            self.publish(index)?;
        }
        Ok(())
    }

    /// When every live device is there again after what was done at half.
    fn note_return(&mut self, now_us: u64) {
        if self.phase != Phase::AfterHalf || self.tally.live_back_us.is_some() {
            return;
        }
        let are_there = self.ready_live() == self.options.live;
        self.was_away |= !are_there;
        if are_there && self.was_away {
            self.tally.live_back_us = Some(now_us - self.half_us);
        }
    }

    fn serve(&mut self, index: usize, is_readable: bool) -> Result<(), String> {
        let Some(stream) = &mut self.streams[index] else {
            return Ok(());
        };
        if !self.beasts[index].has_spoken() {
            if let Ok(Some(error)) | Err(error) = stream.take_error() {
                return Err(error.kind().to_string());
            }
            if stream.peer_addr().is_err() {
                return Ok(());
            }
            // Without it a reading waits for the one before.
            let _ = stream.set_nodelay(true);
            self.beasts[index].connect();
        }
        if is_readable {
            match stream.read(&mut self.buffer) {
                Ok(0) => return Err("closed".to_owned()),
                Ok(count) => {
                    let now_us = self.now_us();
                    let heard = self.beasts[index].receive(&self.buffer[..count], now_us);
                    self.count(index, &heard.map_err(|error| format!("{error:#}"))?);
                    if count == self.buffer.len() {
                        // There may be more, and no other event tells.
                        return self.serve(index, true);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error.kind().to_string()),
            }
        }
        self.fill(index).map_err(|error| format!("{error:#}"))?;
        self.flush(index)
    }

    fn count(&mut self, index: usize, heard: &Heard) {
        if index < self.options.live {
            self.tally.live(heard, self.phase);
        } else {
            let is_mad = index >= self.options.live + self.options.connections;
            self.tally.backlog(heard, is_mad);
        }
    }

    fn publish(&mut self, index: usize) -> Result<()> {
        self.fill(index)?;
        if let Err(why) = self.flush(index) {
            self.lost(index, &why);
        }
        Ok(())
    }

    fn fill(&mut self, index: usize) -> Result<()> {
        let utc = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (now_us, may_begin) = (self.now_us(), self.phase != Phase::Ending);
        let now_ms = u64::try_from(utc.as_millis())?;
        self.tally.published += self.beasts[index].fill(now_us, now_ms, may_begin)?;
        Ok(())
    }

    fn flush(&mut self, index: usize) -> Result<(), String> {
        let Some(stream) = &mut self.streams[index] else {
            return Ok(());
        };
        let beast = &mut self.beasts[index];
        while !beast.output().is_empty() {
            match stream.write(beast.output()) {
                Ok(count) => beast.took(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.kind().to_string()),
            }
        }
        Ok(())
    }

    /// Waits until as many readings are stored as were published; gives how many are missing.
    fn wait_stored(&mut self, deadline: Instant) -> Result<Option<f64>> {
        let Some(series) = &self.options.stored else {
            return Ok(None);
        };
        loop {
            let stored = series.read()?.unwrap_or(0.0);
            let missing = self.tally.published as f64 - stored;
            if missing <= 0.0 || Instant::now() >= deadline {
                return Ok(Some(missing));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn figures(&self) -> Value {
        let mut figures = self.tally.json();
        figures["connections"] = self.options.connections.into();
        figures["live"] = self.options.live.into();
        let repeated: u64 = self.beasts.iter().map(Beast::repeated).sum();
        figures["frames_sent_again"] = repeated.into();
        figures
    }
}
