//! `taraz device`: a device registered, made into an image, written to a board, or run as a process on this computer.

mod add;
mod flash;
mod image;
mod scan;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context as _;
use taraz_device_host::{DeviceConfig, KeySource, Progress};
use taraz_telemetry::DeviceId;
use tokio::task::JoinSet;

use crate::cli::DeviceCommand;
use crate::config::{Config, check_is_private, hex, write_secret};
use crate::out::say;
use crate::{runtime, stop};

/// `taraz device …`
pub(crate) fn run(command: DeviceCommand) -> anyhow::Result<()> {
    match command {
        DeviceCommand::Add(args) => add::run(&args),
        DeviceCommand::Image(args) => image::run(&args),
        DeviceCommand::Flash(args) => flash::run(&args),
        DeviceCommand::Scan(args) => scan::run(&args),
        DeviceCommand::Run { files } => run_all(&files),
        DeviceCommand::Config {
            device,
            config,
            bus,
            broker,
            state,
            out,
        } => {
            let config = Config::read(&config)?;
            let broker = broker.unwrap_or_else(|| door_of(&config));
            let text = device_toml(&config, &device, &bus, &broker, state)?;
            match out {
                Some(path) => write_secret(&path, text.as_bytes())?,
                None => crate::out::text(&text),
            }
            Ok(())
        }
    }
}

fn run_all(files: &[PathBuf]) -> anyhow::Result<()> {
    let configs = files
        .iter()
        .map(|file| read(file))
        .collect::<anyhow::Result<Vec<_>>>()?;
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let mut devices = JoinSet::new();
        for config in configs {
            say!("taraz device {}: running · Ctrl-C stops", config.device);
            let told = Told::new(config.device.clone());
            let running = taraz_device_host::run(config, stop.clone(), move |progress| told.tell(progress));
            devices.spawn(running);
        }
        while let Some(ended) = devices.join_next().await {
            ended??;
        }
        say!("taraz device: stopped; what was not delivered is kept");
        Ok(())
    })
}

/// Reads a device's configuration; paths in it count from its own folder.
fn read(path: &Path) -> anyhow::Result<DeviceConfig> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("{shown}: can't be read; `taraz device config ID --config taraz.toml` prints one")
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let config = DeviceConfig::read(&shown.to_string(), &text, folder)?;
    match &config.key {
        KeySource::Key(_) => check_is_private(path)?,
        KeySource::File(file) => check_is_private(file)?,
    }
    Ok(config)
}

/// Says on the terminal how the history goes; everything else is in the log.
struct Told {
    device: DeviceId,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    percent: u32,
    history: bool,
    delivered: bool,
}

impl Told {
    fn new(device: DeviceId) -> Self {
        Self {
            device,
            said: Mutex::default(),
        }
    }

    fn tell(&self, progress: Progress) {
        let Ok(mut said) = self.said.lock() else { return };
        let device = &self.device;
        match progress {
            Progress::History { done, total } => {
                said.history = true;
                let percent = u64::from(done) * 100 / u64::from(total.max(1));
                let tens = u32::try_from(percent).unwrap_or(100) / 10 * 10;
                if tens > said.percent {
                    said.percent = tens;
                    say!("{device}: {tens} % of the history read");
                }
            }
            Progress::HistoryDone => say!("{device}: history read; polling live"),
            Progress::Acknowledged {
                pending_records: 0, ..
            } if said.history && !said.delivered => {
                said.delivered = true;
                say!("{device}: history delivered");
            }
            _ => {}
        }
    }
}

/// Where a device on this computer finds the door that the configuration opens: the gateway's own, else the broker's.
fn door_of(config: &Config) -> String {
    let gateway = config.gateway().ok();
    let own = gateway.and_then(|gateway| gateway.mqtt_listen).map(|mut own| {
        if own.ip().is_unspecified() {
            own.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("mqtt://{own}")
    });
    let broker = || gateway.and_then(|gateway| gateway.broker.as_ref().map(|broker| broker.url.clone()));
    own.or_else(broker)
        .unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned())
}

/// The configuration of a registered device; it holds the device's key.
fn device_toml(
    config: &Config,
    device: &str,
    bus: &str,
    broker: &str,
    state: Option<PathBuf>,
) -> anyhow::Result<String> {
    let id = DeviceId::new(device).with_context(|| format!("\"{device}\""))?;
    let registered = config.fleet.device(&id).with_context(|| {
        let known: Vec<_> = config
            .fleet
            .devices()
            .take(12)
            .map(|known| known.device.id.to_string())
            .collect();
        format!(
            "device \"{device}\" is not in the registry; it has {}, …",
            known.join(", ")
        )
    })?;
    let generation = registered.device.key_generation;
    let key = config.master_key()?.device_key(&id, generation);
    let digits = hex(key.bytes());
    let state = state.unwrap_or_else(|| PathBuf::from(format!("device-{id}")));
    let state = state.to_str().context("--state: the path is not UTF-8")?;
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!(
        "# Device {id} at {}, for `taraz device run`. It holds the device's key: chmod 600.\n\
         # Every other setting: `taraz config example device`.\n\
         device = \"{id}\"\nkey = \"{digits}\"\nkey_generation = {generation}\nbus = {}\nbroker = {}\nstate = {}\n",
        registered.plant.name,
        quoted(bus),
        quoted(broker),
        quoted(state),
    );
    for meter in &registered.device.meters {
        let name = meter.name.as_deref().unwrap_or(meter.role.as_str());
        write!(
            text,
            "\n# {name}\n[[meter]]\naddress = {}\ndriver = \"{}\"\n",
            meter.address,
            meter.driver.as_str()
        )?;
    }
    DeviceConfig::parse(&text).with_context(|| format!("the configuration of {id}"))?;
    Ok(text)
}
