//! A herd: devices that all come back at once with a backlog, beside others that publish live.
//!
//! In: an address, a key, how many and how much ([`HerdOptions`]). Out: how long the backlog took, what the live ones waited for, and
//! how often anybody had to come again, as JSON. A device keeps every frame until its `/ack`, comes again with a jittered back-off,
//! and sends again what it kept: nothing is lost unless the server loses it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use taraz_telemetry::MasterKey;

use crate::beast::{Beast, Heard};
use crate::histogram::Histogram;
use crate::layout::{KEY_GENERATION, device_id};
use crate::options::CONNECTIONS_MAX;
use crate::payload::Author;
use crate::random::Random;
use crate::scrape::Series as Counter;
use crate::series::{Series, Times};
use crate::usage::open_files_max;

const EVENTS_MAX: usize = 1_024;
const READ_LEN: usize = 64 << 10;
const TURN: Duration = Duration::from_millis(2);
/// How often waiting frames are looked at.
const LOOK_US: u64 = 1_000_000;
/// Files that are open beside the connections.
const FILES_BESIDE: u64 = 64;
const WEEK_MS: u64 = 7 * 86_400_000;
/// The back-off before a connection is tried again, least and most.
const BACKOFF_US: std::ops::RangeInclusive<u64> = 250_000..=16_000_000;

/// A herd against one gateway.
#[derive(Args, Clone, Debug)]
pub struct HerdOptions {
    /// Where the gateway's door listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1883")]
    pub broker: SocketAddr,
    /// The master key that the devices' keys are derived from
    #[arg(long, value_name = "FILE")]
    pub master_key: PathBuf,
    /// Devices that come back at once
    #[arg(long, default_value_t = 1_000)]
    pub connections: usize,
    /// Readings that each of them has kept over a week
    #[arg(long, default_value_t = 1_000)]
    pub backlog_readings: u64,
    /// Devices beside them that publish one reading a second from before until after
    #[arg(long, default_value_t = 100)]
    pub live: usize,
    /// Give up after so long
    #[arg(long, default_value_t = 600)]
    pub limit_seconds: u64,
    /// A file that is made when half of the backlog is acknowledged
    #[arg(long, value_name = "FILE")]
    pub half_file: Option<PathBuf>,
    /// A counter that says how many readings are stored
    #[arg(long, value_name = "ADDRESS:PORT/PATH#SERIES")]
    pub stored: Option<Counter>,
    /// Where the figures go as JSON; to standard output when left out
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

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
    let backlog = options.backlog_readings * options.connections as u64;
    while herd.backlog_acknowledged < backlog {
        herd.turn(deadline)?;
        if herd.phase == Phase::Herd && herd.backlog_acknowledged * 2 >= backlog {
            herd.phase = Phase::AfterHalf;
            at_half()?;
        }
    }
    let drained_s = begun.elapsed().as_secs_f64();
    herd.phase = Phase::Ending;
    // Everybody comes again, also who has nothing left to send.
    while !herd
        .beasts
        .iter()
        .all(|beast| beast.is_ready() && beast.waiting() == 0)
    {
        herd.turn(deadline)?;
    }
    let missing = herd.wait_stored(deadline)?;
    Ok(herd.figures(drained_s, missing))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Only the live ones are there.
    Before,
    Herd,
    /// Half of the backlog is acknowledged: whatever `at_half` did is felt.
    AfterHalf,
    /// Nothing new is published.
    Ending,
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
    backlog_acknowledged: u64,
    published: u64,
    /// Publish to PUBACK of live readings, without and with what `at_half` did.
    live: [Histogram; 2],
    live_ack: Histogram,
    comings: u64,
    /// Why connections ended, and how often.
    ends: BTreeMap<String, u64>,
}

