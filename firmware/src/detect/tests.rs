//! Searches over a simulated line.

use std::vec;
use std::vec::Vec;

use taraz_telemetry::{MeterAddress, MeterDriver};

use super::*;
use crate::field::bench::{Manner, SimUnit, growatt, sdm630, si_rs485, sunspec};
use crate::modbus::{BusError, Registers};

const USUAL: LineSettings = LineSettings::new(9_600, Parity::None);

/// What a search asked, and what it found.
struct Searched {
    detect: Detect,
    asked: Vec<DetectAsk>,
}

/// Runs a search against units without a bus in between; `garbled` answers whoever is spoken to in a wrong way.
fn search(plan: DetectPlan, units: &[SimUnit], garbled: bool) -> Searched {
    let mut detect = Detect::new(plan);
    let mut asked = Vec::new();
    while let DetectStep::Ask(ask) = detect.step() {
        assert!(asked.len() < 20_000, "a search ends");
        asked.push(ask);
        let answer = answer(units, &ask, garbled);
        let bytes: Result<Vec<u8>, BusError> =
            answer.map(|values| values.iter().flat_map(|value| value.to_be_bytes()).collect());
        match &bytes {
            Ok(bytes) => detect.answer(Ok(Registers::new(bytes))),
            Err(error) => detect.answer(Err(*error)),
        }
    }
    assert!(detect.is_done());
    Searched { detect, asked }
}

fn answer(units: &[SimUnit], ask: &DetectAsk, garbled: bool) -> Result<Vec<u16>, BusError> {
    let here: Vec<_> = units.iter().filter(|unit| unit.line == ask.line).collect();
    let mut addressed = here.iter().filter(|unit| unit.address == ask.unit.get());
    let Some(unit) = addressed.next() else {
        let misheard = garbled && here.len() < units.len();
        return Err(if misheard {
            BusError::BadFrame
        } else {
            BusError::Timeout
        });
    };
    if addressed.next().is_some() {
        return Err(BusError::BadFrame);
    }
    let read = ask.read;
    let values = (read.start..read.start + read.count)
        .map(|at| unit.registers.get(&(read.function.code(), at)).copied())
        .collect();
    match (unit.manner, values) {
        (Manner::Dead, _) => Err(BusError::Timeout),
        (Manner::Damaged, _) => Err(BusError::BadFrame),
        (Manner::BehindGateway, _) => Err(BusError::Exception(11)),
        _ if read.count > unit.read_max => Err(BusError::Exception(3)),
        (_, Some(values)) => Ok(values),
        (Manner::ShyOfExceptions, None) => Err(BusError::Timeout),
        (Manner::Sound, None) => Err(BusError::Exception(2)),
    }
}

fn likely() -> DetectPlan {
    DetectPlan {
        line: None,
        scope: DetectScope::Likely,
    }
}

fn kinds(searched: &Searched) -> Vec<(u8, UnitKind)> {
    let found = searched.detect.found().iter();
    found.map(|unit| (unit.address.get(), unit.kind)).collect()
}

#[test]
fn an_inverter_and_a_meter_say_who_they_are() {
    let searched = search(likely(), &[sdm630(20, USUAL), sunspec(1, USUAL)], false);
    let expected = [
        (1, UnitKind::Meter(MeterDriver::Sunspec)),
        (20, UnitKind::Meter(MeterDriver::Sdm630)),
    ];
    assert_eq!(kinds(&searched), expected);
    let inverter = &searched.detect.found()[0];
    assert_eq!(
        (&inverter.maker[..], &inverter.model[..], &inverter.serial[..]),
        ("Fronius", "Symo 10.0-3-M", "29301000123456")
    );
    assert_eq!(inverter.line, USUAL);
    assert!(
        searched.asked.iter().all(|ask| ask.line == USUAL),
        "the first line has them"
    );
}

#[test]
fn every_register_map_is_known_by_its_signature() {
    let searched = search(likely(), &[growatt(2, USUAL), si_rs485(3, USUAL)], false);
    let expected = [
        (2, UnitKind::Meter(MeterDriver::Growatt)),
        (3, UnitKind::Meter(MeterDriver::SiRs485)),
    ];
    assert_eq!(kinds(&searched), expected);
    assert_eq!(searched.detect.found()[0].serial, "BRI1234567");
}

#[test]
fn the_line_is_found_by_whoever_answers_on_it() {
    for line in DETECT_LINES {
        for garbled in [false, true] {
            let searched = search(likely(), &[sdm630(1, line)], garbled);
            assert_eq!(
                kinds(&searched),
                [(1, UnitKind::Meter(MeterDriver::Sdm630))],
                "{line}, garbled: {garbled}"
            );
            assert_eq!(searched.detect.line(), line);
            let damaged = searched.detect.summary().damaged > 0;
            assert_eq!(damaged, garbled && line != DETECT_LINES[0]);
        }
    }
}

#[test]
fn every_baud_rate_is_there_with_every_parity() {
    for baud in [2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200] {
        for parity in [Parity::None, Parity::Even, Parity::Odd] {
            assert!(
                DETECT_LINES.contains(&LineSettings::new(baud, parity)),
                "{baud} {parity:?}"
            );
        }
    }
}

