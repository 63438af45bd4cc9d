//! `taraz device …`: what can be said about devices.

// Brackets in help are what may be left out, no links.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;

use clap::{Args, Subcommand};
use taraz_device_host::{BrokerAddress, BusAddress};
use taraz_fieldkit::{MeterSpec, parse_bus, parse_host, parse_static};
use taraz_telemetry::{DeviceId, PageBus, PageNetwork};

/// IANA: MQTT.
const MQTT_PORT: u16 = 1_883;
/// RFC 5905, section 7.2: NTP.
const NTP_PORT: u16 = 123;

/// What can be done with a device.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Register a device in fleet.toml; everything that stands there stays as it is.
    Add(AddArgs),
    /// Make the image of a registered device: the board's program with the device's configuration page.
    Image(ImageArgs),
    /// Write an image to the board over USB.
    Flash(FlashArgs),
    /// Find out who is on a bus that is plugged into this computer, by the search that the devices use. It only reads.
    Scan(ScanArgs),
    /// Run one or several devices on this computer until Ctrl-C.
    Run {
        /// Device configurations (see `taraz device config`).
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the configuration of a registered device for `taraz device run`, its key included.
    Config {
        /// The device's id, as in fleet.toml.
        device: String,
        /// The configuration of the installation it belongs to.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The bus: serial:/dev/ttyUSB0?baud=9600&parity=none, or tcp://HOST:PORT for RTU over TCP.
        #[arg(long, default_value = "serial:/dev/ttyUSB0?baud=9600&parity=none", value_parser = bus)]
        bus: String,
        /// Where the device finds its gateway or broker; on this computer unless given, as the configuration's [gateway] says.
        #[arg(long, value_parser = broker)]
        broker: Option<String>,
        /// Where the device keeps its queue.
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Write to this new file, which only you can read, instead of printing.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// How a device is registered.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taraz device add sari-02 --plant sari-roof-1 --meter 1:inverter:sunspec --config taraz.toml
  taraz device add babol-07 --plant babol-school --config taraz.toml \\
      --meter 1:inverter:growatt:5000 --meter 2:grid:sdm630:69000:'Main meter' --meter 3:irradiance:si_rs485

Its key follows from the master key and its id, so none is written into fleet.toml. Gateway and ingest read the registry when
they start: restart them afterwards.")]
pub(crate) struct AddArgs {
    /// The new device's id: 1 to 32 of a-z, 0-9 and '-'.
    pub(crate) device: DeviceId,
    /// The id of the plant that it stands in.
    #[arg(long, value_name = "PLANT")]
    pub(crate) plant: String,
    /// A meter on its bus, once for each of up to 8: ADDRESS:ROLE:DRIVER[:RATED_W[:NAME]]. Roles: inverter, grid,
    /// consumption, irradiance. Drivers: sunspec, growatt, sdm630, si_rs485. An inverter without RATED_W gets its plant's.
    #[arg(long = "meter", required = true, value_name = "METER")]
    pub(crate) meters: Vec<MeterSpec>,
    /// The configuration of the installation.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// How an image is made.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taraz device image sari-02 --board w5500-evb-pico --broker 192.168.7.2 --config taraz.toml --out sari-02.uf2
  taraz device image sari-02 --board w5500-evb-pico --broker 192.168.7.2:1883 --sntp 192.168.7.3 \\
      --static 192.168.7.20/24,gateway=192.168.7.1 --bus baud=9600,parity=even --config taraz.toml --out sari-02.uf2
  taraz device image sari-02 --board qemu-lm3s6965 --broker 10.0.2.2 --config taraz.toml --out device/flash.img

The image holds the device's key: only you can read the file, and it belongs onto that one board. A queue that is on the board
already stays there, if it is this device's: the board erases another one's, and says how many readings were lost.")]
pub(crate) struct ImageArgs {
    /// The device's id, as in fleet.toml.
    pub(crate) device: DeviceId,
    /// The board: w5500-evb-pico, feather-nrf52840, or qemu-lm3s6965 for the emulator.
    #[arg(long, value_name = "BOARD")]
    pub(crate) board: String,
    /// The board's program, a UF2 or ELF file; what `cargo xtask boards` built unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// Where the device finds its gateway or broker.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = |text: &str| parse_host(text, MQTT_PORT))]
    pub(crate) broker: (String, u16),
    /// Where the device asks for the time.
    #[arg(long, value_name = "HOST[:PORT]", default_value = "pool.ntp.org", value_parser = |text: &str| parse_host(text, NTP_PORT))]
    pub(crate) sntp: (String, u16),
    /// A fixed network address instead of DHCP: ADDRESS/PREFIX[,gateway=ADDRESS][,dns=ADDRESS].
    #[arg(long = "static", value_name = "NETWORK", value_parser = parse_static)]
    pub(crate) fixed: Option<PageNetwork>,
    /// The RS-485 line: auto, or baud=9600[,parity=none|even|odd][,stop_bits=1|2][,timeout_ms=1000].
    #[arg(long, value_name = "LINE", default_value = "auto", value_parser = parse_bus)]
    pub(crate) bus: PageBus,
    /// How often each meter is read, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) poll_interval_s: u32,
    /// Let the device find what answers on its bus instead of reading the registry's meters.
    #[arg(long)]
    pub(crate) detect_meters: bool,
    /// Erase the queue that is on the board or in the flash file: for one that was another device.
    #[arg(long)]
    pub(crate) format: bool,
    /// The configuration of the installation.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The image: a new UF2 file; for the emulator its flash file, of which only the page is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// How an image gets onto a board.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taraz device flash sari-02 --image sari-02.uf2
  taraz device flash sari-02 --image sari-02.uf2 --drive /media/$USER/RPI-RP2")]
pub(crate) struct FlashArgs {
    /// The device's id: the image must be its.
    pub(crate) device: DeviceId,
    /// The image (see `taraz device image`).
    #[arg(long, value_name = "FILE")]
    pub(crate) image: PathBuf,
    /// The boot loader's drive; searched for unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) drive: Option<PathBuf>,
    /// How long to wait for the drive, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) wait_s: u64,
    /// How long to wait for the board to restart with the image, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) restart_s: u64,
}

/// What is searched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taraz device scan serial:/dev/ttyUSB0 --lines
  taraz device scan 'serial:/dev/ttyUSB0?baud=19200&parity=even' --full
  taraz device scan tcp://192.168.7.9:502

Without --full the likely addresses are asked: 1 to 10, 20, 100, 126, 200, 240 and 247. Nothing else may poll the bus meanwhile.")]
pub(crate) struct ScanArgs {
    /// The bus: serial:/dev/ttyUSB0?baud=9600&parity=none, or tcp://HOST:PORT for RTU over TCP.
    pub(crate) bus: BusAddress,
    /// Ask all addresses from 1 to 247.
    #[arg(long)]
    pub(crate) full: bool,
    /// Try every speed and parity until somebody answers.
    #[arg(long)]
    pub(crate) lines: bool,
}

/// Checked only: the text itself goes into the device's configuration.
fn bus(text: &str) -> Result<String, String> {
    let parsed = text.parse::<BusAddress>();
    parsed.map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// As [`bus`].
fn broker(text: &str) -> Result<String, String> {
    let parsed = text.parse::<BrokerAddress>();
    parsed.map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}
