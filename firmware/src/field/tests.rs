//! The bus of a board in simulated time.

use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use embassy_futures::{block_on, join::join, poll_once, yield_now};
use taraz_telemetry::{MeterAddress, MeterDriver, PollStatus};

use super::bench::{Manner, Pin, SimLine, SimSerial, SimTimer, SimUnit, sdm630, sunspec};
use super::*;
use crate::app::MeterBus;
use crate::config::MeterSettings;
use crate::detect::{DetectPlan, DetectScope, LineSettings, Parity, UnitKind};
use crate::modbus::{BusError, ReadFunction, ReadRegisters};
use crate::poll::{Schedule, Turn};

const USUAL: LineSettings = LineSettings::new(9_600, Parity::None);
const RESPONSE_TIMEOUT_MS: u32 = 500;
const INTERVAL_MS: u64 = 10_000;
/// One poll of a dead meter: three tries, with their request on the line and what a late answer is left.
const DEAD_POLL_MS: u64 = 4 * 500 + 500;

type Field<'d> = FieldBus<'d, SimSerial, Pin, SimTimer>;

fn meter(address: u8, driver: MeterDriver) -> MeterSettings {
    MeterSettings {
        address: MeterAddress::new(address).unwrap(),
        driver,
    }
}

fn field<'d>(
    line: &Rc<SimLine>,
    settings: Option<LineSettings>,
    meters: &[MeterSettings],
    desk: &'d BusDesk,
) -> Field<'d> {
    let settings = FieldBusSettings {
        line: settings,
        response_timeout_ms: RESPONSE_TIMEOUT_MS,
        meters: meters.iter().copied().collect(),
    };
    FieldBus::new(line.serial(), Pin, line.timer(), settings, desk)
}

/// One poll: whose, when it was due, when it began, what came of it.
type Polled = (usize, u64, u64, Result<Option<i32>, PollStatus>);

/// What the device's loop does, in simulated time.
async fn run(bus: &mut Field<'_>, line: &Rc<SimLine>, until_ms: u64) -> Vec<Polled> {
    let mut schedule = Schedule::new(bus.meters().len(), 10_000);
    let mut known = bus.meters().len();
    let mut polls = Vec::new();
    loop {
        let now_ms = line.now_us.get() / 1_000;
        if now_ms >= until_ms {
            return polls;
        }
        for _ in known..bus.meters().len() {
            schedule.add();
        }
        known = bus.meters().len();
        let turn = if bus.can_poll() {
            schedule.next(now_ms)
        } else {
            Turn::Wait { until_ms }
        };
        match turn {
            Turn::Poll(index) => {
                let result = bus.poll(index).await;
                let ended_ms = line.now_us.get() / 1_000;
                schedule.polled(index, now_ms, ended_ms, None, result.is_ok());
                let due_ms = now_ms / INTERVAL_MS * INTERVAL_MS;
                polls.push((index, due_ms, now_ms, result.map(|values| values.ac_power_w)));
            }
            Turn::Wait { .. } if poll_once(bus.wanted()).is_ready() => bus.work().await,
            Turn::Wait { until_ms: due_ms } => {
                // Also the bus's own search may be due earlier; a step of a second finds out.
                let next_us = line.now_us.get() + 1_000_000;
                line.now_us.set(next_us.min(due_ms.min(until_ms) * 1_000));
                yield_now().await;
            }
        }
    }
}

fn late_ms(polls: &[Polled], index: usize) -> u64 {
    let of_meter = polls.iter().filter(|(at, ..)| *at == index);
    // The first round does not know yet who is dead.
    let late = of_meter.skip(1).map(|(_, due_ms, began_ms, _)| began_ms - due_ms);
    late.max().unwrap()
}