impl<'o> Herd<'o> {
    fn new(options: &'o HerdOptions) -> Result<Self> {
        let devices = options.connections + options.live;
        if options.connections == 0 || devices > CONNECTIONS_MAX {
            bail!("--connections and --live: expected 1 to {CONNECTIONS_MAX} together, found {devices}");
        }
        let (needed, may) = (devices as u64 + FILES_BESIDE, open_files_max()?);
        if may < needed {
            bail!(
                "{devices} connections need {needed} open files and this process may have {may}: run `ulimit -n {needed}` first"
            );
        }
        let text = std::fs::read_to_string(&options.master_key)
            .with_context(|| options.master_key.display().to_string())?;
        let master = MasterKey::from_hex(&text).with_context(|| options.master_key.display().to_string())?;
        let utc = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let now_ms = u64::try_from(utc.as_millis())?;
        let beast = |index| -> Result<Beast> {
            let device = device_id(index)?;
            let key = master.device_key(&device, KEY_GENERATION);
            let is_live = index < options.live;
            let times = if is_live {
                Times::Live
            } else {
                let step_ms = (WEEK_MS / options.backlog_readings.max(1)).max(1);
                let start_ms = now_ms - step_ms * options.backlog_readings;
                Times::Backlog { start_ms, step_ms }
            };
            let author = Author::new(device, key, utc.subsec_nanos(), Series::new(index, 1, times));
            let backlog = if is_live { 0 } else { options.backlog_readings };
            Ok(Beast::new(
                author,
                is_live,
                backlog,
                index as u64 * 7_919 % 1_000_000,
            ))
        };
        Ok(Self {
            options,
            poll: Poll::new()?,
            beasts: (0..devices).map(beast).collect::<Result<_>>()?,
            streams: (0..devices).map(|_| None).collect(),
            retries: BinaryHeap::new(),
            random: Random::new(now_ms),
            begun: Instant::now(),
            phase: Phase::Before,
            looked_us: 0,
            buffer: vec![0; READ_LEN],
            backlog_acknowledged: 0,
            published: 0,
            live: [Histogram::default(), Histogram::default()],
            live_ack: Histogram::default(),
            comings: 0,
            ends: BTreeMap::new(),
        })
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn ready_live(&self) -> usize {
        let live = &self.beasts[..self.options.live];
        live.iter().filter(|beast| beast.is_ready()).count()
    }

    fn open(&mut self, index: usize) {
        self.comings += 1;
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
        *self.ends.entry(why.to_owned()).or_default() += 1;
        let wait_us = self.beasts[index].lost(BACKOFF_US);
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
                self.backlog_acknowledged,
                self.options.backlog_readings * self.options.connections as u64,
                self.streams.iter().flatten().count(),
                self.ends
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
            for index in 0..self.beasts.len() {
                self.beasts[index].repeat_late(now_us);
                self.publish(index)?;
            }
        }
        Ok(())
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
        if index >= self.options.live {
            self.backlog_acknowledged += heard.acknowledged;
            return;
        }
        let is_after = matches!(self.phase, Phase::AfterHalf | Phase::Ending);
        for &us in &heard.puback_us {
            if self.phase != Phase::Before {
                self.live[usize::from(is_after)].add(us);
            }
        }
        heard.ack_us.iter().for_each(|&us| self.live_ack.add(us));
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
        self.published += self.beasts[index].fill(now_us, now_ms, may_begin)?;
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
            let missing = self.published as f64 - stored;
            if missing <= 0.0 || Instant::now() >= deadline {
                return Ok(Some(missing));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn figures(&self, drained_s: f64, missing: Option<f64>) -> Value {
        let [before, after] = &self.live;
        json!({
            "connections": self.options.connections,
            "live": self.options.live,
            "backlog_readings": self.backlog_acknowledged,
            "published_readings": self.published,
            "drained_s": drained_s,
            "connects": self.comings,
            "connections_ended": self.ends,
            "frames_sent_again": self.beasts.iter().map(Beast::repeated).sum::<u64>(),
            "live_publish_to_puback": before.json(),
            "live_publish_to_puback_after_half": after.json(),
            "live_publish_to_ack": self.live_ack.json(),
            "missing_readings": missing,
        })
    }
}
