//! How a program is asked to stop: Ctrl-C or SIGTERM once for a clean stop, twice for at once.

use crate::out::tell;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first Ctrl-C or SIGTERM; the second ends the process.
///
/// # Errors
/// The signal handlers can't be installed.
pub(crate) fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if asked {
                tell!("taraz: stopped at once");
                std::process::exit(130);
            }
            asked = true;
            cancelled.cancel();
        }
    });
    Ok(token)
}
