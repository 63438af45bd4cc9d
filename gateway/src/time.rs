//! The one place of this crate that reads the wall clock; everything else is told the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// UTC milliseconds since 1970; 0 for a clock before that.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Milliseconds since 1970 pass u64 in half a billion years.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
