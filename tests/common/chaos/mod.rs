//! A fault matrix over a whole installation: what can fail, in which order, and that nothing is lost by it.

pub(crate) mod cells;
mod part;
pub(crate) mod schedule;
pub(crate) mod site;
mod state;
pub(crate) mod verdict;
