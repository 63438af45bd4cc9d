//! Calls that must return: a panic anywhere in the process, a hang and a flood of memory are findings.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use taraz_load::Usage;

use crate::harness::Target;

/// How long one execution may take.
pub const HANG_LIMIT: Duration = Duration::from_secs(20);
/// Memory that a target may take beyond what the process had when it began, in MiB.
pub const MEMORY_MAX_MIB: u64 = 512;
/// How often the watcher looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Ends the process: a call that hangs can't be ended otherwise.
const STUCK_EXIT_CODE: i32 = 3;

/// The panics since the last execution began, of any thread: a server's tasks catch their own.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Watches over the executions of one target.
pub(crate) struct Guard {
    current: Arc<Mutex<Current>>,
    out: PathBuf,
    name: &'static str,
}

#[derive(Default)]
struct Current {
    begun: Option<Instant>,
    input: Vec<u8>,
    is_over: bool,
}

impl Guard {
    pub(crate) fn watch(name: &'static str, out: &Path) -> Result<Self> {
        remember_panics();
        let guard = Self {
            current: Arc::default(),
            out: out.to_owned(),
            name,
        };
        let before_mib = Usage::of(std::process::id())?.rss_kib >> 10;
        let (current, out) = (Arc::clone(&guard.current), guard.out.clone());
        let watcher = move || {
            while !lock(&current).is_over {
                std::thread::sleep(LOOK_INTERVAL);
                let current = lock(&current);
                let Some(begun) = current.begun else { continue };
                let rss_mib = Usage::of(std::process::id()).map_or(0, |usage| usage.rss_kib >> 10);
                let wrong = if begun.elapsed() > HANG_LIMIT {
                    format!("it has not returned for {} s", HANG_LIMIT.as_secs())
                } else if rss_mib > before_mib + MEMORY_MAX_MIB {
                    format!("the process has {rss_mib} MiB, and had {before_mib} before")
                } else {
                    continue;
                };
                let file = write(&out, name, &current.input)
                    .map_or_else(|error| format!("({error:#})"), |file| file.display().to_string());
                eprintln!("fuzz: {name}: {wrong}; the input is {file}");
                std::process::exit(STUCK_EXIT_CODE);
            }
        };
        std::thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(watcher)?;
        Ok(guard)
    }

    /// One execution; an error says what was wrong.
    pub(crate) fn run(&self, target: &mut dyn Target, input: &[u8]) -> Result<String, String> {
        lock(&PANICS).clear();
        {
            let mut current = lock(&self.current);
            current.input.clear();
            current.input.extend_from_slice(input);
            current.begun = Some(Instant::now());
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| target.execute(input)));
        lock(&self.current).begun = None;
        let panics = std::mem::take(&mut *lock(&PANICS));
        match outcome {
            _ if !panics.is_empty() => Err(format!("a panic: {}", panics.join("; "))),
            Ok(outcome) => outcome,
            Err(why) => Err(format!("a panic: {}", message(why.as_ref()))),
        }
    }

    /// Writes an input where it is found again.
    pub(crate) fn write(&self, input: &[u8]) -> Result<PathBuf> {
        write(&self.out, self.name, input)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.current).is_over = true;
    }
}

fn write(out: &Path, name: &str, input: &[u8]) -> Result<PathBuf> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let sum = taraz_telemetry::Crc32::new().bytes(input).sum();
    let file = out.join(format!("{name}-{sum:08x}.bin"));
    std::fs::write(&file, input).with_context(|| file.display().to_string())?;
    Ok(file)
}

/// From now on panics are kept, and printed only with a finding.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_test = std::thread::current().name().is_some_and(|name| name == "main");
            if is_test {
                before(panic);
            }
            let place = panic.location().map_or(String::new(), |at| format!(" at {at}"));
            lock(&PANICS).push(format!("{}{place}", message(panic.payload())));
        }));
    });
}

fn message(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("without a text").to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
