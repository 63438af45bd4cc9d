//! A file's text, parsed so far that every value knows where it stands.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::{Key, Keys, Section, Shape};
use crate::mistake::{Mistake, Wrong};
use crate::place::Place;
use crate::shown;

/// A TOML file whose keys are known, with nothing said about its values yet.
///
/// It keeps the text alone: the parsed tables of a registry of 10,000 plants are 20 times as large, and needed again for a mistake only.
pub struct Document<'a> {
    file: String,
    text: &'a str,
    keys: Keys,
}

/// Something wrong with the keys, and where in the text.
struct Fault {
    at: usize,
    is_missing: bool,
    wrong: Wrong,
}

impl Fault {
    const fn new(at: usize, wrong: Wrong) -> Self {
        Self {
            at,
            is_missing: false,
            wrong,
        }
    }
}

impl<'a> Document<'a> {
    /// Parses a text and checks its keys: none that does not exist, none missing. `file` is what messages call it.
    ///
    /// # Errors
    /// [`Mistake`] for the first: text that is not TOML, a key that does not exist, a table where a value belongs, a key
    /// that is missing.
    pub fn parse(file: &str, text: &'a str, sections: &'static [Section]) -> Result<Self, Mistake> {
        let keys = Keys::new(sections);
        let document = Self {
            file: file.to_owned(),
            text,
            keys,
        };
        let top = document.top()?;
        let mut faults = Vec::new();
        document.check_table(top.get_ref(), &Place::top(), 0, &mut faults);
        // A misspelt key is the reason why another is missing: it comes first.
        match faults
            .into_iter()
            .min_by_key(|fault| (fault.is_missing, fault.at))
        {
            Some(fault) => Err(document.mistake_at(fault.at, fault.wrong)),
            None => Ok(document),
        }
    }

    /// The file as a value of its own type.
    ///
    /// # Errors
    /// [`Mistake`] for the first value that is none of its key's type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        toml::from_str(self.text).map_err(|error| {
            let place = match self.top() {
                Ok(top) => place_of(&top, &error.span().unwrap_or(0..0)),
                Err(mistake) => return mistake,
            };
            let key = self.keys.at(&place);
            let allowed = key.map_or("what `taraz config example` shows for this file", |key| {
                key.allowed
            });
            self.mistake(Wrong::missing(place, allowed))
        })
    }

    /// A wrong value of this file with its line, as it is written there.
    #[must_use]
    pub fn mistake(&self, mut wrong: Wrong) -> Mistake {
        let top = match self.top() {
            Ok(top) => top,
            Err(mistake) => return mistake,
        };
        let (at, written) = find(&top, &wrong.place);
        let is_secret = self.keys.at(&wrong.place).is_some_and(|key| key.is_secret);
        match written.map(Spanned::get_ref) {
            None => {}
            Some(_) if is_secret => wrong.found = shown::SECRET.to_owned(),
            // A check may have more to say of what is in them than that they are there.
            Some(DeValue::Table(_) | DeValue::Array(_)) if wrong.found != shown::NOTHING => {}
            Some(value) => wrong.found = shown::value(value, &self.text[written.map_or(0..0, Spanned::span)]),
        }
        self.mistake_at(at, wrong)
    }

    fn top(&self) -> Result<Spanned<DeTable<'a>>, Mistake> {
        DeTable::parse(self.text).map_err(|error| not_toml(&self.file, self.text, &self.keys, &error))
    }

    fn mistake_at(&self, at: usize, wrong: Wrong) -> Mistake {
        Mistake {
            file: self.file.clone(),
            line: line_of(self.text, at),
            key: wrong.place.to_string(),
            found: wrong.found,
            allowed: wrong.allowed,
        }
    }

    /// The keys of a table, whose head is at `at`.
    fn check_table(&self, table: &DeTable<'a>, place: &Place, at: usize, faults: &mut Vec<Fault>) {
        for (name, value) in table {
            let inner = place.key(name.get_ref());
            let at = name.span().start;
            if let Some(key) = self.keys.at(&inner) {
                self.check_shape(key, value, &inner, at, faults);
                continue;
            }
            let names: Vec<_> = self
                .keys
                .inside(place)
                .map(|(name, key)| head(name, key))
                .collect();
            // Its value is not shown: it may be a misspelt secret.
            let found = if value.get_ref().is_table() {
                "a table that does not exist"
            } else {
                "a key that does not exist"
            };
            let wrong = Wrong::new(inner, found, format!("here one of {}", names.join(", ")));
            faults.push(Fault::new(at, wrong));
        }
        let has = |name: &str| table.iter().any(|(known, _)| known.get_ref() == name);
        let missing = self
            .keys
            .inside(place)
            .filter(|(name, key)| key.is_needed && !has(name));
        faults.extend(missing.map(|(name, key)| Fault {
            is_missing: true,
            ..Fault::new(at, Wrong::missing(place.key(name), key.allowed))
        }));
    }

    /// Whether a table is where one belongs, and what is in it.
    fn check_shape(
        &self,
        key: &'static Key,
        value: &Spanned<DeValue<'a>>,
        place: &Place,
        at: usize,
        faults: &mut Vec<Fault>,
    ) {
        match (key.shape, value.get_ref()) {
            (Shape::Names, DeValue::Table(_)) => return,
            (Shape::Value, value) if !value.is_table() => return,
            (Shape::Table, DeValue::Table(table)) => return self.check_table(table, place, at, faults),
            (Shape::Tables, DeValue::Array(array)) if array.iter().all(|one| one.get_ref().is_table()) => {
                for (index, element) in array.iter().enumerate() {
                    if let DeValue::Table(table) = element.get_ref() {
                        self.check_table(table, &place.element(index), element.span().start, faults);
                    }
                }
                return;
            }
            _ => {}
        }
        let found = if key.is_secret {
            shown::SECRET.to_owned()
        } else {
            shown::value(value.get_ref(), &self.text[value.span()])
        };
        faults.push(Fault::new(at, Wrong::new(place.clone(), found, key.allowed)));
    }
}

