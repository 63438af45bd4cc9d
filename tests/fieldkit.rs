//! A technician's way on the command line: register, make an image, write it; and everything that is refused on it.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{self, Child, Output, Stdio};
use std::time::Duration;

use taraz_firmware::Command;
use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, DevicePage, MasterKey, MeterDriver, PageNetwork, PageParity};
use taraz_test_support::wait_for;

/// Programs for boards, made without the code under test.
#[allow(dead_code)]
#[path = "../fieldkit/tests/kit/make.rs"]
mod make;

const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");
const PICO: &str = "w5500-evb-pico";
const QEMU: &str = "qemu-lm3s6965";
const LIMIT: Duration = Duration::from_secs(60);

fn command(folder: &Path, words: &str) -> process::Command {
    let mut command = process::Command::new(TARAZ);
    command.args(words.split_whitespace()).current_dir(folder);
    command
}

fn taraz(folder: &Path, words: &str) -> Output {
    command(folder, words).output().unwrap()
}

fn printed(folder: &Path, words: &str) -> String {
    let output = taraz(folder, words);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "taraz {words}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, words: &str) -> String {
    let output = taraz(folder, words);
    assert!(!output.status.success(), "taraz {words}: expected a refusal");
    String::from_utf8(output.stderr).unwrap()
}

/// A folder with the example installation and a program for each board.
fn installation() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("taraz.toml"), printed(at, "config example")).unwrap();
    fs::write(at.join("fleet.toml"), printed(at, "config example fleet")).unwrap();
    printed(at, "config master-key master.key");
    fs::write(
        at.join("pico.uf2"),
        make::uf2(make::XIP, &make::program(PICO, 50_000)),
    )
    .unwrap();
    let qemu = make::program(QEMU, 100_000);
    fs::write(at.join("qemu.elf"), make::elf(&[(0, &qemu)])).unwrap();
    folder
}

const ADD: &str = "device add sari-02 --plant sari-roof-1 --meter 5:inverter:growatt:9000 --meter 6:grid:sdm630:69000 \
                   --config taraz.toml";
const IMAGE: &str = "device image sari-02 --board w5500-evb-pico --program pico.uf2 --broker 192.168.7.2 --config taraz.toml --out sari-02.uf2";

