//! Damaged and hostile input for every decoder of the data path, made from a seed.
//!
//! In: a [`Target`], a seed, a time. Out: how many inputs it was given, what came of them, and the first input that it did not stand:
//! a panic, a promise of its own that was broken, a call that did not return within [`HANG_LIMIT`], or memory above
//! [`MEMORY_MAX_MIB`]. Inputs are valid ones of a generator, most of them mutated afterwards; the n-th input of a seed is always the
//! same. Found inputs stand in `corpus/` and are tried first, always. It needs no compiler but the one everything is built with, so
//! it sees no coverage: what it reaches is decided by its generators.

mod guard;
mod harness;
mod mutate;
mod records;
mod shrink;
mod targets;

pub use guard::{HANG_LIMIT, MEMORY_MAX_MIB};
pub use harness::{Budget, Finding, Report, Target, fuzz, replay};
pub use targets::{Spec, TARGETS, named};