#[test]
fn meters_are_polled_as_they_are_configured() {
    let line = SimLine::new(vec![sdm630(20, USUAL), sunspec(1, USUAL)]);
    let desk = BusDesk::new();
    let meters = [meter(1, MeterDriver::Sunspec), meter(20, MeterDriver::Sdm630)];
    let mut bus = field(&line, Some(USUAL), &meters, &desk);
    let polls = block_on(run(&mut bus, &line, 30_000));
    let power = |index| {
        let mut of_meter = polls.iter().filter(|(at, ..)| *at == index);
        assert_eq!(of_meter.clone().count(), 3);
        let first = of_meter.next().unwrap().3;
        assert!(of_meter.all(|poll| poll.3 == first));
        first
    };
    assert_eq!((power(0), power(1)), (Ok(Some(4_321)), Ok(Some(1_500))));
    assert_eq!(bus.counters(0).timeouts + bus.counters(1).timeouts, 0);
    assert!(bus.counters(0).requests >= 3);
    assert_eq!(desk.line(), Some(USUAL));
}

#[test]
fn a_dead_meter_delays_the_others_by_its_time_out_at_most_even_while_somebody_searches() {
    let mut dead = sdm630(3, USUAL);
    dead.manner = Manner::Dead;
    let units = vec![sunspec(1, USUAL), sunspec(2, USUAL), dead];
    for searching in [false, true] {
        let line = SimLine::new(units.clone());
        let desk = BusDesk::new();
        let meters = [
            meter(3, MeterDriver::Sdm630),
            meter(1, MeterDriver::Sunspec),
            meter(2, MeterDriver::Sunspec),
        ];
        let mut bus = field(&line, Some(USUAL), &meters, &desk);
        if searching {
            desk.search(DetectPlan {
                line: None,
                scope: DetectScope::Full,
            });
        }
        let polls = block_on(run(&mut bus, &line, 300_000));
        for index in [1, 2] {
            let of_meter = polls.iter().filter(|(at, ..)| *at == index);
            assert_eq!(of_meter.clone().count(), 30, "no turn is missed");
            assert!(of_meter.clone().all(|poll| poll.3 == Ok(Some(4_321))));
            // One request of the search may be under way: its time-out, its bytes, and the rest it asks for.
            let allowed_ms = DEAD_POLL_MS + if searching { 2_000 } else { 0 };
            let late_ms = late_ms(&polls, index);
            assert!(late_ms <= allowed_ms, "meter {index} is {late_ms} ms late");
        }
        let dead = polls.iter().filter(|(at, ..)| *at == 0);
        assert!(dead.clone().count() >= 28);
        assert!(dead.clone().all(|poll| poll.3 == Err(PollStatus::Timeout)));
        assert!(bus.counters(0).timeouts >= 84 && bus.counters(1).timeouts == 0);
    }
}

#[test]
fn nothing_configured_is_found_and_polled() {
    let odd = LineSettings::new(19_200, Parity::Even);
    let line = SimLine::new(vec![sdm630(20, odd), sunspec(1, odd)]);
    line.garbles.set(true);
    let desk = BusDesk::new();
    let mut bus = field(&line, None, &[], &desk);
    assert_eq!((desk.line(), bus.meters().len()), (None, 0));
    let polls = block_on(run(&mut bus, &line, 120_000));
    assert_eq!(desk.line(), Some(odd));
    let meters = [meter(1, MeterDriver::Sunspec), meter(20, MeterDriver::Sdm630)];
    assert_eq!(bus.meters(), meters);
    assert!(polls.iter().filter(|poll| poll.3 == Ok(Some(4_321))).count() >= 5);
    assert!(polls.iter().filter(|poll| poll.3 == Ok(Some(1_500))).count() >= 5);
}