/// The page in an image, found by the offsets of the published table alone.
fn page_in(uf2: &[u8]) -> DevicePage {
    let address = |block: &&[u8]| u32::from_le_bytes(block[12..16].try_into().unwrap());
    let is_page = |block: &&[u8]| (0x100f_f000..0x1010_0000).contains(&address(block));
    let sector: Vec<_> = uf2
        .chunks(512)
        .filter(is_page)
        .flat_map(|block| block[32..288].to_vec())
        .collect();
    DevicePage::decode(&sector).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_device_is_registered_and_the_registry_stays_readable() {
    let folder = installation();
    let at = folder.path();
    let before = fs::read_to_string(at.join("fleet.toml")).unwrap();
    fs::set_permissions(at.join("fleet.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let told = printed(at, ADD);
    assert!(
        told.contains("restart") && told.contains("taraz device image sari-02"),
        "{told}"
    );
    let after = fs::read_to_string(at.join("fleet.toml")).unwrap();
    // What is commented out behind the last device stays behind it.
    let mut lines = after.lines();
    let grew = before
        .trim_end()
        .lines()
        .all(|line| lines.any(|kept| kept == line));
    assert!(grew, "it only grew:\n{after}");
    assert_eq!(mode(&at.join("fleet.toml")), 0o640);
    let fleet = Fleet::parse(&after).unwrap();
    let added = fleet.device(&DeviceId::new("sari-02").unwrap()).unwrap();
    let meters: Vec<_> = added
        .device
        .meters
        .iter()
        .map(|m| (m.address.get(), m.rated_w))
        .collect();
    assert_eq!(
        (added.plant.id.as_str(), meters),
        ("sari-roof-1", vec![(5, 9_000), (6, 69_000)])
    );
    assert!(printed(at, "config check taraz.toml").contains("2 devices"));

    for (words, part) in [
        (ADD, "sari-02\" is in the registry already"),
        (
            "device add x --plant nowhere --meter 1:grid:sdm630:1 --config taraz.toml",
            "it has sari-roof-1",
        ),
        (
            "device add x --plant sari-roof-1 --meter 1:grid:sdm630 --config taraz.toml",
            "highest power in W",
        ),
        (
            "device add x --plant sari-roof-1 --meter 1:solar:sunspec --config taraz.toml",
            "1:inverter:sunspec:27600",
        ),
        (
            "device add X --plant sari-roof-1 --meter 1:inverter:sunspec --config taraz.toml",
            "a-z, 0-9",
        ),
        ("device add x --plant sari-roof-1 --config taraz.toml", "--meter"),
    ] {
        let refusal = refused(at, words);
        assert!(refusal.contains(part), "{words}: {refusal}");
        assert_eq!(
            fs::read_to_string(at.join("fleet.toml")).unwrap(),
            after,
            "{words}: it is unchanged"
        );
    }
}

#[test]
fn an_image_holds_what_registry_key_and_command_line_say() {
    let folder = installation();
    let at = folder.path();
    printed(at, ADD);
    let told = printed(
        at,
        &format!("{IMAGE} --static 192.168.7.20/24 --sntp 192.168.7.3 --bus baud=19200,parity=even"),
    );
    assert!(
        told.contains("program 1.2.3") && told.contains("taraz device flash sari-02"),
        "{told}"
    );
    assert_eq!(mode(&at.join("sari-02.uf2")), 0o600);
    let image = fs::read(at.join("sari-02.uf2")).unwrap();
    let program = fs::read(at.join("pico.uf2")).unwrap();
    for (block, original) in image.chunks(512).zip(program.chunks(512)) {
        assert_eq!(
            (&block[12..16], &block[32..288]),
            (&original[12..16], &original[32..288]),
            "the program is as it was"
        );
    }
    let page = page_in(&image);
    let master = MasterKey::from_hex(&fs::read_to_string(at.join("master.key")).unwrap()).unwrap();
    let id = DeviceId::new("sari-02").unwrap();
    assert_eq!((page.board.as_str(), &page.device), (PICO, &id));
    assert_eq!(
        (&page.key, page.key_generation),
        (master.device_key(&id, 1).bytes(), 1)
    );
    assert_eq!(
        (page.broker_host.as_str(), page.broker_port),
        ("192.168.7.2", 1883)
    );
    assert_eq!((page.sntp_host.as_str(), page.sntp_port), ("192.168.7.3", 123));
    assert!(matches!(
        page.network,
        PageNetwork::Static {
            address: [192, 168, 7, 20],
            ..
        }
    ));
    assert_eq!(
        (page.bus.baud, page.bus.parity, page.poll_interval_ms),
        (19_200, PageParity::Even, 60_000)
    );
    let meters: Vec<_> = page
        .meters
        .iter()
        .map(|(address, driver)| (address.get(), *driver))
        .collect();
    assert_eq!(meters, [(5, MeterDriver::Growatt), (6, MeterDriver::Sdm630)]);

    printed(at, &IMAGE.replace("--out sari-02", "--format --out erase"));
    let erase = fs::read(at.join("erase.uf2")).unwrap();
    assert_eq!(
        erase.len() - image.len(),
        2 * 1_048_576,
        "a MiB of queue in blocks of 256 bytes"
    );

    // The same image with another page, from the image itself: the old page is replaced.
    let again = IMAGE
        .replace("pico.uf2", "sari-02.uf2")
        .replace("--out sari-02", "--detect-meters --out other");
    printed(at, &again);
    let other = fs::read(at.join("other.uf2")).unwrap();
    assert_eq!(other.len(), image.len());
    assert!(page_in(&other).meters.is_empty());
}

#[test]
fn what_would_not_work_in_the_field_is_refused_at_the_desk() {
    let folder = installation();
    let at = folder.path();
    printed(at, ADD);
    fs::write(
        at.join("other.uf2"),
        make::uf2(make::XIP, &make::program("other-board", 5_000)),
    )
    .unwrap();
    fs::write(
        at.join("large.uf2"),
        make::uf2(make::XIP, &make::program(PICO, 0xf_0001)),
    )
    .unwrap();
    fs::write(at.join("letter.txt"), "dear").unwrap();
    for (from, to, part) in [
        ("sari-02 ", "sari-03 ", "it has sari-01, sari-02"),
        (PICO, "arduino", "there are: w5500-evb-pico"),
        (
            "pico.uf2",
            "other.uf2",
            "for the board other-board, not for w5500-evb-pico",
        ),
        ("pico.uf2", "large.uf2", "too large"),
        ("pico.uf2", "qemu.elf", "for the board qemu-lm3s6965, not for"),
        ("pico.uf2", "letter.txt", "letter.txt"),
        ("pico.uf2", "missing.uf2", "can't be read"),
        ("--program pico.uf2", "", "cargo xtask boards"),
        ("192.168.7.2", "mqtt://gateway", "HOST or HOST:PORT"),
        ("192.168.7.2", "gate_way", "broker_host"),
        ("--out", "--static 192.168.7.255/24 --out", "network.address"),
        // The time server is given by name, and nobody could say its address.
        ("--out", "--static 192.168.7.20/24 --out", "network.dns"),
        ("--out", "--bus baud=300 --out", "bus.baud"),
        (PICO, "feather-nrf52840 --bus baud=9600,parity=odd", "odd parity"),
    ] {
        let words = IMAGE.replace(from, to);
        let refusal = refused(at, &words);
        assert!(refusal.contains(part), "{words}: {refusal}");
        assert!(!at.join("sari-02.uf2").exists(), "{words}");
    }
    printed(at, IMAGE);
    let image = fs::read(at.join("sari-02.uf2")).unwrap();
    assert!(refused(at, IMAGE).contains("sari-02.uf2: it is there already and is never replaced: delete it"));
    assert_eq!(fs::read(at.join("sari-02.uf2")).unwrap(), image);
}

#[test]
fn the_emulators_flash_gets_its_page_and_keeps_its_queue() {
    let folder = installation();
    let at = folder.path();
    let words = "device image sari-01 --board qemu-lm3s6965 --program qemu.elf --broker 10.0.2.2:18830 --config taraz.toml \
                 --out flash.img";
    assert!(printed(at, words).contains("empty queue"));
    let path = at.join("flash.img");
    let mut flash = fs::read(&path).unwrap();
    assert_eq!((flash.len(), mode(&path)), (258 * 4_096, 0o600));
    assert_eq!(DevicePage::decode(&flash).unwrap().broker_port, 18_830);
    // A sector of the page, the queue, the page's other sector: an image erases that one, or an old save would count.
    let queue = 4_096..257 * 4_096;
    flash[4_096..].fill(0x5a);
    fs::write(&path, &flash).unwrap();
    assert!(printed(at, &words.replace(":18830", ":18831")).contains("its queue is as it was"));
    let now = fs::read(&path).unwrap();
    assert_eq!(DevicePage::decode(&now).unwrap().broker_port, 18_831);
    assert_eq!(now[queue.clone()], flash[queue.clone()]);
    assert!(now[queue.end..].iter().all(|&byte| byte == 0xff));
    assert!(printed(at, &format!("{words} --format")).contains("erased"));
    assert!(fs::read(&path).unwrap()[4_096..].iter().all(|&byte| byte == 0xff));
    assert!(refused(at, &words.replace("qemu.elf", "pico.uf2")).contains("runs an ELF"));
    assert!(refused(at, "device flash sari-01 --image flash.img").contains("needs no writing"));
}

/// `taraz device flash` with this folder as the boot loader's drive.
fn flash(at: &Path, more: &str) -> Child {
    let words = format!("device flash sari-02 --image sari-02.uf2 --drive drive {more}");
    let mut command = command(at, &words);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

#[test]
fn an_image_is_written_to_the_drive_that_appears() {
    let folder = installation();
    let at = folder.path();
    printed(at, ADD);
    printed(at, IMAGE);
    let image = fs::read(at.join("sari-02.uf2")).unwrap();
    let drive = at.join("drive");
    fs::create_dir(&drive).unwrap();
    let running = flash(at, "--wait-s 60 --restart-s 60");
    // The technician presses the button; the boot loader shows its drive.
    fs::write(
        drive.join("INFO_UF2.TXT"),
        "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n",
    )
    .unwrap();
    wait_for(LIMIT, "the image on the drive", || {
        let len = fs::metadata(drive.join("TARAZ.UF2")).map_or(0, |file| file.len());
        if len == image.len() as u64 {
            Ok(())
        } else {
            Err(format!("{len} bytes"))
        }
    });
    assert_eq!(fs::read(drive.join("TARAZ.UF2")).unwrap(), image);
    // The board has everything and restarts.
    fs::remove_file(drive.join("INFO_UF2.TXT")).unwrap();
    let (success, told) = ended(running);
    assert!(success && told.contains("the board has restarted"), "{told}");
}

#[test]
fn a_flash_that_can_not_go_well_says_why() {
    let folder = installation();
    let at = folder.path();
    printed(at, ADD);
    printed(at, IMAGE);
    let drive = at.join("drive");
    fs::create_dir(&drive).unwrap();
    let fails = |words: &str, part: &str| {
        let (success, told) = ended(flash(at, words));
        assert!(!success && told.contains(part), "{words}: {told}");
        told
    };
    let none = fails("--wait-s 1", "hold the button BOOTSEL");
    assert!(none.contains("no drive of a board appeared within 1 s"), "{none}");
    assert!(
        none.contains("drive has no INFO_UF2.TXT, so it is no board's drive"),
        "{none}"
    );
    let nowhere = refused(
        at,
        "device flash sari-02 --image sari-02.uf2 --drive nowhere --wait-s 0",
    );
    assert!(nowhere.contains("there is no folder nowhere"), "{nowhere}");
    fs::write(drive.join("INFO_UF2.TXT"), "Board-ID: RP2350\n").unwrap();
    let other = fails("--wait-s 60", "RP2350, not RPI-RP2");
    assert!(!other.contains("BOOTSEL"), "no button helps: {other}");
    assert!(!drive.join("TARAZ.UF2").exists());
    fs::write(drive.join("INFO_UF2.TXT"), "Board-ID: RPI-RP2\n").unwrap();
    fails("--restart-s 1", "has not restarted within 1 s");
    // The drive does not take it: here, because something else has its name.
    fs::remove_file(drive.join("TARAZ.UF2")).unwrap();
    fs::create_dir(drive.join("TARAZ.UF2")).unwrap();
    let full = fails("--restart-s 1", "can't be written");
    assert_eq!(full.matches("os error").count(), 1, "said once: {full}");
    let other = refused(at, "device flash sari-01 --image sari-02.uf2 --drive drive");
    assert!(other.contains("the image of sari-02, not of sari-01"), "{other}");
    let bare = refused(at, "device flash sari-02 --image pico.uf2 --drive drive");
    assert!(bare.contains("taraz device image"), "{bare}");
    let missing = refused(at, "device flash sari-02 --image none.uf2 --drive drive");
    assert!(missing.contains("taraz device image sari-02"), "{missing}");
}

/// A section of the guide.
fn guide(from: &str, to: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/field-guide.md");
    let guide = fs::read_to_string(path).unwrap();
    let section = guide.split(from).nth(1).unwrap().split(to).next().unwrap();
    section.to_owned()
}

/// The commands of the guide's first block.
fn guided() -> Vec<String> {
    let joined = guide("## 1. At the desk", "\n- ").replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| line.trim().strip_prefix("taraz "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_field_guide_tells_the_console_what_it_understands() {
    let table = guide("## 4. The console", "## 5.");
    let cells = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let typed: Vec<_> = cells
        .flat_map(|cell| cell.split('`').step_by(2))
        .filter(|word| !word.is_empty())
        .collect();
    assert!(typed.len() >= 12, "{typed:?}");
    for line in &typed {
        assert!(
            Command::parse(line).is_ok_and(|command| command != Command::Nothing),
            "{line}"
        );
    }
    let trouble = guide("## 5. When nothing comes", "No luck");
    let is_typed = |word: &&str| word.starts_with("config set ") || word.starts_with("scan");
    let advised: Vec<_> = trouble.split('`').filter(is_typed).collect();
    assert!(advised.len() >= 4, "{advised:?}");
    for line in advised {
        assert!(Command::parse(line).is_ok(), "{line}");
    }
}

#[test]
fn the_field_guides_commands_work_as_they_are_written() {
    let folder = installation();
    let at = folder.path();
    let program = make::program(PICO, 50_000);
    fs::write(at.join("w5500-evb-pico.elf"), make::elf(&[(make::XIP, &program)])).unwrap();
    let [add, image, flash] = guided().try_into().unwrap();
    printed(at, &add);
    printed(at, &image);
    fs::create_dir(at.join("drive")).unwrap();
    fs::write(at.join("drive/INFO_UF2.TXT"), "Board-ID: RPI-RP2\n").unwrap();
    // Nothing plays the board here: it gets as far as the restart.
    let told = refused(at, &format!("{flash} --drive drive --restart-s 0"));
    assert!(told.contains("has not restarted"), "{told}");
    assert_eq!(
        fs::read(at.join("drive/TARAZ.UF2")).unwrap(),
        fs::read(at.join("sari-02.uf2")).unwrap()
    );
}

#[test]
fn every_command_shows_examples() {
    for command in ["add", "image", "flash"] {
        let help = printed(Path::new("."), &format!("device {command} --help"));
        assert!(
            help.contains("Examples:") && help.contains(&format!("taraz device {command} ")),
            "{help}"
        );
    }
}
