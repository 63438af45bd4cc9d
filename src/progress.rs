//! What the demo's terminal shows: how far the history is, and what lives.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::out::say;
use taraz_device_host::Progress;
use taraz_ingest::{CounterSnapshot, View};

/// Where there is no terminal, a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How far every device is.
pub(crate) struct Board(Mutex<Vec<State>>);

#[derive(Clone, Copy, Default)]
struct State {
    done: u32,
    total: u32,
    live: bool,
    online: bool,
    pending: u32,
}

impl Board {
    /// A board for so many devices.
    pub(crate) fn new(devices: usize) -> Self {
        Self(Mutex::new(vec![State::default(); devices]))
    }

    /// Takes down what a device told.
    pub(crate) fn tell(&self, device: usize, progress: Progress) {
        let Ok(mut states) = self.0.lock() else { return };
        let Some(state) = states.get_mut(device) else {
            return;
        };
        match progress {
            Progress::History { done, total } => (state.done, state.total) = (done, total),
            Progress::HistoryDone => state.live = true,
            Progress::Online => state.online = true,
            Progress::Offline { .. } => state.online = false,
            Progress::Acknowledged { pending_records, .. } => state.pending = pending_records,
            Progress::Reading { .. } | Progress::Failed { .. } => {}
        }
    }

    fn sum(&self) -> Sum {
        let Ok(states) = self.0.lock() else {
            return Sum::default();
        };
        let reading_past = |state: &&State| state.total > 0 && !state.live;
        Sum {
            done: states.iter().map(|s| u64::from(s.done)).sum(),
            total: states.iter().map(|s| u64::from(s.total)).sum(),
            reading: states.iter().filter(reading_past).count(),
            online: states.iter().filter(|s| s.online).count(),
            pending: states.iter().map(|s| u64::from(s.pending)).sum(),
            devices: states.len(),
        }
    }
}

#[derive(Default)]
struct Sum {
    done: u64,
    total: u64,
    reading: usize,
    online: usize,
    pending: u64,
    devices: usize,
}

/// Writes to the terminal.
pub(crate) struct Report {
    begun: Instant,
    terminal: bool,
    last: Option<Instant>,
    ready: bool,
}

impl Report {
    /// `earlier_ms`: the newest reading of an earlier run, UTC ms.
    pub(crate) fn new(earlier_ms: Option<i64>) -> Self {
        if let Some(earlier_ms) = earlier_ms {
            say!("{}", continued(earlier_ms));
        }
        Self {
            begun: Instant::now(),
            terminal: std::io::stdout().is_terminal(),
            last: None,
            ready: false,
        }
    }

    /// Shows how it is now.
    pub(crate) fn show(&mut self, board: &Board, view: &View, counters: &CounterSnapshot) {
        let sum = board.sum();
        let live = view
            .plants
            .iter()
            .filter(|plant| plant.last_reading_ms.is_some() && !plant.draining)
            .count();
        let line = self.line(&sum, live, view.plants.len(), stored(counters));
        if self.terminal {
            crate::out::text(&format!("\r\x1b[2K{line}"));
        } else if self.last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
            say!("{line}");
            self.last = Some(Instant::now());
        }
        let settled = sum.reading == 0 && sum.online == sum.devices && live == view.plants.len();
        if settled && sum.pending < sum.devices as u64 * 10 && !self.ready {
            self.ready = true;
            let seconds = self.begun.elapsed().as_secs();
            let start = if self.terminal { "\r\x1b[2K" } else { "" };
            say!(
                "{start}ready after {seconds} s: {live} plants live, {} readings stored",
                stored(counters)
            );
        }
    }

    fn line(&self, sum: &Sum, live: usize, plants: usize, stored: u64) -> String {
        if self.ready {
            return format!("{live} of {plants} plants live · {stored} readings stored since the start");
        }
        let percent = (sum.done * 100).checked_div(sum.total).unwrap_or(100);
        let history = if sum.total == 0 {
            String::new()
        } else {
            format!("history {percent:>3} % read · ")
        };
        format!(
            "{history}{} records wait on the devices · {stored} stored · {live} of {plants} plants up to date",
            sum.pending
        )
    }
}

/// Readings stored since the start.
fn stored(counters: &CounterSnapshot) -> u64 {
    counters
        .readings
        .iter()
        .find(|(result, _)| *result == "stored")
        .map_or(0, |(_, count)| *count)
}

/// What a second start says: how long nothing was read, which intervals show as a gap when it is long enough.
fn continued(earlier_ms: i64) -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let minutes = (now_ms - earlier_ms).max(0) / 60_000;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!(
        "continuing; the newest reading is {hours} h {minutes:02} min old. A gap above 15 min is shown as one: its energy is \
         known by the registers, its shape is not\n"
    )
}
