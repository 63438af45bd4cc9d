//! The mark in a board's program that says which board it is for, so that a wrong one is refused before it is written.
//!
//! A program holds `TARAZ-BOARD:` ‖ name ‖ 00 ‖ version ‖ 00 once, as plain bytes.

/// How a mark begins.
pub const BOARD_MARKER_PREFIX: &str = "TARAZ-BOARD:";
/// The longest version in bytes, as in a `Start` record.
const VERSION_LEN_MAX: usize = 24;

/// The mark of a board's program, with the version of the crate that uses it. A linker drops what nothing reads, so the
/// board reads it: `BoardMarker::of(core::hint::black_box(board_marker!("w5500-evb-pico")))` gives name and version for
/// the banner and for [`DevicePage::check_board`](crate::DevicePage::check_board).
#[macro_export]
macro_rules! board_marker {
    ($board:literal) => {
        concat!("TARAZ-BOARD:", $board, "\0", env!("CARGO_PKG_VERSION"), "\0")
    };
}

/// Which board a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoardMarker<'a> {
    /// The board's name.
    pub board: &'a str,
    /// The program's version.
    pub version: &'a str,
}

impl<'a> BoardMarker<'a> {
    /// What a mark says; `None` when the text is none.
    #[must_use]
    pub fn of(mark: &'a str) -> Option<Self> {
        board_markers(mark.as_bytes()).next()
    }
}

/// Every mark in a program's bytes, in their order; what only begins like one is passed over.
pub fn board_markers(program: &[u8]) -> impl Iterator<Item = BoardMarker<'_>> {
    let prefix = BOARD_MARKER_PREFIX.as_bytes();
    let mut rest = program;
    core::iter::from_fn(move || {
        loop {
            let at = rest.windows(prefix.len()).position(|bytes| bytes == prefix)?;
            rest = &rest[at + prefix.len()..];
            if let Some(found) = parse(rest) {
                return Some(found);
            }
        }
    })
}

/// Name and version at the beginning of what follows the prefix.
fn parse(bytes: &[u8]) -> Option<BoardMarker<'_>> {
    let (board, rest) = text_before_zero(bytes, super::BOARD_NAME_LEN_MAX)?;
    let (version, _) = text_before_zero(rest, VERSION_LEN_MAX)?;
    (super::check::is_board_name(board) && version.bytes().all(|byte| byte.is_ascii_graphic()))
        .then_some(BoardMarker { board, version })
}

/// The non-empty text in front of a zero byte, and what follows the zero.
fn text_before_zero(bytes: &[u8], len_max: usize) -> Option<(&str, &[u8])> {
    let len = bytes.iter().take(len_max + 1).position(|&byte| byte == 0)?;
    let text = core::str::from_utf8(&bytes[..len]).ok()?;
    (!text.is_empty()).then_some((text, &bytes[len + 1..]))
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_mark_is_found_among_other_bytes() {
        let mark = board_marker!("w5500-evb-pico");
        let program = [b"\x00\xffTARAZ-BOARD:", mark.as_bytes(), b"\x55TARAZ-BOARD:x"].concat();
        let expected = BoardMarker {
            board: "w5500-evb-pico",
            version: env!("CARGO_PKG_VERSION"),
        };
        assert_eq!(board_markers(&program).collect::<Vec<_>>(), [expected]);
        assert_eq!(BoardMarker::of(mark), Some(expected));
    }

    #[test]
    fn what_only_looks_like_a_mark_is_passed_over() {
        let long = "a".repeat(super::super::BOARD_NAME_LEN_MAX + 1);
        for tail in [
            "",
            "\0",
            "name",
            "name\0",
            "name\0version",
            "\0version\0",
            "name\0\0",
            "Name\0v\0",
            &format!("{long}\0v\0"),
        ] {
            let text = format!("{BOARD_MARKER_PREFIX}{tail}");
            assert_eq!(board_markers(text.as_bytes()).count(), 0, "{text:?}");
        }
    }

    #[test]
    fn several_marks_are_all_named() {
        let program = [board_marker!("a").as_bytes(), board_marker!("b").as_bytes()].concat();
        let names: Vec<_> = board_markers(&program).map(|mark| mark.board).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
