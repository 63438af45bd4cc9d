//! `cargo xtask size`: flash, memory and stack of each board against its budget.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::budget::Budget;
use super::elf::Usage;
use super::{Board, IMAGES, build, with_budgets};
use crate::workspace;

/// How far the stack of a board was seen to grow, in bytes: `target/boards/NAME.stack`. The tests that run a board's
/// program in an emulator write it from what the device itself says.
const STACK_ENDING: &str = "stack";

/// What was found for one board.
struct Found {
    board: String,
    target: String,
    usage: Usage,
    high_water: Option<u64>,
    budget: Budget,
}

/// Builds the boards and prints what they take, with `--json` for a program.
///
/// # Errors
/// When an option is unknown, a board can't be built, or is above its budget.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let as_json = match options {
        [] => false,
        ["--json"] => true,
        _ => bail!(
            "expected nothing or --json after `cargo xtask size`, found: {}",
            options.join(" ")
        ),
    };
    build()?;
    report(as_json)
}

/// Holds the images that were built against their budgets.
pub(super) fn check() -> Result<()> {
    report(false)
}

fn report(as_json: bool) -> Result<()> {
    let found: Vec<Found> = with_budgets()?
        .into_iter()
        .map(|(board, budget)| Found::read(&board, budget))
        .collect::<Result<_>>()?;
    if as_json {
        println!("{:#}", json(&found));
    } else {
        print!("{}", table(&found));
    }
    let above: Vec<String> = found.iter().flat_map(Found::problems).collect();
    if !above.is_empty() {
        bail!("above the budget:\n  {}", above.join("\n  "));
    }
    Ok(())
}

impl Found {
    fn read(board: &Board, budget: Budget) -> Result<Self> {
        let elf = board.elf();
        let bytes = fs::read(&elf).with_context(|| format!("reading {}", elf.display()))?;
        let usage = Usage::read(&bytes).with_context(|| elf.display().to_string())?;
        Ok(Self {
            board: board.name.clone(),
            target: board.target.clone(),
            usage,
            high_water: high_water(&board.name)?,
            budget,
        })
    }

    /// Variables and the stack that is kept for them.
    fn ram(&self) -> u64 {
        self.usage.static_ram + self.budget.stack
    }

    fn problems(&self) -> Vec<String> {
        let (usage, budget) = (&self.usage, &self.budget);
        let stack = self.high_water.unwrap_or_default();
        let limits = [
            ("flash", usage.flash, budget.flash),
            ("variables and stack", self.ram(), budget.ram),
            ("stack kept, against its room", budget.stack, usage.stack_room),
            ("stack measured", stack, budget.stack),
        ];
        let above = limits.iter().filter(|(_, found, most)| found > most);
        above
            .map(|(what, found, most)| format!("{}: {what}: {found} bytes, at most {most}", self.board))
            .collect()
    }
}

fn high_water(board: &str) -> Result<Option<u64>> {
    let path = workspace::root()
        .join(IMAGES)
        .join(format!("{board}.{STACK_ENDING}"));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let bytes = text.trim().parse();
    bytes
        .map(Some)
        .with_context(|| format!("{}: expected bytes, found {}", path.display(), text.trim()))
}

fn table(found: &[Found]) -> String {
    let mut text = format!(
        "{:<18} {:>19} {:>19} {:>15} {:>11} {:>11}\n",
        "bytes", "flash of budget", "RAM of budget", "= variables", "+ stack", "measured"
    );
    for one in found {
        let measured = one
            .high_water
            .map_or_else(|| "not yet".to_owned(), |bytes| bytes.to_string());
        let of = |found: u64, budget: u64| format!("{found} of {budget}");
        let _ = writeln!(
            text,
            "{:<18} {:>19} {:>19} {:>15} {:>11} {:>11}",
            one.board,
            of(one.usage.flash, one.budget.flash),
            of(one.ram(), one.budget.ram),
            one.usage.static_ram,
            one.budget.stack,
            measured,
        );
    }
    text
}

fn json(found: &[Found]) -> serde_json::Value {
    let boards = found.iter().map(|one| {
        json!({
            "board": one.board,
            "target": one.target,
            "flash_bytes": one.usage.flash,
            "flash_budget_bytes": one.budget.flash,
            "static_ram_bytes": one.usage.static_ram,
            "ram_budget_bytes": one.budget.ram,
            "stack_budget_bytes": one.budget.stack,
            "stack_room_bytes": one.usage.stack_room,
            "stack_high_water_bytes": one.high_water,
        })
    });
    boards.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            board: "a".to_owned(),
            target: "t".to_owned(),
            usage: Usage {
                flash: 100,
                static_ram: 50,
                stack_room: 30,
            },
            high_water: Some(10),
            budget: Budget {
                flash: 100,
                ram: 70,
                stack: 20,
            },
        }
    }

    #[test]
    fn within_the_budget_nothing_is_said() {
        assert_eq!(found().problems(), [""; 0]);
        let unmeasured = Found {
            high_water: None,
            ..found()
        };
        assert_eq!(unmeasured.problems(), [""; 0]);
        assert!(table(&[unmeasured]).contains("not yet"));
        assert_eq!(json(&[found()])[0]["stack_high_water_bytes"], 10);
    }

    #[test]
    fn each_limit_is_held() {
        let mut all = found();
        all.usage.flash += 1;
        all.usage.static_ram += 1;
        all.usage.stack_room = 19;
        all.high_water = Some(21);
        let problems = all.problems();
        assert_eq!(
            problems,
            [
                "a: flash: 101 bytes, at most 100",
                "a: variables and stack: 71 bytes, at most 70",
                "a: stack kept, against its room: 20 bytes, at most 19",
                "a: stack measured: 21 bytes, at most 20",
            ]
        );
    }
}