#[test]
fn an_inverter_that_slept_is_found_later_and_keeps_its_place() {
    let line = SimLine::new(vec![sdm630(20, USUAL)]);
    let desk = BusDesk::new();
    let mut bus = field(&line, None, &[], &desk);
    block_on(run(&mut bus, &line, 60_000));
    assert_eq!(bus.meters(), [meter(20, MeterDriver::Sdm630)]);
    line.units.borrow_mut().insert(0, sunspec(1, USUAL));
    let polls = block_on(run(&mut bus, &line, 20 * 60_000));
    let meters = [meter(20, MeterDriver::Sdm630), meter(1, MeterDriver::Sunspec)];
    assert_eq!(bus.meters(), meters);
    assert!(polls.iter().any(|poll| poll.0 == 1 && poll.3 == Ok(Some(4_321))));
    // It sleeps again, and stays.
    line.units.borrow_mut()[0].manner = Manner::Dead;
    let polls = block_on(run(&mut bus, &line, 40 * 60_000));
    assert_eq!(bus.meters(), meters);
    assert!(
        polls
            .iter()
            .any(|poll| poll.0 == 1 && poll.3 == Err(PollStatus::Timeout))
    );
}

#[test]
fn an_empty_bus_is_searched_again_and_again_with_pauses() {
    let line = SimLine::new(Vec::new());
    let desk = BusDesk::new();
    let mut bus = field(&line, None, &[], &desk);
    block_on(run(&mut bus, &line, 3_600_000));
    let requests = line.requests.borrow().len();
    // One search is 672 requests and takes less than five minutes; the pauses grow up to five.
    assert!((672 * 5..672 * 20).contains(&requests), "{requests}");
    line.units.borrow_mut().push(sdm630(1, USUAL));
    block_on(run(&mut bus, &line, 3_600_000 + 900_000));
    assert_eq!(bus.meters(), [meter(1, MeterDriver::Sdm630)]);
}

#[test]
fn known_meters_find_their_line() {
    let odd = LineSettings::new(4_800, Parity::Odd);
    let line = SimLine::new(vec![sdm630(7, odd)]);
    let desk = BusDesk::new();
    let mut bus = field(&line, None, &[meter(7, MeterDriver::Sdm630)], &desk);
    let polls = block_on(run(&mut bus, &line, 120_000));
    assert_eq!(desk.line(), Some(odd));
    assert_eq!(polls.last().unwrap().3, Ok(Some(1_500)));
    assert!(
        polls.iter().all(|poll| poll.3 == Ok(Some(1_500))),
        "until then it is not polled"
    );
    let asked = line.requests.borrow();
    assert!(
        asked.iter().all(|(_, _, bytes)| bytes[0] == 7),
        "nobody else was asked"
    );
}

/// The rest of the search would take as long as its time-outs do, and at every start again.
#[test]
fn known_meters_are_polled_as_soon_as_one_of_them_shows_the_line() {
    let odd = LineSettings::new(19_200, Parity::Even);
    let mut units: Vec<_> = (1..=8).map(|address| sunspec(address, odd)).collect();
    units[0].manner = Manner::Dead;
    let line = SimLine::new(units);
    let desk = BusDesk::new();
    let meters: Vec<_> = (1..=8)
        .map(|address| meter(address, MeterDriver::Sunspec))
        .collect();
    let mut bus = field(&line, None, &meters, &desk);
    let polls = block_on(run(&mut bus, &line, 60_000));
    assert_eq!((desk.line(), desk.is_searching()), (Some(odd), false));
    let (_, _, began_ms, _) = polls[0];
    // All of the eight at 9600 8N1, the dead one and the second at 19200 8E1: ten requests or so.
    assert!(began_ms < 10_000, "after {began_ms} ms");
    for index in 1..8 {
        assert!(
            polls
                .iter()
                .any(|poll| poll.0 == index && poll.3 == Ok(Some(4_321)))
        );
    }
}

