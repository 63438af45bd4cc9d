//! For tests: a keyboard, a screen, a device and a board behind a console, over a simulated bus.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::pending;
use std::rc::Rc;
use std::string::String as StdString;
use std::vec;
use std::vec::Vec;

use embassy_futures::select::select;
use embassy_futures::{block_on, yield_now};
use embedded_io_async::{ErrorType, Read, Write};
use taraz_telemetry::{
    Clock, DeviceId, DevicePage, FirmwareVersion, MeterAddress, MeterDriver, PAGE_LEN, PageError, PollStatus,
    ResetCause,
};

use super::config_tests::page;
use super::*;
use crate::app::{DeviceStatus, LastPoll, LinkState, MeterBus, MeterStatus, PollGlance, TimeServerState};
use crate::clock::ClockStatus;
use crate::config::MeterSettings;
use crate::detect::{LineSettings, Parity};
use crate::field::bench::{Pin, SimLine, SimUnit};
use crate::field::{BusDesk, FieldBus, FieldBusSettings};
use crate::modbus::BusCounters;
use crate::poll::METERS_MAX;
use crate::queue::Found;

pub(super) const USUAL: LineSettings = LineSettings::new(9_600, Parity::None);

type Screen = Rc<RefCell<StdString>>;

/// Types each text once the screen shows what it waits for, behind what was typed before.
struct Keyboard {
    screen: Screen,
    script: Vec<(&'static str, &'static str)>,
    seen: usize,
    typing: Vec<u8>,
}

impl ErrorType for Keyboard {
    type Error = Infallible;
}

impl Read for Keyboard {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            if !self.typing.is_empty() {
                buf[0] = self.typing.remove(0);
                return Ok(1);
            }
            if self.script.is_empty() {
                return Ok(0);
            }
            let found = self.screen.borrow()[self.seen..].find(self.script[0].0);
            match found {
                Some(at) => {
                    let (shown, keys) = self.script.remove(0);
                    self.seen += at + shown.len();
                    self.typing = keys.into();
                }
                None => yield_now().await,
            }
        }
    }
}

struct Writer(Screen);

impl ErrorType for Writer {
    type Error = Infallible;
}

impl Write for Writer {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        // One byte at a time, as a slow UART takes them.
        let character_len = core::str::from_utf8(buf)
            .unwrap()
            .chars()
            .next()
            .unwrap()
            .len_utf8();
        self.0
            .borrow_mut()
            .push_str(core::str::from_utf8(&buf[..character_len]).unwrap());
        Ok(character_len)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

pub(super) struct Bench {
    pub(super) meters: Vec<MeterStatus>,
    pub(super) status: DeviceStatus,
}

impl ConsoleDevice for Bench {
    fn id(&self) -> DeviceId {
        DeviceId::new("sari-01").unwrap()
    }

    fn firmware(&self) -> FirmwareVersion {
        "0.1.0".try_into().unwrap()
    }

    fn poll_interval_ms(&self) -> u32 {
        60_000
    }

    fn status(&self) -> DeviceStatus {
        self.status
    }

    fn meters(&self) -> heapless::Vec<MeterStatus, METERS_MAX> {
        self.meters.iter().copied().collect()
    }
}

pub(super) struct Board {
    pub(super) page: RefCell<Result<DevicePage, PageError>>,
    pub(super) rebooted: Cell<bool>,
    pub(super) flash_fails: bool,
    pub(super) net: Option<NetStatus>,
}

impl ConsoleHost for Board {
    fn board(&self) -> &str {
        "qemu-lm3s6965"
    }

    fn last_run(&self) -> Option<&str> {
        Some("a task did not answer: link")
    }

    fn net(&self) -> Option<NetStatus> {
        self.net
    }

    fn load_page(&self) -> Result<DevicePage, PageError> {
        self.page.borrow().clone()
    }

    fn save_page(&self, page: &DevicePage) -> Result<(), PageSaveError> {
        if self.flash_fails {
            return Err(PageSaveError::Memory);
        }
        let mut bytes = [0; PAGE_LEN];
        page.encode(&mut bytes)?;
        *self.page.borrow_mut() = DevicePage::decode(&bytes);
        Ok(())
    }

