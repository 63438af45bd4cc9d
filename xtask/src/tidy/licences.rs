//! Licences, bans and sources of everything we link: `deny.toml` applied to `cargo metadata`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::Problem;
use super::metadata::{Metadata, Package};

/// How `cargo metadata` names the registry of `deny.toml`'s `allow-registry`.
const REGISTRY_PREFIX: &str = "registry+";

/// What `deny.toml` allows.
pub(super) struct Policy {
    targets: Vec<String>,
    licences: Vec<String>,
    /// Crate → further licences.
    exceptions: BTreeMap<String, Vec<String>>,
    /// Crate → why not.
    banned: BTreeMap<String, String>,
    registries: Vec<String>,
}

impl Policy {
    /// Reads `deny.toml`.
    ///
    /// # Errors
    /// When a part that we apply is missing, or a ban or an exception gives no reason.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context("deny.toml")?;
        let list = |section: &str, key: &str| {
            let value = table.get(section).and_then(|section| section.get(key));
            value
                .and_then(toml::Value::as_array)
                .with_context(|| format!("deny.toml: expected a list {key} in [{section}]"))
        };
        let mut exceptions = BTreeMap::new();
        for exception in list("licenses", "exceptions")? {
            let name = string(exception, "crate", "an exception")?;
            let allow = exception
                .get("allow")
                .and_then(toml::Value::as_array)
                .map(|allow| strings(allow));
            exceptions.insert(
                name.clone(),
                allow.with_context(|| format!("deny.toml: the exception {name} allows nothing"))??,
            );
            let quoted = format!("\"{name}\"");
            if !text.lines().any(|line| {
                line.split_once('#')
                    .is_some_and(|(entry, reason)| entry.contains(&quoted) && !reason.trim().is_empty())
            }) {
                bail!("deny.toml: the exception {name} needs its reason in a comment on its line");
            }
        }
        let mut banned = BTreeMap::new();
        for ban in list("bans", "deny")? {
            let name = string(ban, "crate", "a ban")?;
            let reason = string(ban, "reason", &format!("the ban of {name}"))?;
            banned.insert(name, reason);
        }
        Ok(Self {
            targets: strings(list("graph", "targets")?)?,
            licences: strings(list("licenses", "allow")?)?,
            exceptions,
            banned,
            registries: strings(list("sources", "allow-registry")?)?,
        })
    }

    /// The platforms that we build for.
    pub(super) fn targets(&self) -> &[String] {
        &self.targets
    }
}

fn string(value: &toml::Value, key: &str, place: &str) -> Result<String> {
    let found = value.get(key).and_then(toml::Value::as_str);
    found
        .map(str::to_owned)
        .with_context(|| format!("deny.toml: {place} has no {key}"))
}

fn strings(values: &[toml::Value]) -> Result<Vec<String>> {
    let text = |value: &toml::Value| value.as_str().map(str::to_owned);
    values
        .iter()
        .map(|value| text(value).with_context(|| format!("deny.toml: expected text, found {value}")))
        .collect()
}

/// Every package is allowed, and every exception is still needed.
pub(super) fn check(metadata: &Metadata, policy: &Policy) -> Vec<Problem> {
    let mut problems: Vec<Problem> = metadata
        .packages
        .iter()
        .flat_map(|package| package_problems(package, policy))
        .collect();
    for name in policy.exceptions.keys() {
        if !metadata.packages.iter().any(|package| package.name == *name) {
            problems.push(Problem::new(
                "deny.toml",
                format!("has an exception for {name}, which we no longer link: remove it"),
            ));
        }
    }
    for member in metadata.members() {
        for dependency in member
            .dependencies
            .iter()
            .filter(|d| !d.is_path && d.version == "*")
        {
            problems.push(Problem::new(
                &member.name,
                format!("depends on any version of {}: name one", dependency.name),
            ));
        }
    }
    problems
}

