//! A wrong configuration stops the program before it opens a socket, naming key, value and what is allowed.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");

fn taraz(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(TARAZ)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = taraz(folder, arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The token in the published examples.
const PUBLISHED: &str = "replace-me-with-a-long-random-text";
/// In the place of what `config example` draws.
const OWN_TOKEN: &str = "the-token-of-this-test-alone";

/// A folder laid out as the README says.
fn installation() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let example = printed(at, &["config", "example"]);
    assert!(!example.contains(PUBLISHED), "a token that everybody can read");
    let token = example.lines().find_map(|line| line.strip_prefix("token = "));
    let drawn = token.unwrap().trim_matches('"');
    assert_eq!(drawn.len(), 64);
    assert_eq!(
        example.matches(drawn).count(),
        2,
        "both sides of the hop have one token"
    );
    std::fs::write(at.join("taraz.toml"), example.replace(drawn, OWN_TOKEN)).unwrap();
    std::fs::write(
        at.join("fleet.toml"),
        printed(at, &["config", "example", "fleet"]),
    )
    .unwrap();
    printed(at, &["config", "master-key", "master.key"]);
    folder
}

#[test]
fn the_readmes_way_gives_a_good_installation() {
    let folder = installation();
    let checked = printed(folder.path(), &["config", "check", "taraz.toml"]);
    assert!(checked.contains("good: 1 plants, 1 devices"), "{checked}");
    let device = printed(
        folder.path(),
        &["device", "config", "sari-01", "--config", "taraz.toml"],
    );
    assert!(device.contains("sari-01"), "{device}");
}

#[test]
fn a_device_is_sent_to_the_door_that_the_configuration_opens() {
    let folder = installation();
    let path = folder.path().join(T);
    let text = std::fs::read_to_string(&path).unwrap();
    let given = "mqtt_listen = \"0.0.0.0:1883\"";
    for (door, expected) in [
        (
            "mqtt_listen = \"0.0.0.0:2883\"",
            "broker = \"mqtt://127.0.0.1:2883\"\n",
        ),
        (
            "mqtt_listen = \"[::]:2884\"",
            "broker = \"mqtt://127.0.0.1:2884\"\n",
        ),
        (
            "mqtt_listen = \"192.0.2.7:1883\"",
            "broker = \"mqtt://192.0.2.7:1883\"\n",
        ),
    ] {
        assert!(text.contains(given));
        std::fs::write(&path, text.replace(given, door)).unwrap();
        let printed = printed(folder.path(), &["device", "config", "sari-01", "--config", T]);
        assert!(printed.contains(expected), "{printed}");
    }
    let only_broker = text.replace(given, "").replace(
        "\n[ingest]",
        "\n[gateway.broker]\nurl = \"mqtt://broker.example.org:1885\"\n\n[ingest]",
    );
    std::fs::write(&path, only_broker).unwrap();
    let printed = printed(folder.path(), &["device", "config", "sari-01", "--config", T]);
    assert!(
        printed.contains("broker = \"mqtt://broker.example.org:1885\"\n"),
        "{printed}"
    );
}

#[test]
fn every_example_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["taraz", "fleet", "device", "simulation", "faults"] {
        assert!(
            printed(folder.path(), &["config", "example", file])
                .lines()
                .count()
                > 5,
            "{file}"
        );
    }
}

const T: &str = "taraz.toml";
const F: &str = "fleet.toml";
const D: &str = "device.toml";
const S: &str = "simulation.toml";
const X: &str = "faults.toml";
/// What no message may show: the tokens, and what the table has in its place.
const SECRETS: [&str; 4] = [PUBLISHED, OWN_TOKEN, "sesame", "1234567"];
const MISTAKES: &str = include_str!("config/mistakes.txt");

/// What is wrong in a file of an installation, and what is said of it.
struct Case {
    file: String,
    right: String,
    wrong: String,
    line: String,
    key: String,
    found: String,
    allowed: String,
}

fn cases(taken: &Taken) -> Vec<Case> {
    let rows = MISTAKES
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with('#'));
    let case = |row: &str| {
        let columns = row
            .split(" | ")
            .map(|column| taken.filled(&column.replace("\\n", "\n")));
        let [file, right, wrong, line, key, found, allowed] =
            <[String; 7]>::try_from(columns.collect::<Vec<_>>())
                .unwrap_or_else(|_| panic!("seven columns: {row}"));
        Case {
            line: if line.is_empty() { wrong.clone() } else { line },
            file,
            right,
            wrong,
            key,
            found,
            allowed,
        }
    };
    rows.map(case).collect()
}

