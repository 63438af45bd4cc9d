//! What of a value may be shown.

use toml::de::DeValue;

pub(crate) const SECRET: &str = "(not shown)";
pub(crate) const NOTHING: &str = "nothing";
/// The most characters of a value that are shown.
const CHARS_MAX: usize = 80;

/// A value as it stands in the file; of tables and arrays only that they are there, for a secret may be in them.
pub(crate) fn value(value: &DeValue<'_>, source: &str) -> String {
    match value {
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Array(array) if array.is_empty() => "an empty array".to_owned(),
        DeValue::Array(array) => format!("an array of {}", array.len()),
        _ => text(source),
    }
}

/// One line of bounded length, without the user and password of a URL.
pub(crate) fn text(text: &str) -> String {
    let text = without_user(text.trim());
    let mut shown: String = text
        .chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().count() > CHARS_MAX {
        shown.push('…');
    }
    shown
}

/// `mqtt://user:secret@host` may hold a secret where none belongs.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    rest.rsplit_once('@').map_or_else(
        || text.to_owned(),
        |(_, host)| format!("{scheme}://{SECRET}@{host}"),
    )
}
