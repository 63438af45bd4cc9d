//! Every mistake is named with file, line, key, what was found and what is allowed, and no secret is shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;
use serde::Deserialize;
use taraz_settings::{Document, Key, Mistake, Place, Section, Wrong};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[expect(dead_code, reason = "only its type matters")]
    listen: Option<SocketAddr>,
    #[expect(dead_code, reason = "only its type matters")]
    token: Option<String>,
    #[expect(dead_code, reason = "only its type matters")]
    size: Option<u16>,
    #[serde(default)]
    bus: Vec<Bus>,
    #[expect(dead_code, reason = "only its type matters")]
    #[serde(default)]
    factors: BTreeMap<String, i8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bus {
    id: u8,
    #[expect(dead_code, reason = "only its type matters")]
    load: Option<Load>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    #[expect(dead_code, reason = "only its type matters")]
    scale: f64,
}

const SECTIONS: &[Section] = &[
    Section {
        head: "",
        keys: &[
            Key::must("name", "a name, as \"roof\""),
            Key::may("listen", "ADDRESS:PORT, as \"127.0.0.1:80\""),
            Key::may("token", "a text of 16 characters").secret(),
            Key::may("size", "1 to 100, as 7"),
            Key::tables("bus", "[[bus]]"),
            Key::names("factors", "-10 to 10"),
        ],
    },
    Section {
        head: "bus",
        keys: &[
            Key::must("id", "1 to 9"),
            Key::table("load", "{ scale = 1.0 }"),
            Key::must("load.scale", "0.0 to 10.0"),
        ],
    },
];

const GOOD: &str = "name = \"a\"\nlisten = \"0.0.0.0:1\"\ntoken = \"0123456789abcdef\"\nsize = 3\n\n[[bus]]\nid = 1\nload = { scale = 2.0 }\n\n[[bus]]\nid = 2\n\n[factors]\nW_SF = 1\n";

fn read(text: &str) -> Result<File, Mistake> {
    let document = Document::parse("some.toml", text, SECTIONS)?;
    document.read()
}

#[test]
fn what_is_right_is_read() {
    let file = read(GOOD).expect("a good file");
    assert_eq!((file.name.as_str(), file.bus[1].id), ("a", 2));
}

/// What is changed, and the whole message.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "listen = \"0.0.0.0:1\"",
        "listen = \"nonsense\"",
        "some.toml: line 2: listen: found \"nonsense\"; allowed: ADDRESS:PORT, as \"127.0.0.1:80\"",
    ),
    (
        "listen = \"0.0.0.0:1\"",
        "listen = 80",
        "some.toml: line 2: listen: found 80; allowed: ADDRESS:PORT, as \"127.0.0.1:80\"",
    ),
    (
        "size = 3",
        "size = \"big\"",
        "some.toml: line 4: size: found \"big\"; allowed: 1 to 100, as 7",
    ),
    (
        "size = 3",
        "size = -3",
        "some.toml: line 4: size: found -3; allowed: 1 to 100, as 7",
    ),
    (
        "size = 3",
        "size = 3.5",
        "some.toml: line 4: size: found 3.5; allowed: 1 to 100, as 7",
    ),
    (
        "size = 3",
        "size = 99999999999999999999",
        "some.toml: line 4: size: found 99999999999999999999; allowed: 1 to 100, as 7",
    ),
    (
        "size = 3",
        "size = [3]",
        "some.toml: line 4: size: found an array of 1; allowed: 1 to 100, as 7",
    ),
    (
        "size = 3",
        "size = { a = 3 }",
        "some.toml: line 4: size: found a table; allowed: 1 to 100, as 7",
    ),
    (
        "size = 3",
        "size = 2026-01-01",
        "some.toml: line 4: size: found 2026-01-01; allowed: 1 to 100, as 7",
    ),
    (
        "token = \"0123456789abcdef\"",
        "token = 123456",
        "some.toml: line 3: token: found (not shown); allowed: a text of 16 characters",
    ),
    (
        "token = \"0123456789abcdef\"",
        "tokne = \"0123456789abcdef\"",
        "some.toml: line 3: tokne: found a key that does not exist; allowed: here one of name, listen, token, size, [[bus]], [factors]",
    ),
    (
        "[factors]",
        "[fators]",
        "some.toml: line 13: fators: found a table that does not exist; allowed: here one of name, listen, token, size, [[bus]], [factors]",
    ),
    (
        "name = \"a\"",
        "",
        "some.toml: line 1: name: found nothing; allowed: a name, as \"roof\"",
    ),
    (
        "name = \"a\"",
        "nmae = \"a\"",
        "some.toml: line 1: nmae: found a key that does not exist; allowed: here one of name, listen, token, size, [[bus]], [factors]",
    ),
    (
        "id = 2\n",
        "",
        "some.toml: line 10: bus.id: found nothing; allowed: 1 to 9",
    ),
    (
        "id = 2\n",
        "id = \"two\"\n",
        "some.toml: line 11: bus.id: found \"two\"; allowed: 1 to 9",
    ),
    (
        "id = 2\n",
        "id = 2\nid = 3\n",
        "some.toml: line 12: id: found what is not TOML (duplicate key); allowed: key = value, each key once; texts in quotes; see `taraz config example`",
    ),
    (
        "scale = 2.0",
        "scal = 2.0",
        "some.toml: line 8: bus.load.scal: found a key that does not exist; allowed: here one of scale",
    ),
    (
        "scale = 2.0",
        "scale = \"twice\"",
        "some.toml: line 8: bus.load.scale: found \"twice\"; allowed: 0.0 to 10.0",
    ),
    (
        "{ scale = 2.0 }",
        "2.0",
        "some.toml: line 8: bus.load: found 2.0; allowed: { scale = 1.0 }",
    ),
    (
        "[[bus]]\nid = 1\nload = { scale = 2.0 }\n\n[[bus]]\nid = 2\n\n[factors]",
        "[bus]\nid = 1\n[factors]",
        "some.toml: line 6: bus: found a table; allowed: [[bus]]",
    ),
    (
        "W_SF = 1",
        "W_SF = \"x\"",
        "some.toml: line 14: factors.W_SF: found \"x\"; allowed: -10 to 10",
    ),
    (
        "W_SF = 1",
        "W_SF = 1\n[factors]\n",
        "some.toml: line 15: factors: found what is not TOML (duplicate key); allowed: key = value, each key once; texts in quotes; see `taraz config example`",
    ),
];

