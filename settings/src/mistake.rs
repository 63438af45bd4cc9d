//! What is said about a mistake.

use crate::place::Place;
use crate::shown;

/// A value that is not allowed, whichever file it came from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: found {found}; allowed: {allowed}")]
pub struct Wrong {
    /// Where it stands.
    pub place: Place,
    /// What stands there; a secret is not shown.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl Wrong {
    /// A value that is not allowed. A user and password in a URL are taken out of what is shown.
    #[must_use]
    pub fn new(place: impl Into<Place>, found: impl ToString, allowed: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            found: shown::text(&found.to_string()),
            allowed: allowed.into(),
        }
    }

    /// A secret that is not allowed; it is not shown.
    #[must_use]
    pub fn secret(place: impl Into<Place>, allowed: impl Into<String>) -> Self {
        Self::new(place, shown::SECRET, allowed)
    }

    /// Something is missing.
    #[must_use]
    pub fn missing(place: impl Into<Place>, allowed: impl Into<String>) -> Self {
        Self::new(place, shown::NOTHING, allowed)
    }

    /// The same, if `base` were the top of the file.
    #[must_use]
    pub fn below(mut self, base: impl Into<Place>) -> Self {
        self.place = self.place.below(&base.into());
        self
    }
}

/// A mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: line {line}: {}found {found}; allowed: {allowed}", key_shown(.key))]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; where a key is missing that of its table.
    pub line: usize,
    /// The key with its tables; empty where there is none to name.
    pub key: String,
    /// What stands there; a secret is not shown.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

fn key_shown(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    }
}
