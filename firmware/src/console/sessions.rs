//! Golden sessions: keys in, the terminal's text out, over a simulated bus.

use std::vec;
use std::vec::Vec;

use taraz_telemetry::{Clock, PageError};

use super::bench::{USUAL, bench, board, play};
use super::config_tests::page;
use crate::app::{LinkState, TimeServerState};
use crate::clock::ClockStatus;
use crate::field::bench::{Manner, SimUnit, sdm630, sunspec};
use crate::link::LinkError;
use crate::modbus::BusCounters;
use crate::queue::Found;
use crate::sntp::SntpFailure;

#[test]
fn a_look_around() {
    let script = [("> ", "status\r"), ("> ", "net\r"), ("> ", "queue\r")];
    let said = play(&script, Some(&bench()), &board(), Vec::new());
    let expected = "\
taraz on qemu-lm3s6965: `help` lists the commands
> status
device  sari-01, firmware 0.1.0 on qemu-lm3s6965
up      1 d 02:03:04, start 7 (watchdog)
last run: a task did not answer: link
clock   2026-11-18 11:06:40 UTC, synced: off by 12 ms at most, compared 34 s ago
link    online, session 3
queue   12 of 30000 records wait, 0 dropped
stack   6144 bytes used at most
bus     9600 8N1, meters: 3
meter  driver    last poll         value  requests  damaged  unanswered  refused
    1  sunspec   3 s ago          4321 W     43200        3           0        0
   20  sdm630    00:01:01 ago  no answer      1290        0        1290        0
       no answer: check address, wiring (A/B) and power; an inverter may sleep at night
   30  si_rs485  3 s ago      812.7 W/m2     14400        0           1        2
> net
ethernet  02:1a:b0:04:05:06
cable     plugged in
address   10.0.2.15/24
router    10.0.2.2
dns       10.0.2.3
> queue
waiting    12 records of 30000 (0 %)
dropped    0 records since the start
in flight  frames: 1, sent again since the start: 2
room       6.9 days (meters: 3, each every 60000 ms)
> ";
    assert_eq!(said, expected);
}

#[test]
fn trouble_is_said_in_words() {
    let mut device = bench();
    device.meters.clear();
    device.status.link = LinkState::Offline(LinkError::Unreachable);
    device.status.clock = NO_CLOCK;
    device.status.time_server = TimeServerState::Failed(SntpFailure::NoAnswer);
    let script = [
        ("> ", "status\r"),
        ("> ", "stauts\r"),
        ("> ", "Queue\r"),
        ("> ", "read 0 1\r"),
        ("> ", "read\r"),
    ];
    let said = play(&script, Some(&device), &board(), Vec::new());
    let expected = "\
taraz on qemu-lm3s6965: `help` lists the commands
> status
device  sari-01, firmware 0.1.0 on qemu-lm3s6965
up      1 d 02:03:04, start 7 (watchdog)
last run: a task did not answer: link
clock   unknown: the time server did not answer within 5000 ms; check its address and port
        readings are kept and get their time later
link    offline after 3 sessions: the broker can't be reached; check its address, its port, and that it runs
queue   12 of 30000 records wait, 0 dropped
stack   6144 bytes used at most
bus     9600 8N1, meters: 0
> stauts
there is no \"stauts\"; `help` lists the commands
> Queue
waiting    12 records of 30000 (0 %)
dropped    0 records since the start
in flight  frames: 1, sent again since the start: 2
> read 0 1
the unit is 1 to 247, not \"0\"
> read
it is written: read UNIT ADDRESS [COUNT] [holding|input]
> ";
    assert_eq!(said, expected);
}

const NO_CLOCK: ClockStatus = ClockStatus {
    clock: Clock::Unsynced,
    utc_ms: None,
    error_ms: None,
    last_sync_age_ms: None,
};

/// The lines of an answer that begin so.
fn lines<'s>(said: &'s str, begin: &str) -> Vec<&'s str> {
    said.lines()
        .filter(|line| line.trim_start().starts_with(begin))
        .collect()
}

#[test]
fn worn_flash_and_a_queue_of_another_device_are_said() {
    let mut device = bench();
    device.status.retired_blocks = 2;
    device.status.found = Found::OtherOwner { pending_records: 345 };
    let said = play(&[("> ", "queue\r")], Some(&device), &board(), Vec::new());
    assert_eq!(
        lines(&said, "worn"),
        ["worn       2 blocks of the flash are not used any more: plan to replace the board"]
    );
    assert_eq!(
        lines(&said, "formatted"),
        ["formatted  at the start: it was another device's, 345 records that waited are gone"]
    );
}

