//! The line editor key by key, and against a terminal that does what it is told.

use std::string::String as StdString;
use std::vec::Vec;

use proptest::prelude::*;

use super::editor::{Echo, Edit, HISTORY_LINES, INPUT_LINE_LEN_MAX, LineEditor};

/// What was echoed, and the lines that came.
fn typed(editor: &mut LineEditor, keys: &[u8]) -> (StdString, Vec<StdString>) {
    let (mut echoed, mut lines) = (StdString::new(), Vec::new());
    let mut echo = Echo::new();
    for &key in keys {
        let edit = editor.key(key, &mut echo);
        echoed.push_str(&echo);
        if edit == Edit::Line {
            lines.push(editor.take().as_str().into());
        }
    }
    (echoed, lines)
}

fn lines(keys: &[u8]) -> Vec<StdString> {
    typed(&mut LineEditor::new(), keys).1
}

#[test]
fn a_line_is_echoed_and_ends_with_return_or_newline_or_both() {
    let (echoed, lines) = typed(&mut LineEditor::new(), b"net\rqueue\nstatus\r\n\r\n");
    assert_eq!(echoed, "net\r\nqueue\r\nstatus\r\n\r\n");
    assert_eq!(lines, ["net", "queue", "status", ""]);
}

#[test]
fn backspace_and_delete_remove_at_the_cursor() {
    let (echoed, typed_lines) = typed(&mut LineEditor::new(), b"nex\x08t\r");
    assert_eq!(echoed, "nex\x1b[1D\x1b[Kt\r\n");
    assert_eq!(typed_lines, ["net"]);
    assert_eq!(lines(b"nett\x7f\r"), ["net"]);
    assert_eq!(lines(b"nxet\x1b[D\x1b[D\x1b[D\x1b[3~\r"), ["net"]);
    let (echoed, _) = typed(&mut LineEditor::new(), b"\x08");
    assert_eq!(echoed, "\x07", "there is nothing to remove");
}

#[test]
fn the_cursor_goes_left_and_right_home_and_end() {
    assert_eq!(lines(b"et\x1b[D\x1b[Dn\r"), ["net"]);
    for home in [&b"\x01"[..], b"\x1b[H", b"\x1b[1~", b"\x1b[7~", b"\x1bOH"] {
        for end in [&b"\x05"[..], b"\x1b[F", b"\x1b[4~", b"\x1b[8~", b"\x1bOF"] {
            let keys = [&b"e"[..], home, b"n", end, b"t\r"].concat();
            assert_eq!(lines(&keys), ["net"], "{home:?} {end:?}");
        }
    }
    let (echoed, _) = typed(&mut LineEditor::new(), b"et\x1b[D\x1b[Dn");
    assert_eq!(echoed, "et\x1b[1D\x1b[1Dnet\x1b[K\x1b[2D");
    assert_eq!(
        lines(b"\x1b[Dnet\x1b[C\x1b[C\r"),
        ["net"],
        "it stays within the line"
    );
}

#[test]
fn control_c_drops_and_control_u_empties_the_line() {
    let mut editor = LineEditor::new();
    let mut echo = Echo::new();
    editor.key(b'x', &mut echo);
    assert_eq!(editor.key(0x03, &mut echo), Edit::Cancelled);
    assert_eq!(echo, "^C\r\n");
    assert_eq!(typed(&mut editor, b"net\r").1, ["net"]);
    assert_eq!(lines(b"wrong\x15net\r"), ["net"]);
}

