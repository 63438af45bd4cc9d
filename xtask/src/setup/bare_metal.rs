//! `core` and `alloc` for the bare-metal target, by what works first: already there, `rustup target add`, built from
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
pub(crate) const TARGET: &str = "thumbv7m-none-eabi";

/// How cargo takes `rustflags` for [`TARGET`] alone.
const FLAGS_VARIABLE: &str = "CARGO_TARGET_THUMBV7M_NONE_EABI_RUSTFLAGS";

/// `rustup target add` ends at once where its server is out of reach; this is for one that hangs.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(180);

/// Refuses a core that is there but of another compiler, or there twice.
const PROBE: &str =
    "#![no_std]\nextern crate alloc;\npub fn probe() -> alloc::vec::Vec<u8> { alloc::vec![1] }\n";

/// Finds or makes the target's libraries; gives the variables that cargo needs to see them (none, mostly).
///
/// # Errors
/// When none of the four ways works; the message has the reason of each.
pub(crate) fn prepare() -> Result<Option<(String, String)>> {
    let compiler = Compiler::find()?;
    if compiler.builds_for_target(None).is_ok() {
        println!("bare metal: {TARGET} is there");
        return Ok(None);
    }
    let out = cache_folder().join(format!("rust-std-{}-{}", compiler.release, compiler.commit));
    let libraries = out.join(TARGET).join("lib");
    if compiler.builds_for_target(Some(&libraries)).is_ok() {
        println!("bare metal: {TARGET} is in {}", libraries.display());
        return flags(&libraries).map(Some);
    }
    let mut reasons = Vec::new();
    match compiler.add_by_rustup() {
        Ok(()) => return Ok(None),
        Err(error) => reasons.push(format!("rustup: {error:#}")),
    }
    let archive = workspace::root().join(format!("../shared/tools/library-{}.tar.xz", compiler.release));
    let sources = if archive.is_file() {
        vec![Some(archive), None]
    } else {
        vec![None]
    };
    for source in sources {
        match compiler
            .build(&out, source.as_deref())
            .and_then(|()| compiler.builds_for_target(Some(&libraries)))
        {
            Ok(()) => return flags(&libraries).map(Some),
            Err(error) => reasons.push(format!("{}: {error:#}", origin(source.as_deref()))),
        }
    }
    bail!(
        "no core library for {TARGET}. On an ordinary machine: rustup target add {TARGET}\n  {}",
        reasons.join("\n  ")
    )
}

fn flags(libraries: &Path) -> Result<(String, String)> {
    Ok((FLAGS_VARIABLE.to_owned(), format!("-L {}", text(libraries)?)))
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

    fn builds_for_target(&self, libraries: Option<&Path>) -> Result<()> {
        let folder = workspace::root().join("target/bare-metal-probe");
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let source = folder.join("probe.rs");
        std::fs::write(&source, PROBE).with_context(|| format!("writing {}", source.display()))?;
        let mut words = vec![
            text(&self.rustc)?,
            "--target",
            TARGET,
            "--edition",
            "2024",
            "--crate-type",
            "lib",
        ];
        words.extend(["--out-dir", text(&folder)?, text(&source)?]);
        if let Some(libraries) = libraries {
            words.extend(["-L", text(libraries)?]);
        }
        CommandLine::new(&words).output().map(|_| ())
    }

    fn add_by_rustup(&self) -> Result<()> {
        if find_program("rustup").is_none() {
            bail!("there is no rustup");
        }
        println!("bare metal: rustup target add {TARGET}");
        CommandLine::new(&["rustup", "target", "add", TARGET]).run_within(RUSTUP_TIMEOUT)?;
        self.builds_for_target(None)
    }

    /// Builds with `bare-metal-sysroot.sh` from an archive, or from Debian's source package.
    fn build(&self, out: &Path, archive: Option<&Path>) -> Result<()> {
        println!("bare metal: building {TARGET} from {}", origin(archive));
        let begun = Instant::now();
        let script = workspace::root().join("xtask/bare-metal-sysroot.sh");
        let mut line = CommandLine::new(&["bash", text(&script)?, text(out)?, TARGET])
            .env("RUSTC", text(&self.rustc)?)
            .env("CARGO", text(&self.cargo)?);
        if let Some(archive) = archive {
            line = line.env("LIB_SRC", text(archive)?);
        }
        line.run()?;
        println!("bare metal: built in {:.0} s", begun.elapsed().as_secs_f64());
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
        assert!(compiler.builds_for_target(Some(Path::new("nowhere"))).is_err());
    }
}
