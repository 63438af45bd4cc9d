//! How much of the stack was ever used: the start-up code paints it, and what is still painted was not.

/// What cortex-m-rt paints it with (its `STACK_PAINT_VALUE`).
const PAINT: u32 = 0xcccc_cccc;

#[allow(unsafe_code, reason = "symbols of the linker script")]
pub(crate) fn bounds() -> (usize, usize) {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    ((&raw const _stack_end).addr(), (&raw const _stack_start).addr())
}

/// Where the program's code stands.
#[cfg(not(feature = "panic-text"))]
#[allow(unsafe_code, reason = "symbols of the linker script")]
pub(crate) fn code() -> core::ops::Range<u32> {
    unsafe extern "C" {
        static __stext: u32;
        static __etext: u32;
    }
    let address = |of: *const u32| u32::try_from(of.addr()).unwrap_or_default();
    address(&raw const __stext)..address(&raw const __etext)
}

/// Whether so many words from `at` on lie within it, aligned.
pub(crate) fn contains(at: usize, words: usize) -> bool {
    let (end, start) = bounds();
    at.is_multiple_of(4) && at >= end && at.checked_add(words * 4).is_some_and(|top| top <= start)
}

/// The most of it that was used since the start, in bytes.
#[must_use]
#[allow(unsafe_code, reason = "reads the stack's memory as words")]
pub(crate) fn stack_high_water_bytes() -> u32 {
    let (end, start) = bounds();
    let mut at = end;
    while at < start {
        // SAFETY: within the stack, aligned by the linker script; volatile, as other code writes there.
        if unsafe { (at as *const u32).read_volatile() } != PAINT {
            break;
        }
        at += 4;
    }
    u32::try_from(start - at).unwrap_or(u32::MAX)
}
