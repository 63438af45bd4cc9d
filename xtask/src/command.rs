//! Other programs: run, timed out, and written down so that a person can run them again.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Variables that `cargo run` sets for the program it runs. They describe xtask, so no child may see them.
const LEAKED_PREFIXES: &[&str] = &[
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_PRIMARY_",
];

/// A command line, run from the root of the checkout or a folder of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

impl CommandLine {
    /// From words, the first of which is the program.
    pub(crate) fn new(words: &[&str]) -> Self {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        Self {
            program: (*program).to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            environment: Vec::new(),
            folder: None,
        }
    }

    /// Run from `folder` instead of the root.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// With one environment variable more.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With all of `variables` more.
    pub(crate) fn envs(mut self, variables: &[(String, String)]) -> Self {
        self.environment.extend_from_slice(variables);
        self
    }

    /// Runs it with our output as its output.
    ///
    /// # Errors
    /// When it can't be started or ends with anything but success.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self
            .command()
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("can't start {self}"))?;
        if !status.success() {
            bail!("{self}: {status}");
        }
        Ok(())
    }

    /// Runs it and gives its standard output.
    ///
    /// # Errors
    /// When it can't be started, ends with anything but success (its standard error is in the message), or its output is
    /// not UTF-8.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("can't start {self}"))?;
        if !output.status.success() {
            bail!(
                "{self}: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        String::from_utf8(output.stdout).with_context(|| format!("{self}: its output is not UTF-8"))
    }

    /// Runs it for `limit` at most, then kills it.
    ///
    /// # Errors
    /// As [`CommandLine::run`], and when the time is over.
    pub(crate) fn run_within(&self, limit: Duration) -> Result<()> {
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start {self}"))?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{self}: {status}");
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                bail!("{self}: no end after {} s", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let folder = self.folder.clone().unwrap_or_else(workspace::root);
        command.args(&self.arguments).current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if LEAKED_PREFIXES
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.env_remove("CARGO");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// As a person would type it into a shell.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = &self.folder {
            let root = workspace::root();
            let folder = folder.strip_prefix(&root).unwrap_or(folder);
            write!(f, "cd {} && ", quoted(&folder.to_string_lossy()))?;
        }
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program))?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Where `program` is: in PATH, or in the folders for administrators, which an ordinary user's PATH lacks.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// A path as text.
///
/// # Errors
/// When the path is not UTF-8.
pub(crate) fn text(path: &(impl AsRef<OsStr> + ?Sized)) -> Result<&str> {
    let path = path.as_ref();
    path.to_str()
        .with_context(|| format!("the path {} is not UTF-8: move the checkout", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_so_that_a_shell_takes_it() {
        let line = CommandLine::new(&["cargo", "doc", "it's"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            line.to_string(),
            r"RUSTDOCFLAGS='-D warnings' cargo doc 'it'\''s'"
        );
        let line = CommandLine::new(&["cargo", "build"]).within(&workspace::root().join("firmware"));
        assert_eq!(line.to_string(), "cd firmware && cargo build");
    }

    #[test]
    fn a_command_that_does_not_end_is_killed() {
        let start = Instant::now();
        let error = CommandLine::new(&["sleep", "30"])
            .run_within(Duration::from_millis(200))
            .unwrap_err();
        assert!(error.to_string().contains("no end"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = CommandLine::new(&["sh", "-c", "echo broken >&2; exit 3"])
            .output()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("broken"),
            "{error}"
        );
    }

    #[test]
    fn programs_are_found_or_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
