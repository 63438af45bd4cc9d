//! Bytes of a terminal → lines, with their echo.

use core::fmt::Write as _;

use heapless::{Deque, String};

/// The longest line in characters; more is refused with the bell.
pub const INPUT_LINE_LEN_MAX: usize = 100;
/// How many lines are remembered.
pub const HISTORY_LINES: usize = 4;
/// The most that the echo of one key takes: a line written anew, and the way back to the cursor.
const ECHO_LEN_MAX: usize = 2 * INPUT_LINE_LEN_MAX + 32;

/// A line as it was typed.
pub type InputLine = String<INPUT_LINE_LEN_MAX>;

/// What to write back for one key.
pub(super) type Echo = String<ECHO_LEN_MAX>;

const CTRL_A: u8 = 0x01;
const CTRL_C: u8 = 0x03;
const CTRL_E: u8 = 0x05;
const CTRL_U: u8 = 0x15;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7F;
const ESCAPE: u8 = 0x1B;
const BELL: char = '\x07';

/// What a key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The line goes on.
    Going,
    /// The line is complete; take it with [`LineEditor::take`].
    Line,
    /// Ctrl-C: the line is dropped.
    Cancelled,
}

/// The keys that come as several bytes (ECMA-48, 5.4: CSI parameters, then a final byte; `O` introduces those of a VT100's
/// application mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    None,
    Escape,
    /// With the number that was read so far.
    Sequence(u8),
}

/// One line under way, and those before it.
#[derive(Debug)]
pub struct LineEditor {
    line: InputLine,
    /// Characters in front of the cursor.
    cursor: usize,
    pending: Pending,
    after_return: bool,
    history: Deque<InputLine, HISTORY_LINES>,
    /// How far back in the history the line came from; 0 for none.
    back: usize,
}

impl Default for LineEditor {
    fn default() -> Self {
        Self::new()
    }
}

impl LineEditor {
    /// An empty line, nothing remembered.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: InputLine::new(),
            cursor: 0,
            pending: Pending::None,
            after_return: false,
            history: Deque::new(),
            back: 0,
        }
    }

    /// Takes one byte; `echo` gets what the terminal shows for it.
    pub(super) fn key(&mut self, byte: u8, echo: &mut Echo) -> Edit {
        echo.clear();
        let after_return = core::mem::take(&mut self.after_return);
        match core::mem::replace(&mut self.pending, Pending::None) {
            Pending::None => {}
            Pending::Escape if matches!(byte, b'[' | b'O') => {
                self.pending = Pending::Sequence(0);
                return Edit::Going;
            }
            Pending::Sequence(number) if byte.is_ascii_digit() => {
                self.pending = Pending::Sequence(number.wrapping_mul(10).wrapping_add(byte - b'0'));
                return Edit::Going;
            }
            // A modifier is skipped with its number.
            Pending::Sequence(_) if byte == b';' => {
                self.pending = Pending::Sequence(0);
                return Edit::Going;
            }
            Pending::Sequence(number) => {
                self.sequence(number, byte, echo);
                return Edit::Going;
            }
            Pending::Escape => return Edit::Going,
        }
        match byte {
            b'\n' if after_return => {}
            b'\r' | b'\n' => {
                self.after_return = byte == b'\r';
                put(echo, "\r\n");
                return Edit::Line;
            }
            CTRL_C => {
                put(echo, "^C\r\n");
                self.clear();
                return Edit::Cancelled;
            }
            CTRL_U => self.replace(&InputLine::new(), echo),
            CTRL_A => self.go(0, echo),
            CTRL_E => self.go(self.line.len(), echo),
            BACKSPACE | DELETE if self.cursor > 0 => {
                self.go(self.cursor - 1, echo);
                self.remove(echo);
            }
            ESCAPE => self.pending = Pending::Escape,
            b' '..=b'~' => self.insert(char::from(byte), echo),
            _ => put(echo, "\x07"),
        }
        Edit::Going
    }

    /// The complete line, which is remembered unless it is empty or the same as the last one.
    pub fn take(&mut self) -> InputLine {
        let line = self.line.clone();
        let known = self.history.front() == Some(&line);
        if !line.trim().is_empty() && !known {
            if self.history.is_full() {
                self.history.pop_back();
            }
            // There is room now.
            let _ = self.history.push_front(line.clone());
        }
        self.clear();
        line
    }

    fn clear(&mut self) {
        self.line.clear();
        (self.cursor, self.back) = (0, 0);
    }

    fn sequence(&mut self, number: u8, last: u8, echo: &mut Echo) {
        match (last, number) {
            (b'A', _) => self.recall(self.back + 1, echo),
            (b'B', _) => self.recall(self.back.saturating_sub(1), echo),
            (b'C', _) => self.go((self.cursor + 1).min(self.line.len()), echo),
            (b'D', _) => self.go(self.cursor.saturating_sub(1), echo),
            (b'H', _) | (b'~', 1 | 7) => self.go(0, echo),
            (b'F', _) | (b'~', 4 | 8) => self.go(self.line.len(), echo),
            (b'~', 3) if self.cursor < self.line.len() => self.remove(echo),
            _ => put(echo, "\x07"),
        }
    }

    fn recall(&mut self, back: usize, echo: &mut Echo) {
        let line = match back.checked_sub(1) {
            None => InputLine::new(),
            Some(index) => match self.history.iter().nth(index) {
                Some(line) => line.clone(),
                None => return put(echo, "\x07"),
            },
        };
        self.back = back;
        self.replace(&line, echo);
    }

    fn replace(&mut self, line: &InputLine, echo: &mut Echo) {
        self.go(0, echo);
        self.line = line.clone();
        self.cursor = self.line.len();
        put(echo, &self.line);
        put(echo, "\x1b[K");
    }

    fn go(&mut self, cursor: usize, echo: &mut Echo) {
        match cursor.abs_diff(self.cursor) {
            0 => {}
            distance => {
                let direction = if cursor < self.cursor { 'D' } else { 'C' };
                let _ = write!(echo, "\x1b[{distance}{direction}");
            }
        }
        self.cursor = cursor;
    }

    fn insert(&mut self, character: char, echo: &mut Echo) {
        let (front, rest) = self.line.split_at(self.cursor);
        let mut line = InputLine::new();
        let fits = line.push_str(front).and_then(|()| line.push(character));
        if fits.and_then(|()| line.push_str(rest)).is_err() {
            // A string this long always has room for the bell.
            let _ = echo.push(BELL);
            return;
        }
        self.line = line;
        self.cursor += 1;
        let _ = echo.push(character);
        self.rest(echo);
    }

    /// Removes the character at the cursor.
    fn remove(&mut self, echo: &mut Echo) {
        self.line.remove(self.cursor);
        self.rest(echo);
        put(
            echo,
            if self.cursor == self.line.len() {
                "\x1b[K"
            } else {
                ""
            },
        );
    }

    /// Writes what stands behind the cursor anew, and goes back.
    fn rest(&self, echo: &mut Echo) {
        let rest = self.line.get(self.cursor..).unwrap_or_default();
        if !rest.is_empty() {
            let _ = write!(echo, "{rest}\x1b[K\x1b[{}D", rest.len());
        }
    }
}

/// The echo of one key always fits.
fn put(echo: &mut Echo, text: &str) {
    let _ = echo.push_str(text);
}
