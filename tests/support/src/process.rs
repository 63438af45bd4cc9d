//! A child process whose output is kept, and which does not outlive its guard.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::{require, wait_for};

/// How much of a process's output a failure shows.
const SHOWN_LINES_MAX: usize = 60;

/// What can be sent to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, as Ctrl-C.
    Interrupt,
    /// SIGTERM, the polite end.
    Terminate,
    /// SIGSTOP: it stands still, its sockets stay open.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
}

/// A running child. Dropped, it is killed; when the test is failing, the end of its output is printed first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs appended to the file `log`, and no input.
    ///
    /// # Panics
    /// When it can't be started, or `log` can't be written.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let open = || {
            let file = File::options().create(true).append(true).open(log);
            file.unwrap_or_else(|error| {
                panic!("opening {}, for the output of {name}: {error}", log.display())
            })
        };
        let child = command.stdin(Stdio::null()).stdout(open()).stderr(open()).spawn();
        let child = child.unwrap_or_else(|error| panic!("starting {name} ({command:?}): {error}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// Starts a `taraz` with its output in `folder/NAME.log`. `program` is `env!("CARGO_BIN_EXE_taraz")` of the calling
    /// test. Its log level is that of RUST_LOG, else info.
    ///
    /// # Panics
    /// As [`Process::start`].
    #[must_use]
    pub fn taraz(program: &str, name: &str, arguments: &[&str], folder: &Path) -> Self {
        Self::taraz_within(program, name, arguments, folder, &[])
    }

    /// As [`Process::taraz`], with more in its environment.
    ///
    /// # Panics
    /// As [`Process::start`].
    #[must_use]
    pub fn taraz_within(
        program: &str,
        name: &str,
        arguments: &[&str],
        folder: &Path,
        environment: &[(String, String)],
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env("NO_COLOR", "1");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "info");
        }
        Self::start(name, &mut command, &folder.join(format!("{name}.log")))
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far, both outputs as they came.
    ///
    /// # Panics
    /// When the file can't be read.
    #[must_use]
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log);
        let bytes = bytes.unwrap_or_else(|error| panic!("reading the output of {}: {error}", self.name));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it has not ended yet.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the state of a child of ours")
            .is_none()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&mut self, signal: Signal) {
        let option = match signal {
            Signal::Interrupt => "-INT",
            Signal::Terminate => "-TERM",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        // Asked first, so that the id can't be another's: it stays ours until we have waited for it.
        assert!(
            self.is_running(),
            "{} has ended and can't be sent {signal:?}\n{}",
            self.name,
            self.last_output()
        );
        let status = Command::new(require("kill"))
            .args([option, &self.id().to_string()])
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "sending {signal:?} to {} failed",
            self.name
        );
    }

    /// Kills it at once (SIGKILL), as a power cut would.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("killing a child of ours");
        self.child.wait().expect("the end of a child of ours");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it runs on for longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        let what = format!("the end of {}", self.name);
        wait_for(limit, &what, || {
            let status = self.child.try_wait().expect("the state of a child of ours");
            status.ok_or_else(|| {
                format!(
                    "it runs on after {} ms\n{}",
                    begun.elapsed().as_millis(),
                    self.last_output()
                )
            })
        })
    }

    /// Waits until it accepts TCP connections at `address`.
    ///
    /// # Panics
    /// When it ends before, or `limit` is over.
    pub fn wait_accepting(&mut self, limit: Duration, address: SocketAddr) {
        self.wait_for(limit, &format!("an open port at {address}"), || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1))
                .map(drop)
                .map_err(|error| error.to_string())
        });
    }

    /// Waits until its output holds `text`, and gives the line that does.
    ///
    /// # Panics
    /// When it ends before, or `limit` is over.
    pub fn wait_for_output(&mut self, limit: Duration, text: &str) -> String {
        let log = self.log.clone();
        self.wait_for(limit, &format!("the output {text:?}"), || {
            let output = std::fs::read(&log).map_err(|error| error.to_string())?;
            let output = String::from_utf8_lossy(&output);
            output
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
                .ok_or_else(|| "not written yet".to_owned())
        })
    }

    /// Waits until `attempt` gives a value, while the process runs.
    ///
    /// # Panics
    /// When the process ends before, or `limit` is over; the end of its output is in the message.
    pub fn wait_for<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut attempt: impl FnMut() -> Result<T, String>,
    ) -> T {
        let what = format!("{what} of {}", self.name);
        wait_for(limit, &what, || {
            attempt().map_err(|reason| {
                if let Ok(Some(status)) = self.child.try_wait() {
                    panic!(
                        "{} ended ({status}) before {what}: {reason}\n{}",
                        self.name,
                        self.last_output()
                    );
                }
                format!("{reason}\n{}", self.last_output())
            })
        })
    }

    /// The end of its output, for a message.
    fn last_output(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..];
        format!(
            "---- the end of the output of {} ----\n{}\n----",
            self.name,
            shown.join("\n")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() && self.log.is_file() {
            eprintln!("{}", self.last_output());
        }
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