#[test]
fn lines_come_back_the_last_one_first() {
    let mut editor = LineEditor::new();
    typed(&mut editor, b"one\rtwo\rtwo\r\rthree\r");
    assert_eq!(typed(&mut editor, b"\x1b[A\r").1, ["three"]);
    assert_eq!(typed(&mut editor, b"\x1b[A\x1b[A\r").1, ["two"]);
    // "two" was used again, so it is the last one now; one step back and forth is an empty line.
    assert_eq!(typed(&mut editor, b"\x1b[A\x1b[B\r").1, [""]);
    let (echoed, recalled) = typed(&mut editor, b"x\x1b[A!\r");
    assert_eq!(
        (echoed.as_str(), &recalled[0][..]),
        ("x\x1b[1Dtwo\x1b[K!\r\n", "two!")
    );
    let mut editor = LineEditor::new();
    for n in 0..9 {
        typed(&mut editor, std::format!("line {n}\r").as_bytes());
    }
    let up = b"\x1b[A".repeat(20);
    let oldest = std::format!("line {}", 9 - HISTORY_LINES);
    let (echoed, recalled) = typed(&mut editor, &[&up[..], b"\r"].concat());
    assert_eq!(recalled, [oldest]);
    assert_eq!(echoed.matches('\x07').count(), 20 - HISTORY_LINES);
}

#[test]
fn a_line_is_bounded_and_only_printable() {
    let long = b"x".repeat(INPUT_LINE_LEN_MAX + 5);
    let (echoed, typed_lines) = typed(&mut LineEditor::new(), &[&long[..], b"\r"].concat());
    assert_eq!(typed_lines[0].len(), INPUT_LINE_LEN_MAX);
    assert_eq!(echoed.matches('\x07').count(), 5);
    let (echoed, typed_lines) = typed(&mut LineEditor::new(), "n\0e\u{633}t\t\r".as_bytes());
    assert_eq!(typed_lines, ["net"]);
    assert_eq!(
        echoed.matches('\x07').count(),
        4,
        "NUL, two bytes of a letter, tab"
    );
    assert_eq!(
        lines(b"n\x1b[1;5Ce\x1bxt\x1b[99Z\r"),
        ["net"],
        "keys that mean nothing here"
    );
}

/// A terminal of one line: printable characters overwrite, ESC [ n C/D moves, ESC [ K clears to the end.
#[derive(Default)]
struct Screen {
    row: Vec<u8>,
    column: usize,
}

impl Screen {
    fn show(&mut self, text: &str) {
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\x07' => {}
                b'\r' | b'\n' => (self.row, self.column) = (Vec::new(), 0),
                b'\x1b' => {
                    assert_eq!(bytes.next(), Some(b'['));
                    let mut count = 0;
                    while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
                        count = count * 10 + usize::from(digit - b'0');
                    }
                    match bytes.next() {
                        Some(b'C') => self.column += count,
                        Some(b'D') => self.column -= count,
                        Some(b'K') => self.row.truncate(self.column),
                        other => panic!("{other:?}"),
                    }
                }
                _ if self.column < self.row.len() => {
                    self.row[self.column] = byte;
                    self.column += 1;
                }
                _ => {
                    assert_eq!(self.column, self.row.len(), "no gap");
                    self.row.push(byte);
                    self.column += 1;
                }
            }
        }
    }
}

const KEYS: [&[u8]; 10] = [
    b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[H", b"\x1b[F", b"\x1b[3~", b"\x08", b"\x15", b"\r",
];

proptest! {
    /// Whatever is typed, what the screen shows is the line that is taken.
    #[test]
    fn the_screen_shows_the_line(keys in proptest::collection::vec(
        prop_oneof![
            8 => (b' '..=b'~').prop_map(|key| std::vec![key]),
            1 => any::<u8>().prop_map(|key| std::vec![key]),
            4 => proptest::sample::select(&KEYS[..]).prop_map(<[u8]>::to_vec),
        ],
        0..300,
    )) {
        let mut editor = LineEditor::new();
        let mut echo = Echo::new();
        let mut screen = Screen::default();
        for key in keys.concat() {
            let before = screen.row.clone();
            let edit = editor.key(key, &mut echo);
            if edit == Edit::Cancelled {
                screen = Screen::default();
                continue;
            }
            screen.show(&echo);
            if edit == Edit::Line {
                let taken = editor.take();
                prop_assert_eq!(before, taken.as_bytes());
            }
        }
        let shown = screen.row.clone();
        editor.key(b'\r', &mut echo);
        let taken = editor.take();
        // An escape that was not finished takes the return away.
        if echo == "\r\n" {
            prop_assert_eq!(shown, taken.as_bytes());
        }
    }
}