#[test]
fn not_asked_waiting_and_no_answer_are_three_things() {
    let mut device = bench();
    device.status.clock = NO_CLOCK;
    device.status.link = LinkState::Connecting;
    device.status.time_server = TimeServerState::NotAsked;
    for meter in &mut device.meters {
        (meter.last, meter.counters) = (None, BusCounters::default());
    }
    device.meters[1].is_being_polled = true;
    let mut board = board();
    let mut net = board.net.unwrap();
    (net.address, net.address_wait_ms) = (None, 3_000);
    board.net = Some(net);
    let script = [("> ", "status\r"), ("> ", "net\r")];
    let first = play(&script, Some(&device), &board, Vec::new());
    assert_eq!(
        lines(&first, "clock"),
        ["clock   not known yet: the time server has not been asked yet"]
    );
    assert_eq!(
        lines(&first, "link"),
        ["link    waiting for the broker: the first attempt has not ended yet"]
    );
    assert_eq!(
        lines(&first, "1  sunspec"),
        ["    1  sunspec   not asked yet                   0        0           0        0"]
    );
    assert_eq!(
        lines(&first, "20  sdm630"),
        ["   20  sdm630    waiting                         0        0           0        0"]
    );
    assert_eq!(
        lines(&first, "address"),
        ["address   none yet: waiting for the DHCP server (3 s)"]
    );
    assert!(
        !first.contains("no answer") && !first.contains("failed"),
        "{first}"
    );

    device.status.time_server = TimeServerState::Waiting;
    net.address_wait_ms = 80_000;
    board.net = Some(net);
    let later = play(&script, Some(&device), &board, Vec::new());
    assert_eq!(
        lines(&later, "clock"),
        ["clock   not known yet: waiting for the time server's answer"]
    );
    assert_eq!(
        lines(&later, "address"),
        ["address   none: no DHCP server has answered for 00:01:20; `config set network` gives a fixed one"]
    );
    net.cable = Some(false);
    board.net = Some(net);
    let unplugged = play(&script, Some(&device), &board, Vec::new());
    assert_eq!(
        lines(&unplugged, "address"),
        ["address   none: the DHCP server is asked when the cable is plugged in"]
    );
}

#[test]
fn a_clock_that_runs_on_says_why_it_was_not_compared_again() {
    let mut device = bench();
    device.status.time_server = TimeServerState::Failed(SntpFailure::Unreachable);
    let said = play(&[("> ", "status\r")], Some(&device), &board(), Vec::new());
    let since = "        since then: the time server can't be reached; check its address and the network";
    assert!(said.lines().any(|line| line == since), "{said}");
}

#[test]
fn a_search() {
    let units = || {
        let mut odd = SimUnit::new(7, USUAL);
        odd.manner = Manner::Sound;
        vec![sunspec(1, USUAL), sdm630(20, USUAL), odd]
    };
    let script = [
        ("> ", "scan\r"),
        ("sdm630\r\n> ", "scan lines full\r"),
        ("unit   1", "\x03"),
    ];
    let said = play(&script, Some(&bench()), &board(), units());
    let expected = "\
taraz on qemu-lm3s6965: `help` lists the commands
> scan
searching; Ctrl-C ends it
  9600 8N1
unit   1  sunspec, Fronius Symo 10.0-3-M, serial 29301000123456
unit   7  answers, but its registers are none we know
unit  20  sdm630
found 3 on 9600 8N1 (44 requests)
to poll just these: config set meters 1:sunspec,20:sdm630
> scan lines full
searching; Ctrl-C ends it
  9600 8N1
unit   1  sunspec, Fronius Symo 10.0-3-M, serial 29301000123456
ended
> ";
    assert_eq!(said, expected);
}

#[test]
fn a_search_that_finds_nobody_says_what_to_look_for() {
    let script = [("> ", "scan\r"), ("\n> ", "")];
    let said = play(&script, Some(&bench()), &board(), Vec::new());
    assert!(
        said.contains("silence on 32 requests: check wiring (A/B), power and addresses"),
        "{said}"
    );
    let mut broken = sunspec(1, USUAL);
    broken.manner = Manner::Damaged;
    let said = play(&script, Some(&bench()), &board(), vec![broken]);
    assert!(
        said.contains("2 of 32 requests got noise: somebody is there"),
        "{said}"
    );
}

