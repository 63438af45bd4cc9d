//! Which refused connections are told in the log: whoever knocks without end must not fill the disk with it.
//!
//! The first of each peer and name within a minute is told, as long as there are few; of all others their number, once the minute
//! is over. The metric counts every one of them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Peers and names that are told within a minute.
const TOLD_MAX: usize = 32;
const WITHIN: Duration = Duration::from_secs(60);
/// What is told of a name that a stranger gave, in characters.
const NAME_CHARS_MAX: usize = 64;

/// One for all connections.
#[derive(Debug, Default)]
pub(super) struct Rebuffs {
    since: Option<Instant>,
    told: HashSet<(IpAddr, String)>,
    untold: u64,
}

impl Rebuffs {
    /// The name as it is to be told, when this one is; `None` when it is only counted.
    pub(super) fn tell(&mut self, peer: IpAddr, name: &str, now: Instant) -> Option<String> {
        self.since.get_or_insert(now);
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        let is_told = self.told.len() < TOLD_MAX && self.told.insert((peer, name.clone()));
        self.untold += u64::from(!is_told);
        is_told.then_some(name)
    }

    /// How many were only counted, when a minute is over; the next one begins anew.
    pub(super) fn over(&mut self, now: Instant) -> Option<u64> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        let over = std::mem::take(self);
        Some(over.untold).filter(|untold| *untold > 0)
    }

    /// When the minute is over.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_first_of_each_is_told_and_then_how_many_there_were() {
        let (mut rebuffs, start) = (Rebuffs::default(), Instant::now());
        let told = |rebuffs: &mut Rebuffs, name, after_s| {
            rebuffs
                .tell(PEER, name, start + Duration::from_secs(after_s))
                .is_some()
        };
        assert_eq!((rebuffs.due(), rebuffs.over(start)), (None, None));
        assert!(told(&mut rebuffs, "sari-01", 0) && told(&mut rebuffs, "sari-02", 1));
        assert!((0..50).all(|second| !told(&mut rebuffs, "sari-01", second)));
        assert_eq!(rebuffs.over(start + Duration::from_secs(59)), None);
        assert_eq!(rebuffs.over(start + WITHIN), Some(50));
        assert_eq!(rebuffs.over(start + WITHIN), None, "once");
        assert!(told(&mut rebuffs, "sari-01", 61));
        assert_eq!(
            rebuffs.over(start + Duration::from_secs(121)),
            None,
            "all were told"
        );
    }

    #[test]
    fn many_names_of_any_length_are_bounded_too() {
        let (mut rebuffs, now) = (Rebuffs::default(), Instant::now());
        let told = |n: u32| rebuffs.tell(PEER, &format!("{n}{}", "x".repeat(60_000)), now);
        let names: Vec<String> = (0..1_000).filter_map(told).collect();
        assert_eq!(names.len(), TOLD_MAX);
        assert!(names.iter().all(|name| name.len() == NAME_CHARS_MAX));
    }
}
