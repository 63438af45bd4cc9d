//! Which keys a file may have, and what is allowed at each.

use crate::place::Place;

/// What stands at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A value, or an array of values.
    Value,
    /// A table with keys of its own.
    Table,
    /// Tables with keys of their own: `[[key]]`.
    Tables,
    /// A table whose keys are anybody's, with values of one kind.
    Names,
}

/// A key that a file may have.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    path: &'static str,
    pub(crate) shape: Shape,
    pub(crate) is_needed: bool,
    pub(crate) is_secret: bool,
    pub(crate) allowed: &'static str,
}

impl Key {
    /// A value that must be there. `path` is the keys with dots between them; `allowed` says what may stand there, with
    /// an example.
    #[must_use]
    pub const fn must(path: &'static str, allowed: &'static str) -> Self {
        Self::new(path, Shape::Value, allowed).needed()
    }

    /// A value that may be left out.
    #[must_use]
    pub const fn may(path: &'static str, allowed: &'static str) -> Self {
        Self::new(path, Shape::Value, allowed)
    }

    /// A table that may be left out; `allowed` shows its head.
    #[must_use]
    pub const fn table(path: &'static str, allowed: &'static str) -> Self {
        Self::new(path, Shape::Table, allowed)
    }

    /// Tables of one kind, perhaps none; `allowed` shows their head.
    #[must_use]
    pub const fn tables(path: &'static str, allowed: &'static str) -> Self {
        Self::new(path, Shape::Tables, allowed)
    }

    /// A table that may be left out, whose keys are no fixed ones; `allowed` is about its values.
    #[must_use]
    pub const fn names(path: &'static str, allowed: &'static str) -> Self {
        Self::new(path, Shape::Names, allowed)
    }

    /// It must be there.
    #[must_use]
    pub const fn needed(mut self) -> Self {
        self.is_needed = true;
        self
    }

    /// What stands there is never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// Its keys with dots between them, from the head of its section.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        self.path
    }

    const fn new(path: &'static str, shape: Shape, allowed: &'static str) -> Self {
        Self {
            path,
            shape,
            is_needed: false,
            is_secret: false,
            allowed,
        }
    }
}

/// The keys of one part of a file: those of the table `head`, or of the top where `head` is empty.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The table's keys with dots between them.
    pub head: &'static str,
    /// What it may have.
    pub keys: &'static [Key],
}

/// Every key of a file by its whole path, made once: a registry asks for a hundred thousand of them.
pub(crate) struct Keys(Vec<(String, &'static Key)>);

impl Keys {
    pub(crate) fn new(sections: &'static [Section]) -> Self {
        let keys = sections.iter().flat_map(|section| {
            section.keys.iter().map(|key| match section.head {
                "" => (key.path.to_owned(), key),
                head => (format!("{head}.{}", key.path), key),
            })
        });
        Self(keys.collect())
    }

    /// The key of this place; what is in a table of free names belongs to the table's key.
    pub(crate) fn at(&self, place: &Place) -> Option<&'static Key> {
        let path = place.to_string();
        let named = |path: &str| self.0.iter().find(|(of, _)| of == path).map(|(_, key)| *key);
        named(&path).or_else(|| {
            let (table, _) = path.rsplit_once('.')?;
            named(table).filter(|key| key.shape == Shape::Names)
        })
    }

    /// The keys of the table at this place, by their names in it.
    pub(crate) fn inside(&self, table: &Place) -> impl Iterator<Item = (&str, &'static Key)> {
        let table = table.to_string();
        self.0.iter().filter_map(move |(path, key)| {
            let (head, name) = path.rsplit_once('.').unwrap_or(("", path));
            (head == table).then_some((name, *key))
        })
    }

    /// Whether some key of the file has this name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(path, _)| path.split('.').any(|part| part == name))
    }
}
