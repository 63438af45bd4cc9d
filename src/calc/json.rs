//! JSON whose keys stay in the order in which they were written, and whose numbers have six decimals.

use std::path::Path;

use anyhow::Context as _;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Numbers are rounded to this.
const DECIMALS: f64 = 1e6;

/// A value of a result.
pub(crate) enum Item {
    /// A number, or `null` when it is not known.
    Number(Option<f64>),
    /// A whole number.
    Count(usize),
    /// True or false; `null` when it is not known.
    Truth(Option<bool>),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Object>),
    /// An object within.
    Object(Object),
}

/// Keys and values in order.
#[derive(Default)]
pub(crate) struct Object(Vec<(String, Item)>);

impl Object {
    /// Adds a value.
    pub(crate) fn add(&mut self, key: impl Into<String>, item: impl Into<Item>) -> &mut Self {
        self.0.push((key.into(), item.into()));
        self
    }

    /// Writes it to a file.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
    }
}

impl From<f64> for Item {
    fn from(number: f64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<f64>> for Item {
    fn from(number: Option<f64>) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Item {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<Option<bool>> for Item {
    fn from(truth: Option<bool>) -> Self {
        Self::Truth(truth)
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Object>> for Item {
    fn from(list: Vec<Object>) -> Self {
        Self::List(list)
    }
}

impl From<Object> for Item {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => number.map(rounded).serialize(serializer),
            Self::Count(count) => count.serialize(serializer),
            Self::Truth(truth) => truth.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::List(list) => list.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, item) in &self.0 {
            map.serialize_entry(key, item)?;
        }
        map.end()
    }
}

/// Six decimals, and no negative 0.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * DECIMALS).round_ties_even() / DECIMALS + 0.0
}
