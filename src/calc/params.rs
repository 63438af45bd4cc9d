//! Parameters from a JSON file, which may be a file of results.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The parameters of a calculation.
pub(crate) struct Params {
    name: String,
    root: Value,
}

impl Params {
    /// Reads a file that may have these parameters at its top or under "params"; the other objects and lists of a file of results
    /// are its results.
    pub(crate) fn read(path: &Path, known: &[&str]) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {name}"))?;
        let root: Value = serde_json::from_str(&text).with_context(|| format!("{name} is no JSON file"))?;
        if !root.is_object() {
            bail!("{name}: expected a JSON object with the parameters");
        }
        let given = [Some(&root), root.get("params")];
        let scalars = given
            .iter()
            .flatten()
            .filter_map(|object| object.as_object())
            .flatten()
            .filter(|(_, value)| !value.is_object() && !value.is_array());
        for (key, _) in scalars {
            if !known.contains(&key.as_str()) {
                bail!(
                    "{name}: there is no parameter {key}; expected some of: {}",
                    known.join(", ")
                );
            }
        }
        Ok(Self { name, root })
    }

    /// A parameter at the top, or in one of these objects.
    fn value(&self, key: &str, within: &[&str]) -> Option<&Value> {
        let objects = within.iter().filter_map(|object| self.root.get(object));
        std::iter::once(&self.root)
            .chain(objects)
            .filter_map(|object| object.get(key))
            .find(|value| !value.is_null())
    }

    /// A number.
    pub(crate) fn number(&self, key: &str, within: &[&str]) -> anyhow::Result<Option<f64>> {
        let Some(value) = self.value(key, within) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => bail!("{}: expected a number as {key}, got {value}", self.name),
        }
    }

    /// A number above 0 that nothing can be done without.
    pub(crate) fn positive(&self, key: &str, within: &[&str]) -> anyhow::Result<f64> {
        match self.number(key, within)? {
            Some(number) if number > 0.0 => Ok(number),
            Some(number) => bail!("{}: expected {key} above 0, got {number}", self.name),
            None => bail!("{} lacks the parameter {key}", self.name),
        }
    }

    /// A text.
    pub(crate) fn text(&self, key: &str, within: &[&str]) -> Option<&str> {
        self.value(key, within)?.as_str()
    }
}
