//! The meters of a board, polled, found and lent.

use embassy_futures::select::select;
use embedded_hal::digital::OutputPin;
use heapless::Vec;
use taraz_telemetry::{DevicePage, PollStatus, Quantities};

use super::desk::{AskedBy, BusDesk};
use super::port::{LinePort, SerialLine};
use crate::app::MeterBus;
use crate::config::MeterSettings;
use crate::detect::{
    DETECT_LINES, DetectAsk, DetectPlan, DetectScope, DetectStep, DetectedUnit, LineSettings, UnitKind,
};
use crate::meters::{MeterMemory, poll_meter};
use crate::modbus::{Bus, BusCounters, BusLine, BusTimer};
use crate::poll::METERS_MAX;

/// How often a request is sent again.
const RETRIES: u8 = 2;
/// After a search that found nothing the next one begins after this long, then after twice as long, up to
const SEARCH_PAUSE_US_MIN: u64 = 10_000_000;
/// this.
const SEARCH_PAUSE_US_MAX: u64 = 300_000_000;
/// A bus whose meters were found is searched again this often: an inverter that slept is awake in the morning.
const SEARCH_AGAIN_US: u64 = 15 * 60 * 1_000_000;

/// What is known of a board's bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldBusSettings {
    /// The line; `None` searches it.
    pub line: Option<LineSettings>,
    /// How long a meter may take to begin its answer, in ms.
    pub response_timeout_ms: u32,
    /// The meters; empty searches them.
    pub meters: Vec<MeterSettings, METERS_MAX>,
}

impl FieldBusSettings {
    /// As the configuration page says.
    #[must_use]
    pub fn from_page(page: &DevicePage) -> Self {
        let bus = &page.bus;
        let line = LineSettings {
            baud: bus.baud,
            parity: bus.parity,
            stop_bits: bus.stop_bits,
        };
        Self {
            line: (bus.baud != 0).then_some(line),
            response_timeout_ms: u32::from(bus.response_timeout_ms),
            meters: page
                .meters
                .iter()
                .map(|&(address, driver)| MeterSettings { address, driver })
                .collect(),
        }
    }
}

/// The bus of a board. `S` is the UART, `D` the pin that enables the driver (high while sending), `T` the timer.
#[derive(Debug)]
pub struct FieldBus<'d, S, D, T> {
    bus: Bus<LinePort<S>, D, T>,
    desk: &'d BusDesk,
    settings: FieldBusSettings,
    line: Option<LineSettings>,
    meters: Vec<MeterMemory, METERS_MAX>,
    listed: Vec<MeterSettings, METERS_MAX>,
    /// When the bus searches by itself the next time; `None` for never.
    search_us: Option<u64>,
    pause_us: u64,
    /// A search of its own has asked at every setting.
    has_searched: bool,
}

impl<'d, S: SerialLine, D: OutputPin, T: BusTimer> FieldBus<'d, S, D, T> {
    /// A bus on which nothing was said yet.
    pub fn new(serial: S, driver_enable: D, timer: T, settings: FieldBusSettings, desk: &'d BusDesk) -> Self {
        let searches = settings.line.is_none() || settings.meters.is_empty();
        let line = settings.line.unwrap_or(DETECT_LINES[0]);
        let mut bus = Self {
            search_us: searches.then(|| timer.now_us()),
            bus: Bus::new(
                LinePort::new(serial),
                driver_enable,
                timer,
                BusLine::serial(line.baud),
            ),
            desk,
            line: settings.line,
            meters: Vec::new(),
            listed: Vec::new(),
            pause_us: SEARCH_PAUSE_US_MIN,
            has_searched: false,
            settings,
        };
        desk.set_line(bus.line);
        for meter in bus.settings.meters.clone() {
            bus.list(meter);
        }
        bus
    }

    fn list(&mut self, meter: MeterSettings) {
        let known = self.listed.iter().any(|listed| listed.address == meter.address);
        if !known && self.listed.push(meter).is_ok() {
            // Both lists have the same room.
            let _ = self.meters.push(MeterMemory::new(meter.address, meter.driver));
        }
    }

    /// Sets the line and the bus's patience up.
    fn set(&mut self, line: LineSettings, timeout_ms: u32, retries: u8) {
        if self.bus.is_lost() {
            self.bus.recover();
            self.bus.serial().forget();
        }
        self.bus.serial().set(line);
        let bus_line = BusLine::serial(line.baud)
            .with_response_timeout_ms(timeout_ms)
            .with_retries(retries)
            .with_notice_characters(S::NOTICE_CHARACTERS);
        self.bus.set_line(bus_line);
    }

    fn set_for_meters(&mut self, line: LineSettings) {
        self.set(line, self.settings.response_timeout_ms, RETRIES);
    }

    async fn read_for_desk(&mut self) {
        let Some((unit, read)) = self.desk.take_read() else {
            return;
        };
        self.set_for_meters(self.line.unwrap_or(DETECT_LINES[0]));
        let answer = self.bus.read(unit, read).await;
        self.desk
            .answer(answer.map(|registers| registers.iter().collect()));
    }

    /// One request of the search, or its end.
    async fn search(&mut self) {
        match self.desk.with_detect(|detect, _| detect.step()) {
            Some(DetectStep::Ask(ask)) => self.ask(ask).await,
            Some(DetectStep::Done) | None => {}
        }
        let is_done = self.desk.with_detect(|detect, _| detect.is_done());
        if is_done == Some(true) {
            self.searched();
        } else {
            self.take_line_at_first_answer();
        }
        self.desk.tell();
    }

