//! The files of the checkout: what git tracks or would track.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::CommandLine;

/// Above this a file is data, and no rule reads it.
const TEXT_LEN_MAX: u64 = 1 << 20;

/// Relative path (with `/`) → text; `None` for what is binary or large.
pub(super) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads every file that git tracks, or that is new and not ignored.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let list = CommandLine::new(&[
            "git",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("tidy reads what git tracks: run it in a git checkout")?;
        let mut files = BTreeMap::new();
        for name in list.split('\0').filter(|name| !name.is_empty()) {
            let path = root.join(name);
            // Listed but deleted in the work tree, or a link to a folder.
            let Ok(metadata) = path.metadata() else { continue };
            if !metadata.is_file() {
                continue;
            }
            let text = if metadata.len() > TEXT_LEN_MAX {
                None
            } else {
                let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
            };
            files.insert(name.to_owned(), text);
        }
        Ok(Self { files })
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Every text file whose name ends with one of `endings`.
    pub(super) fn texts<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let wanted = move |path: &str| endings.iter().any(|ending| path.ends_with(ending));
        self.files
            .iter()
            .filter(move |(path, _)| wanted(path))
            .filter_map(|(path, text)| Some((&**path, text.as_deref()?)))
    }

    /// Whether `path` is a file, or a folder with files.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.files.contains_key(path)
            || self
                .files
                .range(folder.clone()..)
                .next()
                .is_some_and(|(f, _)| f.starts_with(&folder))
    }

    /// The folders at the top that hold something, hidden ones left out.
    pub(super) fn top_folders(&self) -> Vec<&str> {
        let mut folders: Vec<&str> = self
            .files
            .keys()
            .filter_map(|path| Some(path.split_once('/')?.0))
            .filter(|name| !name.starts_with('.'))
            .collect();
        folders.dedup();
        folders
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())))
            .collect();
        Self { files }
    }
}

/// The lines of a Rust file with their numbers (from 1), comments cut off. A `//` in a string is taken for a comment,
/// but for that of an address (`://`): good enough to look for names.
pub(super) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| {
        let comment = line
            .match_indices("//")
            .find(|(at, _)| !line[..*at].ends_with(':'));
        (index + 1, comment.map_or(line, |(at, _)| &line[..at]))
    })
}

/// Whether `word` stands in `line` as a whole identifier.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part)
            && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_words_outside_comments() {
        assert!(has_word("use axum::Router;", "axum"));
        assert!(!has_word("use axum_extra::x;", "axum"));
        let lines: Vec<_> = code_lines("/// about rumqttc\nlet a = \"http://b\"; // rumqttc")
            .map(|(_, line)| line)
            .collect();
        assert_eq!(lines, ["", "let a = \"http://b\"; "]);
    }

    #[test]
    fn folders_and_files_are_found() {
        let tree = Tree::of(&[("docs/adr/0001.md", ""), ("README.md", ""), (".ci/run", "")]);
        assert!(tree.has("docs/adr") && tree.has("README.md") && !tree.has("doc"));
        assert_eq!(tree.top_folders(), ["docs"]);
    }
}
