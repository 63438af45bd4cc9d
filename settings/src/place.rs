//! Where a value stands in a file: tables, elements of arrays, key.

use std::fmt;

/// A way from the top of a file to a value.
///
/// It is shown as the keys with dots between them; which element of an array it is the line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) key: String,
    /// Which element, when an array stands there.
    pub(crate) index: Option<usize>,
}

impl Place {
    /// The top of the file.
    #[must_use]
    pub fn top() -> Self {
        Self::default()
    }

    /// The key in the table that is here.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(key, None)
    }

    /// An element of the array of this key in the table that is here, from 0.
    #[must_use]
    pub fn item(&self, key: &str, index: usize) -> Self {
        self.step(key, Some(index))
    }

    /// This place, if `base` were the top of the file.
    #[must_use]
    pub fn below(&self, base: &Self) -> Self {
        Self(base.0.iter().chain(&self.0).cloned().collect())
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The element of the array that is here.
    pub(crate) fn element(&self, index: usize) -> Self {
        let mut place = self.clone();
        if let Some(last) = place.0.last_mut() {
            last.index = Some(index);
        }
        place
    }

    fn step(&self, key: &str, index: Option<usize>) -> Self {
        let step = Step {
            key: key.to_owned(),
            index,
        };
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

/// Keys with dots between them.
impl From<&str> for Place {
    fn from(path: &str) -> Self {
        path.split('.').fold(Self::top(), |place, key| place.key(key))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{}", step.key)?;
        }
        Ok(())
    }
}
