//! `firmware/boards/budgets.toml`: what each board may take.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// The bytes that one board may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Program, constants and the initial values of variables.
    pub(super) flash: u64,
    /// Variables and stack together.
    pub(super) ram: u64,
    /// What of `ram` is kept for the stack; the high-water mark measured at run time has to stay below.
    pub(super) stack: u64,
}

/// Board → budget.
///
/// # Errors
/// When a number is missing, one is unknown, or the stack alone is above the memory.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Budget>> {
    let table: toml::Table = text.parse()?;
    table
        .into_iter()
        .map(|(name, value)| {
            let budget = one(&value).with_context(|| format!("[{name}]"))?;
            Ok((name, budget))
        })
        .collect()
}

fn one(value: &toml::Value) -> Result<Budget> {
    const KEYS: [&str; 3] = ["flash", "ram", "stack"];
    let table = value.as_table().context("expected a table")?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        bail!("expected {}, found {key}", KEYS.join(", "));
    }
    let number = |key: &str| {
        let number = table.get(key).and_then(toml::Value::as_integer);
        number
            .and_then(|number| u64::try_from(number).ok())
            .with_context(|| format!("expected `{key}` in bytes"))
    };
    let budget = Budget {
        flash: number("flash")?,
        ram: number("ram")?,
        stack: number("stack")?,
    };
    if budget.stack > budget.ram {
        bail!(
            "expected the stack within `ram`, found {} of {}",
            budget.stack,
            budget.ram
        );
    }
    Ok(budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_read_whole_or_refused() {
        let budgets = parse("[a]\nflash = 0x1000\nram = 512\nstack = 128\n").unwrap();
        let expected = Budget {
            flash: 4096,
            ram: 512,
            stack: 128,
        };
        assert_eq!(budgets["a"], expected);
        for (text, what) in [
            ("[a]\nflash = 1\nram = 1\n", "`stack`"),
            ("[a]\nflash = 1\nram = 1\nstack = -1\n", "`stack`"),
            ("[a]\nflash = 1\nram = 1\nstack = 1\nrom = 1\n", "found rom"),
            ("[a]\nflash = 1\nram = 1\nstack = 2\n", "within `ram`"),
            ("a = 1\n", "a table"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains("[a]") && error.contains(what), "{error}");
        }
    }
}
