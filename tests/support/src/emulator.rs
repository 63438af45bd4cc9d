//! A board in an emulator: the real ELF in QEMU, or the real UF2 in `tests/js/rp2040`. Its flash is a file, its bus a TCP
//! port, its console a file and a port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Process, free_port, require, wait_for};

/// The emulated machine.
const MACHINE: &str = "lm3s6965evb";
/// QEMU opens its console's port at once; generous for a busy computer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How this computer's 127.0.0.1 is called inside the machine (QEMU's user network).
pub const HOST_IN_EMULATOR: &str = "10.0.2.2";

/// What the board is.
#[derive(Clone, Debug)]
pub enum Machine {
    /// QEMU's `lm3s6965evb` with this ELF.
    Lm3s6965(PathBuf),
    /// A W5500-EVB-Pico whose boot loader gets this UF2 before it is switched on for the first time.
    W5500EvbPico(PathBuf),
}

/// A board that is switched on or off. Its flash is `flash.img` in its folder and outlives every switch.
pub struct Emulator {
    name: String,
    machine: Machine,
    folder: PathBuf,
    bus: SocketAddr,
    running: Option<Running>,
    starts: u32,
}

struct Running {
    process: Process,
    /// The network of a machine that is not QEMU's own.
    _network: Option<Process>,
    console: TcpStream,
}

