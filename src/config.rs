//! `taraz.toml`: where everything is, for gateway and ingest, together or apart; and the examples of every file.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rand::TryRngCore as _;
use serde::Deserialize;
use taraz_fleet::Fleet;
use taraz_telemetry::MasterKey;

use crate::cli::{ConfigCommand, ExampleKind};

/// A configuration file as it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The fleet registry.
    fleet: PathBuf,
    /// The master key, a file that only the service's user can read.
    master_key: Option<PathBuf>,
    /// The gateway's part; not needed by `taraz ingest`.
    gateway: Option<taraz_gateway::Config>,
    /// Ingest's part; not needed by `taraz gateway`.
    ingest: Option<taraz_ingest::Config>,
}

/// A configuration that was read and checked whole, with the files it names. Nothing was opened but they.
#[derive(Debug)]
pub(crate) struct Config {
    path: PathBuf,
    /// Where the fleet registry stands.
    pub(crate) fleet_path: PathBuf,
    /// The fleet registry.
    pub(crate) fleet: Arc<Fleet>,
    master_key: Option<MasterKey>,
    gateway: Option<taraz_gateway::Config>,
    ingest: Option<taraz_ingest::Config>,
}

impl Config {
    /// Reads a configuration and the files it names; paths in it count from its own folder.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "{}: can't be read; `taraz config example` prints one",
                path.display()
            )
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let file: File = parse_toml(path, &text)?;
        let mut gateway = file.gateway;
        let mut ingest = file.ingest;
        if let Some(gateway) = &mut gateway {
            gateway.check().with_context(|| path.display().to_string())?;
            gateway.data_dir = folder.join(&gateway.data_dir);
        }
        if let Some(ingest) = &mut ingest {
            ingest.check().with_context(|| path.display().to_string())?;
            ingest.data = folder.join(&ingest.data);
        }
        check_tokens(path, gateway.as_ref(), ingest.as_ref())?;
        let fleet_path = folder.join(&file.fleet);
        let fleet_text = std::fs::read_to_string(&fleet_path)
            .with_context(|| format!("fleet = {}: can't be read", fleet_path.display()))?;
        let fleet = Fleet::parse(&fleet_text).with_context(|| fleet_path.display().to_string())?;
        let master_key = file
            .master_key
            .map(|key| read_master_key(&folder.join(key)))
            .transpose()?;
        Ok(Self {
            path: path.to_owned(),
            fleet_path,
            fleet: Arc::new(fleet),
            master_key,
            gateway,
            ingest,
        })
    }

    /// The master key, which gateway and field kit need.
    pub(crate) fn master_key(&self) -> anyhow::Result<&MasterKey> {
        self.master_key.as_ref().with_context(|| {
            format!(
                "{}: master_key is missing; `taraz config master-key FILE` draws one",
                self.path.display()
            )
        })
    }

    /// The gateway's part.
    pub(crate) fn gateway(&self) -> anyhow::Result<&taraz_gateway::Config> {
        self.gateway
            .as_ref()
            .with_context(|| format!("{}: the table [gateway] is missing", self.path.display()))
    }

    /// Ingest's part.
    pub(crate) fn ingest(&self) -> anyhow::Result<&taraz_ingest::Config> {
        self.ingest
            .as_ref()
            .with_context(|| format!("{}: the table [ingest] is missing", self.path.display()))
    }
}

/// One file that configures both sides of the hop must give them one token.
fn check_tokens(
    path: &Path,
    gateway: Option<&taraz_gateway::Config>,
    ingest: Option<&taraz_ingest::Config>,
) -> anyhow::Result<()> {
    let sent = gateway
        .and_then(|gateway| gateway.ingest.as_ref())
        .map(|ingest| &ingest.token);
    let expected = ingest.map(|ingest| &ingest.token);
    if sent
        .zip(expected)
        .is_some_and(|(sent, expected)| sent != expected)
    {
        bail!(
            "{}: gateway.ingest.token = (not shown): must be the same as ingest.token",
            path.display()
        );
    }
    Ok(())
}

/// `taraz config …`
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Example { file } => {
            std::io::stdout().write_all(example(*file).as_bytes())?;
            Ok(())
        }
        ConfigCommand::Check { config: path } => check(path),
        ConfigCommand::MasterKey { file } => {
            draw_master_key(file)?;
            eprintln!(
                "{}: a new master key; keep a copy where the installation's secrets are kept",
                file.display()
            );
            Ok(())
        }
    }
}

fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    let (plants, devices) = (config.fleet.plants.len(), config.fleet.devices().count());
    let part = |there: bool| if there { "yes" } else { "no" };
    println!(
        "{}: good: {plants} plants, {devices} devices; gateway: {}, ingest: {}, master key: {}",
        path.display(),
        part(config.gateway.is_some()),
        part(config.ingest.is_some()),
        part(config.master_key.is_some()),
    );
    Ok(())
}

/// The text of an example.
pub(crate) fn example(file: ExampleKind) -> String {
    match file {
        ExampleKind::Taraz => taraz_example(),
        ExampleKind::Fleet => taraz_fleet::EXAMPLE.to_owned(),
        ExampleKind::Device => taraz_device_host::example_config().to_owned(),
        ExampleKind::Simulation => taraz_simulator::EXAMPLE.to_owned(),
        ExampleKind::Faults => taraz_simulator::FAULTS_EXAMPLE.to_owned(),
    }
}

const EXAMPLE_HEAD: &str = "\
# Taraz: everything on one machine (`taraz up --config taraz.toml`), or its parts as processes of their own
# (`taraz gateway --config …`, `taraz ingest --config …`). Paths count from the folder of this file.

