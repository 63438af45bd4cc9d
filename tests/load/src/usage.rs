//! What processes have used, as `/proc` tells.

use std::path::Path;

use anyhow::{Context, Result};

/// proc(5), `/proc/pid/stat`: times are in `sysconf(_SC_CLK_TCK)`, which Linux fixes at 100 for user space on every
/// architecture that Rust's standard library supports but Alpha.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all its threads, in the program and in the kernel for it.
    pub cpu_s: f64,
    /// The memory that it has now (resident set).
    pub rss_kib: u64,
    /// The most memory that it had.
    pub rss_peak_kib: u64,
}

impl Usage {
    /// Of the running process `id`.
    ///
    /// # Errors
    /// When there is no such process, or `/proc` reads otherwise than proc(5) says.
    pub fn of(id: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(id.to_string());
        let read = |name| {
            let file = folder.join(name);
            std::fs::read_to_string(&file).with_context(|| file.display().to_string())
        };
        let (stat, status) = (read("stat")?, read("status")?);
        Self::parse(&stat, &status)
            .with_context(|| format!("expected what proc(5) says in {}", folder.display()))
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        Some(Self {
            cpu_s: ticks(stat)? / TICKS_PER_SECOND,
            rss_kib: kib(status, "VmRSS:")?,
            rss_peak_kib: kib(status, "VmHWM:")?,
        })
    }
}

/// Fields 14 and 15, `utime` and `stime`. The second field, the name in parentheses, may hold spaces and parentheses.
fn ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let utime: f64 = fields.next()?.parse().ok()?;
    let stime: f64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The load average of the last minute.
///
/// # Errors
/// When `/proc/loadavg` can't be read.
pub fn load_average() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    first.with_context(|| format!("/proc/loadavg: expected a number first, found {text:?}"))
}

/// How many files this process may have open.
///
/// # Errors
/// When `/proc/self/limits` reads otherwise than proc(5) says.
pub fn open_files_max() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/limits").context("/proc/self/limits")?;
    let soft = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let word = soft.and_then(|rest| rest.split_whitespace().next());
    match word {
        Some("unlimited") => Ok(u64::MAX),
        word => word.and_then(|word| word.parse().ok()).with_context(|| {
            format!("/proc/self/limits: expected \"Max open files\" and a number, found {word:?}")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4711 (a ) name) S 1 4711 4711 0 -1 4194560 2291 0 5 0 150 25 7 9 20 0 5 0 90 100 200 18446744073709551615";
    const STATUS: &str =
        "Name:\ta ) name\nVmPeak:\t  999999 kB\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t5\n";

    #[test]
    fn the_fields_of_proc_are_found_behind_any_name() {
        let usage = Usage::parse(STAT, STATUS).unwrap();
        let expected = Usage {
            cpu_s: 1.75,
            rss_kib: 10_240,
            rss_peak_kib: 20_480,
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn what_is_cut_is_none() {
        assert_eq!(Usage::parse("4711 (name) S 1 2 3", STATUS), None);
        assert_eq!(Usage::parse(STAT, "Name:\tzombie\n"), None);
    }

    #[test]
    fn we_are_a_process() {
        assert!(Usage::of(std::process::id()).unwrap().rss_peak_kib > 0);
        assert!(load_average().unwrap() >= 0.0);
        assert!(open_files_max().unwrap() >= 3);
    }
}
