//! One program of the installation: started, broken, and brought back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use taraz_test_support::{FakeClock, Process, Signal, SmallDisk, wait_until};

use crate::common::installation::{START_LIMIT, TARAZ};

use super::cells::Fault;

/// How big a small disk is, MiB: room for a whole round.
const DISK_MIB: u32 = 64;
/// How long a program may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(60);
const DAY_S: i64 = 86_400;
/// What a device says when it runs.
const DEVICE_RUNS: &str = "Ctrl-C stops";

/// A program with its data folder and its clock.
pub(crate) struct Part {
    name: String,
    arguments: Vec<String>,
    folder: PathBuf,
    /// Where it serves; a device serves nobody.
    address: Option<SocketAddr>,
    process: Option<Process>,
    disk: Option<SmallDisk>,
    clock: Option<FakeClock>,
    /// It ended by itself while something was broken.
    pub(crate) ended_by_itself: u32,
}

impl Part {
    /// A part that does not run yet. `fault` is what will happen to it, `data` its data folder.
    pub(crate) fn new(
        name: &str,
        arguments: &[&str],
        folder: &Path,
        address: Option<SocketAddr>,
        data: &Path,
        fault: Option<Fault>,
    ) -> Self {
        let is = |needs: fn(Fault) -> bool| fault.is_some_and(needs);
        Self {
            name: name.to_owned(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            folder: folder.to_owned(),
            address,
            process: None,
            disk: is(Fault::needs_disk).then(|| SmallDisk::mount(data, DISK_MIB)),
            clock: is(Fault::needs_clock).then(|| FakeClock::new(folder, name)),
            ended_by_itself: 0,
        }
    }

    /// Starts it, and waits until it serves; a device, until it can be told to stop.
    pub(crate) fn start(&mut self) {
        let log = self.folder.join(format!("{}.log", self.name));
        let starts = |output: &str| output.matches(DEVICE_RUNS).count();
        let before = std::fs::read_to_string(log).map_or(0, |output| starts(&output));
        let mut process = self.spawn();
        if let Some(address) = self.address {
            process.wait_accepting(START_LIMIT, address);
        } else {
            wait_until(START_LIMIT, "a device that runs", || {
                starts(&process.output()) > before
            });
        }
        self.process = Some(process);
    }

    fn spawn(&self) -> Process {
        let environment = self
            .clock
            .as_ref()
            .map(FakeClock::environment)
            .unwrap_or_default();
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        Process::taraz_within(TARAZ, &self.name, &arguments, &self.folder, &environment)
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a part that runs")
    }

    /// It runs; if it ended by itself it is started again.
    pub(crate) fn keep_running(&mut self) {
        let is_running = self.process.as_mut().is_some_and(Process::is_running);
        if !is_running {
            self.ended_by_itself += u32::from(self.process.is_some());
            self.start();
        }
    }

    fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Begins a fault.
    pub(crate) fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => self.kill(),
            Fault::Stop if self.is_running() => self.process().signal(Signal::Stop),
            Fault::Restart => {
                if self.is_running() {
                    self.end();
                }
                self.start();
            }
            Fault::DiskFull => self.disk().fill(),
            Fault::ReadOnly => {
                self.kill();
                self.disk().set_read_only(true);
                self.process = Some(self.spawn());
            }
            Fault::ClockForward => self.clock().step_s(DAY_S),
            Fault::ClockBack => self.clock().step_s(-DAY_S),
            _ => {}
        }
    }

    /// Ends a fault; afterwards the part runs.
    pub(crate) fn heal(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => self.start(),
            Fault::Stop if self.is_running() => self.process().signal(Signal::Continue),
            Fault::DiskFull => self.disk().free(),
            Fault::ReadOnly => {
                if self.is_running() {
                    self.kill();
                } else {
                    self.ended_by_itself += 1;
                }
                self.process = None;
                self.disk().set_read_only(false);
            }
            Fault::ClockForward | Fault::ClockBack => self.clock().step_s(0),
            _ => {}
        }
        self.keep_running();
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it politely.
    pub(crate) fn end(&mut self) {
        let signal = if self.address.is_some() {
            Signal::Terminate
        } else {
            Signal::Interrupt
        };
        let mut process = self.process.take().expect("a part that runs");
        process.signal(signal);
        assert!(process.wait(END_LIMIT).success(), "{}", process.output());
    }

    /// Waits until it has said something.
    pub(crate) fn wait_said(&mut self, limit: Duration, text: &str) {
        self.process().wait_for_output(limit, text);
    }

    fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("a part with a disk of its own")
    }

    fn clock(&self) -> &FakeClock {
        self.clock.as_ref().expect("a part with a clock of its own")
    }
}