/// Where a place begins in the text, or the table around it, and what is written there.
fn find<'a, 'b>(top: &'b Spanned<DeTable<'a>>, place: &Place) -> (usize, Option<&'b Spanned<DeValue<'a>>>) {
    let (mut at, mut table) = (0, Some(top.get_ref()));
    let mut written = None;
    for step in place.steps() {
        let entry = table.and_then(|table| table.iter().find(|(name, _)| *name.get_ref() == step.key));
        let Some((name, value)) = entry else {
            return (at, None);
        };
        let element = match step.index {
            Some(index) => value.get_ref().as_array().and_then(|array| array.get(index)),
            None => Some(value),
        };
        let Some(element) = element else {
            return (at, None);
        };
        at = if step.index.is_some() {
            element.span().start
        } else {
            name.span().start
        };
        table = element.get_ref().as_table();
        written = Some(element);
    }
    (at, written)
}

/// The innermost place whose value the span lies in.
fn place_of(top: &Spanned<DeTable<'_>>, span: &Range<usize>) -> Place {
    let mut best: (usize, Place) = (usize::MAX, Place::top());
    inner_of(top.get_ref(), &Place::top(), span, &mut best);
    best.1
}

/// How a key is shown among those that are allowed.
fn head(name: &str, key: &Key) -> String {
    match key.shape {
        Shape::Table | Shape::Names => format!("[{name}]"),
        Shape::Tables => format!("[[{name}]]"),
        Shape::Value => name.to_owned(),
    }
}

fn inner_of(table: &DeTable<'_>, place: &Place, span: &Range<usize>, best: &mut (usize, Place)) {
    for (name, value) in table {
        inner_of_value(value, &place.key(name.get_ref()), span, best);
    }
}

fn inner_of_value(
    value: &Spanned<DeValue<'_>>,
    place: &Place,
    span: &Range<usize>,
    best: &mut (usize, Place),
) {
    let own = value.span();
    if own.start <= span.start && span.end <= own.end && own.len() <= best.0 {
        *best = (own.len(), place.clone());
    }
    match value.get_ref() {
        // The span of `[table]` is its head: what is in it stands below.
        DeValue::Table(table) => inner_of(table, place, span, best),
        DeValue::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                inner_of_value(element, &place.element(index), span, best);
            }
        }
        _ => {}
    }
}

/// Text that no parser reads. Only a key that exists is named, and nothing else of the line: a secret may stand there.
fn not_toml(file: &str, text: &str, keys: &Keys, error: &toml::de::Error) -> Mistake {
    let at = error.span().map_or(0, |span| span.start);
    let line = line_of(text, at);
    let written = text.lines().nth(line - 1).unwrap_or_default().trim();
    let name = written
        .split_once('=')
        .map_or(written, |(key, _)| key)
        .trim_matches(|c: char| c.is_whitespace() || "[]\"'".contains(c));
    let is_known = name.split('.').all(|part| keys.has_name(part.trim()));
    Mistake {
        file: file.to_owned(),
        line,
        key: if is_known { name.to_owned() } else { String::new() },
        found: format!("what is not TOML ({})", error.message().replace('\n', "; ")),
        allowed: "key = value, each key once; texts in quotes; see `taraz config example`".to_owned(),
    }
}

/// The line of an offset, from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}
