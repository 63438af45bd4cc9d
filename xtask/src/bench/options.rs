//! The words after `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::chain::{SCENARIOS, names};

/// What follows `cargo xtask bench`, for messages.
const EXPECTED: &str = "[demo] --days N (1 to 365) | all | load OPTIONS of `taraz-load run`, --processes 1|2 | \
                        chain --seconds N, --only SCENARIO, --processes 1|2 | \
                        peers --connections N, --window N, --readings N | stages | rebuild | close | month --plants N, --days N | herd --connections N, --backlog-readings N, --live N | \
                        overload --minutes N, --connections N, --live N, --mad N, --strangers N; each with --json FILE, --binary PATH";
/// The longest history that a device takes.
const DAYS_MAX: u32 = 365;

/// What to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The demo's devices with so many days of history.
    Demo {
        /// How much history each device has.
        days: u32,
    },
    /// The scenarios of the whole chain.
    Chain(ChainOptions),
    /// The chains of others beside ours.
    Peers(PeerOptions),
    /// Each stage alone.
    Stages,
    /// Intervals made anew, of a plant-year and more.
    Rebuild,
    /// The figures of a closed quarter-hour and day, of many plants.
    Close,
    /// A month of readings at rest.
    Month(MonthOptions),
    /// Devices that all come back at once.
    Herd(HerdOptions),
    /// One run of the load generator.
    Load {
        /// Gateway and ingest in one process or in two.
        processes: Processes,
        /// What is passed on to the load generator.
        arguments: Vec<String>,
    },
}

/// Which scenarios of the whole chain, for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChainOptions {
    /// Of publishing, and as long of probing.
    pub(super) seconds: u32,
    /// One scenario by its name; all without.
    pub(super) only: Option<String>,
    /// How gateway and ingest run, one after the other.
    pub(super) processes: Vec<Processes>,
}

/// What is stored for the figures at rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MonthOptions {
    /// Plants with three meters each.
    pub(super) plants: usize,
    /// Days of one poll a minute.
    pub(super) days: u64,
}

/// How large a herd.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HerdOptions {
    /// Devices that come back at once.
    pub(super) connections: usize,
    /// Readings that each of them has kept.
    pub(super) backlog_readings: u64,
    /// Devices that publish live beside them.
    pub(super) live: usize,
    /// Their backlog does not end: for so long, without a kill.
    pub(super) minutes: Option<u32>,
    /// Devices that flood.
    pub(super) mad: usize,
    /// Connections with a wrong password.
    pub(super) strangers: usize,
}

impl HerdOptions {
    /// What its figures are called.
    pub(super) const fn part(&self) -> &'static str {
        if self.minutes.is_some() {
            "overload"
        } else {
            "herd"
        }
    }
}

/// What every chain gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PeerOptions {
    /// Devices, each with a connection.
    pub(super) connections: usize,
    /// Messages of each in flight.
    pub(super) window: usize,
    /// Readings of the run.
    pub(super) readings: u64,
}

/// How gateway and ingest run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processes {
    /// `taraz up`
    One,
    /// `taraz gateway` and `taraz ingest`
    Two,
}

/// What to measure, and where to put it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    parts: Vec<(&'static str, Part)>,
    /// A file for the figures.
    pub(super) json: Option<PathBuf>,
    /// An existing binary of `taraz` instead of a fresh build.
    pub(super) binary: Option<PathBuf>,
}

