//! The two runs: the whole path at once, and its halves one after the other.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use taraz_load::Usage;

use super::disk::bytes_in;
use super::installation::Installation;
use super::process::Process;
use super::proxy::Proxy;
use super::report::Figure;
use super::wire::Traffic;

/// For one run; generous, because two cores may be busy.
const RUN_LIMIT: Duration = Duration::from_secs(1_800);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Longer than a device keeps a remainder back, shorter than from one live poll to the next.
const QUIET: Duration = Duration::from_secs(3);
/// Of the rounds of all meters, so many give a reading at least.
const HISTORY_SHARE_MIN: f64 = 0.9;

const WHOLE: &str = "whole path";
const READING: &str = "reading alone";
const DELIVERY: &str = "delivery alone";

/// Devices read their past and deliver it at once, through a proxy that counts bytes.
///
/// # Errors
/// When a process ends, or the history is not stored in time.
pub(crate) fn whole_path(installation: &Installation) -> Result<Vec<Figure>> {
    let ingest = installation.start_ingest()?;
    let gateway = installation.start_gateway()?;
    let (simulator, buses) = installation.start_simulator()?;
    let proxy = Proxy::start(installation.door())?;
    let configured = installation.configure_devices(&buses, proxy.port())?;
    let before = [simulator.usage()?, gateway.usage()?, ingest.usage()?];
    let begun = Instant::now();
    let devices = installation.start_devices(&configured, "devices")?;
    let (seconds, readings) = wait_stored(installation, begun)?;
    let after = [simulator.usage()?, gateway.usage()?, ingest.usage()?];
    let (up, down) = proxy.traffic();
    let mut figures = vec![
        Figure::new(WHOLE, "readings stored", readings, ""),
        Figure::new(WHOLE, "time", seconds, "s"),
        Figure::new(
            WHOLE,
            "backfill, device to stored",
            readings / seconds,
            "readings/s",
        ),
    ];
    figures.extend(wire(up, down, readings));
    for (name, before, after) in [
        ("simulate", before[0], after[0]),
        ("devices", Usage::default(), devices.usage()?),
        ("gateway", before[1], after[1]),
        ("ingest", before[2], after[2]),
    ] {
        figures.extend(used(WHOLE, name, before, after, readings));
    }
    stop([devices, gateway, ingest, simulator])?;
    let disk = |program| -> Result<f64> { Ok(bytes_in(&installation.data(program))? as f64) };
    let (store, spool) = (disk("ingest")?, disk("gateway")?);
    figures.push(Figure::new(
        WHOLE,
        "store of ingest",
        store / readings,
        "B/reading",
    ));
    figures.push(Figure::new(WHOLE, "store of ingest, all", store, "B"));
    figures.push(Figure::new(WHOLE, "spool of the gateway, drained", spool, "B"));
    Ok(figures)
}

