//! The files of `data/`, embedded, and how their columns are read.

use std::io::Read as _;

use flate2::read::GzDecoder;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::Offset;

use super::{CHANNELS, Channel, Row, SourceName};

/// A power below this many kW is the file's way of saying "no value" (`-1000000` stands in two of them).
const MISSING_BELOW_KW: f64 = -1.0;

struct File {
    bytes: &'static [u8],
    time: usize,
    format: &'static str,
    /// Column and channel.
    columns: &'static [(usize, Channel)],
    /// What the file's generation says for 1 kW.
    generation_per_kw: f64,
}

const ISO: &str = "%Y-%m-%d %H:%M:%S";

const fn file(source: SourceName) -> File {
    match source {
        SourceName::Trio27k6 => File {
            bytes: include_bytes!("../../data/sdt_BSD2/ZT162185000441C1203_27.6kW_5min.csv.gz"),
            time: 2,
            format: ISO,
            columns: &[(4, Channel::Generation)],
            generation_per_kw: 1.0,
        },
        SourceName::Sma7k => File {
            bytes: include_bytes!("../../data/sdt_BSD2/TAEFC1044741_7kW_5min.csv.gz"),
            time: 2,
            format: ISO,
            columns: &[(4, Channel::Generation)],
            generation_per_kw: 1.0,
        },
        SourceName::AcPower01 => File {
            bytes: include_bytes!("../../data/sdt_BSD2/ac_power_01_2015_5min.csv.gz"),
            time: 0,
            format: ISO,
            columns: &[(1, Channel::Generation)],
            generation_per_kw: 1.0,
        },
        SourceName::Inv30339 => File {
            bytes: include_bytes!("../../data/sdt_BSD2/inv_30339_2016_5min.csv.gz"),
            time: 0,
            format: "%m/%d/%y %H:%M",
            columns: &[(1, Channel::Generation)],
            generation_per_kw: 1.0,
        },
        SourceName::NrelRsfIi => File {
            bytes: include_bytes!("../../data/pvanalytics_MIT/nrel_RSF_II.csv.gz"),
            time: 0,
            format: "%m/%d/%Y %H:%M",
            columns: &[
                (1, Channel::Generation),
                (2, Channel::AmbientTemperature),
                (8, Channel::ModuleTemperature),
                (9, Channel::Irradiance),
            ],
            generation_per_kw: 1.0,
        },
        SourceName::NrelRsfIiInv2 => File {
            columns: &[
                (2, Channel::AmbientTemperature),
                (3, Channel::Generation),
                (8, Channel::ModuleTemperature),
                (9, Channel::Irradiance),
            ],
            generation_per_kw: 1_000.0,
            ..file(SourceName::NrelRsfIi)
        },
        SourceName::AusgridHouse => File {
            bytes: include_bytes!("../../data/ausgrid_CCBY/customer12_2011-2012_30min.csv.gz"),
            time: 0,
            format: ISO,
            columns: &[(1, Channel::Load), (2, Channel::Generation)],
            generation_per_kw: 1.0,
        },
    }
}

/// The rows of a source in ascending order of time; unreadable or missing values are left out.
///
/// # Panics
/// When an embedded file is damaged: it is part of the program, and a test reads each.
pub(crate) fn read(source: SourceName) -> Vec<Row> {
    let file = file(source);
    let mut text = Vec::new();
    GzDecoder::new(file.bytes)
        .read_to_end(&mut text)
        .expect("an embedded recording is readable");
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let mut record = csv::StringRecord::new();
    let mut rows = Vec::new();
    while reader
        .read_record(&mut record)
        .expect("an embedded recording is valid CSV")
    {
        rows.extend(row(&file, &record));
    }
    rows.sort_by_key(|row| row.clock_s);
    rows.dedup_by_key(|row| row.clock_s);
    rows
}

fn row(file: &File, record: &csv::StringRecord) -> Option<Row> {
    let clock_s = parse_clock_s(file.format, record.get(file.time)?)?;
    let mut values = [f64::NAN; CHANNELS];
    for &(column, channel) in file.columns {
        let stated: f64 = record.get(column)?.trim().parse().ok()?;
        let value = match channel {
            Channel::Generation => stated / file.generation_per_kw,
            _ => stated,
        };
        values[channel.index()] = match channel {
            Channel::Generation | Channel::Load if value < MISSING_BELOW_KW => return None,
            // A sensor's offset in the dark is no power and no light.
            Channel::Generation | Channel::Load | Channel::Irradiance => value.max(0.0),
            Channel::ModuleTemperature | Channel::AmbientTemperature => value,
        };
    }
    Some(Row { clock_s, values })
}

fn parse_clock_s(format: &str, text: &str) -> Option<i64> {
    let at: DateTime = if format == ISO {
        text.parse().ok()?
    } else {
        strtime::parse(format, text).ok()?.to_datetime().ok()?
    };
    Offset::UTC.to_timestamp(at).ok().map(jiff::Timestamp::as_second)
}
