//! The console, whether or not there is a device behind it.

use core::pin::pin;

use embassy_futures::join::join;
use embedded_io_async::Read;
use embedded_storage::nor_flash::NorFlash;
use taraz_firmware::{BusDesk, ConsoleDevice, run_console};

use crate::host::BoardHost;
use crate::log::ConsoleWriter;
use crate::tasks::{BoardHealth, CONSOLE_TASK};

/// Serves the console for ever, and restarts the board when that was asked for. Without a device nobody looks after the
/// tasks' health either.
pub async fn serve_console<D: ConsoleDevice, F: NorFlash>(
    input: impl Read,
    device: Option<(&D, &BoardHealth)>,
    desk: &BusDesk,
    host: &BoardHost<F>,
) {
    let serve = run_console(input, ConsoleWriter, device.map(|(device, _)| device), desk, host);
    let serve = pin!(join(serve, host.restart_when_asked()));
    match device {
        Some((_, health)) => health.watch(CONSOLE_TASK, serve).await,
        None => serve.await,
    };
}