#[test]
fn a_uart_that_reports_framing_errors_tells_of_a_wrong_speed_and_goes_on() {
    let line = SimLine::new(vec![sunspec(1, LineSettings::new(19_200, Parity::Even))]);
    line.garbles.set(true);
    line.framing_errors.set(true);
    let desk = BusDesk::new();
    let mut bus = field(&line, Some(USUAL), &[meter(1, MeterDriver::Sunspec)], &desk);
    let polls = block_on(run(&mut bus, &line, 20_000));
    assert!(polls.iter().all(|poll| poll.3 == Err(PollStatus::BadFrame)));
    assert!(bus.counters(0).damaged() >= 6 && bus.counters(0).timeouts == 0);
    line.framing_errors.set(false);
    line.units.borrow_mut()[0].line = USUAL;
    let polls = block_on(run(&mut bus, &line, 50_000));
    assert_eq!(polls.last().unwrap().3, Ok(Some(4_321)));
}

#[test]
fn whoever_asks_at_the_desk_is_answered_between_polls() {
    let mut quiet = SimUnit::new(9, USUAL);
    quiet.manner = Manner::Dead;
    let line = SimLine::new(vec![sunspec(1, USUAL), quiet]);
    let desk = BusDesk::new();
    let mut bus = field(&line, Some(USUAL), &[meter(1, MeterDriver::Sunspec)], &desk);
    let unit = |address| MeterAddress::new(address).unwrap();
    let marker = ReadRegisters {
        function: ReadFunction::Holding,
        start: 40_000,
        count: 2,
    };
    let input = ReadRegisters {
        function: ReadFunction::Input,
        ..marker
    };
    let asking = async {
        assert_eq!(desk.read(unit(1), marker).await.unwrap(), [0x5375, 0x6E53]);
        assert_eq!(desk.read(unit(1), input).await, Err(BusError::Exception(2)));
        assert_eq!(desk.read(unit(9), marker).await, Err(BusError::Timeout));
    };
    let (polls, ()) = block_on(join(run(&mut bus, &line, 60_000), asking));
    assert_eq!(polls.len(), 6);
    assert!(polls.iter().all(|poll| poll.3 == Ok(Some(4_321))));
    assert_eq!(bus.counters(0).exceptions, 0, "only polls count");
}

#[test]
fn a_search_at_the_desk_shows_what_it_finds_and_changes_nothing() {
    let line = SimLine::new(vec![sunspec(1, USUAL), sdm630(20, USUAL)]);
    let desk = BusDesk::new();
    let mut bus = field(&line, Some(USUAL), &[meter(1, MeterDriver::Sunspec)], &desk);
    desk.search(DetectPlan {
        line: None,
        scope: DetectScope::Likely,
    });
    assert!(desk.is_searching());
    let polls = block_on(run(&mut bus, &line, 60_000));
    assert!(!desk.is_searching());
    let found = desk
        .with_search(|search| {
            search
                .found
                .iter()
                .map(|unit| (unit.address.get(), unit.kind))
                .collect::<Vec<_>>()
        })
        .unwrap();
    let expected = [
        (1, UnitKind::Meter(MeterDriver::Sunspec)),
        (20, UnitKind::Meter(MeterDriver::Sdm630)),
    ];
    assert_eq!(found, expected);
    assert_eq!(bus.meters().len(), 1, "what is configured stays");
    assert_eq!(polls.len(), 6);
}

#[test]
fn a_search_that_is_cancelled_ends_and_the_polls_go_on() {
    let line = SimLine::new(vec![sunspec(1, USUAL)]);
    let desk = BusDesk::new();
    let mut bus = field(&line, Some(USUAL), &[meter(1, MeterDriver::Sunspec)], &desk);
    desk.search(DetectPlan {
        line: None,
        scope: DetectScope::Full,
    });
    block_on(run(&mut bus, &line, 5_000));
    desk.cancel();
    let before = line.requests.borrow().len();
    let polls = block_on(run(&mut bus, &line, 25_000));
    assert!(polls.iter().all(|poll| poll.3 == Ok(Some(4_321))));
    assert!(line.requests.borrow().len() - before < 10);
}