    fn reboot(&self) {
        self.rebooted.set(true);
    }
}

pub(super) fn board() -> Board {
    Board {
        page: RefCell::new(Ok(page())),
        rebooted: Cell::new(false),
        flash_fails: false,
        net: Some(NetStatus {
            cable: Some(true),
            hardware_address: [2, 0x1A, 0xB0, 4, 5, 6],
            address: Some(([10, 0, 2, 15], 24)),
            gateway: Some([10, 0, 2, 2]),
            dns: Some([10, 0, 2, 3]),
            address_wait_ms: 0,
        }),
    }
}

pub(super) fn bench() -> Bench {
    let meter = |address, driver, last, counters| MeterStatus {
        settings: MeterSettings {
            address: MeterAddress::new(address).unwrap(),
            driver,
        },
        counters,
        last,
        is_being_polled: false,
    };
    let last = |age_ms, result| Some(LastPoll { age_ms, result });
    let counters = |requests, crc_errors, timeouts, exceptions| BusCounters {
        requests,
        crc_errors,
        timeouts,
        exceptions,
        ..BusCounters::default()
    };
    let power = PollGlance {
        ac_power_w: Some(4_321),
        irradiance_dwm2: None,
    };
    let sun = PollGlance {
        ac_power_w: None,
        irradiance_dwm2: Some(8_127),
    };
    Bench {
        meters: vec![
            meter(
                1,
                MeterDriver::Sunspec,
                last(3_200, Ok(power)),
                counters(43_200, 3, 0, 0),
            ),
            meter(
                20,
                MeterDriver::Sdm630,
                last(61_000, Err(PollStatus::Timeout)),
                counters(1_290, 0, 1_290, 0),
            ),
            meter(
                30,
                MeterDriver::SiRs485,
                last(3_400, Ok(sun)),
                counters(14_400, 0, 1, 2),
            ),
        ],
        status: DeviceStatus {
            uptime_ms: 93_784_000,
            boot: 7,
            reset_cause: ResetCause::Watchdog,
            pending_records: 12,
            capacity_records: 30_000,
            dropped_records: 0,
            retired_blocks: 0,
            found: Found::Own,
            frames_in_flight: 1,
            repeated_frames: 2,
            link_connects: 3,
            link: LinkState::Online,
            clock: ClockStatus {
                clock: Clock::Synced,
                utc_ms: Some(1_795_000_000_123),
                error_ms: Some(12),
                last_sync_age_ms: Some(34_000),
            },
            time_server: TimeServerState::Answered,
            stack_high_water_bytes: Some(6_144),
        },
    }
}

/// Plays a session and gives the screen's text, its line ends as `\n`.
pub(super) fn play(
    script: &[(&'static str, &'static str)],
    device: Option<&Bench>,
    board: &Board,
    units: Vec<SimUnit>,
) -> StdString {
    let screen = Screen::default();
    let keyboard = Keyboard {
        screen: Rc::clone(&screen),
        script: script.to_vec(),
        seen: 0,
        typing: Vec::new(),
    };
    let line = SimLine::new(units);
    let desk = BusDesk::new();
    let settings = FieldBusSettings {
        line: Some(USUAL),
        response_timeout_ms: 500,
        meters: bench().meters.iter().map(|meter| meter.settings).collect(),
    };
    let mut bus = FieldBus::new(line.serial(), Pin, line.timer(), settings, &desk);
    let work = async {
        loop {
            bus.wanted().await;
            bus.work().await;
            yield_now().await;
        }
    };
    let console = run_console(keyboard, Writer(Rc::clone(&screen)), device, &desk, board);
    block_on(select(console, select(work, pending::<()>())));
    let text = screen.borrow().clone();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(
        text.lines()
            .all(|line| line.chars().count() <= OUTPUT_LINE_LEN_MAX)
    );
    text.replace("\r\n", "\n")
}
