//! Every relative link of a document leads somewhere.

use super::Problem;
use super::tree::Tree;

/// Looks at every `](target)` outside fenced code.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.texts(&[".md"]) {
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(line) {
                if let Some(problem) = broken(tree, path, text, target) {
                    problems.push(Problem::new(format!("{path}:{}", index + 1), problem));
                }
            }
        }
    }
    problems
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
}

/// What is wrong with `target` in the document `path`.
fn broken(tree: &Tree, path: &str, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
        return None;
    }
    let (file, heading) = target
        .split_once('#')
        .map_or((target, None), |(file, heading)| (file, Some(heading)));
    let Some(full) = resolve(path, file) else {
        return Some(format!("the link {target} leads out of the repository"));
    };
    if !tree.has(&full) {
        return Some(format!("the link {target} leads to {full}, which does not exist"));
    }
    let document = if file.is_empty() {
        Some(text)
    } else {
        tree.text(&full).filter(|_| full.ends_with(".md"))
    };
    match (heading, document) {
        (Some(heading), Some(document)) if !has_heading(document, heading) => Some(format!(
            "the link {target} names a heading that {full} does not have"
        )),
        _ => None,
    }
}

/// `file` as seen from the document `path`, from the root of the repository.
fn resolve(path: &str, file: &str) -> Option<String> {
    if file.is_empty() {
        return Some(path.to_owned());
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a heading gets this anchor: lower case, spaces to `-`, other punctuation gone.
fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |heading: &str| -> String {
        let kept = heading
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| slug(line.trim_start_matches('#')) == anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# A part, of `it`\n[a](#a-part-of-it) [b](../README.md#start) [c](adr) [d](https://example.org) ![e](./x.png)\n";
        let tree = Tree::of(&[
            ("docs/a.md", text),
            ("README.md", "## Start"),
            ("docs/adr/1.md", ""),
            ("docs/x.png", ""),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let text = "[a](missing.md)\n[b](../../out.md)\n[c](#nowhere)\n[d](a.md#nowhere)\n```\n[code](not-a-link)\n```\n";
        let problems = check(&Tree::of(&[("docs/a.md", text)]));
        let places: Vec<&str> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(
            places,
            ["docs/a.md:1", "docs/a.md:2", "docs/a.md:3", "docs/a.md:4"],
            "{problems:?}"
        );
    }
}