# The registry of owners, plants, devices and meters (`taraz config example fleet`).
fleet = \"fleet.toml\"

# The secret that every device's key is derived from: `taraz config master-key master.key` draws it. `taraz ingest` needs none.
master_key = \"master.key\"
";

fn taraz_example() -> String {
    let gateway = nested("gateway", taraz_gateway::EXAMPLE);
    let ingest = nested("ingest", taraz_ingest::CONFIG_EXAMPLE);
    format!("{EXAMPLE_HEAD}{gateway}{ingest}")
}

/// A part's own example as the table `[name]`; its tables go below it, those that are commented out included.
fn nested(name: &str, text: &str) -> String {
    let mut nested = format!("\n[{name}]\n");
    for line in text.lines() {
        let (mark, line) = line.strip_prefix("# ").map_or(("", line), |line| ("# ", line));
        // The longer bracket first: `[[` begins with `[` too.
        let table = ["[[", "["]
            .into_iter()
            .find_map(|bracket| Some((bracket, line.strip_prefix(bracket)?)));
        nested += &match table {
            Some((bracket, rest)) => format!("{mark}{bracket}{name}.{rest}\n"),
            None => format!("{mark}{line}\n"),
        };
    }
    nested
}

/// Reads a master key that only its owner may read.
pub(crate) fn read_master_key(path: &Path) -> anyhow::Result<MasterKey> {
    if !path.exists() {
        bail!(
            "master_key = {0}: there is no such file; `taraz config master-key {0}` draws one",
            path.display()
        );
    }
    check_is_private(path)?;
    let text = std::fs::read_to_string(path).with_context(|| format!("master_key = {}", path.display()))?;
    MasterKey::from_hex(&text).with_context(|| format!("master_key = {}", path.display()))
}

/// Draws a master key into a new file.
pub(crate) fn draw_master_key(path: &Path) -> anyhow::Result<()> {
    let mut secret = [0_u8; taraz_telemetry::KEY_LEN];
    rand::rngs::OsRng
        .try_fill_bytes(&mut secret)
        .context("the system gives no random numbers")?;
    write_secret(path, (hex(&secret) + "\n").as_bytes())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}

/// Writes a secret into a new file that only its owner can read.
pub(crate) fn write_secret(path: &Path, secret: &[u8]) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| {
            format!(
                "{}: can't be made (an existing file is never replaced)",
                path.display()
            )
        })?;
    file.write_all(secret)?;
    file.sync_all()?;
    Ok(())
}

/// Refuses a file with a secret that others can read.
pub(crate) fn check_is_private(path: &Path) -> anyhow::Result<()> {
    let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "{0}: it holds a secret and others can read it (mode {mode:03o}); `chmod 600 {0}`",
            path.display()
        );
    }
    Ok(())
}

/// Parses TOML; an error names place and reason, never the line itself, which may hold a secret.
pub(crate) fn parse_toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> anyhow::Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| {
            text[..span.start.min(text.len())].matches('\n').count() + 1
        });
        // What stands before the sign is the key; what follows may be a secret.
        let key = text
            .lines()
            .nth(line.saturating_sub(1))
            .and_then(|line| line.split_once('='));
        let key = key.map_or(String::new(), |(key, _)| format!(" {}:", key.trim()));
        anyhow::anyhow!("{}: line {line}:{key} {}", path.display(), error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An example with its optional tables in force.
    fn uncommented(text: &str) -> String {
        let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let is_toml =
            |line: &&str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| is_key(key));
        let in_force = |line| str::strip_prefix(line, "# ").filter(is_toml).unwrap_or(line);
        text.lines().flat_map(|line| [in_force(line), "\n"]).collect()
    }

    /// This `taraz.toml` beside the other examples.
    fn read_beside_the_examples(taraz: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("taraz.toml"), taraz).unwrap();
        std::fs::write(at("fleet.toml"), example(ExampleKind::Fleet)).unwrap();
        draw_master_key(&at("master.key")).unwrap();
        Config::read(&at("taraz.toml")).unwrap()
    }

    #[test]
    fn the_examples_are_one_working_installation_that_needs_no_other_server() {
        let config = read_beside_the_examples(&example(ExampleKind::Taraz));
        assert!(config.master_key().is_ok());
        let (gateway, ingest) = (config.gateway().unwrap(), config.ingest().unwrap());
        assert!(gateway.broker.is_none() && gateway.ingest.is_none() && ingest.influx.is_empty());
        assert_eq!(gateway.data_dir.parent(), ingest.data.parent(), "one data folder");
    }

    #[test]
    fn the_optional_tables_belong_to_their_part_when_they_are_uncommented() {
        let config = read_beside_the_examples(&uncommented(&example(ExampleKind::Taraz)));
        let (gateway, ingest) = (config.gateway().unwrap(), config.ingest().unwrap());
        assert!(gateway.broker.is_some() && gateway.ingest.is_some());
        assert_eq!(ingest.influx.len(), 1);
    }

    #[test]
    fn a_wrong_key_is_named_with_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taraz.toml");
        std::fs::write(&path, example(ExampleKind::Taraz).replace("fleet =", "flet =")).unwrap();
        let message = format!("{:#}", Config::read(&path).unwrap_err());
        assert!(
            message.contains("flet") && message.contains("expected one of"),
            "{message}"
        );
    }

    #[test]
    fn a_master_key_is_never_replaced_and_never_read_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        draw_master_key(&path).unwrap();
        assert!(draw_master_key(&path).is_err());
        assert!(read_master_key(&path).is_ok());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            read_master_key(&path)
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
    }
}