impl Options {
    /// From the words after `cargo xtask bench`.
    ///
    /// # Errors
    /// When they are none of the known options.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let (part, rest) = match words.split_first() {
            Some((&part, rest)) if !part.starts_with("--") => (part, rest),
            _ => ("demo", words),
        };
        let (mut json, mut binary, mut own) = (None, None, Vec::new());
        for pair in rest.chunks(2) {
            match pair {
                ["--json", file] => json = Some(PathBuf::from(file)),
                ["--binary", path] => binary = Some(PathBuf::from(path)),
                pair => own.extend_from_slice(pair),
            }
        }
        let parts = match part {
            "all" if own.is_empty() => {
                let all = [
                    ("stages", Part::Stages),
                    ("rebuild", Part::Rebuild),
                    ("close", Part::Close),
                    ("month", Part::Month(month(&[])?)),
                    ("chain", Part::Chain(chain(&[])?)),
                    ("herd", Part::Herd(herd(&[])?)),
                    ("peers", Part::Peers(peers(&[])?)),
                    ("demo", demo(&[])?),
                ];
                Vec::from(all)
            }
            "chain" => vec![("chain", Part::Chain(chain(&own)?))],
            "demo" => vec![("demo", demo(&own)?)],
            "herd" => vec![("herd", Part::Herd(herd(&own)?))],
            "overload" => vec![("overload", Part::Herd(overload(&own)?))],
            "load" => vec![("load", load(&own)?)],
            "month" => vec![("month", Part::Month(month(&own)?))],
            "peers" => vec![("peers", Part::Peers(peers(&own)?))],
            "rebuild" if own.is_empty() => vec![("rebuild", Part::Rebuild)],
            "close" if own.is_empty() => vec![("close", Part::Close)],
            "stages" if own.is_empty() => vec![("stages", Part::Stages)],
            _ => return Err(unexpected(words)),
        };
        Ok(Self { parts, json, binary })
    }

    /// What to measure, one after the other, by name.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, &Part)> {
        self.parts.iter().map(|(name, part)| (*name, part))
    }
}

fn unexpected(words: &[&str]) -> anyhow::Error {
    anyhow::anyhow!(
        "expected {EXPECTED} after `cargo xtask bench`, found: {}",
        words.join(" ")
    )
}

fn demo(words: &[&str]) -> Result<Part> {
    match words {
        [] => Ok(Part::Demo { days: 7 }),
        ["--days", days] => {
            let days = days.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
            let days = days.with_context(|| format!("--days {}: expected 1 to {DAYS_MAX}", words[1]))?;
            Ok(Part::Demo { days })
        }
        _ => Err(unexpected(words)),
    }
}

fn chain(words: &[&str]) -> Result<ChainOptions> {
    let mut options = ChainOptions {
        seconds: 15,
        only: None,
        processes: vec![Processes::One, Processes::Two],
    };
    for pair in words.chunks(2) {
        match pair {
            ["--seconds", seconds] => options.seconds = whole("--seconds", seconds)?,
            ["--processes", count] => options.processes = vec![processes(count)?],
            ["--only", name] if SCENARIOS.iter().any(|scenario| scenario.name == *name) => {
                options.only = Some((*name).to_owned());
            }
            ["--only", name] => bail!("--only {name}: expected one of {}", names()),
            _ => return Err(unexpected(words)),
        }
    }
    Ok(options)
}

fn peers(words: &[&str]) -> Result<PeerOptions> {
    let mut options = PeerOptions {
        connections: 1_000,
        window: 20,
        readings: 200_000,
    };
    for pair in words.chunks(2) {
        match pair {
            ["--connections", number] => options.connections = whole("--connections", number)? as usize,
            ["--window", number] => options.window = whole("--window", number)? as usize,
            ["--readings", number] => options.readings = u64::from(whole("--readings", number)?),
            _ => return Err(unexpected(words)),
        }
    }
    Ok(options)
}

fn month(words: &[&str]) -> Result<MonthOptions> {
    let mut options = MonthOptions { plants: 10, days: 30 };
    for pair in words.chunks(2) {
        match pair {
            ["--plants", number] => options.plants = whole("--plants", number)? as usize,
            ["--days", number] => options.days = u64::from(whole("--days", number)?),
            _ => return Err(unexpected(words)),
        }
    }
    Ok(options)
}

fn herd(words: &[&str]) -> Result<HerdOptions> {
    let mut options = HerdOptions {
        connections: 9_900,
        backlog_readings: 200,
        live: 100,
        minutes: None,
        mad: 0,
        strangers: 0,
    };
    for pair in words.chunks(2) {
        match pair {
            ["--connections", number] => options.connections = whole("--connections", number)? as usize,
            ["--backlog-readings", number] => {
                options.backlog_readings = u64::from(whole("--backlog-readings", number)?);
            }
            ["--live", number] => options.live = whole("--live", number)? as usize,
            _ => return Err(unexpected(words)),
        }
    }
    Ok(options)
}