#[test]
fn registers_as_they_stand_on_the_line() {
    let mut gone = SimUnit::new(9, USUAL);
    gone.manner = Manner::Dead;
    let script = [
        ("> ", "read 1 40000 4\r"),
        ("\n> ", "read 1 0 input\r"),
        ("\n> ", "read 20 0x46 2 input\r"),
        ("\n> ", "read 9 0\r"),
        ("\n> ", ""),
    ];
    let units = vec![sunspec(1, USUAL), sdm630(20, USUAL), gone];
    let said = play(&script, Some(&bench()), &board(), units);
    let expected = "\
taraz on qemu-lm3s6965: `help` lists the commands
> read 1 40000 4
address     hex  unsigned  signed  text
  40000  0x5375     21365   21365  Su
  40001  0x6e53     28243   28243  nS
  40002  0x0001         1       1  ..
  40003  0x0042        66      66  .B
> read 1 0 input
unit 1: exception 2, refused: it has no such registers; check the meter's driver
> read 20 0x46 2 input
address     hex  unsigned  signed  text
     70  0x4248     16968   16968  BH
     71  0x0a3d      2621    2621  .=
> read 9 0
unit 9: no answer in time; check address, wiring, baud rate and the meter's power
> ";
    assert_eq!(said, expected);
}

#[test]
fn the_configuration_is_changed_kept_and_used() {
    let board = board();
    let script = [
        ("> ", "config\r"),
        ("> ", "config set meters 1:sunspec,20:sdm630\r"),
        ("> ", "config set bus.baud 9601x\r"),
        (
            "> ",
            "config set network 192.168.1.20/24 192.168.1.1 192.168.1.1\r",
        ),
        ("> ", "reboot\r"),
        ("> ", "config save\r"),
        ("> ", "config save\r"),
        ("> ", "config\r"),
        ("> ", "reboot\r"),
    ];
    let said = play(&script, Some(&bench()), &board, Vec::new());
    let expected = "\
taraz on qemu-lm3s6965: `help` lists the commands
> config
device          sari-01 on qemu-lm3s6965
key             generation 3, not shown
network         dhcp
broker          gateway.sari:1883
sntp            time.ir:123
bus.baud        auto
bus.parity      none
bus.stop_bits   1
bus.timeout_ms  1000
poll_ms         10000
meters          auto
> config set meters 1:sunspec,20:sdm630
meters is set; `config save` keeps it
> config set bus.baud 9601x
bus.baud: expected a baud rate from 1200 to 115200, or auto
> config set network 192.168.1.20/24 192.168.1.1 192.168.1.1
network is set; `config save` keeps it
> reboot
changes are not saved: `config save` keeps them, `config undo` forgets them; then `reboot` again
> config save
saved; it is used from the next start on: `reboot`
> config save
nothing was changed
> config
device          sari-01 on qemu-lm3s6965
key             generation 3, not shown
network         192.168.1.20/24 192.168.1.1 192.168.1.1
broker          gateway.sari:1883
sntp            time.ir:123
bus.baud        auto
bus.parity      none
bus.stop_bits   1
bus.timeout_ms  1000
poll_ms         10000
meters          1:sunspec,20:sdm630
> reboot
restarting
> ";
    assert_eq!(said, expected);
    assert!(board.rebooted.get());
    let saved = board.page.borrow().clone().unwrap();
    assert_eq!(
        (saved.meters.len(), saved.key),
        (2, page().key),
        "the key stays as it was"
    );
    assert!(!said.contains("a5a5") && !said.contains("A5A5") && !said.contains("165"));
}

#[test]
fn what_is_not_kept_is_forgotten_and_a_flash_that_fails_says_so() {
    let mut board = board();
    board.flash_fails = true;
    let script = [
        ("> ", "config set poll_ms 5000\r"),
        ("> ", "config save\r"),
        ("> ", "config undo\r"),
        ("> ", "reboot\r"),
    ];
    let said = play(&script, Some(&bench()), &board, Vec::new());
    assert!(said.contains("the flash did not take the page"), "{said}");
    assert!(
        said.ends_with("> config undo\nwhat was changed is forgotten\n> reboot\nrestarting\n> "),
        "{said}"
    );
    assert_eq!(board.page.borrow().clone().unwrap().poll_interval_ms, 10_000);
}

#[test]
fn a_board_without_a_page_says_so_and_still_serves() {
    let mut board = board();
    board.net = None;
    *board.page.borrow_mut() = Err(PageError::Erased);
    let script = [
        ("> ", "status\r"),
        ("> ", "config\r"),
        ("> ", "config set poll_ms 5000\r"),
        ("> ", "net\r"),
    ];
    let said = play(&script, None, &board, Vec::new());
    let erased =
        "the configuration page is erased: write the device's image (`taraz device image`) to the board";
    assert_eq!(said.matches(erased).count(), 3, "{said}");
    assert!(
        said.contains("the network was not started: the device does not run"),
        "{said}"
    );
}

#[test]
fn help_names_every_command() {
    let said = play(&[("> ", "help\r")], Some(&bench()), &board(), Vec::new());
    for command in ["status", "scan", "read", "config", "net", "queue", "reboot"] {
        assert!(
            said.lines().any(|line| line.starts_with(command)),
            "{command} in {said}"
        );
    }
}
