//! Memory-mapped registers: the one place that touches them.

/// The registers of one peripheral.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    base: usize,
}

impl Registers {
    /// # Safety
    /// `base` is the address of a peripheral of this chip, and reads and writes within it can't break memory safety (none
    /// of the LM3S6965's peripherals that are used here has DMA).
    #[allow(
        unsafe_code,
        reason = "a caller that names a wrong address breaks memory safety"
    )]
    pub(crate) const unsafe fn at(base: usize) -> Self {
        Self { base }
    }

    /// Reads the register at `offset`.
    #[allow(unsafe_code, reason = "registers are memory")]
    pub(crate) fn read(self, offset: usize) -> u32 {
        // SAFETY: whoever made `self` promised that this is a register.
        unsafe { ((self.base + offset) as *const u32).read_volatile() }
    }

    /// Writes the register at `offset`.
    #[allow(unsafe_code, reason = "registers are memory")]
    pub(crate) fn write(self, offset: usize, value: u32) {
        // SAFETY: whoever made `self` promised that this is a register.
        unsafe { ((self.base + offset) as *mut u32).write_volatile(value) }
    }

    /// Sets bits of the register at `offset`.
    pub(crate) fn set(self, offset: usize, bits: u32) {
        self.write(offset, self.read(offset) | bits);
    }

    /// Clears bits of the register at `offset`.
    pub(crate) fn clear(self, offset: usize, bits: u32) {
        self.write(offset, self.read(offset) & !bits);
    }
}
