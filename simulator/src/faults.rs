//! Faults on demand: `faults.toml`, and what is in force at an instant.

use jiff::Timestamp;
use serde::Deserialize;
use taraz_settings::{Document, Mistake, Place, Wrong};
use taraz_telemetry::MeterAddress;

use crate::keys::FAULTS;

/// The most faults of one list.
pub const FAULTS_MAX: usize = 256;
/// The longest delay that a `slow` unit may have in ms.
const DELAY_MS_MAX: u32 = 600_000;
/// A factor of 1 in millionths.
pub(crate) const WHOLE_PPM: u32 = 1_000_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FaultKind {
    /// The inverters give this share of their power, in millionths.
    Derate(u32),
    /// The inverters give nothing and report a fault.
    ZeroPower,
    /// No answer.
    Silent,
    /// The registers stand still.
    Stuck,
    /// Answered with exception 6, server device busy.
    Busy,
    /// Answered this much later, in ms.
    Slow(u32),
    /// The energy registers begin again at zero.
    CounterReset,
    /// One MPPT input gives nothing; counted from 0.
    StringLoss(u8),
}

/// One fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) plant: String,
    /// Only this unit; else all of the plant's that it can concern.
    pub(crate) unit: Option<MeterAddress>,
    pub(crate) kind: FaultKind,
    /// UTC ms, inclusive; `None` as far back as there is time.
    pub(crate) from_ms: Option<i64>,
    /// UTC ms, exclusive; `None` without end.
    pub(crate) until_ms: Option<i64>,
}

impl Fault {
    pub(crate) fn begins_ms(&self) -> i64 {
        self.from_ms.unwrap_or(i64::MIN)
    }

    pub(crate) fn ends_ms(&self) -> i64 {
        self.until_ms.unwrap_or(i64::MAX)
    }

    pub(crate) fn holds_at(&self, at_ms: i64) -> bool {
        (self.begins_ms()..self.ends_ms()).contains(&at_ms)
    }

    pub(crate) fn concerns(&self, plant: &str, unit: MeterAddress) -> bool {
        self.plant == plant && self.unit.is_none_or(|only| only == unit)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "fault", default)]
    faults: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    plant: String,
    unit: Option<MeterAddress>,
    kind: KindName,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    factor: Option<f64>,
    delay_ms: Option<u32>,
    input: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindName {
    Derate,
    ZeroPower,
    Silent,
    Stuck,
    Busy,
    Slow,
    CounterReset,
    StringLoss,
}

/// Parses and checks a whole fault list. Plants must be among `plants`.
pub(crate) fn parse(file: &str, text: &str, plants: &[&str]) -> Result<Vec<Fault>, Mistake> {
    let document = Document::parse(file, text, FAULTS)?;
    let list: File = document.read()?;
    if list.faults.len() > FAULTS_MAX {
        let found = format!("{} of them", list.faults.len());
        let wrong = Wrong::new("fault", found, format!("at most {FAULTS_MAX} faults"));
        return Err(document.mistake(wrong));
    }
    let each = list.faults.into_iter().enumerate();
    each.map(|(at, entry)| fault(&Place::top().item("fault", at), entry, plants))
        .collect::<Result<_, _>>()
        .map_err(|wrong| document.mistake(wrong))
}

fn fault(place: &Place, entry: Entry, plants: &[&str]) -> Result<Fault, Wrong> {
    if !plants.contains(&entry.plant.as_str()) {
        let allowed = format!("one of {}", plants.join(", "));
        return Err(Wrong::new(place.key("plant"), entry.plant, allowed));
    }
    let kind = kind(place, &entry)?;
    let (from_ms, until_ms) = (
        entry.from.map(Timestamp::as_millisecond),
        entry.until.map(Timestamp::as_millisecond),
    );
    if let (Some(from), Some(until)) = (entry.from, entry.until)
        && from >= until
    {
        let allowed = format!("after from = {from}");
        return Err(Wrong::new(place.key("until"), until, allowed));
    }
    if kind == FaultKind::CounterReset && until_ms.is_some() {
        let allowed = "no such key: a counter that was reset goes on from there";
        return Err(Wrong::new(place.key("until"), "a value", allowed));
    }
    Ok(Fault {
        plant: entry.plant,
        unit: entry.unit,
        kind,
        from_ms,
        until_ms,
    })
}

fn kind(place: &Place, entry: &Entry) -> Result<FaultKind, Wrong> {
    let (factor, delay, input) = (entry.factor, entry.delay_ms, entry.input);
    let own = match entry.kind {
        KindName::Derate => "factor",
        KindName::Slow => "delay_ms",
        KindName::StringLoss => "input",
        _ => "",
    };
    let given = [
        ("factor", factor.is_some()),
        ("delay_ms", delay.is_some()),
        ("input", input.is_some()),
    ];
    if let Some((name, _)) = given.into_iter().find(|&(name, is)| is && name != own) {
        let allowed = "no such key for a fault of this kind";
        return Err(Wrong::new(place.key(name), "a value", allowed));
    }
    let needed = |range: &str| Wrong::missing(place.key(own), range);
    let outside = |found: String, range: &str| Wrong::new(place.key(own), found, range);
    Ok(match entry.kind {
        KindName::Derate => {
            const RANGE: &str = "0 to 1, as 0.6";
            let factor = factor.ok_or_else(|| needed(RANGE))?;
            if !(0.0..=1.0).contains(&factor) {
                return Err(outside(factor.to_string(), RANGE));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 1,000,000"
            )]
            FaultKind::Derate((factor * f64::from(WHOLE_PPM)) as u32)
        }
        KindName::Slow => {
            const RANGE: &str = "0 to 600000 ms, as 3000";
            let delay_ms = delay.ok_or_else(|| needed(RANGE))?;
            if delay_ms > DELAY_MS_MAX {
                return Err(outside(delay_ms.to_string(), RANGE));
            }
            FaultKind::Slow(delay_ms)
        }
        KindName::StringLoss => {
            const RANGE: &str = "1 to 8";
            let input = input.ok_or_else(|| needed(RANGE))?;
            if !(1..=8).contains(&input) {
                return Err(outside(input.to_string(), RANGE));
            }
            FaultKind::StringLoss(input - 1)
        }
        KindName::ZeroPower => FaultKind::ZeroPower,
        KindName::Silent => FaultKind::Silent,
        KindName::Stuck => FaultKind::Stuck,
        KindName::Busy => FaultKind::Busy,
        KindName::CounterReset => FaultKind::CounterReset,
    })
}

