//! The driver over a UART that is a pair of queues, with a clock that jumps.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::pending;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

use embassy_futures::block_on;
use embassy_futures::yield_now;
use embedded_hal::digital::{ErrorType as PinErrorType, OutputPin};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use taraz_telemetry::{MeterAddress, MeterDriver, PollStatus, Quantities};

use super::{Bus, BusError, BusLine, BusTimer, NoDriverEnable, ReadFunction, ReadRegisters, crc16};
use crate::meters::{Meter, poll_meter};

/// What happened on the wire, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    DriverOn,
    Sent(Vec<u8>),
    DriverOff,
}

type Log = Rc<RefCell<Vec<Event>>>;

/// A unit that answers: from a request's bytes to what comes back.
type Unit = Box<dyn FnMut(&[u8]) -> Vec<u8>>;

struct Uart {
    log: Log,
    unit: Unit,
    coming: Rc<RefCell<VecDeque<u8>>>,
    broken: bool,
}

impl ErrorType for Uart {
    type Error = ErrorKind;
}

impl Read for Uart {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.broken {
            return Ok(0);
        }
        if self.coming.borrow().is_empty() {
            return pending().await;
        }
        let mut coming = self.coming.borrow_mut();
        let len = buf.len().min(coming.len()).min(7);
        for slot in &mut buf[..len] {
            *slot = coming.pop_front().unwrap();
        }
        Ok(len)
    }
}

impl Write for Uart {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        if self.broken {
            return Err(ErrorKind::BrokenPipe);
        }
        self.log.borrow_mut().push(Event::Sent(buf.to_vec()));
        let reply = (self.unit)(buf);
        self.coming.borrow_mut().extend(reply);
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

struct Pin(Log);

impl PinErrorType for Pin {
    type Error = Infallible;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().push(Event::DriverOff);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().push(Event::DriverOn);
        Ok(())
    }
}

/// Jumps to where it is asked to wait until, once everybody else had a turn.
#[derive(Clone, Default)]
struct Jumping(Rc<Cell<u64>>);

impl BusTimer for Jumping {
    fn now_us(&self) -> u64 {
        self.0.get()
    }

    async fn pause_until_us(&mut self, instant_us: u64) {
        self.0.set(self.0.get().max(instant_us));
    }

    async fn listen_until_us(&mut self, instant_us: u64) {
        yield_now().await;
        self.0.set(self.0.get().max(instant_us));
    }
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut frame = content.to_vec();
    frame.extend(crc16(content).to_le_bytes());
    frame
}

/// Answers reads with registers that count up from the address.
fn counting(request: &[u8]) -> Vec<u8> {
    let start = u16::from_be_bytes([request[2], request[3]]);
    let mut content = vec![request[0], request[1], request[5] * 2];
    content.extend((0..u16::from(request[5])).flat_map(|index| start.wrapping_add(index).to_be_bytes()));
    sealed(&content)
}

fn uart(log: &Log, unit: impl FnMut(&[u8]) -> Vec<u8> + 'static) -> Uart {
    Uart {
        log: log.clone(),
        unit: Box::new(unit),
        coming: Rc::default(),
        broken: false,
    }
}

fn address(unit: u8) -> MeterAddress {
    MeterAddress::new(unit).unwrap()
}

const READ: ReadRegisters = ReadRegisters {
    function: ReadFunction::Input,
    start: 300,
    count: 3,
};

#[test]
fn the_driver_is_on_while_sending_and_off_before_the_answer() {
    let log = Log::default();
    let mut bus = Bus::new(
        uart(&log, counting),
        Pin(log.clone()),
        Jumping::default(),
        BusLine::serial(9_600),
    );
    let registers: Vec<u16> = block_on(bus.read(address(5), READ)).unwrap().iter().collect();
    assert_eq!(registers, [300, 301, 302]);
    let request = sealed(&[5, 4, 1, 44, 0, 3]);
    assert_eq!(
        *log.borrow(),
        [
            Event::DriverOff,
            Event::DriverOn,
            Event::Sent(request),
            Event::DriverOff
        ]
    );
}

#[test]
fn a_write_reaches_the_unit() {
    let log = Log::default();
    let confirm = |request: &[u8]| sealed(&request[..6]);
    let mut bus = Bus::new(
        uart(&log, confirm),
        NoDriverEnable,
        Jumping::default(),
        BusLine::buffered(9_600),
    );
    assert_eq!(block_on(bus.write(address(247), 0, &[0, 1, 2, 3])), Ok(()));
    let request = sealed(&[247, 16, 0, 0, 0, 4, 8, 0, 0, 0, 1, 0, 2, 0, 3]);
    assert_eq!(*log.borrow(), [Event::Sent(request)]);
}