    /// Known meters need nothing but their line, and one sound answer shows it: no poll waits for those that are silent.
    fn take_line_at_first_answer(&mut self) {
        if self.line.is_some() || self.settings.meters.is_empty() {
            return;
        }
        let shown = self.desk.with_detect(|detect, asked_by| {
            let is_sound = |unit: &DetectedUnit| unit.kind != UnitKind::Damaged;
            let is_shown = asked_by == AskedBy::Bus && detect.found().iter().any(is_sound);
            is_shown.then(|| detect.line())
        });
        if let Some(line) = shown.flatten() {
            self.line = Some(line);
            self.desk.set_line(self.line);
            self.search_us = None;
            self.desk.end();
        }
    }

    async fn ask(&mut self, ask: DetectAsk) {
        self.set(ask.line, ask.timeout_ms, 0);
        let error = self.bus.read(ask.unit, ask.read).await.err();
        if ask.rest_ms > 0 {
            self.bus.rest_us(ask.rest_ms * 1_000);
        }
        let answer = error.map_or_else(|| Ok(self.bus.registers()), Err);
        // A search that was cancelled meanwhile needs no answer.
        let _ = self.desk.with_detect(|detect, _| detect.answer(answer));
    }

    /// A search is over: what it found is taken over where nothing was configured.
    fn searched(&mut self) {
        let outcome = self.desk.with_detect(|detect, asked_by| {
            let meter = |unit: &DetectedUnit| match unit.kind {
                UnitKind::Meter(driver) => Some(MeterSettings {
                    address: unit.address,
                    driver,
                }),
                _ => None,
            };
            let meters: Vec<MeterSettings, METERS_MAX> = detect.found().iter().filter_map(meter).collect();
            (detect.line(), asked_by, !detect.found().is_empty(), meters)
        });
        let Some((line, asked_by, found, meters)) = outcome else {
            return;
        };
        self.has_searched |= asked_by == AskedBy::Bus;
        if self.line.is_none() && found {
            self.line = Some(line);
            self.desk.set_line(self.line);
        }
        if self.settings.meters.is_empty() && self.line == Some(line) {
            meters.into_iter().for_each(|meter| self.list(meter));
        }
        if asked_by == AskedBy::Bus || !self.listed.is_empty() {
            self.plan_next(found);
        }
    }

    fn plan_next(&mut self, found: bool) {
        let now_us = self.bus.timer().now_us();
        let meters_are_known = !self.settings.meters.is_empty() || self.listed.is_full();
        self.search_us = if self.line.is_some() && meters_are_known {
            None
        } else if found {
            self.pause_us = SEARCH_PAUSE_US_MIN;
            Some(now_us + SEARCH_AGAIN_US)
        } else if self.listed.is_empty() || self.line.is_none() {
            let pause_us = self.pause_us;
            self.pause_us = (pause_us * 2).min(SEARCH_PAUSE_US_MAX);
            Some(now_us + pause_us)
        } else {
            Some(now_us + SEARCH_AGAIN_US)
        };
    }

    fn own_plan(&self) -> DetectPlan {
        let scope = if self.settings.meters.is_empty() {
            DetectScope::Likely
        } else {
            DetectScope::Only(self.listed.iter().map(|meter| meter.address).collect())
        };
        DetectPlan {
            line: self.line,
            scope,
        }
    }

    fn is_search_due(&mut self) -> bool {
        let now_us = self.bus.timer().now_us();
        self.search_us.is_some_and(|at_us| now_us >= at_us)
    }
}

impl<S: SerialLine, D: OutputPin, T: BusTimer> MeterBus for FieldBus<'_, S, D, T> {
    async fn poll(&mut self, index: usize) -> Result<Quantities, PollStatus> {
        let Some(line) = self.line else {
            return Err(PollStatus::Timeout);
        };
        self.set_for_meters(line);
        let Some(memory) = self.meters.get_mut(index) else {
            return Err(PollStatus::Timeout);
        };
        // A poll that is dropped leaves what was known before.
        let mut meter = memory.recall();
        let result = poll_meter(&mut self.bus, &mut meter).await;
        *memory = meter.remember();
        result
    }

    /// A line that no search could find is silent at every setting: that is an answer.
    fn can_poll(&self) -> bool {
        self.line.is_some() || self.has_searched
    }

    fn counters(&self, index: usize) -> BusCounters {
        self.meters
            .get(index)
            .map(MeterMemory::counters)
            .unwrap_or_default()
    }

    fn meters(&self) -> &[MeterSettings] {
        &self.listed
    }

    async fn wanted(&mut self) {
        while !self.desk.has_read() && !self.desk.is_searching() && !self.is_search_due() {
            let asked = self.desk.asked();
            match self.search_us {
                Some(at_us) => {
                    select(asked, self.bus.timer().pause_until_us(at_us)).await;
                }
                None => asked.await,
            }
        }
    }

    async fn work(&mut self) {
        if self.desk.has_read() {
            return self.read_for_desk().await;
        }
        if !self.desk.is_searching() {
            if !self.is_search_due() {
                return;
            }
            self.desk.begin(self.own_plan(), AskedBy::Bus);
        }
        self.search().await;
    }
}