/// The faults of a file that is edited while the simulation runs.
///
/// A fault without `from` begins when it is read first; one that is taken out ends then, and what it cost stays lost:
/// no register jumps when a list is edited.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveFaults {
    /// In force now: as the file has it, and as it holds.
    open: Vec<(Fault, Fault)>,
    /// Taken out of the file.
    closed: Vec<Fault>,
}

impl LiveFaults {
    /// Takes over a new list at an instant of the bus clock.
    pub(crate) fn update(&mut self, list: Vec<Fault>, now_ms: i64) {
        let mut before = std::mem::take(&mut self.open);
        for fault in list {
            let known = before.iter().position(|(as_written, _)| *as_written == fault);
            let held = match known {
                Some(index) => before.swap_remove(index).1,
                None => Fault {
                    from_ms: fault.from_ms.or(Some(now_ms)),
                    ..fault.clone()
                },
            };
            self.open.push((fault, held));
        }
        for (_, mut held) in before {
            // A reset can't be taken back, and what ended before goes on having been.
            if held.kind != FaultKind::CounterReset {
                held.until_ms = Some(held.ends_ms().min(now_ms.max(held.begins_ms())));
            }
            self.closed.push(held);
        }
        let surplus = (self.closed.len() + self.open.len()).saturating_sub(2 * FAULTS_MAX);
        self.closed.drain(..surplus.min(self.closed.len()));
    }

    /// Everything that holds or held.
    pub(crate) fn all(&self) -> Vec<Fault> {
        self.open
            .iter()
            .map(|(_, held)| held)
            .chain(&self.closed)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTS: &[&str] = &["a", "b"];

    #[test]
    fn a_list_parses() {
        let text = r#"
            [[fault]]
            plant = "a"
            kind = "derate"
            factor = 0.25
            from = "2026-05-01T00:00:00Z"
            until = "2026-05-02T00:00:00Z"
            [[fault]]
            plant = "b"
            unit = 2
            kind = "silent"
        "#;
        let faults = parse("faults.toml", text, PLANTS).unwrap();
        assert_eq!(faults[0].kind, FaultKind::Derate(250_000));
        assert_eq!(faults[0].ends_ms() - faults[0].begins_ms(), 86_400_000);
        assert!(faults[1].concerns("b", MeterAddress::new(2).unwrap()));
        assert!(!faults[1].concerns("b", MeterAddress::new(1).unwrap()));
        assert!(faults[1].holds_at(0));
        assert!(parse("faults.toml", "", PLANTS).unwrap().is_empty());
    }

    #[test]
    fn an_error_names_key_value_and_what_is_allowed() {
        let error = |text: &str| parse("faults.toml", text, PLANTS).unwrap_err().to_string();
        assert_eq!(
            error("[[fault]]\nplant = \"c\"\nkind = \"silent\""),
            "faults.toml: line 2: fault.plant: found \"c\"; allowed: one of a, b"
        );
        assert!(
            error("[[fault]]\nplant = \"a\"\nkind = \"derate\"")
                .contains("line 1: fault.factor: found nothing; allowed: 0 to 1")
        );
        assert!(
            error("[[fault]]\nplant = \"a\"\nkind = \"derate\"\nfactor = 2.0")
                .contains("fault.factor: found 2.0; allowed: 0 to 1")
        );
        assert!(
            error("[[fault]]\nplant = \"a\"\nkind = \"silent\"\nfactor = 0.5")
                .contains("fault.factor: found 0.5; allowed: no such key")
        );
        assert!(
            error("[[fault]]\nplant = \"a\"\nkind = \"broken\"")
                .contains("fault.kind: found \"broken\"; allowed: one of: derate")
        );
        let upside_down =
            "[[fault]]\nplant='a'\nkind='silent'\nfrom='2026-05-02T00:00:00Z'\nuntil='2026-05-01T00:00:00Z'";
        assert!(error(upside_down).contains("after from"));
    }

    #[test]
    fn a_fault_without_from_begins_when_it_is_read_and_ends_when_it_is_taken_out() {
        let silent = parse(
            "faults.toml",
            "[[fault]]\nplant = \"a\"\nkind = \"silent\"",
            PLANTS,
        )
        .unwrap();
        let mut live = LiveFaults::default();
        live.update(silent.clone(), 1_000);
        live.update(silent, 2_000);
        let all = live.all();
        assert_eq!(
            (all.len(), all[0].from_ms, all[0].until_ms),
            (1, Some(1_000), None)
        );
        live.update(Vec::new(), 3_000);
        assert_eq!(
            (live.all()[0].from_ms, live.all()[0].until_ms),
            (Some(1_000), Some(3_000))
        );
        assert!(live.all()[0].holds_at(2_999) && !live.all()[0].holds_at(3_000));
    }
}