impl Emulator {
    /// A board that is off. `folder` holds its `flash.img`, `bus` is the RS-485 bus behind a serial server.
    #[must_use]
    pub fn new(name: &str, machine: Machine, folder: &Path, bus: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            machine,
            folder: folder.to_owned(),
            bus,
            running: None,
            starts: 0,
        }
    }

    /// Switches it on.
    ///
    /// # Panics
    /// When it is on, or its program is not there, or the emulator is not installed or does not start.
    pub fn switch_on(&mut self) {
        assert!(self.running.is_none(), "{} is on already", self.name);
        self.starts += 1;
        let console_port = free_port();
        let (mut command, network) = match &self.machine {
            Machine::Lm3s6965(elf) => (self.qemu(elf, console_port), None),
            Machine::W5500EvbPico(uf2) => {
                let (network, port) = self.cable();
                (self.pico(uf2, console_port, port), Some(network))
            }
        };
        let log = self.folder.join("emulator.log");
        let mut process = Process::start(&self.name, &mut command, &log);
        let address = SocketAddr::from(([127, 0, 0, 1], console_port));
        let console = process.wait_for(START_LIMIT, "the console's port", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(|error| error.to_string())
        });
        self.running = Some(Running {
            process,
            _network: network,
            console,
        });
    }

    fn qemu(&self, elf: &Path, console_port: u16) -> Command {
        assert_built(elf);
        let bus = self.bus;
        let mut command = Command::new(require("qemu-system-arm"));
        command
            .current_dir(&self.folder)
            .args(["-M", MACHINE, "-display", "none", "-monitor", "none"]);
        // A pcap of everything on its wire, to count bytes with the heads of TCP and IP.
        command.args(["-netdev", "user,id=net", "-net", "nic,netdev=net"]);
        command.args(["-object", "filter-dump,id=dump,netdev=net,file=net.pcap"]);
        command.args([
            "-chardev",
            &format!("socket,id=console,host=127.0.0.1,port={console_port},server=on,wait=off,logfile=console.log,logappend=on"),
            "-serial",
            "chardev:console",
            "-chardev",
            &format!("socket,id=bus,host={},port={},reconnect=1", bus.ip(), bus.port()),
            "-serial",
            "chardev:bus",
        ]);
        command.args(["-semihosting-config", "enable=on,target=native"]);
        command.arg("-kernel").arg(elf);
        command
    }

    /// QEMU without a machine: its user network at the end of a cable, and the port of the other end.
    fn cable(&self) -> (Process, u16) {
        let port = free_port();
        let mut command = Command::new(require("qemu-system-arm"));
        command.current_dir(&self.folder).args([
            "-M",
            "none",
            "-nodefaults",
            "-display",
            "none",
            "-monitor",
            "none",
        ]);
        command.args(["-netdev", "user,id=net", "-netdev"]);
        command.arg(format!("socket,id=cable,listen=127.0.0.1:{port}"));
        command.args(["-netdev", "hubport,id=a,hubid=0,netdev=net"]);
        command.args(["-netdev", "hubport,id=b,hubid=0,netdev=cable"]);
        command.args(["-object", "filter-dump,id=dump,netdev=net,file=net.pcap"]);
        let log = self.folder.join("network.log");
        (
            Process::start(&format!("{}-network", self.name), &mut command, &log),
            port,
        )
    }

    fn pico(&self, uf2: &Path, console_port: u16, cable_port: u16) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../js/rp2040/run.js");
        assert!(
            script.with_file_name("../node_modules/rp2040js").is_dir(),
            "this test needs rp2040js, which is not installed:\n  cargo xtask setup"
        );
        let mut command = Command::new(require("node"));
        command.current_dir(&self.folder).arg(script);
        command.args(["--flash", "flash.img", "--log", "console.log"]);
        command.args(["--console", &console_port.to_string()]);
        command.args(["--bus", &self.bus.to_string()]);
        command.args(["--net", &format!("127.0.0.1:{cable_port}")]);
        if !self.flash().is_file() {
            assert_built(uf2);
            command.arg("--uf2").arg(uf2);
        }
        command
    }

    /// Cuts the power: kill -9.
    ///
    /// # Panics
    /// When it is off.
    pub fn cut_power(&mut self) {
        let mut running = self
            .running
            .take()
            .unwrap_or_else(|| panic!("{} is off", self.name));
        running.process.kill();
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// How often it was switched on.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// The emulator's process, when it is on.
    ///
    /// # Panics
    /// When it is off.
    pub fn process(&mut self) -> &mut Process {
        match &mut self.running {
            Some(running) => &mut running.process,
            None => panic!("{} is off", self.name),
        }
    }

    /// The file that stands for its flash.
    #[must_use]
    pub fn flash(&self) -> PathBuf {
        self.folder.join("flash.img")
    }

    /// The folder with its flash, its console's log and `net.pcap`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of the Ethernet frames with TCP in them that crossed its wire since it was switched on last, both ways, heads
    /// of Ethernet, IP and TCP included: from the capture that QEMU writes.
    ///
    /// # Panics
    /// When there is no capture.
    #[must_use]
    pub fn tcp_wire_bytes(&self) -> u64 {
        let capture = std::fs::read(self.folder.join("net.pcap")).expect("the capture of an emulator's wire");
        tcp_bytes(&capture)
    }

    /// Seconds of this computer's CPU that the emulator has taken since it was switched on last.
    ///
    /// # Panics
    /// When it is off.
    pub fn cpu_s(&mut self) -> f64 {
        let id = self.process().id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("the state of a child of ours");
        // proc(5): utime and stime are the 14th and 15th field, in ticks of 1/100 s; the name before them may have blanks.
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = behind_name.split_whitespace().skip(11).take(2);
        ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    /// Everything that its console has said, over all starts.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.folder.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Types a line on its console.
    ///
    /// # Panics
    /// When it is off.
    pub fn type_line(&mut self, line: &str) {
        let Some(running) = &mut self.running else {
            panic!("{} is off", self.name)
        };
        let typed = running.console.write_all(format!("{line}\r").as_bytes());
        typed.unwrap_or_else(|error| panic!("typing {line:?} on the console of {}: {error}", self.name));
        // What it says is in the log; here it is only taken away so that it never blocks.
        let _ = running.console.set_nonblocking(true);
        let mut heard = [0; 4_096];
        while matches!(running.console.read(&mut heard), Ok(1..)) {}
        let _ = running.console.set_nonblocking(false);
    }

    /// Waits until the console has said `text` behind the byte `from` of its log; gives the end of that place.
    ///
    /// # Panics
    /// When `limit` is over; the end of what it said is in the message.
    pub fn wait_said(&mut self, limit: Duration, from: usize, text: &str) -> usize {
        let what = format!("the console of {} to say {text:?}", self.name);
        wait_for(limit, &what, || {
            let said = self.console();
            let at = said.get(from..).and_then(|new| new.find(text));
            at.map(|at| from + at + text.len()).ok_or_else(|| {
                let lines: Vec<&str> = said.lines().collect();
                lines[lines.len().saturating_sub(40)..].join("\n")
            })
        })
    }
}

/// A pcap file: a head of 24 bytes, then packets behind heads of 16 whose third word is their captured length.
fn tcp_bytes(capture: &[u8]) -> u64 {
    const FILE_HEAD_LEN: usize = 24;
    const PACKET_HEAD_LEN: usize = 16;
    /// EtherType IPv4 and protocol 6, TCP.
    const ETHER_TYPE: [u8; 2] = [0x08, 0x00];
    const PROTOCOL_AT: usize = 23;
    let mut rest = capture.get(FILE_HEAD_LEN..).unwrap_or_default();
    let mut sum = 0;
    while let Some((head, behind)) = rest.split_at_checked(PACKET_HEAD_LEN) {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let Some((packet, next)) = behind.split_at_checked(length as usize) else {
            break;
        };
        if packet.get(12..14) == Some(&ETHER_TYPE) && packet.get(PROTOCOL_AT) == Some(&6) {
            sum += u64::from(length);
        }
        rest = next;
    }
    sum
}

fn assert_built(program: &Path) {
    assert!(
        program.is_file(),
        "{} is not there: build it with `cargo xtask boards`",
        program.display()
    );
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.console();
            let lines: Vec<&str> = said.lines().collect();
            let shown = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("---- the end of the console of {} ----\n{shown}\n----", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_is_counted() {
        let packet = |protocol: u8, len: u32| {
            let mut bytes = vec![0; 16 + len as usize];
            bytes[8..12].copy_from_slice(&len.to_le_bytes());
            bytes[28] = 0x08;
            bytes[39] = protocol;
            bytes
        };
        let capture = [
            vec![0; 24],
            packet(6, 60),
            packet(17, 90),
            packet(6, 1_000),
            vec![0; 7],
        ]
        .concat();
        assert_eq!(tcp_bytes(&capture), 1_060);
    }
}
