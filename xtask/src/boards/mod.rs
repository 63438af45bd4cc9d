//! `cargo xtask boards` and `cargo xtask size`: the firmware for each board, and what of its memory it takes.
//!
//! The boards are a workspace of their own, each with its target in its `.cargo/config.toml`, which cargo reads only
//! from inside the board's folder: so each is built from there.

mod budget;
mod elf;
mod size;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use taraz_fieldkit as fieldkit;

use crate::command::{CommandLine, text};
use crate::{setup, workspace};
use budget::Budget;

pub(crate) use size::run as size;

/// Where the boards are, from the root of the checkout.
const FOLDER: &str = "firmware/boards";

/// Where the images are put, from the root of the checkout.
const IMAGES: &str = "target/boards";

/// A board's package.
struct Board {
    /// The folder's and the package's name.
    name: String,
    folder: PathBuf,
    target: String,
}

impl Board {
    /// Every folder of `firmware/boards` that has a program.
    fn all() -> Result<Vec<Self>> {
        let root = workspace::root().join(FOLDER);
        let entries = fs::read_dir(&root).with_context(|| format!("reading {}", root.display()))?;
        let mut boards = Vec::new();
        for entry in entries {
            let folder = entry
                .with_context(|| format!("reading {}", root.display()))?
                .path();
            if folder.join("src/main.rs").is_file() {
                boards.push(Self::read(folder)?);
            }
        }
        boards.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(boards)
    }

    fn read(folder: PathBuf) -> Result<Self> {
        let name = folder.file_name().context("a folder without a name")?;
        let name = text(name)?.to_owned();
        let path = folder.join(".cargo/config.toml");
        let config = fs::read_to_string(&path)
            .with_context(|| format!("reading the target from {}", path.display()))?;
        let target = target(&config).with_context(|| format!("in {}", path.display()))?;
        Ok(Self { name, folder, target })
    }

    fn named(name: &str) -> Result<Self> {
        let boards = Self::all()?;
        let names: Vec<_> = boards.iter().map(|board| board.name.clone()).collect();
        let found = boards.into_iter().find(|board| board.name == name);
        found.with_context(|| format!("there is no board \"{name}\"; there are: {}", names.join(", ")))
    }

    /// Gives the folder in which cargo builds.
    fn build(&self, environment: &[(String, String)]) -> Result<PathBuf> {
        run_shown(&self.cargo(&["build", "--release", "--locked"], environment))?;
        target_folder(&self.folder)
    }

    fn cargo(&self, words: &[&str], environment: &[(String, String)]) -> CommandLine {
        CommandLine::new(&[&["cargo"], words].concat())
            .envs(environment)
            .within(&self.folder)
    }

    /// Where cargo leaves the program, `built` being its folder.
    fn built(&self, built: &Path) -> PathBuf {
        built.join(&self.target).join("release").join(&self.name)
    }

    /// The program as the board's boot loader takes it, without a page. The field kit must be able to make images of it,
    /// so both must agree on where the program ends and page and queue begin.
    fn uf2(&self, elf: &[u8]) -> Result<Option<Vec<u8>>> {
        let board = fieldkit::board(&self.name)?;
        compare(&elf::program_room(elf)?, &board.program)?;
        let program = fieldkit::Program::read(elf, board)?;
        match board.medium {
            fieldkit::Medium::FlashFile => Ok(None),
            fieldkit::Medium::Uf2 { .. } => Ok(Some(fieldkit::bare_image(&program, board)?.bytes)),
        }
    }

    /// Puts the program, and the image of its boot loader, where other programs look for them.
    fn publish(&self, built: &Path) -> Result<()> {
        let program = self.built(built);
        let bytes = fs::read(&program).with_context(|| format!("reading {}", program.display()))?;
        let image = self.uf2(&bytes).with_context(|| self.name.clone())?;
        write(&self.elf(), &bytes)?;
        match image {
            Some(image) => write(&self.elf().with_extension("uf2"), &image),
            None => Ok(()),
        }
    }

    /// Where [`Self::publish`] puts the program.
    fn elf(&self) -> PathBuf {
        workspace::root().join(IMAGES).join(format!("{}.elf", self.name))
    }
}

/// The addresses that `memory.x` gives to a program are those of the board's flash map.
fn compare(linked: &Range<u64>, map: &Range<u32>) -> Result<()> {
    let map = u64::from(map.start)..u64::from(map.end);
    if *linked != map {
        bail!(
            "memory.x gives the program {:#x} to {:#x}, its flash map (telemetry/src/page/map.rs) {:#x} to {:#x}: make them \
             the same",
            linked.start,
            linked.end,
            map.start,
            map.end
        );
    }
    Ok(())
}

/// The target of a board's `.cargo/config.toml`.
fn target(config: &str) -> Result<String> {
    let table: toml::Table = config.parse()?;
    let target = table.get("build").and_then(|build| build.get("target"));
    let target = target.and_then(toml::Value::as_str);
    Ok(target.context("expected `target` in [build]")?.to_owned())
}