/// Devices read their past while there is no gateway; then gateway and ingest start, and the devices deliver.
///
/// # Errors
/// As [`whole_path`].
pub(crate) fn apart(installation: &Installation) -> Result<Vec<Figure>> {
    let (simulator, buses) = installation.start_simulator()?;
    let configured = installation.configure_devices(&buses, installation.door())?;
    let idle = simulator.usage()?;
    let begun = Instant::now();
    let mut devices = installation.start_devices(&configured, "devices-reading")?;
    devices.wait_until(RUN_LIMIT, "read histories", |process| {
        Ok(process.lines_with("history read;")? >= configured.count())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let readings = installation.history_readings();
    let mut figures = vec![
        Figure::new(READING, "polls queued", readings, ""),
        Figure::new(READING, "Modbus to queue", readings / seconds, "polls/s"),
    ];
    for (name, before, process) in [
        ("simulate", idle, &simulator),
        ("devices", Usage::default(), &devices),
    ] {
        figures.extend(used(READING, name, before, process.usage()?, readings));
    }
    devices.stop()?;

    let ingest = installation.start_ingest()?;
    let gateway = installation.start_gateway()?;
    let before = [gateway.usage()?, ingest.usage()?];
    let devices = installation.start_devices(&configured, "devices-delivering")?;
    let first = wait_first(installation)?;
    let (seconds, readings) = wait_stored(installation, first)?;
    figures.push(Figure::new(DELIVERY, "readings stored", readings, ""));
    figures.push(Figure::new(DELIVERY, "first to last stored", seconds, "s"));
    figures.push(Figure::new(
        DELIVERY,
        "queue to stored",
        readings / seconds,
        "readings/s",
    ));
    for (name, before, process) in [
        ("devices", Usage::default(), &devices),
        ("gateway", before[0], &gateway),
        ("ingest", before[1], &ingest),
    ] {
        figures.extend(used(DELIVERY, name, before, process.usage()?, readings));
    }
    stop([devices, gateway, ingest, simulator])?;
    Ok(figures)
}

/// The last instant without a stored reading.
fn wait_first(installation: &Installation) -> Result<Instant> {
    let deadline = Instant::now() + RUN_LIMIT;
    loop {
        let asked = Instant::now();
        if installation.stored_readings()? > 0.0 {
            return Ok(asked);
        }
        if asked >= deadline {
            bail!("no reading is stored after {} s", RUN_LIMIT.as_secs());
        }
        std::thread::sleep(LOOK_INTERVAL / 10);
    }
}

/// Waits until the history is stored; gives the seconds from `begun` to the last growth, and the readings.
///
/// A meter that is silent at night gives fewer readings than rounds, and live polls add some every ten seconds: the end is
/// where nothing has come for [`QUIET`], not a count.
fn wait_stored(installation: &Installation, begun: Instant) -> Result<(f64, f64)> {
    let least = installation.history_readings() * HISTORY_SHARE_MIN;
    let deadline = Instant::now() + RUN_LIMIT;
    let (mut stored, mut grown) = (0.0, Instant::now());
    loop {
        let (now, backlog) = (installation.stored_readings()?, installation.backlog_frames()?);
        if now > stored || backlog > 0.0 {
            (stored, grown) = (now, Instant::now());
        }
        if stored >= least && grown.elapsed() >= QUIET {
            return Ok((grown.duration_since(begun).as_secs_f64(), stored));
        }
        if Instant::now() >= deadline {
            bail!("{stored} of at least {least} readings are stored, {backlog} frames wait in the gateway");
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn wire(up: Traffic, down: Traffic, readings: f64) -> Vec<Figure> {
    let mut figures = vec![Figure::new(
        WHOLE,
        "wire, both directions",
        (up.bytes + down.bytes) as f64 / readings,
        "B/reading",
    )];
    for (name, payload, traffic) in [("up", "frames", up), ("down", "acknowledgements", down)] {
        let per_reading = |bytes: u64| bytes as f64 / readings;
        figures.extend([
            Figure::new(
                WHOLE,
                format!("wire {name}"),
                per_reading(traffic.bytes),
                "B/reading",
            ),
            Figure::new(
                WHOLE,
                format!("wire {name}, {payload}"),
                per_reading(traffic.payload_bytes),
                "B/reading",
            ),
            Figure::new(
                WHOLE,
                format!("wire {name}, MQTT"),
                per_reading(traffic.bytes - traffic.payload_bytes),
                "B/reading",
            ),
            Figure::new(
                WHOLE,
                format!("readings for each of the {payload}"),
                readings / traffic.messages as f64,
                "",
            ),
        ]);
    }
    figures
}

fn used(part: &'static str, name: &str, before: Usage, after: Usage, readings: f64) -> [Figure; 2] {
    let cpu_s = after.cpu_s - before.cpu_s;
    [
        Figure::new(
            part,
            format!("CPU of {name}"),
            cpu_s / readings * 1e6,
            "s/million",
        ),
        Figure::new(
            part,
            format!("memory of {name}, peak"),
            mib(after.rss_peak_kib),
            "MiB",
        ),
    ]
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn stop(processes: [Process; 4]) -> Result<()> {
    processes.into_iter().try_for_each(Process::stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_before_does_not_count() {
        let usage = |cpu_s| Usage {
            cpu_s,
            rss_kib: 1024,
            rss_peak_kib: 2048,
        };
        let [cpu, peak] = used(WHOLE, "gateway", usage(1.0), usage(3.0), 40_000.0);
        assert_eq!(cpu, Figure::new(WHOLE, "CPU of gateway", 50.0, "s/million"));
        assert_eq!(peak, Figure::new(WHOLE, "memory of gateway, peak", 2.0, "MiB"));
    }

    #[test]
    fn the_wire_is_split_into_payload_and_protocol() {
        let up = Traffic {
            bytes: 1_000,
            messages: 5,
            payload_bytes: 800,
        };
        let figures = wire(up, up, 10.0);
        assert!(figures.contains(&Figure::new(WHOLE, "wire, both directions", 200.0, "B/reading")));
        assert!(figures.contains(&Figure::new(WHOLE, "wire up, frames", 80.0, "B/reading")));
        assert!(figures.contains(&Figure::new(WHOLE, "wire up, MQTT", 20.0, "B/reading")));
    }
}
