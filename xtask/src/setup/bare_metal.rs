//! `core` and `alloc` for the bare-metal targets, by what works first: already there, `rustup target add`, built from
//! the library source beside the checkout, built from Debian's source package of the same release.
//!
//! What we build is kept in the user's cache and handed to cargo by a variable. It never goes into the toolchain: next
//! to files that `rustup target add` may bring later, it would be "multiple candidates for `core`".

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{CommandLine, find_program, text};
use crate::workspace;

/// The target that shows that telemetry and firmware need no operating system.
pub(crate) const LIBRARY_TARGET: &str = "thumbv7m-none-eabi";

/// What the boards in `firmware/boards` are: Cortex-M0+, Cortex-M3, and Cortex-M4 or M7 with a floating-point unit.
const TARGETS: &[&str] = &["thumbv6m-none-eabi", LIBRARY_TARGET, "thumbv7em-none-eabihf"];

/// `rustup target add` ends at once where its server is out of reach; this is for one that hangs.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(180);

/// Refuses a core that is there but of another compiler, or there twice.
const PROBE: &str =
    "#![no_std]\nextern crate alloc;\npub fn probe() -> alloc::vec::Vec<u8> { alloc::vec![1] }\n";

/// Finds or makes the libraries of all targets; gives the variables that cargo needs to see them (none, mostly).
///
/// # Errors
/// When none of the four ways works for one of them; the message has the reason of each.
pub(crate) fn prepare() -> Result<Vec<(String, String)>> {
    let compiler = Compiler::find()?;
    let out = cache_folder().join(format!("rust-std-{}-{}", compiler.release, compiler.commit));
    let mut missing: Vec<&str> = TARGETS.to_vec();
    missing.retain(|target| !compiler.builds_for(target, None));
    let known = missing.clone();
    missing.retain(|target| !compiler.builds_for(target, Some(&libraries(&out, target))));
    if !missing.is_empty() {
        make(&compiler, &out, &mut missing)?;
    }
    eprintln!("bare metal: {} are there", TARGETS.join(", "));
    let built = known
        .iter()
        .filter(|target| !compiler.builds_for(target, None))
        .map(|target| flags(target, &libraries(&out, target)));
    built.collect()
}

/// Gets what is `missing`, all at once, by the first way that brings each.
fn make(compiler: &Compiler, out: &Path, missing: &mut Vec<&str>) -> Result<()> {
    let mut reasons = Vec::new();
    if let Err(error) = compiler.add_by_rustup(missing) {
        reasons.push(format!("rustup: {error:#}"));
    }
    missing.retain(|target| !compiler.builds_for(target, None));
    let archive = workspace::root().join(format!("../shared/tools/library-{}.tar.xz", compiler.release));
    let sources = [archive.is_file().then_some(archive), None];
    // Without an archive the first is the second.
    for source in sources.iter().skip(usize::from(sources[0].is_none())) {
        if missing.is_empty() {
            break;
        }
        if let Err(error) = compiler.build(out, source.as_deref(), missing) {
            reasons.push(format!("{}: {error:#}", origin(source.as_deref())));
        }
        missing.retain(|target| !compiler.builds_for(target, Some(&libraries(out, target))));
    }
    if !missing.is_empty() {
        let targets = missing.join(" ");
        bail!(
            "no core library for {targets}. On an ordinary machine: rustup target add {targets}\n  {}",
            reasons.join("\n  ")
        );
    }
    Ok(())
}

fn libraries(out: &Path, target: &str) -> PathBuf {
    out.join(target).join("lib")
}

/// How cargo takes `rustflags` for one target alone.
fn flags(target: &str, libraries: &Path) -> Result<(String, String)> {
    let target = target.to_uppercase().replace('-', "_");
    Ok((
        format!("CARGO_TARGET_{target}_RUSTFLAGS"),
        format!("-L {}", text(libraries)?),
    ))
}

fn origin(source: Option<&Path>) -> String {
    source.map_or_else(
        || "Debian's source package".to_owned(),
        |archive| archive.display().to_string(),
    )
}

