//! One way to read a configuration file, for every program of the house.
//!
//! In: the name and text of a TOML file, and the [`Key`]s that it may have. Out: the parsed value, or a [`Mistake`] that
//! names file, line, key, what was found, and what is allowed. A secret is never part of a message, nor is the value of
//! a key that does not exist: it may be a misspelt secret. It reads no file and opens nothing.

mod document;
mod keys;
mod mistake;
mod place;
mod shown;

pub use document::Document;
pub use keys::{Key, Section};
pub use mistake::{Mistake, Wrong};
pub use place::Place;
