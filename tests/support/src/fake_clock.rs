//! The wall clock of one process, stepped by a test (libfaketime); its monotonic clock goes on as always.

use std::path::{Path, PathBuf};

/// Where Debian's package faketime puts it, by architecture.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// A clock that a process starts with, by its environment.
#[derive(Debug)]
pub struct FakeClock {
    file: PathBuf,
    library: &'static str,
}

impl FakeClock {
    /// The right time, kept in a file of this folder.
    ///
    /// # Panics
    /// When libfaketime is not installed.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let found = LIBRARIES.into_iter().find(|path| Path::new(path).is_file());
        let library = found.expect(
            "libfaketime is missing: apt-get install --no-install-recommends faketime, or cargo xtask setup",
        );
        let clock = Self {
            file: folder.join(format!("{name}.clock")),
            library,
        };
        clock.step_s(0);
        clock
    }

    /// From now on it is off by so many seconds; the process sees it within a second.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn step_s(&self, offset_s: i64) {
        let new = self.file.with_extension("new");
        let written =
            std::fs::write(&new, format!("{offset_s:+}\n")).and_then(|()| std::fs::rename(&new, &self.file));
        written.expect("the file of a fake clock");
    }

    /// What a process needs to have this clock.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = self.file.display().to_string();
        [
            ("LD_PRELOAD", self.library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_CACHE_DURATION", "1"),
            // Its name before and after version 0.9.10.
            ("DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_has_the_clock_that_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let clock = FakeClock::new(folder.path(), "a");
        let now_s = || -> i64 {
            let said = Command::new("date")
                .arg("+%s")
                .envs(clock.environment())
                .output()
                .unwrap();
            String::from_utf8(said.stdout).unwrap().trim().parse().unwrap()
        };
        let right_s = now_s();
        clock.step_s(-86_400);
        assert!((right_s - 86_400..right_s - 86_000).contains(&now_s()));
        clock.step_s(86_400);
        assert!((right_s + 86_400..right_s + 86_800).contains(&now_s()));
    }
}
