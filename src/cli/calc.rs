//! How `taraz calc` and `taraz replay` are started.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What can be calculated.
#[derive(Debug, Subcommand)]
pub(crate) enum CalcCommand {
    /// Sun position, clear sky, irradiance in the plane, cell temperature, DC and AC power, row by row.
    #[command(after_help = SOLAR_HELP)]
    Solar(Files),
    /// Voltage unbalance (IEC 61000-4-30, NEMA LVUR, PVUR), current unbalance and neutral current, row by row.
    #[command(after_help = "Reads v1..v3 and ang1..ang3 (without angles: u12, u23, u31), i1..i3.")]
    Phases(Files),
    /// Jalali and Gregorian dates, leap years, the bounds of Tehran's days in UTC, row by row.
    #[command(
        after_help = "Reads gregorian, or jalali where that is empty or missing; where both stand they must name the same day."
    )]
    Jalali(Files),
    /// Yields, performance ratios, capacity factors and availability after IEC 61724-1: in total and by day.
    #[command(after_help = IEC_HELP)]
    Iec61724(FilesWithParams),
    /// Energy balance, obligation, schedule deviation and netting: in total and by day.
    #[command(after_help = IMBALANCE_HELP)]
    Imbalance(FilesWithParams),
}

const SOLAR_HELP: &str = "\
Reads lat, lon, alt_m, ts_utc; for the clear sky tl (Linke turbidity); for the plane tilt, surf_az; for temperatures temp_air, wind; for power
pdc0_kw, pac0_kw. Conventions: SPA, Spencer, Kasten-Young, Ineichen, Hay-Davies, Faiman, PVWatts (gamma -0.004/K, losses 14.0757 %, albedo 0.2).";

const IEC_HELP: &str = "\
Reads ts_utc, g_poa_wm2, e_ac_kwh and, where there are any, t_mod_c, e_dc_kwh, unit_up. Parameters: P0 (kW), Pac (kW), gamma (1/K),
Tann (deg C), Gmin (W/m2, 50 unless given), tau_h (hours, the times' smallest step unless given), at the top of the file or under \"params\".
Rows may stand in any order; an interval between the first and the last that has no row counts as missing.";

const IMBALANCE_HELP: &str = "\
Reads ts_utc, gen_kwh, load_kwh and, where there are any, clearsky_kwh and schedules (sched_NAME_kwh); persistence and clear-sky schedules are
made where they are empty. Parameters: P0_kw, obligation_share (0 to 1), site2_rule, tau_h, at the top of the file, under \"total\" or \"fleet_two_sites\".";

pub(super) const REPLAY_HELP: &str = "\
Reads plants.csv (plant, p0_kw and, where there are any, pac_kw and rolls_over_wh: what the register counts up to before it begins at 0 again),
register_wh.csv (ts_utc and a column in Wh for each plant), late.csv (plant, ts_utc, received_utc, register_wh). Writes energy.csv:

  plant, local_day  the day is one of Asia/Tehran
  energy_wh         counted in the day; empty without readings on both sides
  completeness      share of the day for which the total is known, 0 to 1. A silence or a standstill that lies within the day is known, whatever
                    its shape; one that reaches into another day is not, because how much fell on which of them is unknown
  flags             separated by |
    spread          part of it is spread evenly over a silence or a standstill
    caught_up       part of it was caught up after a standstill of the register
    reset           the register fell to where it can't have counted: the energy is the least that was generated
    rolled_over     the register began at 0 again; without rolls_over_wh a roll-over is taken for a reset
    quarantined     a rise or a fall could not be believed: that time is unknown
    glitch          readings were left out";

/// A CSV file in, a CSV file out.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The CSV file to read (may be gzipped: .gz).
    #[arg(long = "in", value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// The CSV file to write.
    #[arg(long = "out", value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// A CSV file and parameters in, a JSON file out.
#[derive(Debug, Args)]
pub(crate) struct FilesWithParams {
    /// The CSV file to read (may be gzipped: .gz).
    #[arg(long = "in", value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// A JSON file with the parameters; a file of results may be given too: only its parameters are read.
    #[arg(long, value_name = "FILE")]
    pub(crate) params: PathBuf,
    /// The JSON file to write.
    #[arg(long = "out", value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Whether ts_utc is the end or the begin of an interval.
    #[arg(long, value_enum, default_value_t = Stamp::End)]
    pub(crate) stamp: Stamp,
}

/// What an interval's timestamp stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stamp {
    /// Its end.
    End,
    /// Its begin.
    Begin,
}

/// What is replayed.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The folder with plants.csv, register_wh.csv and late.csv (each may be .csv.gz).
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The folder to write energy.csv to; it is made if need be.
    #[arg(long = "out", value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Use only what had been received by this time (such as 2025-06-21T08:30Z).
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}
