//! Commits that fail: told once with what to do, and once more when they succeed again; never at each of the many attempts.
//!
//! In: what each attempt met. Out: lines of the log. It decides nothing: the committer tries again whatever this says.

use rusqlite::ErrorCode;

/// What keeps the spool from committing, from its first failure to the next success.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    now: Option<Told>,
}

#[derive(Debug)]
struct Told {
    code: Option<ErrorCode>,
    since_ms: u64,
    attempts: u64,
}

/// How long it took, and how many attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) lasted_ms: u64,
    pub(super) attempts: u64,
}

impl Trouble {
    /// An attempt has failed. What to do, when that was not told yet: at first, and when the reason is another one.
    pub(super) fn met(&mut self, code: Option<ErrorCode>, now_ms: u64) -> Option<&'static str> {
        let told = self.now.get_or_insert(Told {
            code,
            since_ms: now_ms,
            attempts: 0,
        });
        told.attempts += 1;
        let is_new = told.attempts == 1 || told.code != code;
        told.code = code;
        is_new.then(|| advice(code))
    }

    /// No attempt has succeeded since one has failed.
    pub(super) const fn is_there(&self) -> bool {
        self.now.is_some()
    }

    /// An attempt has succeeded. What is over, when there was anything.
    pub(super) fn over(&mut self, now_ms: u64) -> Option<Over> {
        self.now.take().map(|told| Over {
            lasted_ms: now_ms.saturating_sub(told.since_ms),
            attempts: told.attempts,
        })
    }
}

/// Whoever reads it has a gateway that runs: nothing here asks to stop it without need.
fn advice(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::DiskFull) => {
            "the disk is full: make room on it; devices keep their readings, and the gateway goes on by itself"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds the spool: end it; devices keep their readings, and the gateway goes on by itself"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the spool's file is damaged: stop the gateway and run `taraz spool repair`, which makes a new one of what can still be read; \
             devices keep their readings"
        }
        _ => {
            "the spool can't be written: look at its disk and the folder's permissions; devices keep their readings, and the gateway goes \
             on by itself"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_once_with_what_to_do_and_once_when_it_is_over() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.over(0), None, "nothing was wrong");
        let told = trouble.met(Some(ErrorCode::DiskFull), 1_000).unwrap();
        assert!(told.contains("make room") && told.contains("by itself") && !told.contains("repair"));
        for n in 1..100 {
            assert_eq!(trouble.met(Some(ErrorCode::DiskFull), 1_000 + n * 5_000), None);
        }
        let over = Over {
            lasted_ms: 600_000,
            attempts: 100,
        };
        assert_eq!(trouble.over(601_000), Some(over));
        assert_eq!(trouble.over(602_000), None, "once");
        assert!(trouble.met(Some(ErrorCode::DiskFull), 700_000).is_some(), "anew");
    }

    #[test]
    fn another_reason_is_told_when_it_comes() {
        let mut trouble = Trouble::default();
        trouble.met(Some(ErrorCode::DiskFull), 0);
        let told = trouble.met(Some(ErrorCode::DatabaseCorrupt), 1).unwrap();
        assert!(told.contains("taraz spool repair"));
        assert!(trouble.met(None, 2).unwrap().contains("permissions"));
    }
}