/// `$XDG_CACHE_HOME/taraz` or `~/.cache/taraz`; without a home, `target/`.
fn cache_folder() -> PathBuf {
    let home_cache = || {
        std::env::home_dir()
            .filter(|home| !home.as_os_str().is_empty())
            .map(|home| home.join(".cache"))
    };
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    cache
        .or_else(home_cache)
        .map_or_else(|| workspace::root().join("target"), |cache| cache.join("taraz"))
}

/// The compiler that cargo uses here.
struct Compiler {
    rustc: PathBuf,
    cargo: PathBuf,
    release: String,
    commit: String,
}

impl Compiler {
    fn find() -> Result<Self> {
        let sysroot = CommandLine::new(&["rustc", "--print", "sysroot"]).output()?;
        let programs = Path::new(sysroot.trim()).join("bin");
        let version = CommandLine::new(&["rustc", "-vV"]).output()?;
        let field = |name: &str| {
            let line = version.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
                .with_context(|| format!("no `{name}` in rustc -vV:\n{version}"))
        };
        let commit = field("commit-hash:")?.chars().take(9).collect();
        Ok(Self {
            rustc: programs.join("rustc"),
            cargo: programs.join("cargo"),
            release: field("release:")?,
            commit,
        })
    }

    /// Whether a program for `target` compiles, with the toolchain's libraries or with these.
    fn builds_for(&self, target: &str, libraries: Option<&Path>) -> bool {
        self.probe(target, libraries).is_ok()
    }

    fn probe(&self, target: &str, libraries: Option<&Path>) -> Result<()> {
        let folder = workspace::root().join("target/bare-metal-probe");
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let source = folder.join("probe.rs");
        std::fs::write(&source, PROBE).with_context(|| format!("writing {}", source.display()))?;
        let mut words = vec![text(&self.rustc)?, "--target", target, "--edition", "2024"];
        words.extend(["--crate-type", "lib", "--emit", "metadata"]);
        words.extend(["--out-dir", text(&folder)?, text(&source)?]);
        if let Some(libraries) = libraries {
            words.extend(["-L", text(libraries)?]);
        }
        CommandLine::new(&words).output().map(|_| ())
    }

    fn add_by_rustup(&self, targets: &[&str]) -> Result<()> {
        if find_program("rustup").is_none() {
            bail!("there is no rustup");
        }
        let line = CommandLine::new(&[&["rustup", "target", "add"], targets].concat());
        eprintln!("bare metal: {line}");
        line.run_within(RUSTUP_TIMEOUT)
    }

    /// Builds with `bare-metal-sysroot.sh` from an archive, or from Debian's source package.
    fn build(&self, out: &Path, archive: Option<&Path>, targets: &[&str]) -> Result<()> {
        eprintln!(
            "bare metal: building {} from {}",
            targets.join(", "),
            origin(archive)
        );
        let begun = Instant::now();
        let script = workspace::root().join("xtask/bare-metal-sysroot.sh");
        let words = [&["bash", text(&script)?, text(out)?], targets].concat();
        let mut line = CommandLine::new(&words)
            .env("RUSTC", text(&self.rustc)?)
            .env("CARGO", text(&self.cargo)?);
        if let Some(archive) = archive {
            line = line.env("LIB_SRC", text(archive)?);
        }
        line.run()?;
        eprintln!("bare metal: built in {:.0} s", begun.elapsed().as_secs_f64());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_found_with_its_release() {
        let compiler = Compiler::find().unwrap();
        assert!(compiler.rustc.is_file() && compiler.cargo.is_file());
        assert!(compiler.release.starts_with("1.") && compiler.commit.len() == 9);
    }

    #[test]
    fn a_folder_without_libraries_is_no_target() {
        let compiler = Compiler {
            rustc: "false".into(),
            cargo: "false".into(),
            release: "0".into(),
            commit: "0".into(),
        };
        assert!(!compiler.builds_for(LIBRARY_TARGET, Some(Path::new("nowhere"))));
    }

    #[test]
    fn cargo_is_told_for_each_target_alone() {
        let (name, value) = flags("thumbv7em-none-eabihf", Path::new("cache/lib")).unwrap();
        assert_eq!(name, "CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUSTFLAGS");
        assert_eq!(value, "-L cache/lib");
    }
}
