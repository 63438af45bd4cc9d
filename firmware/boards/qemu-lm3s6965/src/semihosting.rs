//! What the emulator's host does for the board: one file, and the time of day for a seed.
//!
//! ARM "Semihosting for AArch32 and AArch64" 2024Q3. QEMU needs `-semihosting-config enable=on,target=native`; without it the
//! first call is a fault, which the panic record names.

use cortex_m_semihosting::nr;

/// A file of the host, open for reading and writing.
#[derive(Debug)]
pub(crate) struct HostFile {
    handle: usize,
}

/// The host could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostError;

impl HostFile {
    /// Opens a file, which is made if there is none. `name` ends with a zero byte.
    pub(crate) fn open(name: &[u8]) -> Result<Self, HostError> {
        for mode in [nr::open::RW_BINARY, nr::open::RW_TRUNC_BINARY] {
            // The length leaves out the zero.
            let handle = call(
                nr::OPEN,
                &[
                    name.as_ptr().expose_provenance(),
                    mode,
                    name.len().saturating_sub(1),
                ],
            );
            if handle != usize::MAX {
                return Ok(Self { handle });
            }
        }
        Err(HostError)
    }

    /// How long it is.
    pub(crate) fn len(&self) -> Result<usize, HostError> {
        match call(nr::FLEN, &[self.handle]) {
            usize::MAX => Err(HostError),
            len => Ok(len),
        }
    }

    /// Reads at an offset until `buffer` is full.
    pub(crate) fn read(&mut self, offset: usize, buffer: &mut [u8]) -> Result<(), HostError> {
        self.seek(offset)?;
        // 6.16: zero if the buffer is full, else the number of bytes left.
        let left = call(
            nr::READ,
            &[self.handle, buffer.as_mut_ptr().expose_provenance(), buffer.len()],
        );
        if left == 0 { Ok(()) } else { Err(HostError) }
    }

    /// Writes at an offset.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), HostError> {
        self.seek(offset)?;
        let left = call(
            nr::WRITE,
            &[self.handle, bytes.as_ptr().expose_provenance(), bytes.len()],
        );
        if left == 0 { Ok(()) } else { Err(HostError) }
    }

    fn seek(&mut self, offset: usize) -> Result<(), HostError> {
        match call(nr::SEEK, &[self.handle, offset]) {
            0 => Ok(()),
            _ => Err(HostError),
        }
    }
}

/// What differs from start to start: the host's seconds since 1970, the emulator's processor time in 10 ms, and its ticks.
pub(crate) fn time_words() -> [u32; 4] {
    let mut elapsed = [0_u32; 2];
    let word = |operation| u32::try_from(call_with(operation, 0)).unwrap_or_default();
    let (time_s, clock) = (word(nr::TIME), word(nr::CLOCK));
    // SYS_ELAPSED fills two words; it leaves them alone where the host has no such clock.
    call_with(nr::ELAPSED, elapsed.as_mut_ptr().expose_provenance());
    [time_s, clock, elapsed[0], elapsed[1]]
}

fn call(operation: usize, parameters: &[usize]) -> usize {
    call_with(operation, parameters.as_ptr().expose_provenance())
}

#[allow(unsafe_code, reason = "a semihosting call hands addresses to the host")]
fn call_with(operation: usize, parameter: usize) -> usize {
    // SAFETY: every caller in this file names an operation with the parameters that it takes; addresses among them are
    // those of live buffers with their lengths, exclusively borrowed where the host writes.
    unsafe { cortex_m_semihosting::syscall1(operation, parameter) }
}
