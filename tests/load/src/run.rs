//! One run: connect, stand idle, publish, wait until everything is stored, probe.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use taraz_telemetry::MasterKey;

use crate::client::{Client, Manner, Tally};
use crate::curve::Curve;
use crate::engine::{Engine, Pace};
use crate::layout::{KEY_GENERATION, device_id};
use crate::options::{Options, Watch, When};
use crate::payload::Author;
use crate::probe::{Probe, gauge_delays, stored_delays};
use crate::series::{Series, Times};
use crate::usage::Usage;

/// How long after the last publish its PUBACK and its `/ack` may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// A look at the counter that takes long is followed by a rest so many times as long.
const LOOK_REST: u32 = 5;
const TURN: Duration = Duration::from_millis(20);
/// What this process is called among those that are watched.
const SELF: &str = "load generator";

/// What processes had used at an instant, by name.
type Usages = Vec<(String, Usage)>;

/// Runs as the options say; gives the figures, whose fields `docs/performance.md` explains.
///
/// # Errors
/// When an option can't be, the server refuses or drops a connection, or a watched process has ended. Missing readings
/// are a figure, not an error.
pub fn run(options: &Options) -> Result<Value> {
    options.check()?;
    let mut run = Run::new(options)?;
    let mut figures = run.about();
    let begun = Instant::now();
    let before = run.usages()?;
    run.engine.connect()?;
    figures.insert("connect_s".to_owned(), json!(begun.elapsed().as_secs_f64()));
    figures.insert("connect_processes".to_owned(), used(&before, &run.usages()?));
    if options.idle_seconds > 0.0 {
        figures.insert("idle".to_owned(), run.idle()?);
    }
    figures.insert("load".to_owned(), run.load()?);
    if options.probe_seconds > 0.0 {
        figures.insert("probe".to_owned(), run.probe()?);
    }
    run.engine.disconnect();
    Ok(Value::Object(figures))
}