fn package_problems(package: &Package, policy: &Policy) -> Vec<Problem> {
    let mut problems = Vec::new();
    let place = format!("{} {}", package.name, package.version);
    let extra = policy
        .exceptions
        .get(&package.name)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let allowed = |licence: &str| {
        policy
            .licences
            .iter()
            .chain(extra)
            .any(|allowed| allowed == licence)
    };
    match package
        .licence
        .as_deref()
        .map(|expression| (expression, satisfied(expression, &allowed)))
    {
        Some((_, Ok(true))) => {}
        Some((expression, Ok(false))) => {
            problems.push(Problem::new(
                &place,
                format!("licence {expression} is not among those that deny.toml allows"),
            ));
        }
        Some((expression, Err(error))) => {
            problems.push(Problem::new(
                &place,
                format!("licence {expression} can't be read: {error:#}"),
            ));
        }
        None => problems.push(Problem::new(&place, "states no licence")),
    }
    if let Some(reason) = policy.banned.get(&package.name) {
        problems.push(Problem::new(
            &place,
            format!(
                "is banned: {reason} (`cargo tree -i {}` shows who wants it)",
                package.name
            ),
        ));
    }
    match package.source.as_deref() {
        None if package.is_member => {}
        None => problems.push(Problem::new(&place, "comes from a path outside the workspace")),
        Some(source) => {
            let registry = source.strip_prefix(REGISTRY_PREFIX);
            if !registry.is_some_and(|url| policy.registries.iter().any(|allowed| allowed == url)) {
                problems.push(Problem::new(
                    &place,
                    format!("comes from {source}; only crates.io is allowed"),
                ));
            }
        }
    }
    problems
}

/// Whether an SPDX expression can be met with the licences that `allowed` takes. `/` is the old way to write OR.
fn satisfied(expression: &str, allowed: &impl Fn(&str) -> bool) -> Result<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any_of(&mut rest, allowed)?;
    if let Some(word) = rest.first() {
        bail!("expected AND or OR, found {word}");
    }
    Ok(met)
}

fn any_of(words: &mut &[&str], allowed: &impl Fn(&str) -> bool) -> Result<bool> {
    let mut met = all_of(words, allowed)?;
    while let [first, rest @ ..] = *words
        && *first == "OR"
    {
        *words = rest;
        // Both sides are read whatever the first says.
        met |= all_of(words, allowed)?;
    }
    Ok(met)
}

fn all_of(words: &mut &[&str], allowed: &impl Fn(&str) -> bool) -> Result<bool> {
    let mut met = one(words, allowed)?;
    while let [first, rest @ ..] = *words
        && *first == "AND"
    {
        *words = rest;
        met &= one(words, allowed)?;
    }
    Ok(met)
}