fn overload(words: &[&str]) -> Result<HerdOptions> {
    let mut options = HerdOptions {
        connections: 9_899,
        backlog_readings: 0,
        live: 100,
        minutes: Some(2),
        mad: 1,
        strangers: 10,
    };
    for pair in words.chunks(2) {
        match pair {
            ["--connections", number] => options.connections = whole("--connections", number)? as usize,
            ["--minutes", number] => options.minutes = Some(whole("--minutes", number)?),
            ["--live", number] => options.live = whole("--live", number)? as usize,
            ["--mad", number] => options.mad = whole("--mad", number)? as usize,
            ["--strangers", number] => options.strangers = whole("--strangers", number)? as usize,
            _ => return Err(unexpected(words)),
        }
    }
    Ok(options)
}

fn whole(name: &str, word: &str) -> Result<u32> {
    let number = word.parse().ok().filter(|&number| number > 0);
    number.with_context(|| format!("{name} {word}: expected a whole number above 0"))
}

fn processes(word: &str) -> Result<Processes> {
    match word {
        "1" => Ok(Processes::One),
        "2" => Ok(Processes::Two),
        other => bail!("--processes {other}: expected 1 or 2"),
    }
}

fn load(words: &[&str]) -> Result<Part> {
    let (mut run_as, mut arguments) = (Processes::Two, Vec::new());
    for pair in words.chunks(2) {
        match pair {
            ["--processes", count] => run_as = processes(count)?,
            pair => arguments.extend(pair.iter().map(|&word| word.to_owned())),
        }
    }
    Ok(Part::Load {
        processes: run_as,
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused() {
        let options = Options::parse(&["--json", "a.json", "--days", "3"]).unwrap();
        assert_eq!(options.parts, [("demo", Part::Demo { days: 3 })]);
        assert_eq!(options.json, Some(PathBuf::from("a.json")));
        assert_eq!(
            Options::parse(&[]).unwrap().parts,
            [("demo", Part::Demo { days: 7 })]
        );
        assert_eq!(Options::parse(&["all"]).unwrap().parts.len(), 8);
        for words in [
            ["--days", "0"],
            ["--days", "366"],
            ["--days", "x"],
            ["--fast", "1"],
            ["weather", "--days"],
            ["load", "--processes"],
        ] {
            let parsed = Options::parse(&words);
            if words[0] == "load" {
                // A lone word goes to the load generator, which says what it expects.
                assert!(parsed.is_ok());
            } else {
                let error = parsed.unwrap_err().to_string();
                assert!(error.contains("expected"), "{error}");
            }
        }
        assert!(Options::parse(&["--json"]).is_err());
    }

    #[test]
    fn a_scenario_is_chosen_by_its_name() {
        let words = ["chain", "--only", "50x20", "--seconds", "3", "--processes", "2"];
        let expected = ChainOptions {
            seconds: 3,
            only: Some("50x20".to_owned()),
            processes: vec![Processes::Two],
        };
        assert_eq!(
            Options::parse(&words).unwrap().parts,
            [("chain", Part::Chain(expected))]
        );
        let error = Options::parse(&["chain", "--only", "7x7"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected one of 1000x20"), "{error}");
        assert!(Options::parse(&["chain", "--seconds", "0"]).is_err());
    }

    #[test]
    fn an_overload_is_a_herd_without_end() {
        let options = Options::parse(&["overload", "--minutes", "5", "--mad", "3"]).unwrap();
        let [("overload", Part::Herd(overload))] = &options.parts[..] else {
            panic!("{:?}", options.parts);
        };
        assert_eq!(
            (overload.minutes, overload.mad, overload.part()),
            (Some(5), 3, "overload")
        );
        assert!(Options::parse(&["overload", "--minutes", "0"]).is_err());
        assert!(Options::parse(&["herd", "--mad", "3"]).is_err());
    }

    #[test]
    fn what_is_not_ours_goes_to_the_load_generator() {
        let words = ["load", "--window", "20", "--processes", "1", "--binary", "x"];
        let options = Options::parse(&words).unwrap();
        let expected = Part::Load {
            processes: Processes::One,
            arguments: vec!["--window".to_owned(), "20".to_owned()],
        };
        assert_eq!(options.parts, [("load", expected)]);
        assert_eq!(options.binary, Some(PathBuf::from("x")));
        assert!(Options::parse(&["load", "--processes", "3"]).is_err());
    }
}
