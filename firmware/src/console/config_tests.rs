//! Values of the page as they are typed.

use std::format;

use taraz_telemetry::{DeviceId, DevicePage, MeterAddress, MeterDriver, PageBus, PageNetwork, PageParity};

use super::command::{Command, CommandError};
use super::config::{ConfigError, set};
use crate::modbus::{ReadFunction, ReadRegisters};

pub(super) fn page() -> DevicePage {
    DevicePage {
        board: "qemu-lm3s6965".try_into().unwrap(),
        device: DeviceId::new("sari-01").unwrap(),
        key_generation: 3,
        key: [0xA5; 32],
        network: PageNetwork::Dhcp,
        broker_host: "gateway.sari".try_into().unwrap(),
        broker_port: 1883,
        sntp_host: "time.ir".try_into().unwrap(),
        sntp_port: 123,
        bus: PageBus {
            baud: 0,
            parity: PageParity::None,
            stop_bits: 1,
            response_timeout_ms: 1_000,
        },
        poll_interval_ms: 10_000,
        meters: heapless::Vec::new(),
    }
}

fn with(name: &str, value: &str) -> Result<DevicePage, ConfigError> {
    let mut page = page();
    set(&mut page, name, value).map(|()| page)
}

#[test]
fn every_value_can_be_set() {
    let broker = with("broker", "10.0.0.5:8883").unwrap();
    assert_eq!((&broker.broker_host[..], broker.broker_port), ("10.0.0.5", 8883));
    let same_port = with("sntp", "192.0.2.1").unwrap();
    assert_eq!(
        (&same_port.sntp_host[..], same_port.sntp_port),
        ("192.0.2.1", 123)
    );
    let fixed = with("network", "192.168.1.20/24 192.168.1.1 192.168.1.2").unwrap();
    let expected = PageNetwork::Static {
        address: [192, 168, 1, 20],
        prefix_len: 24,
        gateway: [192, 168, 1, 1],
        dns: [192, 168, 1, 2],
    };
    assert_eq!(fixed.network, expected);
    assert_eq!(with("network", "dhcp").unwrap().network, PageNetwork::Dhcp);
    assert_eq!(with("bus.baud", "19200").unwrap().bus.baud, 19_200);
    assert_eq!(with("bus.baud", "auto").unwrap().bus.baud, 0);
    assert_eq!(with("bus.parity", "even").unwrap().bus.parity, PageParity::Even);
    assert_eq!(with("bus.stop_bits", "2").unwrap().bus.stop_bits, 2);
    assert_eq!(
        with("bus.timeout_ms", "300").unwrap().bus.response_timeout_ms,
        300
    );
    assert_eq!(with("poll_ms", "60000").unwrap().poll_interval_ms, 60_000);
    let meters = with("meters", "1:sunspec,20:sdm630").unwrap().meters;
    let expected = [(1, MeterDriver::Sunspec), (20, MeterDriver::Sdm630)]
        .map(|(address, driver)| (MeterAddress::new(address).unwrap(), driver));
    assert_eq!(meters[..], expected);
    assert!(with("meters", "auto").unwrap().meters.is_empty());
}

#[test]
fn what_can_not_work_changes_nothing_and_says_what_can() {
    for (name, value, said) in [
        ("speed", "9600", "`config` lists them"),
        ("key", "a5a5", "come with the image"),
        ("device", "other", "come with the image"),
        ("bus.baud", "fast", "1200 to 115200"),
        ("bus.baud", "300", "1200 to 115200"),
        ("bus.parity", "mark", "none, even or odd"),
        ("bus.stop_bits", "3", "1 or 2"),
        ("bus.timeout_ms", "1", "20 to 10000"),
        ("poll_ms", "0", "200 to 86400000"),
        ("broker", "http://x", "HOST or HOST:PORT"),
        ("broker", "bad_name", "a host name or an IPv4 address"),
        ("broker", "a:0", "broker_port"),
        ("network", "192.168.1.20", "ADDRESS/BITS"),
        ("network", "192.168.1.20/24 10.0.0.1 1.1.1.1", "own network"),
        ("network", "192.168.1.20/24", "DNS server"),
        ("meters", "1", "ADDRESS:DRIVER"),
        ("meters", "0:sunspec", "ADDRESS:DRIVER"),
        ("meters", "1:fronius", "sunspec, sdm630, growatt or si_rs485"),
        ("meters", "1:sunspec,1:sdm630", "each address once"),
        (
            "meters",
            "1:growatt,2:growatt,3:growatt,4:growatt,5:growatt,6:growatt,7:growatt,8:growatt,9:growatt",
            "at most 8",
        ),
    ] {
        let mut changed = page();
        let error = set(&mut changed, name, value).unwrap_err();
        let text = format!("{error}");
        assert!(text.contains(said), "{name} {value}: {text}");
        assert!(changed == page(), "{name} {value}");
    }
}

#[test]
fn commands_and_their_mistakes() {
    let read = |unit, function, start, count| {
        Ok(Command::Read {
            unit: MeterAddress::new(unit).unwrap(),
            read: ReadRegisters {
                function,
                start,
                count,
            },
        })
    };
    let (holding, input) = (ReadFunction::Holding, ReadFunction::Input);
    assert_eq!(Command::parse("  "), Ok(Command::Nothing));
    assert_eq!(Command::parse("read 1 40000"), read(1, holding, 40_000, 1));
    assert_eq!(Command::parse("read 20 0x48 4 input"), read(20, input, 0x48, 4));
    assert_eq!(Command::parse("read 20 72 input 4"), read(20, input, 72, 4));
    let scan = |full, lines| Ok(Command::Scan { full, lines });
    assert_eq!(Command::parse("scan"), scan(false, false));
    assert_eq!(Command::parse("scan lines full"), scan(true, true));
    let set = Command::Set {
        name: "network",
        value: "10.0.0.2/24  10.0.0.1",
    };
    assert_eq!(
        Command::parse(" config  set network  10.0.0.2/24  10.0.0.1 "),
        Ok(set)
    );
    // The name stands in the line before, too.
    let set = Command::Set {
        name: "set",
        value: "x",
    };
    assert_eq!(Command::parse("config set set x"), Ok(set));
    assert_eq!(Command::parse("config save"), Ok(Command::Save));
    assert_eq!(Command::parse("config undo"), Ok(Command::Undo));
    assert_eq!(Command::parse("stauts"), Err(CommandError::Unknown("stauts")));
    assert_eq!(Command::parse("net now"), Err(CommandError::TooMuch("now")));
    for line in ["read", "read 1", "config set", "config set poll_ms", "config sav"] {
        assert!(
            matches!(Command::parse(line), Err(CommandError::Usage(_))),
            "{line}"
        );
    }
    for line in [
        "read 0 0",
        "read 248 0",
        "read 1 65536",
        "read 1 0xg",
        "read 1 0 0",
        "read 1 0 126",
    ] {
        assert!(
            matches!(Command::parse(line), Err(CommandError::Value { .. })),
            "{line}"
        );
    }
}