#[test]
fn every_mistake_is_named_whole() {
    for (from, to, expected) in MISTAKES {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let said = read(&GOOD.replace(from, to)).expect_err(to).to_string();
        assert_eq!(said, *expected, "{to}");
    }
}

#[test]
fn a_line_that_is_not_toml_is_never_shown() {
    for broken in [
        "token = \"sesame",
        "token = sesame",
        "token \"sesame\"",
        "sesame",
        "sesame =",
        "token = \"\"\"\nsesame\n",
        "token = \"sesame\" sesame",
        "tok\u{7}en = \"sesame\"",
    ] {
        let said = read(&format!("name = \"a\"\n{broken}\n"))
            .expect_err(broken)
            .to_string();
        assert!(
            said.starts_with("some.toml: line ") && !said.contains("sesame"),
            "{broken}: {said}"
        );
    }
    let said = read("name = \"a\"\ntoken = \"sesame")
        .expect_err("unclosed")
        .to_string();
    assert!(
        said.starts_with("some.toml: line 2: token: found what is not TOML ("),
        "{said}"
    );
}

#[test]
fn a_check_of_a_value_is_placed_in_the_file() {
    let document = Document::parse("some.toml", GOOD, SECTIONS).expect("a good file");
    let at = |wrong: Wrong| document.mistake(wrong).to_string();
    let second = Place::top().item("bus", 1);
    assert_eq!(
        at(Wrong::new(second.key("id"), 2, "each id once")),
        "some.toml: line 11: bus.id: found 2; allowed: each id once"
    );
    assert_eq!(
        at(Wrong::new("listen", "0.0.0.0:1", "another")),
        "some.toml: line 2: listen: found \"0.0.0.0:1\"; allowed: another"
    );
    assert_eq!(
        at(Wrong::new("token", "0123456789abcdef", "another")),
        "some.toml: line 3: token: found (not shown); allowed: another"
    );
    // What is not written stands at the head of its table.
    assert_eq!(
        at(Wrong::missing(second.key("load"), "a load")),
        "some.toml: line 10: bus.load: found nothing; allowed: a load"
    );
    assert_eq!(
        at(Wrong::new("bus", "2 of them", "at most 1")),
        "some.toml: line 6: bus: found 2 of them; allowed: at most 1"
    );
}

#[test]
fn a_url_is_shown_without_its_user() {
    let wrong = Wrong::new("url", "mqtt://me:sesame@host:1", "mqtt://HOST");
    assert_eq!(
        wrong.to_string(),
        "url: found mqtt://(not shown)@host:1; allowed: mqtt://HOST"
    );
    let text = GOOD.replace("name = \"a\"", "name = { u = \"mqtt://me:sesame@host\" }");
    assert!(!read(&text).expect_err("a table").to_string().contains("sesame"));
}

proptest! {
    #[test]
    fn a_damaged_file_is_read_or_named(at in 0..GOOD.len(), cut in 0..12_usize, put in "(\"|'|\\[|\\]|\\{|\\}|=|,|\n|[a-z0-9.]){0,6}") {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(mistake) = read(&text) {
            prop_assert!(mistake.line >= 1 && mistake.line <= text.lines().count() + 1);
            prop_assert!(!mistake.to_string().contains("0123456789"), "{mistake}");
            prop_assert!(!mistake.found.is_empty() && !mistake.allowed.is_empty());
        }
    }
}