#[test]
fn what_lies_in_the_uart_is_drained_before_a_request() {
    let log = Log::default();
    let serial = uart(&log, counting);
    serial.coming.borrow_mut().extend(counting(&[5, 4, 0, 0, 0, 3]));
    let mut bus = Bus::new(
        serial,
        NoDriverEnable,
        Jumping::default(),
        BusLine::buffered(9_600),
    );
    let registers: Vec<u16> = block_on(bus.read(address(5), READ)).unwrap().iter().collect();
    assert_eq!(registers, [300, 301, 302]);
    assert_eq!(bus.counters().stray_bytes, 11);
}

#[test]
fn a_late_answer_that_waited_in_the_uart_is_not_taken_for_the_next_one() {
    let log = Log::default();
    let clock = Jumping::default();
    // The first request is answered long after its time-out, with what must not be taken for the second's answer.
    let late = Rc::new(RefCell::new(Vec::new()));
    let kept = late.clone();
    let mut requests = 0;
    let unit = move |request: &[u8]| {
        requests += 1;
        if requests > 1 {
            return counting(request);
        }
        *kept.borrow_mut() = counting(request);
        Vec::new()
    };
    let line = BusLine::serial(9_600).with_retries(0);
    let serial = uart(&log, unit);
    let coming = serial.coming.clone();
    let mut bus = Bus::new(serial, NoDriverEnable, clock.clone(), line);
    assert_eq!(block_on(bus.read(address(5), READ)), Err(BusError::Timeout));
    clock.0.set(clock.now_us() + 10_000_000);
    coming.borrow_mut().extend(late.borrow().iter());
    let next = ReadRegisters { start: 400, ..READ };
    let registers: Vec<u16> = block_on(bus.read(address(5), next)).unwrap().iter().collect();
    assert_eq!(registers, [400, 401, 402]);
    assert_eq!(bus.counters().stray_bytes, 11);
}

#[test]
fn silence_costs_simulated_time_only() {
    let log = Log::default();
    let clock = Jumping::default();
    let mut bus = Bus::new(
        uart(&log, |_| Vec::new()),
        NoDriverEnable,
        clock.clone(),
        BusLine::serial(9_600),
    );
    assert_eq!(block_on(bus.read(address(5), READ)), Err(BusError::Timeout));
    assert_eq!(log.borrow().len(), 3);
    assert!(
        (3_000_000..3_100_000).contains(&clock.now_us()),
        "{}",
        clock.now_us()
    );
}

#[test]
fn a_broken_transport_is_told_until_it_is_opened_again() {
    let log = Log::default();
    let mut bus = Bus::new(
        uart(&log, counting),
        NoDriverEnable,
        Jumping::default(),
        BusLine::serial(9_600),
    );
    let mut broken = uart(&log, counting);
    broken.broken = true;
    bus.reopen(broken);
    assert_eq!(block_on(bus.read(address(5), READ)), Err(BusError::Lost));
    assert!(bus.is_lost());
    let mut meter = Meter::new(address(5), MeterDriver::SiRs485);
    assert_eq!(
        block_on(poll_meter(&mut bus, &mut meter)),
        Err(PollStatus::Timeout)
    );
    bus.reopen(uart(&log, counting));
    assert!(!bus.is_lost());
    assert!(block_on(bus.read(address(5), READ)).is_ok());
}

#[test]
fn a_poll_runs_over_the_bus_at_tens_of_thousands_a_second() {
    let log = Log::default();
    let unit = |request: &[u8]| {
        let mut content = vec![request[0], request[1], request[5] * 2];
        content.resize(3 + usize::from(content[2]), 0);
        content[4] = 77;
        sealed(&content)
    };
    let clock = Jumping::default();
    let mut bus = Bus::new(
        uart(&log, unit),
        NoDriverEnable,
        clock.clone(),
        BusLine::serial(9_600),
    );
    let mut meter = Meter::new(address(5), MeterDriver::SiRs485);
    for _ in 0..10_000 {
        let polled = block_on(poll_meter(&mut bus, &mut meter)).unwrap();
        assert_eq!(
            polled,
            Quantities {
                irradiance_dwm2: Some(77),
                ..Quantities::default()
            }
        );
        log.borrow_mut().clear();
    }
    assert_eq!(bus.counters().exchanges, 10_000);
    // A silence each, which took no time of ours.
    assert!(clock.now_us() >= 10_000 * 4_000);
}

#[test]
fn a_growatt_is_left_alone_between_two_requests() {
    let log = Log::default();
    let clock = Jumping::default();
    let times = Rc::new(RefCell::new(Vec::new()));
    let (seen, at) = (times.clone(), clock.clone());
    let unit = move |request: &[u8]| {
        seen.borrow_mut().push(at.now_us());
        counting(request)
    };
    let mut bus = Bus::new(uart(&log, unit), NoDriverEnable, clock, BusLine::serial(9_600));
    let mut meter = Meter::new(address(5), MeterDriver::Growatt);
    assert!(block_on(poll_meter(&mut bus, &mut meter)).is_ok());
    let times = times.borrow();
    assert_eq!(times.len(), 2, "the layout, then the values");
    assert!(times[1] - times[0] >= 850_000);
}
