//! `taraz up --demo`: twelve simulated plants and their devices beside gateway and ingest, in one process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use taraz_device_host::{BusAddress, DeviceConfig, History, MeterSettings};
use taraz_fleet::Fleet;
use taraz_simulator::{Options, Simulation, Simulator, demo};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::config::{draw_master_key, read_master_key};
use crate::out::say;
use crate::progress::{Board, Report};
use crate::up::{self, Parts, Running};
use crate::{runtime, stop};

const HTTP_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const MQTT_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1883);
const DATA_DEFAULT: &str = "taraz-data";
/// Ingest's part of the data folder.
const STORE_FOLDER: &str = "ingest";
const FAULTS_FILE: &str = "faults.toml";
/// Ingest's token within the process; nothing else knows it.
const TOKEN_LEN: usize = 32;
/// From one poll of the past to the next.
const HISTORY_STEP_S: u32 = 300;
/// What the demo's fault list holds at first.
const FAULTS: &str = "\
# Faults for the demo's plants. Take the '# ' away from one and save: it begins at once, and ends when it is taken out again.
# Every kind of fault: `taraz config example faults`.

# [[fault]]
# plant = \"sari-town-hall\"
# kind = \"zero_power\"        # the inverter answers, reports a fault, and generates nothing

# [[fault]]
# plant = \"farahabad-school\"
# kind = \"derate\"            # this share of its power
# factor = 0.6

# [[fault]]
# plant = \"sari-library\"
# kind = \"silent\"            # no answer
";
/// How often the terminal's line changes.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// The earth turns by this in a second, in degrees.
const DEGREES_PER_SECOND: f64 = 360.0 / 86_400.0;

/// Starts the demo and runs it until it is told to stop.
pub(crate) fn run(args: &UpArgs) -> anyhow::Result<()> {
    let data = args.data.clone().unwrap_or_else(|| PathBuf::from(DATA_DEFAULT));
    up::data_folder(&data)?;
    let fleet = Arc::new(fleet(args.noon, &data)?);
    let simulation = Simulation::parse_with_fleet(demo::simulation_toml(), &fleet, None)?;
    let faults = faults_file(&data)?;
    let parts = parts(args, &data, &fleet)?;
    let master_key = parts.master_key.clone();
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        // Devices end first, so that they part from a gateway that still listens.
        let services_stop = CancellationToken::new();
        let running = up::start(parts, &services_stop).await?;
        let options = Options {
            follow_clock: true,
            faults: Some(faults.clone()),
            ..Options::default()
        };
        let simulator = Simulator::start(simulation, options, stop.child_token()).await?;
        let mqtt = running
            .gateway
            .mqtt_addr
            .context("the demo's gateway has no door")?;
        let configs = devices(
            &fleet,
            &master_key,
            &simulator.buses,
            mqtt,
            &data,
            args.history_days,
        )?;
        say_where(&running, mqtt, &data, &faults);
        let board = Arc::new(Board::new(configs.len()));
        let devices_stop = CancellationToken::new();
        let mut devices = JoinSet::new();
        for (index, config) in configs.into_iter().enumerate() {
            let board = Arc::clone(&board);
            let told = move |progress| board.tell(index, progress);
            devices.spawn(taraz_device_host::run(config, devices_stop.clone(), told));
        }
        report_until(&stop, &services_stop, &running, &board, &mut devices).await?;
        say!("\ntaraz: stopping");
        devices_stop.cancel();
        while devices.join_next().await.is_some() {}
        simulator.stopped().await?;
        services_stop.cancel();
        running.stopped().await?;
        say!(
            "taraz: stopped; `taraz up --demo` continues with {}",
            data.display()
        );
        Ok(())
    })
}

/// Shows how far it is until a stop is asked for. A device that ends by itself ends the demo with its reason.
async fn report_until(
    stop: &CancellationToken,
    services_stop: &CancellationToken,
    running: &Running,
    board: &Board,
    devices: &mut JoinSet<Result<(), taraz_device_host::RunError>>,
) -> anyhow::Result<()> {
    let store = running.ingest.store();
    let earlier = store
        .live()
        .view(now_ms())
        .devices
        .iter()
        .filter_map(|device| device.last_reading_ms)
        .max();
    let mut report = Report::new(earlier);
    let mut tick = tokio::time::interval(REPORT_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = services_stop.cancelled() => anyhow::bail!("gateway or ingest ended by itself; the log says why"),
            ended = devices.join_next() => {
                ended.context("the demo has no devices")???;
                anyhow::bail!("a device of the demo ended by itself");
            }
            _ = tick.tick() => {
                report.show(board, &store.live().view(now_ms()), &store.counters().snapshot());
            }
        }
    }
}

fn say_where(running: &Running, mqtt: SocketAddr, data: &Path, faults: &Path) {
    say!("Taraz demo: twelve simulated plants in Mazandaran, replaying real measured ones\n");
    say!("  page      http://{}", running.ingest.http_addr);
    say!("  metrics   http://{}/metrics", running.ingest.http_addr);
    say!("  MQTT      {mqtt}");
    say!("  data      {}", data.display());
    say!("  faults    edit {} to break a plant", faults.display());
    say!("\nCtrl-C stops; the next start continues where this one ends.\n");
}