fn one(words: &mut &[&str], allowed: &impl Fn(&str) -> bool) -> Result<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any_of(words, allowed)?;
            let [")", rest @ ..] = *words else {
                bail!("expected ) after ( ...")
            };
            *words = rest;
            Ok(met)
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            Ok(allowed(&format!("{licence} WITH {exception}")))
        }
        [licence, rest @ ..] if ![")", "AND", "OR", "WITH"].contains(licence) => {
            *words = rest;
            Ok(allowed(licence))
        }
        [] => bail!("expected a licence, found the end"),
        [word, ..] => bail!("expected a licence, found {word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::{Dependency, member};
    use super::*;

    const DENY: &str = r#"
        graph = { targets = ["x86_64-unknown-linux-gnu"] }
        [licenses]
        allow = ["MIT", "Apache-2.0"]
        exceptions = [
            { allow = ["MPL-2.0"], crate = "serialport" }, # unmodified
        ]
        [bans]
        deny = [{ crate = "openssl", reason = "rustls does it" }]
        [sources]
        allow-registry = ["https://example.org/index"]
    "#;

    fn package(name: &str, licence: Option<&str>, source: &str) -> Package {
        let (name, licence) = (name.to_owned(), licence.map(str::to_owned));
        Package {
            name,
            licence,
            version: "1.0.0".into(),
            source: Some(source.into()),
            ..Package::default()
        }
    }

    fn problems(packages: Vec<Package>) -> Vec<String> {
        let policy = Policy::parse(DENY).unwrap();
        let serial = package(
            "serialport",
            Some("MPL-2.0"),
            "registry+https://example.org/index",
        );
        let packages = packages.into_iter().chain([serial]).collect();
        check(&Metadata { packages }, &policy)
            .into_iter()
            .map(|problem| problem.to_string())
            .collect()
    }

    #[test]
    fn what_deny_toml_allows_passes() {
        let index = "registry+https://example.org/index";
        let packages = vec![
            package("a", Some("MIT OR GPL-3.0-only"), index),
            member("taraz", "", &[], &[]),
        ];
        assert!(problems(packages).is_empty());
    }

    #[test]
    fn a_licence_a_ban_and_a_source_can_fail() {
        let index = "registry+https://example.org/index";
        let one = |package| problems(vec![package]).join("\n");
        assert!(one(package("a", Some("GPL-3.0-only"), index)).contains("licence GPL-3.0-only is not among"));
        assert!(one(package("a", Some("MPL-2.0"), index)).contains("licence MPL-2.0"));
        assert!(one(package("a", Some("MIT AND"), index)).contains("can't be read"));
        assert!(one(package("a", None, index)).contains("states no licence"));
        assert!(one(package("openssl", Some("MIT"), index)).contains("is banned: rustls does it"));
        assert!(one(package("a", Some("MIT"), "git+https://example.org/a")).contains("only crates.io"));
        assert!(one(package("a", Some("MIT"), "registry+https://other.example")).contains("only crates.io"));
        assert!(
            one(Package {
                source: None,
                ..package("a", Some("MIT"), "")
            })
            .contains("outside the workspace")
        );
        let mut loose = member("taraz", "", &[], &[]);
        loose.dependencies.push(Dependency {
            name: "b".into(),
            version: "*".into(),
            ..Dependency::default()
        });
        assert!(one(loose).contains("any version of b"));
    }

    #[test]
    fn an_exception_without_use_is_found() {
        let policy = Policy::parse(DENY).unwrap();
        let problems = check(&Metadata { packages: Vec::new() }, &policy);
        assert!(problems[0].what.contains("serialport"), "{problems:?}");
    }

    #[test]
    fn a_policy_must_give_reasons() {
        let parse = |from: &str, to: &str| {
            Policy::parse(&DENY.replace(from, to))
                .err()
                .map(|error| error.to_string())
        };
        assert!(
            parse(", reason = \"rustls does it\"", "")
                .unwrap()
                .contains("no reason")
        );
        assert!(parse("# unmodified", "").unwrap().contains("reason in a comment"));
        assert!(
            parse("allow-registry", "registries")
                .unwrap()
                .contains("allow-registry")
        );
    }

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let allowed = |licence: &str| ["MIT", "Apache-2.0 WITH LLVM-exception", "Zlib"].contains(&licence);
        let met = |expression| satisfied(expression, &allowed).unwrap();
        assert!(met("MIT"));
        assert!(met("GPL-2.0/MIT"));
        assert!(met("(GPL-2.0 OR MIT) AND Zlib"));
        assert!(met("Apache-2.0 WITH LLVM-exception"));
        // AND binds before OR.
        assert!(met("MIT OR GPL-2.0 AND GPL-3.0"));
        assert!(!met("(MIT OR GPL-2.0) AND GPL-3.0"));
        assert!(!met("Apache-2.0"));
        for broken in ["", "MIT AND", "(MIT", "MIT)", "OR MIT", "MIT Zlib"] {
            assert!(satisfied(broken, &allowed).is_err(), "{broken}");
        }
    }
}