struct Run<'a> {
    options: &'a Options,
    engine: Engine,
    pace: Pace,
    /// What the counter of stored readings said before the first one of this run.
    base: f64,
    /// Readings of all phases.
    published: u64,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let master = match &options.master_key {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                MasterKey::from_hex(&text).with_context(|| path.display().to_string())?
            }
            None => MasterKey::new([0; taraz_telemetry::KEY_LEN]),
        };
        let utc = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let manner = Manner {
            version: options.version(),
            format: options.format(),
            window: options.window,
            readings: options.readings_per_frame,
            ack_qos: options.ack_qos,
        };
        let times = match options.times {
            When::Live => Times::Live,
            When::Backlog => Times::Backlog {
                start_ms: (utc - Duration::from_secs(options.backlog_days * 86_400))
                    .as_millis()
                    .try_into()?,
                step_ms: options.step_ms,
            },
        };
        // Another run is another queue: its identities must not be those of this one.
        let incarnation = utc.subsec_nanos() ^ u32::try_from(utc.as_secs() & 0xffff_ffff)?;
        let client = |index| -> Result<Client> {
            let device = device_id(index)?;
            let key = master.device_key(&device, KEY_GENERATION);
            let series = Series::new(index, options.meters, times);
            Ok(Client::new(Author::new(device, key, incarnation, series), manner))
        };
        let clients = (0..options.connections).map(client).collect::<Result<_>>()?;
        let mut engine = Engine::new(options.broker, clients)?;
        if options.gauge.is_some() {
            engine.number();
        }
        // Readings in a message are few.
        #[allow(clippy::cast_precision_loss)]
        let pace = options.rate.map_or(Pace::FlatOut, |rate| Pace::Every {
            interval_us: 1e6 * options.readings_per_frame as f64 / rate,
        });
        let base = options
            .stored
            .as_ref()
            .map_or(Ok(None), crate::scrape::Series::read)?;
        Ok(Self {
            options,
            engine,
            pace,
            base: base.unwrap_or(0.0),
            published: 0,
        })
    }

    fn about(&self) -> Map<String, Value> {
        let o = self.options;
        let about = json!({
            "connections": o.connections,
            "window": o.window,
            "readings_per_frame": o.readings_per_frame,
            "meters": o.meters,
            "rate": o.rate,
            "mqtt": format!("{:?}", o.mqtt),
            "payload": format!("{:?}", o.payload),
            "times": format!("{:?}", o.times),
        });
        about.as_object().cloned().unwrap_or_default()
    }

    fn idle(&mut self) -> Result<Value> {
        let (begun, before) = (Instant::now(), self.usages()?);
        let until = Duration::from_secs_f64(self.options.idle_seconds);
        while begun.elapsed() < until {
            self.engine.turn(TURN)?;
        }
        let processes = used(&before, &self.usages()?);
        Ok(json!({ "seconds": begun.elapsed().as_secs_f64(), "processes": processes }))
    }

    /// Publishes as the options say; CPU is counted until everything is stored.
    fn load(&mut self) -> Result<Value> {
        let (limit, messages) = self.options.amount();
        let (before, begun) = (self.usages()?, Instant::now());
        let not_published = self.publish(limit, messages)?;
        let publish_s = begun.elapsed().as_secs_f64();
        let durable_s = self.settle(begun)?;
        let stored = self.wait_stored(begun)?;
        let usages = self.usages()?;
        let mut figures = self.phase(publish_s, durable_s, not_published);
        figures.insert("processes".to_owned(), used(&before, &usages));
        figures.extend(stored);
        Ok(Value::Object(figures))
    }

    /// Publishes on and looks at counter and gauge meanwhile.
    fn probe(&mut self) -> Result<Value> {
        let o = self.options;
        self.engine.tally = Tally::default();
        self.engine.published = Curve::default();
        self.engine.numbered.clear();
        #[allow(clippy::cast_precision_loss)]
        let base = self.base + self.published as f64 * o.stored_per_reading;
        let probe = Probe::start(o.stored.clone(), o.gauge.clone(), self.engine.begun());
        let begun = Instant::now();
        let not_published = self.publish(Duration::from_secs_f64(o.probe_seconds), u64::MAX)?;
        let publish_s = begun.elapsed().as_secs_f64();
        let durable_s = self.settle(begun)?;
        let stored = self.wait_stored(begun)?;
        // One more look than the last change.
        std::thread::sleep(LOOK_PERIOD * 2);
        let looks = probe.end()?;
        let mut figures = self.phase(publish_s, durable_s, not_published);
        figures.extend(stored);
        let stored = stored_delays(&self.engine.published, &looks, base, o.stored_per_reading);
        figures.insert("looks".to_owned(), json!(looks.len()));
        figures.insert("publish_to_stored".to_owned(), stored.json());
        let gauge = gauge_delays(&self.engine.numbered, &looks);
        figures.insert("publish_to_metric".to_owned(), gauge.json());
        Ok(Value::Object(figures))
    }

    /// Gives how many messages were due and not published.
    fn publish(&mut self, limit: Duration, messages: u64) -> Result<u64> {
        let begun = Instant::now();
        self.engine.publish(self.pace, messages)?;
        while !self.engine.is_through() && begun.elapsed() < limit {
            self.engine.turn(TURN)?;
        }
        Ok(self.engine.stop())
    }

    /// Waits for PUBACKs and acknowledgements; gives the seconds until the last PUBACK.
    fn settle(&mut self, begun: Instant) -> Result<f64> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        let mut durable_s = begun.elapsed().as_secs_f64();
        while Instant::now() < deadline {
            let Tally {
                in_flight,
                unacknowledged,
                ..
            } = self.engine.tally;
            if in_flight == 0 && unacknowledged == 0 {
                break;
            }
            self.engine.turn(TURN)?;
            if in_flight > 0 {
                durable_s = begun.elapsed().as_secs_f64();
            }
        }
        self.published += self.engine.tally.readings;
        Ok(durable_s)
    }

    /// Waits until the counter says that all readings are stored, or stands still for too long.
    fn wait_stored(&mut self, begun: Instant) -> Result<Map<String, Value>> {
        let mut figures = Map::new();
        let Some(series) = &self.options.stored else {
            return Ok(figures);
        };
        let patience = Duration::from_secs_f64(self.options.stored_timeout_seconds);
        #[allow(clippy::cast_precision_loss)]
        let expected = self.published as f64;
        let (mut stored, mut grown) = (-1.0, Instant::now());
        while stored < expected && grown.elapsed() < patience {
            let asked = Instant::now();
            let now = (series.read()?.unwrap_or(self.base) - self.base) / self.options.stored_per_reading;
            if now > stored {
                (stored, grown) = (now, Instant::now());
            }
            if stored < expected {
                let rest = (asked.elapsed() * LOOK_REST).max(LOOK_PERIOD);
                while asked.elapsed() < rest {
                    self.engine.turn(TURN)?;
                }
            }
        }
        figures.insert(
            "stored_s".to_owned(),
            json!(grown.duration_since(begun).as_secs_f64()),
        );
        figures.insert("missing_readings".to_owned(), json!(expected - stored));
        Ok(figures)
    }

    fn phase(&self, publish_s: f64, durable_s: f64, not_published: u64) -> Map<String, Value> {
        let tally = &self.engine.tally;
        let figures = json!({
            "readings": tally.readings,
            "messages": tally.messages,
            "bytes": tally.bytes,
            "publish_s": publish_s,
            "durable_s": durable_s,
            "messages_due_not_published": not_published,
            "messages_refused": tally.refused,
            "messages_without_puback": tally.in_flight,
            "frames_without_ack": tally.unacknowledged,
            "publish_to_puback": tally.puback.json(),
            "publish_to_ack": tally.ack.json(),
        });
        figures.as_object().cloned().unwrap_or_default()
    }

    fn usages(&self) -> Result<Usages> {
        let mut usages = vec![(SELF.to_owned(), Usage::of(std::process::id())?)];
        for Watch { name, id } in &self.options.watch {
            let usage = Usage::of(*id).with_context(|| format!("{name} has ended"))?;
            usages.push((name.clone(), usage));
        }
        Ok(usages)
    }
}

/// `{name: {cpu_s, rss_kib, rss_peak_kib}}`.
fn used(before: &Usages, after: &Usages) -> Value {
    let each = before.iter().zip(after).map(|((name, before), (_, after))| {
        let figures = json!({
            "cpu_s": after.cpu_s - before.cpu_s,
            "rss_kib": after.rss_kib,
            "rss_peak_kib": after.rss_peak_kib,
        });
        (name.clone(), figures)
    });
    Value::Object(each.collect())
}