/// Addresses that are taken: a program that opened a socket would complain of that, and whom it calls is heard.
struct Taken {
    http: TcpListener,
    mqtt: TcpListener,
}

impl Taken {
    fn new() -> Self {
        let listener = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        Self {
            http: listener(),
            mqtt: listener(),
        }
    }

    fn filled(&self, text: &str) -> String {
        let [http, mqtt] =
            [&self.http, &self.mqtt].map(|listener| listener.local_addr().unwrap().to_string());
        text.replace("HTTP", &http)
            .replace("MQTT", &mqtt)
            .replace("BUS", &format!("tcp://{mqtt}"))
            .replace("BROKER", &format!("mqtt://{mqtt}"))
    }

    fn nobody_called(&self) -> bool {
        [&self.http, &self.mqtt].into_iter().all(|listener| {
            listener
                .accept()
                .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        })
    }
}

/// The files of an installation, a device and a simulation, all good; every address in them is taken.
fn everything(taken: &Taken) -> tempfile::TempDir {
    let folder = installation();
    let at = folder.path();
    let replace = |file: &str, changes: &[(&str, &str)]| {
        let mut text = std::fs::read_to_string(at.join(file)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{file} has no {from:?}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(at.join(file), taken.filled(&text)).unwrap();
    };
    for (file, example) in [(D, "device"), (S, "simulation"), (X, "faults")] {
        std::fs::write(at.join(file), printed(at, &["config", "example", example])).unwrap();
    }
    replace(
        T,
        &[
            ("mqtt_listen = \"0.0.0.0:1883\"", "mqtt_listen = \"MQTT\""),
            ("http_listen = \"127.0.0.1:8081\"", "http_listen = \"HTTP\""),
            ("\nlisten = \"127.0.0.1:8080\"", "\nlisten = \"HTTP\""),
        ],
    );
    replace(
        D,
        &[
            (
                "bus = \"serial:/dev/ttyUSB0?baud=9600&parity=none&stop_bits=1\"",
                "bus = \"BUS\"",
            ),
            ("broker = \"mqtt://127.0.0.1:1883\"", "broker = \"BROKER\""),
        ],
    );
    // The example simulates a third unit, of which the registry need not know.
    let key = at.join("sari-01.key");
    std::fs::write(&key, "00".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

/// Starts the program that reads the file.
fn start(folder: &Path, file: &str, taken: &Taken) -> Output {
    let port = taken.http.local_addr().unwrap().port().to_string();
    match file {
        D => taraz(folder, &["device", "run", D]),
        S | X => taraz(
            folder,
            &[
                "simulate",
                "--fleet",
                F,
                "--plants",
                S,
                "--faults",
                X,
                "--first-port",
                &port,
            ],
        ),
        _ => taraz(folder, &["up", "--config", T]),
    }
}

#[test]
fn what_is_wrong_is_named_whole_before_a_socket_opens() {
    let taken = Taken::new();
    let cases = cases(&taken);
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in cases {
        let folder = everything(&taken);
        let path = folder.path().join(&case.file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains(&case.right),
            "{} has no {:?}",
            case.file,
            case.right
        );
        let text = text.replacen(&case.right, &case.wrong, 1);
        std::fs::write(&path, &text).unwrap();
        let output = start(folder.path(), &case.file, &taken);
        let message = String::from_utf8(output.stderr).unwrap();

        let end = text.find(&case.line).unwrap() + case.line.trim_end().len();
        let line = text[..end].matches('\n').count() + 1;
        let Case { file, key, found, .. } = &case;
        let key = if key.is_empty() {
            String::new()
        } else {
            format!("{key}: ")
        };
        let start = format!("taraz: {file}: line {line}: {key}found {found}");
        let allowed = format!("; allowed: {}", case.allowed);
        let said = format!("{}\nsaid     {message}", case.wrong);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(message.starts_with(&start), "{said}expected {start}");
        assert!(message.contains(&allowed), "{said}expected {allowed}");
        assert_eq!(message.lines().count(), 1, "{said}");
        assert!(SECRETS.iter().all(|secret| !message.contains(secret)), "{said}");
        assert!(taken.nobody_called(), "{said}");
    }
}

#[test]
fn the_files_that_are_made_wrong_are_right() {
    // Nothing is wrong with them but that their addresses are taken, so that the test above can fail.
    let taken = Taken::new();
    for (file, key) in [(T, "--http"), (S, "can't listen on")] {
        let folder = everything(&taken);
        let output = start(folder.path(), file, &taken);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && message.contains(key), "{message}");
    }
}

/// What is given on the command line, and what is said of it.
const ARGUMENTS: &[(&[&str], &str, &str)] = &[
    (
        &["up", "--demo", "--http", "localhost:8080"],
        "'localhost:8080' for '--http <ADDR>'",
        "allowed: ADDRESS:PORT, as 127.0.0.1:8080",
    ),
    (
        &["up", "--demo", "--http", "127.0.0.1:99999"],
        "'127.0.0.1:99999' for '--http <ADDR>'",
        "port 0 to 65535",
    ),
    (
        &["up", "--demo", "--mqtt", "1883"],
        "'1883' for '--mqtt <ADDR>'",
        "allowed: ADDRESS:PORT",
    ),
    (
        &["up", "--demo", "--history-days", "400"],
        "'400' for '--history-days <DAYS>'",
        "0..=365",
    ),
    (
        &["up", "--demo", "--data", "d", "--influx", "https://x"],
        "--influx: found https://x",
        "allowed: http://HOST:PORT",
    ),
    (
        &["simulate", "--listen", "localhost"],
        "'localhost' for '--listen <LISTEN>'",
        "allowed: an IP address, as 127.0.0.1",
    ),
    (
        &["simulate", "--first-port", "99999"],
        "'99999' for '--first-port <FIRST_PORT>'",
        "0..=65535",
    ),
    (
        &["simulate", "--offset-s", "noon"],
        "'noon' for '--offset-s <SECONDS>'",
        "allowed: a whole number of seconds",
    ),
    (
        &["device", "config", "sari-01", "--config", T, "--bus", "usb"],
        "'usb' for '--bus <BUS>'",
        "allowed: tcp://HOST:PORT or serial:",
    ),
    (
        &["device", "config", "sari-01", "--config", T, "--broker", "x"],
        "'x' for '--broker <BROKER>'",
        "allowed: mqtt://HOST",
    ),
    (
        &["config", "example", "everything"],
        "'everything' for '[FILE]'",
        "taraz, fleet, device, simulation, faults",
    ),
];

#[test]
fn a_wrong_argument_is_named_with_what_is_allowed() {
    let folder = installation();
    for (arguments, found, allowed) in ARGUMENTS {
        let output = taraz(folder.path(), arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        for part in [found, allowed] {
            assert!(
                message.contains(part),
                "{arguments:?}\nsaid     {message}expected {part}"
            );
        }
    }
}

#[test]
fn a_taken_port_is_named_once_with_what_to_do() {
    let folder = installation();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (http, mqtt, option) in [
        (address.as_str(), "127.0.0.1:0", "ingest.listen (or --http)"),
        ("127.0.0.1:0", address.as_str(), "gateway.mqtt_listen (or --mqtt)"),
    ] {
        let arguments = [
            "up",
            "--config",
            T,
            "--data",
            "elsewhere",
            "--http",
            http,
            "--mqtt",
            mqtt,
        ];
        let output = taraz(folder.path(), &arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        let said = message.lines().find(|line| line.starts_with("taraz: ")).unwrap();
        assert!(
            !output.status.success() && said.contains(&address) && said.contains(option),
            "{said}"
        );
        assert_eq!(said.matches("in use").count(), 1, "{said}");
    }
}

#[test]
fn a_store_that_is_none_is_named_with_its_file() {
    let folder = installation();
    let data = folder.path().join("taraz-data/ingest");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(
        data.join("store.sqlite"),
        "this is no store, but a text of some length that fills its head",
    )
    .unwrap();
    let arguments = [
        "up",
        "--config",
        T,
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ];
    let output = taraz(folder.path(), &arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    let file = "taraz-data/ingest/store.sqlite can't be opened: ";
    assert!(!output.status.success() && message.contains(file), "{message}");
}
