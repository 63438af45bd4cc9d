//! `taraz.toml`: where everything is, for gateway and ingest, together or apart; and the examples of every file.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rand::TryRngCore as _;
use serde::Deserialize;
use taraz_fleet::Fleet;
use taraz_settings::{Document, Key, Mistake, Section, Wrong};
use taraz_telemetry::MasterKey;

use crate::cli::{ConfigCommand, ExampleKind};
use crate::out::{say, tell};

/// The token in the parts' examples, which everybody can read: an installation never has it.
const PUBLISHED_TOKEN: &str = "replace-me-with-a-long-random-text";

/// The keys of `taraz.toml`.
const SECTIONS: &[Section] = &[
    Section {
        head: "",
        keys: &[
            Key::must("fleet", "the path of the registry in quotes, as \"fleet.toml\""),
            Key::may("master_key", "the path of a file in quotes, as \"master.key\""),
            Key::table("gateway", GATEWAY_ALLOWED),
            Key::table("ingest", INGEST_ALLOWED),
        ],
    },
    Section {
        head: "gateway",
        keys: taraz_gateway::KEYS,
    },
    Section {
        head: "ingest",
        keys: taraz_ingest::KEYS,
    },
];
const GATEWAY_ALLOWED: &str = "the table [gateway], as `taraz config example` shows it";
const INGEST_ALLOWED: &str = "the table [ingest], as `taraz config example` shows it";

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
        let document = Document::parse(&path.display().to_string(), &text, SECTIONS)?;
        Self::of(path, &document)
    }

    fn of(path: &Path, document: &Document<'_>) -> anyhow::Result<Self> {
        let at = |wrong: Wrong| document.mistake(wrong);
        let folder = path.parent().unwrap_or(Path::new("."));
        let file: File = document.read()?;
        let mut gateway = file.gateway;
        let mut ingest = file.ingest;
        if let Some(gateway) = &mut gateway {
            gateway.check().map_err(|wrong| at(wrong.below("gateway")))?;
            gateway.data_dir = folder.join(&gateway.data_dir);
        }
        if let Some(ingest) = &mut ingest {
            ingest.check().map_err(|wrong| at(wrong.below("ingest")))?;
            ingest.data = folder.join(&ingest.data);
        }
        check_tokens(gateway.as_ref(), ingest.as_ref()).map_err(at)?;
        let fleet_path = folder.join(&file.fleet);
        let fleet_text = std::fs::read_to_string(&fleet_path).map_err(|error| {
            let allowed = format!("the path of a file that can be read ({error})");
            at(Wrong::new("fleet", fleet_path.display(), allowed))
        })?;
        let fleet = Fleet::read(&fleet_path.display().to_string(), &fleet_text)?;
        let master_key = file.master_key.map(|key| {
            let key = folder.join(key);
            let found = key.display().to_string();
            read_master_key(&key).map_err(|error| {
                at(Wrong::new(
                    "master_key",
                    found,
                    format!("a master key's file ({error:#})"),
                ))
            })
        });
        Ok(Self {
            path: path.to_owned(),
            fleet_path,
            fleet: Arc::new(fleet),
            master_key: master_key.transpose()?,
            gateway,
            ingest,
        })
    }

    /// The master key, which gateway and field kit need.
    pub(crate) fn master_key(&self) -> anyhow::Result<&MasterKey> {
        let allowed = "the path of a file; `taraz config master-key FILE` draws one";
        self.needed(self.master_key.as_ref(), "master_key", allowed)
    }

    /// The gateway's part.
    pub(crate) fn gateway(&self) -> anyhow::Result<&taraz_gateway::Config> {
        self.needed(self.gateway.as_ref(), "gateway", GATEWAY_ALLOWED)
    }

    /// Ingest's part.
    pub(crate) fn ingest(&self) -> anyhow::Result<&taraz_ingest::Config> {
        self.needed(self.ingest.as_ref(), "ingest", INGEST_ALLOWED)
    }

    /// Where a gateway of its own delivers to.
    pub(crate) fn gateway_ingest(&self) -> anyhow::Result<&taraz_gateway::IngestConfig> {
        let allowed = "the table [gateway.ingest] with url and token: where do readings go?";
        self.needed(self.gateway()?.ingest.as_ref(), "gateway.ingest", allowed)
    }

    /// What a file may leave out, but not for this command.
    fn needed<'a, T>(&self, part: Option<&'a T>, key: &str, allowed: &str) -> anyhow::Result<&'a T> {
        let missing = || Mistake {
            file: self.path.display().to_string(),
            line: 1,
            key: key.to_owned(),
            found: "nothing".to_owned(),
            allowed: allowed.to_owned(),
        };
        Ok(part.ok_or_else(missing)?)
    }
}

/// One file that configures both sides of the hop must give them one token, and none that everybody can read.
fn check_tokens(
    gateway: Option<&taraz_gateway::Config>,
    ingest: Option<&taraz_ingest::Config>,
) -> Result<(), Wrong> {
    let sent = gateway.and_then(|gateway| gateway.ingest.as_ref());
    let own = "a long random text of your own, not the published example's; `taraz config example` draws one";
    if ingest.is_some_and(|ingest| ingest.token == PUBLISHED_TOKEN) {
        return Err(Wrong::secret("ingest.token", own));
    }
    if sent.is_some_and(|sent| sent.token == PUBLISHED_TOKEN) {
        return Err(Wrong::secret("gateway.ingest.token", own));
    }
    let pair = sent.zip(ingest);
    if pair.is_some_and(|(sent, ingest)| sent.token != ingest.token) {
        return Err(Wrong::secret("gateway.ingest.token", "the same as ingest.token"));
    }
    Ok(())
}

/// `taraz config …`
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Example { file } => {
            let text = match file {
                ExampleKind::Taraz => example(*file).replace(PUBLISHED_TOKEN, &drawn()?),
                _ => example(*file),
            };
            crate::out::text(&text);
            Ok(())
        }
        ConfigCommand::Check { config: path } => check(path),
        ConfigCommand::MasterKey { file } => {
            draw_master_key(file)?;
            tell!(
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
    say!(
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
    write_secret(path, (drawn()? + "\n").as_bytes())
}

/// A new secret in hexadecimal digits.
fn drawn() -> anyhow::Result<String> {
    let mut secret = [0_u8; taraz_telemetry::KEY_LEN];
    rand::rngs::OsRng
        .try_fill_bytes(&mut secret)
        .context("the system gives no random numbers")?;
    Ok(hex(&secret))
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
        .with_context(|| match path.exists() {
            true => format!(
                "{}: it is there already and is never replaced: choose another name",
                path.display()
            ),
            false => format!("{}: can't be made", path.display()),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Both parts must publish the one that is refused.
    #[test]
    fn the_examples_of_both_parts_have_the_token_that_is_refused() {
        let line = format!("token = \"{PUBLISHED_TOKEN}\"");
        assert_eq!(taraz_example().matches(&line).count(), 2);
    }

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
        let taraz = taraz.replace(PUBLISHED_TOKEN, &drawn().unwrap());
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
            message.ends_with("taraz.toml: line 5: flet: found a key that does not exist; allowed: here one of fleet, master_key, [gateway], [ingest]"),
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
