//! Rules for the text of files.

use super::Problem;
use super::tree::{Tree, code_lines};

/// Aim at 150 to 400; above this a file is two files.
const FILE_LINES_MAX: usize = 500;

/// Folders whose files were not written by hand.
const NOT_OURS: &[&str] = &["vendor", "generated", "golden"];

/// Folders of one machine. Put together here so that this file does not hold what it looks for.
const MACHINE_FOLDERS: &[&str] = &["work", "farm", "root", "home", "Users"];

/// No source is longer than [`FILE_LINES_MAX`] lines.
pub(super) fn lengths(tree: &Tree) -> Vec<Problem> {
    let ours = |path: &str| !path.split('/').any(|part| NOT_OURS.contains(&part));
    tree.texts(&[".rs", ".ts", ".js", ".py", ".sh", ".html", ".css"])
        .filter(|(path, _)| ours(path))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| {
            Problem::new(
                path,
                format!("has {lines} lines; the limit is {FILE_LINES_MAX}: split it"),
            )
        })
        .collect()
}

/// No path of one machine stands in any file.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.texts(&[""]) {
        for (index, line) in text.lines().enumerate() {
            if let Some(folder) = MACHINE_FOLDERS
                .iter()
                .find(|folder| names_folder_at_top(line, folder))
            {
                let what =
                    format!("names a path of one machine (/{folder}/…): use one relative to the checkout");
                problems.push(Problem::new(format!("{path}:{}", index + 1), what));
            }
        }
    }
    problems
}

/// Whether `/folder/` starts a path in `line`: nothing that could belong to a longer path stands before it.
fn names_folder_at_top(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "/_-.}*".contains(c)))
}

/// No test is switched off: one that can't run here fails and says what it needs.
pub(super) fn ignored_tests(tree: &Tree) -> Vec<Problem> {
    let attribute = concat!("#[", "ignore");
    let lines = tree
        .texts(&[".rs"])
        .flat_map(|(path, text)| code_lines(text).map(move |(number, line)| (path, number, line)));
    lines
        .filter(|(_, _, line)| line.contains(attribute))
        .map(|(path, number, _)| {
            Problem::new(
                format!("{path}:{number}"),
                "a test is switched off: make it run or remove it",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_unless_it_is_golden() {
        let long = "x\n".repeat(FILE_LINES_MAX + 1);
        let at_limit = "x\n".repeat(FILE_LINES_MAX);
        let tree = Tree::of(&[
            ("a/src/long.rs", &long),
            ("a/golden/long.rs", &long),
            ("a/src/limit.rs", &at_limit),
        ]);
        let problems = lengths(&tree);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].place, "a/src/long.rs");
    }

    #[test]
    fn a_path_of_one_machine_is_found_and_others_are_not() {
        for folder in MACHINE_FOLDERS {
            let text = format!("one\nread(\"/{folder}/someone/data.csv\")");
            let problems = machine_paths(&Tree::of(&[("a.rs", &text)]));
            assert_eq!(problems[0].place, "a.rs:2", "{folder}");
            assert_eq!(
                machine_paths(&Tree::of(&[(
                    "a.md",
                    &format!("see docs/{folder}/x and http://h/{folder}/x")
                )])),
                []
            );
        }
    }

    #[test]
    fn a_test_that_is_switched_off_is_found() {
        let text = format!("{}]\n#[test]\nfn a() {{}}", concat!("#[", "ignore"));
        assert_eq!(ignored_tests(&Tree::of(&[("a.rs", &text)])).len(), 1);
        assert_eq!(
            ignored_tests(&Tree::of(&[("a.rs", "#[test]\nfn ignored() {}")])),
            []
        );
    }
}
