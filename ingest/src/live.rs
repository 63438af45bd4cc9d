//! The present: the newest reading of every meter, and what follows from it.

use crate::view::View;

/// A handle on the present; cheap to clone, never blocks on the disk.
#[derive(Clone, Debug)]
pub struct Live {}

impl Live {
    /// The present as of `now_ms` (UTC ms).
    #[must_use]
    pub fn view(&self, now_ms: i64) -> View {
        View {
            now_ms,
            plants: Vec::new(),
            sites: Vec::new(),
            devices: Vec::new(),
        }
    }
}
