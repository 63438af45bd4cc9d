//! Programs of Debian that tests start: found, or installed when we are root, or named with the command.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{CommandLine, find_program};

/// A program that some test starts, and the Debian package it comes in.
struct Need {
    program: &'static str,
    package: &'static str,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

const NEEDS: &[Need] = &[
    need("mosquitto", "mosquitto"),
    need("mosquitto_passwd", "mosquitto"),
    need("mosquitto_pub", "mosquitto-clients"),
    need("prometheus", "prometheus"),
    need("promtool", "prometheus"),
    need("prometheus-alertmanager", "prometheus-alertmanager"),
    need("amtool", "prometheus-alertmanager"),
    need("victoria-metrics", "victoria-metrics"),
    need("influxd", "influxdb"),
    need("chromium", "chromium"),
    need("python3", "python3"),
    need("strace", "strace"),
    need("unshare", "util-linux"),
    need("prlimit", "util-linux"),
    need("qemu-system-arm", "qemu-system-arm"),
    need("node", "nodejs"),
    need("npm", "npm"),
    need("faketime", "faketime"),
];

/// A package without a program of its own: Debian's Python leaves out what a venv needs.
const VENV_PACKAGE: &str = "python3-venv";

/// Asked by Debian's invoke-rc.d before it starts a service; 101 says no.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Looks for every program and installs what is missing.
///
/// # Errors
/// When something is missing and we are not root, or there is no apt-get, or apt-get fails.
pub(crate) fn prepare() -> Result<()> {
    let missing = missing(NEEDS, |program| find_program(program).is_some(), can_make_venv());
    if missing.is_empty() {
        println!("programs: all there");
        return Ok(());
    }
    let install = install_line(&missing);
    if find_program("apt-get").is_none() {
        bail!(
            "this system has no apt-get; install by hand what Debian has as: {}",
            missing.join(" ")
        );
    }
    if !is_root()? {
        bail!(
            "these programs are missing; install them, then run this again:\n  sudo apt-get update && sudo {install}"
        );
    }
    println!("programs: installing {}", missing.join(" "));
    if let Err(error) = apt(&["update", "-q"]).run() {
        // Another apt may hold the lists, or they may be new enough: the install decides.
        println!("programs: going on with the package lists as they are: {error:#}");
    }
    {
        let _policy = NoServices::begin(Path::new(SERVICE_POLICY))?;
        install.run()?;
    }
    disable_services(&missing);
    let still = self::missing(NEEDS, |program| find_program(program).is_some(), can_make_venv());
    if !still.is_empty() {
        bail!(
            "{install} ended well, but these packages did not bring their programs: {}",
            still.join(" ")
        );
    }
    Ok(())
}

/// The packages of the programs that `there` does not find, each once, in order.
fn missing(needs: &[Need], there: impl Fn(&str) -> bool, venv_works: bool) -> Vec<&'static str> {
    let mut packages: Vec<&str> = needs
        .iter()
        .filter(|need| !there(need.program))
        .map(|need| need.package)
        .collect();
    if !venv_works {
        packages.push(VENV_PACKAGE);
    }
    packages.dedup();
    packages
}

fn can_make_venv() -> bool {
    CommandLine::new(&["python3", "-c", "import ensurepip, venv"])
        .output()
        .is_ok()
}

fn is_root() -> Result<bool> {
    Ok(CommandLine::new(&["id", "-u"]).output()?.trim() == "0")
}

fn apt(words: &[&str]) -> CommandLine {
    // Another apt-get may be at work: wait for it.
    let words = [&["apt-get", "-o", "DPkg::Lock::Timeout=600"], words].concat();
    CommandLine::new(&words).env("DEBIAN_FRONTEND", "noninteractive")
}

fn install_line(packages: &[&str]) -> CommandLine {
    apt(&[&["install", "-y", "-q", "--no-install-recommends"], packages].concat())
}

/// Where systemd runs, Debian's packages also enable their service for the next start of the machine. The tests start
/// servers of their own, so what we installed shall not stay up by itself.
fn disable_services(packages: &[&str]) {
    if !Path::new("/run/systemd/system").is_dir() {
        return;
    }
    for package in packages {
        // Not every package has a service; one that has none is an error here and nothing to do.
        let _ = CommandLine::new(&["systemctl", "disable", "--now", package]).output();
    }
}

/// While this lives, packages that are installed do not start their services. A policy that the machine already has is
/// left as it is.
struct NoServices<'a> {
    written: Option<&'a Path>,
}

impl<'a> NoServices<'a> {
    fn begin(policy: &'a Path) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(policy);
        match file {
            Ok(mut file) => {
                let guard = Self {
                    written: Some(policy),
                };
                file.write_all(b"#!/bin/sh\nexit 101\n")
                    .with_context(|| format!("writing {}", policy.display()))?;
                Ok(guard)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { written: None }),
            Err(error) => Err(error).with_context(|| format!("creating {}", policy.display())),
        }
    }
}

impl Drop for NoServices<'_> {
    fn drop(&mut self) {
        if let Some(policy) = self.written
            && let Err(error) = fs::remove_file(policy)
        {
            eprintln!(
                "xtask: remove {} by hand, it keeps services from starting: {error}",
                policy.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_package_is_named_once() {
        let packages = missing(
            NEEDS,
            |program| program != "mosquitto" && program != "mosquitto_passwd",
            true,
        );
        assert_eq!(packages, ["mosquitto"]);
        assert!(missing(NEEDS, |_| true, true).is_empty());
        assert_eq!(missing(NEEDS, |_| true, false), ["python3-venv"]);
    }

    #[test]
    fn the_command_for_a_person_holds_no_recommended_package() {
        let line = install_line(&["mosquitto", "prometheus"]).to_string();
        assert!(
            line.ends_with("install -y -q --no-install-recommends mosquitto prometheus"),
            "{line}"
        );
    }

    #[test]
    fn the_service_policy_is_there_while_installing_and_gone_after() {
        let folder = std::env::temp_dir().join(format!("xtask-policy-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let policy = folder.join("policy-rc.d");
        {
            let _guard = NoServices::begin(&policy).unwrap();
            assert_eq!(fs::read_to_string(&policy).unwrap(), "#!/bin/sh\nexit 101\n");
            // A second one finds the first and leaves it.
            drop(NoServices::begin(&policy).unwrap());
            assert!(policy.exists());
        }
        assert!(!policy.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
