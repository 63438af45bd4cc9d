//! A search of the bus, shown while it goes on.

use core::fmt::{self, Write as _};

use embassy_futures::select::{Either, select};
use embedded_io_async::{Read, Write};
use heapless::String;

use super::host::{ConsoleDevice, ConsoleHost};
use super::run::{CTRL_C, Console};
use super::terminal::say;
use crate::detect::{DetectPlan, DetectScope, DetectSummary, DetectedUnit, LineSettings, UnitKind};
use crate::poll::METERS_MAX;

/// `247:si_rs485,` for each meter.
const METERS_TEXT_LEN_MAX: usize = METERS_MAX * 14;

/// What has been shown of a search.
#[derive(Default)]
struct Shown {
    line: Option<LineSettings>,
    units: usize,
}

/// What there is to show next.
enum News {
    Line(LineSettings),
    Unit(DetectedUnit),
    Nothing,
    /// The search is over, or another one took its place.
    Over,
}

impl<R: Read, W: Write, D: ConsoleDevice, H: ConsoleHost> Console<'_, R, W, D, H> {
    pub(super) async fn scan(&mut self, full: bool, lines: bool) -> Result<(), W::Error> {
        say!(self.terminal, "searching; Ctrl-C ends it");
        self.desk.search(DetectPlan {
            line: self.desk.line().filter(|_| !lines),
            scope: if full {
                DetectScope::Full
            } else {
                DetectScope::Likely
            },
        });
        let mut shown = Shown::default();
        loop {
            match self.news(&mut shown) {
                News::Line(line) => say!(self.terminal, "  {line}"),
                News::Unit(unit) => say!(self.terminal, "{}", UnitText(&unit)),
                News::Over => return self.outcome(shown.units).await,
                News::Nothing => {
                    if self.is_cancelled().await {
                        self.desk.cancel();
                        say!(self.terminal, "ended");
                        return Ok(());
                    }
                }
            }
        }
    }

    fn news(&self, shown: &mut Shown) -> News {
        let news = self.desk.with_search(|search| {
            if let Some(unit) = search.found.get(shown.units) {
                shown.units += 1;
                return News::Unit(unit.clone());
            }
            if search.is_done {
                return News::Over;
            }
            if shown.line != Some(search.line) {
                shown.line = Some(search.line);
                return News::Line(search.line);
            }
            News::Nothing
        });
        news.unwrap_or(News::Over)
    }

    /// Waits for the search to go on; true when Ctrl-C came.
    async fn is_cancelled(&mut self) -> bool {
        let desk = self.desk;
        match select(desk.search_changed(), self.key()).await {
            Either::First(()) => false,
            Either::Second(key) => matches!(key, None | Some(CTRL_C)),
        }
    }

    async fn outcome(&mut self, units: usize) -> Result<(), W::Error> {
        let Some((line, summary)) = self.desk.with_search(|search| (search.line, search.summary)) else {
            return Ok(());
        };
        if units == 0 {
            say!(self.terminal, "{}", NobodyText(summary));
            return Ok(());
        }
        say!(
            self.terminal,
            "found {units} on {line} ({} requests)",
            summary.requests
        );
        let meters = self.desk.with_search(|search| MetersValue::of(search.found));
        if let Some(meters) = meters.filter(|meters| !meters.0.is_empty()) {
            say!(
                self.terminal,
                "to poll just these: config set meters {}",
                meters.0
            );
        }
        if summary.left_out > 0 {
            say!(
                self.terminal,
                "{} more than a device reads: spread them over more devices",
                summary.left_out
            );
        }
        Ok(())
    }
}

/// The meters among units as `config set meters` takes them.
struct MetersValue(String<METERS_TEXT_LEN_MAX>);

impl MetersValue {
    fn of(units: &[DetectedUnit]) -> Self {
        let mut text = String::new();
        for unit in units {
            if let UnitKind::Meter(driver) = unit.kind {
                let comma = if text.is_empty() { "" } else { "," };
                // Eight of the longest fit.
                let _ = write!(text, "{comma}{}:{}", unit.address, driver.as_str());
            }
        }
        Self(text)
    }
}

struct UnitText<'u>(&'u DetectedUnit);

impl fmt::Display for UnitText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.0;
        write!(f, "unit {:>3}  ", unit.address.get())?;
        match unit.kind {
            UnitKind::Meter(driver) => f.write_str(driver.as_str())?,
            UnitKind::OtherSunspec => f.write_str("a SunSpec device that is neither inverter nor meter")?,
            UnitKind::Unknown => f.write_str("answers, but its registers are none we know")?,
            UnitKind::Damaged => f.write_str("damaged answers: most likely two units have this address")?,
        }
        for (mark, text) in [
            (", ", &unit.maker),
            (" ", &unit.model),
            (", serial ", &unit.serial),
        ] {
            if !text.is_empty() {
                write!(f, "{mark}{text}")?;
            }
        }
        Ok(())
    }
}

struct NobodyText(DetectSummary);

impl fmt::Display for NobodyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DetectSummary {
            requests, damaged, ..
        } = self.0;
        if damaged > 0 {
            write!(
                f,
                "{damaged} of {requests} requests got noise: somebody is there; check A/B, termination, other masters; \
                 `scan lines full`"
            )
        } else {
            write!(
                f,
                "silence on {requests} requests: check wiring (A/B), power and addresses; `scan lines full` tries all"
            )
        }
    }
}
