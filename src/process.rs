//! What the process states of itself on `/metrics`, whichever parts run in it: CPU, memory, open files, threads.

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;

const CPU_SECONDS: &str = "process_cpu_seconds_total";
/// proc(5), `/proc/pid/stat`: times are in `sysconf(_SC_CLK_TCK)`, which Linux fixes at 100 for user space on every architecture that
/// this program is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// A registry on which the process's own metrics stand, for the parts to register theirs beside.
///
/// # Errors
/// None that is known: the registry is empty.
pub(crate) fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(Process(ProcessCollector::for_self())))?;
    Ok(registry)
}

/// The crate's collector, with CPU to the tick (10 ms): its own counts whole seconds, and hides what a gateway with few devices takes.
struct Process(ProcessCollector);

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let cpu = families.iter_mut().find(|family| family.name() == CPU_SECONDS);
        let ticks = std::fs::read_to_string("/proc/self/stat").ok();
        if let (Some(cpu), Some(ticks)) = (cpu, ticks.as_deref().and_then(cpu_ticks)) {
            for metric in cpu.mut_metric() {
                let mut counter = prometheus::proto::Counter::default();
                counter.set_value(f64::from(ticks) / TICKS_PER_SECOND);
                metric.set_counter(counter);
            }
        }
        families
    }
}

/// User and system time of a process's line in `/proc/pid/stat`, in ticks; `None` when it is no such line.
fn cpu_ticks(stat: &str) -> Option<u32> {
    // proc(5): the name, field 2, stands in parentheses and may hold any; `utime` and `stime` are fields 14 and 15.
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut times = behind_name.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn own_ticks() -> u32 {
        cpu_ticks(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap()
    }

    #[test]
    fn the_name_of_a_process_may_look_like_fields() {
        let stat = "7 (a) b (1 2) S 1 7 7 0 -1 4194560 90 0 0 0 1234 66 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(1_300));
        assert_eq!(cpu_ticks("7 (a) S 1 7"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn cpu_time_is_told_to_the_tick() {
        let registry = registry().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        // Not on a whole second, so that a collector of whole seconds is found out.
        while own_ticks() % 100 < 20 {
            assert!(Instant::now() < deadline, "a busy thread has used no CPU");
        }
        let before = own_ticks();
        let families = registry.gather();
        let after = own_ticks();
        let family = families
            .iter()
            .find(|family| family.name() == CPU_SECONDS)
            .unwrap();
        let stated = family.get_metric()[0].get_counter().get_value();
        let between = f64::from(before) / TICKS_PER_SECOND..=f64::from(after) / TICKS_PER_SECOND;
        assert!(between.contains(&stated), "{stated} is not in {between:?}");
    }
}
