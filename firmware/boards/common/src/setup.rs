//! From the start to everything that a device is made of: the banner, the last run, the configuration page.

use embassy_time::{Duration, Instant, Timer};
use embedded_storage::nor_flash::ReadNorFlash;
use heapless::String;
use static_cell::StaticCell;
use taraz_firmware::{
    DeviceParts, DeviceSettings, Identity, LastRun, PageLoadError, PageSectors, RETAINED_TEXT_LEN_MAX, Seed,
    identity, settings,
};
use taraz_telemetry::{BoardMarker, DevicePage, FirmwareVersion, PageError, ResetCause};

use crate::guard::{GUARD_INTERVAL_MS, Watchdog};
use crate::log::wait_until_said;
use crate::narrator::Narrator;
use crate::retained::{restart_because, take_last_run};
use crate::say;
use crate::tasks::{BoardHealth, health};

/// A problem that waits for somebody is said again this often; one that may pass is tried again so soon. In ms.
const REPEAT_MS: u64 = 60_000;

/// What is known when the program has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The program's mark: board and version.
    pub marker: BoardMarker<'static>,
    /// Why it started.
    pub reset_cause: ResetCause,
    /// When it started.
    pub started: Instant,
    /// How the last run ended, if not in order.
    pub last_run: Option<String<RETAINED_TEXT_LEN_MAX>>,
}

/// Says which program this is and how the last run ended. `mark` is the program's own (`board_marker!`), `chip` what the
/// chip says about its reset.
pub fn begin(mark: &'static str, chip: Option<ResetCause>) -> Begun {
    // What nothing reads the linker would drop.
    let mark = core::hint::black_box(mark);
    let marker = BoardMarker::of(mark).unwrap_or(BoardMarker {
        board: "unknown",
        version: "0",
    });
    let last = take_last_run();
    let reset_cause = last.reset_cause(chip);
    say!(
        "taraz {} on {}, start: {reset_cause:?}",
        marker.version,
        marker.board
    );
    let last_run = match last {
        LastRun::Panicked(text) | LastRun::Stalled(text) => Some(text),
        LastRun::Unknown | LastRun::Running | LastRun::Requested => None,
    };
    if let Some(last_run) = &last_run {
        say!("last run: {last_run}");
    }
    Begun {
        marker,
        reset_cause,
        started: Instant::now(),
        last_run,
    }
}

/// Why a board can't be a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The flash can't be read or opened.
    #[error("the flash does not work; if it never does again, the board needs another one")]
    Flash,
    /// The page is missing, damaged or for another board.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The queue can't be opened.
    #[error("the queue can't be opened; if it never can again, the flash is worn out")]
    Queue,
}

impl SetupError {
    /// It may pass by itself. A page that is wrong waits for somebody.
    const fn may_pass(self) -> bool {
        matches!(self, Self::Flash | Self::Queue)
    }
}

/// A board that can't be a device.
#[derive(Debug)]
pub struct Failed<W> {
    /// Why.
    pub problem: SetupError,
    /// Its watchdog, which may be on.
    pub watchdog: W,
}

/// What the page says, for as long as the program runs.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The page itself.
    pub(crate) page: &'static DevicePage,
    /// Who the device is.
    pub(crate) identity: &'static Identity,
    /// What it does.
    pub(crate) settings: DeviceSettings,
    /// The health of its tasks.
    pub(crate) health: &'static BoardHealth,
    /// What tells it from others and this start from the last.
    pub(crate) seed: Seed,
}

impl Setup {
    /// What the device is made of, with its queue open.
    pub(crate) fn device_parts<Q>(&self, begun: &Begun, queue: Q) -> DeviceParts<Q, Narrator> {
        DeviceParts {
            settings: self.settings.clone(),
            queue,
            observer: Narrator::new(&self.settings, self.health),
            started: begun.started,
            reset_cause: begun.reset_cause,
            seed: self.seed.draw("device"),
            live: true,
        }
    }
}

/// Reads the page. The seed gathers the device's key.
///
/// # Errors
/// [`SetupError`]: there is nothing to start with.
///
/// # Panics
/// Called again after it succeeded.
#[inline(never)]
pub(crate) fn prepare<F: ReadNorFlash>(
    flash: &mut F,
    sectors: PageSectors,
    begun: &Begun,
    seed: Seed,
) -> Result<Setup, SetupError> {
    static PAGE: StaticCell<DevicePage> = StaticCell::new();
    static IDENTITY: StaticCell<Identity> = StaticCell::new();
    static HEALTH: StaticCell<BoardHealth> = StaticCell::new();
    let page = sectors.load(flash).map_err(|error| match error {
        PageLoadError::Page(error) => SetupError::Page(error),
        PageLoadError::Memory => SetupError::Flash,
    })?;
    page.check_board(begun.marker.board)?;
    let page = &*PAGE.init(page);
    let firmware = FirmwareVersion::try_from(begun.marker.version).unwrap_or_default();
    say!(
        "device {}, broker {}:{}",
        page.device,
        page.broker_host,
        page.broker_port
    );
    Ok(Setup {
        page,
        identity: IDENTITY.init(identity(page)),
        settings: settings(page, firmware),
        health: HEALTH.init(health()),
        seed: seed.with(&page.key).with(page.device.as_str().as_bytes()),
    })
}

/// Says what is wrong until somebody mends it and restarts the board; what may pass is tried again by a restart.
pub async fn wait_for_help<W: Watchdog>(failed: Failed<W>) -> ! {
    let Failed {
        problem,
        mut watchdog,
    } = failed;
    loop {
        say!("not running: {problem}");
        for _ in 0..REPEAT_MS / GUARD_INTERVAL_MS {
            Timer::after(Duration::from_millis(GUARD_INTERVAL_MS)).await;
            watchdog.feed();
        }
        if problem.may_pass() {
            say!("restarting to try again");
            wait_until_said().await;
            restart_because(format_args!("{problem}"));
        }
    }
}
