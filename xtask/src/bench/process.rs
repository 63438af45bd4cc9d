//! A child process with its output in a file. Dropped, it is killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use taraz_load::Usage;

const STOP_LIMIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A running program of ours.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `binary` in `folder` with its output in `folder/LOG.log`.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn start(
        name: &'static str,
        binary: &Path,
        arguments: &[String],
        folder: &Path,
        log: &str,
    ) -> Result<Self> {
        let log = folder.join(format!("{log}.log"));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let child = Command::new(binary)
            .args(arguments)
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}: {}", binary.display()))?;
        Ok(Self { name, child, log })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id()).with_context(|| format!("{} has ended: {}", self.name, self.log.display()))
    }

    /// How many lines of its output hold `text`.
    ///
    /// # Errors
    /// When its output can't be read.
    pub(crate) fn lines_with(&self, text: &str) -> Result<usize> {
        Ok(self.output()?.lines().filter(|line| line.contains(text)).count())
    }

    /// Everything that it has written.
    ///
    /// # Errors
    /// When its output can't be read.
    pub(crate) fn output(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until `attempt` is true.
    ///
    /// # Errors
    /// When the process ends before, `limit` is over, or `attempt` fails.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut attempt: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !attempt(self)? {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended ({status}) before {what}: {}",
                    self.name,
                    self.log.display()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "{}: no {what} after {} s: {}",
                    self.name,
                    limit.as_secs(),
                    self.log.display()
                );
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Ends it politely.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .context("kill")?;
        self.wait_end(STOP_LIMIT)
    }

    /// Waits for its end and gives everything that it has written.
    ///
    /// # Errors
    /// When it does not end within `limit`, or not with success.
    pub(crate) fn wait_output(mut self, limit: Duration) -> Result<String> {
        self.wait_end(limit)?;
        self.output()
    }

    fn wait_end(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{}: {status}: {}", self.name, self.log.display());
            }
            if Instant::now() >= deadline {
                bail!("{} does not end: {}", self.name, self.log.display());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