/// Checks the format and the lints of all boards, builds them, puts the images into `target/boards` and holds them
/// against their budgets.
///
/// # Errors
/// At the first command that fails, and when a board is above its budget.
pub(crate) fn run() -> Result<()> {
    build()?;
    size::check()
}

/// Builds one board's program and puts it into `target/boards`, without looking at anything else: what a test needs
/// before it runs the program.
///
/// # Errors
/// When there is no such board, or it can't be built.
pub(crate) fn run_one(name: &str) -> Result<()> {
    let board = Board::named(name)?;
    let built = board.build(&setup::prepare_bare_metal()?)?;
    board.publish(&built)
}

fn build() -> Result<()> {
    let environment = setup::prepare_bare_metal()?;
    let folder = workspace::root().join(FOLDER);
    run_shown(&CommandLine::new(&["cargo", "fmt", "--all", "--check"]).within(&folder))?;
    for board in Board::all()? {
        // The profile of the build: what both need (build scripts, macros) is compiled once.
        run_shown(&board.cargo(
            &["clippy", "--release", "--locked", "--", "-D", "warnings"],
            &environment,
        ))?;
        let built = board.build(&environment)?;
        board.publish(&built)?;
    }
    Ok(())
}

/// Builds the program of one board, without looking at anything else; gives its path.
///
/// # Errors
/// When there is no such board, or it can't be built.
pub(crate) fn build_one(name: &str, environment: &[(String, String)]) -> Result<PathBuf> {
    let board = Board::named(name)?;
    let built = board.build(environment)?;
    Ok(board.built(&built))
}

fn run_shown(line: &CommandLine) -> Result<()> {
    // Standard output is for what `size` prints.
    eprintln!("$ {line}");
    line.run()
}

/// Where cargo puts what it builds in `folder`.
fn target_folder(folder: &Path) -> Result<PathBuf> {
    let words = [
        "cargo",
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ];
    let output = CommandLine::new(&words).within(folder).output()?;
    let metadata: serde_json::Value = serde_json::from_str(&output)?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder.context("cargo metadata names no target_directory")?.into())
}

/// Writes a file unless it is so already: what was measured of a program counts for as long as the program is the same.
/// Whoever reads it meanwhile sees the old one or the new one.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&new, bytes).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("boards: {}", path.display());
    Ok(())
}

/// The boards with their budgets.
///
/// # Errors
/// When a board has no budget, or a budget no board.
fn with_budgets() -> Result<Vec<(Board, Budget)>> {
    let path = workspace::root().join(FOLDER).join("budgets.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let budgets = budget::parse(&text).with_context(|| format!("in {}", path.display()))?;
    pair(Board::all()?, budgets).with_context(|| format!("in {}", path.display()))
}

fn pair(boards: Vec<Board>, mut budgets: BTreeMap<String, Budget>) -> Result<Vec<(Board, Budget)>> {
    let mut pairs = Vec::new();
    for board in boards {
        let budget = budgets
            .remove(&board.name)
            .with_context(|| format!("the board {} has no budget: add [{}]", board.name, board.name))?;
        pairs.push((board, budget));
    }
    if let Some(name) = budgets.keys().next() {
        bail!("there is a budget for {name}, but no such board: remove it");
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(name: &str) -> Board {
        Board {
            name: name.to_owned(),
            folder: PathBuf::new(),
            target: "thumbv7m-none-eabi".to_owned(),
        }
    }

    #[test]
    fn a_target_is_read() {
        assert_eq!(target("[build]\ntarget = \"t\"").unwrap(), "t");
        assert!(target("[build]\n").unwrap_err().to_string().contains("`target`"));
    }

    #[test]
    fn a_program_linked_for_another_part_of_the_flash_is_refused() {
        assert!(compare(&(0x1000..0x2000), &(0x1000..0x2000)).is_ok());
        let error = compare(&(0x1000..0x3000), &(0x1000..0x2000))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("0x1000 to 0x3000") && error.contains("map.rs"),
            "{error}"
        );
    }

    #[test]
    fn what_is_the_same_is_not_written_again() {
        let folder = std::env::temp_dir().join(format!("taraz-xtask-{}", std::process::id()));
        let path = folder.join("board.elf");
        write(&path, b"one").unwrap();
        let changed = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let before = changed(&path);
        write(&path, b"one").unwrap();
        assert_eq!(changed(&path), before);
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_board_has_a_budget_and_every_budget_a_board() {
        let budgets = || budget::parse("[a]\nflash = 4\nram = 3\nstack = 2\n").unwrap();
        assert_eq!(pair(vec![board("a")], budgets()).unwrap().len(), 1);
        let error = |boards| pair(boards, budgets()).err().unwrap().to_string();
        assert!(error(vec![board("a"), board("b")]).contains("b has no budget"));
        assert!(error(Vec::new()).contains("budget for a, but no such board"));
    }
}