#[test]
fn an_empty_bus_is_asked_everything_once_and_no_more() {
    let searched = search(likely(), &[], false);
    assert!(searched.detect.found().is_empty());
    let expected = DETECT_LINES.len() * LIKELY_ADDRESSES.len() * 2;
    assert_eq!(searched.asked.len(), expected);
    let summary = searched.detect.summary();
    assert_eq!((summary.answers, summary.damaged), (0, 0));
    // With nobody there a request takes its time-out and 8 characters of 11 bits.
    let ms: u64 = searched
        .asked
        .iter()
        .map(|ask| u64::from(ask.timeout_ms) + 88_000 / u64::from(ask.line.baud) + 2)
        .sum();
    assert!(ms < 5 * 60_000, "it takes {ms} ms");
}

#[test]
fn a_full_search_finds_what_is_at_no_likely_address() {
    let far = LineSettings::new(19_200, Parity::Even);
    let searched = search(likely(), &[sunspec(77, far)], false);
    assert!(searched.detect.found().is_empty());
    let full = DetectPlan {
        line: None,
        scope: DetectScope::Full,
    };
    let searched = search(full.clone(), &[sunspec(77, far)], false);
    assert_eq!(kinds(&searched), [(77, UnitKind::Meter(MeterDriver::Sunspec))]);
    // Where a likely one answers, only that line is asked in full.
    let searched = search(full, &[sunspec(77, far), sdm630(1, far)], false);
    assert_eq!(searched.detect.found().len(), 2);
    assert!(
        searched.asked.len() < 32 * 2 + 247 * 2 + 40,
        "{}",
        searched.asked.len()
    );
}

#[test]
fn a_known_line_is_the_only_one_asked() {
    let plan = DetectPlan {
        line: Some(LineSettings::new(4_800, Parity::Odd)),
        scope: DetectScope::Likely,
    };
    let searched = search(plan.clone(), &[sdm630(1, USUAL)], false);
    assert!(searched.detect.found().is_empty());
    assert!(searched.asked.iter().all(|ask| Some(ask.line) == plan.line));
}

#[test]
fn only_some_addresses() {
    let addresses = [7, 20].map(|address| MeterAddress::new(address).unwrap());
    let plan = DetectPlan {
        line: None,
        scope: DetectScope::Only(addresses.into_iter().collect()),
    };
    let line = LineSettings::new(38_400, Parity::None);
    let searched = search(plan, &[sdm630(20, line), sdm630(1, USUAL)], false);
    assert_eq!(kinds(&searched), [(20, UnitKind::Meter(MeterDriver::Sdm630))]);
    assert_eq!(searched.detect.line(), line);
    let nobody = DetectPlan {
        line: None,
        scope: DetectScope::Only(heapless::Vec::new()),
    };
    assert_eq!(Detect::new(nobody).step(), DetectStep::Done);
}

#[test]
fn two_units_at_one_address_are_named_as_that() {
    let units = vec![sdm630(1, USUAL), sunspec(1, USUAL), sunspec(2, USUAL)];
    let searched = search(likely(), &units, false);
    let expected = [(1, UnitKind::Damaged), (2, UnitKind::Meter(MeterDriver::Sunspec))];
    assert_eq!(kinds(&searched), expected);
}

#[test]
fn whoever_refuses_everything_is_there_and_unknown() {
    let searched = search(likely(), &[SimUnit::new(5, USUAL)], false);
    assert_eq!(kinds(&searched), [(5, UnitKind::Unknown)]);
}

#[test]
fn a_gateway_that_speaks_for_absent_units_finds_none() {
    let mut absent = SimUnit::new(5, USUAL);
    absent.manner = Manner::BehindGateway;
    assert!(search(likely(), &[absent], false).detect.found().is_empty());
}

#[test]
fn a_unit_that_is_silent_about_what_it_does_not_have_is_found_all_the_same() {
    let mut meter = sdm630(1, USUAL);
    meter.manner = Manner::ShyOfExceptions;
    let mut inverter = sunspec(2, USUAL);
    inverter.manner = Manner::ShyOfExceptions;
    let searched = search(likely(), &[meter, inverter], false);
    let expected = [
        (1, UnitKind::Meter(MeterDriver::Sdm630)),
        (2, UnitKind::Meter(MeterDriver::Sunspec)),
    ];
    assert_eq!(kinds(&searched), expected);
}

#[test]
fn a_sunspec_device_of_another_kind_is_named_and_not_polled() {
    let mut battery = sunspec(1, USUAL);
    battery.put(3, 40_070, &[124]);
    let searched = search(likely(), &[battery], false);
    assert_eq!(kinds(&searched), [(1, UnitKind::OtherSunspec)]);
    assert_eq!(searched.detect.found()[0].maker, "Fronius");
}

#[test]
fn more_units_than_a_device_reads_are_counted() {
    let units: Vec<_> = (1..=10).map(|address| sdm630(address, USUAL)).collect();
    let searched = search(likely(), &units, false);
    assert_eq!(
        (searched.detect.found().len(), searched.detect.summary().left_out),
        (8, 2)
    );
}

#[test]
fn lines_are_written_as_technicians_write_them() {
    assert_eq!(std::format!("{USUAL}"), "9600 8N1");
    assert_eq!(
        std::format!("{}", LineSettings::new(19_200, Parity::Even)),
        "19200 8E1"
    );
}

#[test]
fn a_unit_that_nobody_understands_is_counted_and_not_found() {
    let mut broken = sdm630(1, USUAL);
    broken.manner = Manner::Damaged;
    let searched = search(likely(), &[broken], false);
    assert!(searched.detect.found().is_empty());
    assert_eq!(
        searched.detect.summary().damaged,
        2,
        "both probes, on its line alone"
    );
}
