//! Where a program was when it ended: return addresses found on its stack.
//!
//! Texts and places of panics take a sixth of a small flash. The stack knows the way as well, as addresses, which
//! `addr2line` turns into files and lines of the program that ran.

use core::fmt;
use core::ops::Range;

use heapless::Vec;

/// The most return addresses that are kept, innermost first.
pub const TRAIL_LEN_MAX: usize = 12;

/// Return addresses, innermost first. Some may be left over from calls that had returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Vec<u32, TRAIL_LEN_MAX>);

impl Trail {
    /// Looks for return addresses in a stack's words, from its pointer on. `code` is where the program stands; `half_word`
    /// reads two bytes of it.
    pub fn find(stack: impl Iterator<Item = u32>, code: &Range<u32>, half_word: impl Fn(u32) -> u16) -> Self {
        let mut trail = Self::default();
        for word in stack {
            // A return address in Thumb code is odd, and a call stands in front of it.
            let next = word & !1;
            let in_code = word & 1 == 1 && next >= code.start.saturating_add(4) && next < code.end;
            if in_code && is_call(half_word(next - 4), half_word(next - 2)) && trail.0.push(next).is_err() {
                break;
            }
        }
        trail
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for address in &self.0 {
            write!(f, " {address:x}")?;
        }
        Ok(())
    }
}

/// Whether the two half words in front of an address end in a call (ARMv7-M Architecture Reference Manual, DDI 0403:
/// A7.7.18 BL, encoding T1; A7.7.19 BLX (register), encoding T1).
const fn is_call(first: u16, second: u16) -> bool {
    let is_bl = first & 0xf800 == 0xf000 && second & 0xd000 == 0xd000;
    let is_blx = second & 0xff87 == 0x4780;
    is_bl || is_blx
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    /// Code at 0x100: `nop`, `bl`, `nop`, `blx r3`, `nop`.
    fn half_word(at: u32) -> u16 {
        match at {
            0x102 => 0xf000,
            0x104 => 0xf801,
            0x108 => 0x4798,
            _ => 0xbf00,
        }
    }

    fn find(stack: &[u32]) -> std::string::String {
        Trail::find(stack.iter().copied(), &(0x100..0x10c), half_word).to_string()
    }

    #[test]
    fn only_what_follows_a_call_is_a_return_address() {
        assert_eq!(find(&[0x107, 0x10b]), " 106 10a");
        assert_eq!(find(&[0x106, 0x105, 0x109, 0x10d, 0x103, 0, 1, u32::MAX]), "");
    }

    #[test]
    fn the_innermost_are_kept() {
        let stack = [0x107; TRAIL_LEN_MAX + 1];
        assert_eq!(find(&stack).split_whitespace().count(), TRAIL_LEN_MAX);
    }
}