fn parts(args: &UpArgs, data: &Path, fleet: &Arc<Fleet>) -> anyhow::Result<Parts> {
    let key_path = data.join("master.key");
    if !key_path.exists() {
        draw_master_key(&key_path)?;
    }
    let influx = args.influx.iter().map(|url| taraz_ingest::InfluxConfig {
        name: "demo".to_owned(),
        url: url.clone(),
        org: "taraz".to_owned(),
        bucket: "taraz".to_owned(),
        token: String::new(),
        // Right for either: what has changed is the last point of its time.
        overwrites: false,
    });
    let token = (0..TOKEN_LEN)
        .map(|_| char::from(rand::random_range(b'a'..=b'z')))
        .collect();
    let ingest = taraz_ingest::Config {
        data: data.join(STORE_FOLDER),
        listen: args.http.unwrap_or(HTTP_DEFAULT),
        token,
        store: taraz_ingest::StoreConfig::default(),
        influx: influx.collect(),
    };
    // Everything else in it is the demo's own.
    ingest
        .check()
        .map_err(|wrong| anyhow::anyhow!("--influx: found {}; allowed: {}", wrong.found, wrong.allowed))?;
    Ok(Parts {
        fleet: Arc::clone(fleet),
        master_key: read_master_key(&key_path)?,
        gateway: taraz_gateway::Config::new(data.join("gateway"), args.mqtt.unwrap_or(MQTT_DEFAULT)),
        ingest,
    })
}

fn devices(
    fleet: &Fleet,
    master_key: &taraz_telemetry::MasterKey,
    buses: &BTreeMap<String, SocketAddr>,
    mqtt: SocketAddr,
    data: &Path,
    history_days: u16,
) -> anyhow::Result<Vec<DeviceConfig>> {
    let config = |registered: taraz_fleet::DeviceRef<'_>| {
        let device = registered.device;
        let bus = buses
            .get(device.id.as_str())
            .with_context(|| format!("{}: no simulated bus", device.id))?;
        let meters = device
            .meters
            .iter()
            .map(|m| MeterSettings {
                address: m.address,
                driver: m.driver,
            })
            .collect();
        let mut config = DeviceConfig::new(
            device.id.clone(),
            master_key.device_key(&device.id, device.key_generation),
            BusAddress::Tcp {
                host: bus.ip().to_string(),
                port: bus.port(),
            },
            format!("mqtt://{mqtt}").parse()?,
            data.join("devices").join(device.id.as_str()),
            meters,
        );
        config.history = (history_days > 0).then(|| History {
            days: u32::from(history_days),
            step_s: HISTORY_STEP_S,
        });
        config.check()?;
        Ok(config)
    };
    fleet.devices().map(config).collect()
}

/// The registry and the store's folder of a demo that has run with this data folder.
pub(crate) fn installation(data: &Path) -> anyhow::Result<(Fleet, PathBuf)> {
    Ok((fleet(false, data)?, data.join(STORE_FOLDER)))
}

/// A demo has run with this data folder.
pub(crate) fn is_demo(data: &Path) -> bool {
    data.join(FAULTS_FILE).is_file()
}

/// The demo's registry; with `noon` moved along its parallel, by the same amount at every start with this data.
fn fleet(noon: bool, data: &Path) -> anyhow::Result<Fleet> {
    let mut fleet = Fleet::parse(demo::fleet_toml())?;
    let kept = data.join("moved-east-deg");
    let moved_deg = match std::fs::read_to_string(&kept) {
        Ok(text) => text
            .trim()
            .parse()
            .with_context(|| format!("{}: not a number", kept.display()))?,
        Err(_) if noon => {
            let first = fleet.plants.first().context("the demo has no plants")?;
            let moved_deg = noon_longitude_deg(now_ms()) - first.longitude_deg;
            std::fs::write(&kept, format!("{moved_deg}\n"))?;
            moved_deg
        }
        Err(_) => 0.0,
    };
    for plant in &mut fleet.plants {
        plant.longitude_deg = (plant.longitude_deg + moved_deg + 540.0).rem_euclid(360.0) - 180.0;
    }
    Ok(fleet)
}

/// The longitude where it is about noon at this instant (mean solar time), in degrees.
fn noon_longitude_deg(now_ms: i64) -> f64 {
    let second_of_day = (now_ms / 1_000).rem_euclid(86_400);
    // Below 86,400: exact.
    #[allow(clippy::cast_precision_loss)]
    let since_noon_s = second_of_day as f64 - 43_200.0;
    -since_noon_s * DEGREES_PER_SECOND
}

/// The fault list of the demo: nothing but commented faults of its own plants at first.
fn faults_file(data: &Path) -> anyhow::Result<PathBuf> {
    let path = data.join(FAULTS_FILE);
    if !path.exists() {
        std::fs::write(&path, FAULTS)?;
    }
    Ok(path)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noon_is_where_the_sun_is() {
        // 12:00 UTC at Greenwich, 08:28 UTC at 53° east.
        assert!(noon_longitude_deg(43_200_000).abs() < 1e-9);
        assert!((noon_longitude_deg(30_480_000) - 53.0).abs() < 1e-9);
    }

    #[test]
    fn the_fault_list_holds_faults_of_the_demos_plants() {
        let faults = FAULTS
            .lines()
            .skip(2)
            .map(|line| line.strip_prefix("# ").unwrap_or(line));
        let faults = faults.collect::<Vec<_>>().join("\n");
        let fleet = Fleet::parse(demo::fleet_toml()).unwrap();
        Simulation::parse_with_fleet(demo::simulation_toml(), &fleet, Some(FAULTS)).unwrap();
        Simulation::parse_with_fleet(demo::simulation_toml(), &fleet, Some(&faults)).unwrap();
        assert_eq!(faults.matches("[[fault]]").count(), 3);
    }

    #[test]
    fn the_moved_demo_stays_where_it_is() {
        let data = tempfile::tempdir().unwrap();
        let first = fleet(true, data.path()).unwrap().plants[0].longitude_deg;
        let again = fleet(false, data.path()).unwrap().plants[0].longitude_deg;
        assert!((first - again).abs() < 1e-9);
    }
}
