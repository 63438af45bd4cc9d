//! How fast the line is, and how long to wait on it.

/// The slowest line; a lower rate is taken for this one.
pub const BAUD_MIN: u32 = 300;
/// Above this rate the silences are fixed (MODBUS over Serial Line V1.02, 2.5.1.1: "For baud rates greater than 19200
/// Bps, fixed values for the 2 timers should be used: […] 750µs for the inter-character time-out (t1.5) and […] 1.750ms
/// for inter-frame delay (t3.5)").
const BAUD_SCALED_MAX: u32 = 19_200;
const T15_FAST_US: u32 = 750;
const T35_FAST_US: u32 = 1_750;
/// Start, eight data, parity or second stop, stop (2.5.1: "The format (11 bits) for each byte in RTU mode").
const BITS_PER_CHARACTER: u32 = 11;
/// The longest pause within a frame behind an adaptor that buffers (USB: 16 ms latency timer; TCP: segments).
const GAP_BUFFERED_US: u32 = 100_000;
/// 2.4.1: "Typically the response time-out is from 1s to several second at 9600 bps".
const RESPONSE_TIMEOUT_US: u32 = 1_000_000;
/// How often a request that got no (whole) answer is sent again, unless the line says otherwise.
const RETRIES: u8 = 2;

/// The most retries of one request.
pub const RETRIES_MAX: u8 = 5;
/// The deepest FIFO of a UART.
pub const NOTICE_CHARACTERS_MAX: u32 = 256;
/// How long a line may keep talking before a request is given up without having been sent.
pub const QUIET_WAIT_MAX_US: u32 = 1_000_000;
/// An answer may come as late as this many response time-outs after its request: until then nothing is asked for which
/// it could be taken.
pub const LATE_ANSWER_FACTOR: u32 = 2;

/// A line's speed and patience. All times in µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusLine {
    /// One character, 11 bits.
    pub character_us: u32,
    /// The longest silence within a frame: T1.5 where bytes are seen as they come, more behind a buffering adaptor.
    pub gap_us: u32,
    /// The shortest silence between frames: T3.5.
    pub silence_us: u32,
    /// From the last byte of a request to the first of its answer.
    pub response_timeout_us: u32,
    /// From an answer to the next request, if longer than the silence: some meters need time to turn their driver.
    pub turnaround_us: u32,
    /// How often a request is sent again, at most [`RETRIES_MAX`].
    pub retries: u8,
}

impl BusLine {
    /// A UART whose bytes are seen as they come, at 300 baud or more.
    #[must_use]
    pub const fn serial(baud: u32) -> Self {
        let baud = if baud < BAUD_MIN { BAUD_MIN } else { baud };
        let character_us = (BITS_PER_CHARACTER * 1_000_000).div_ceil(baud);
        let fast = baud > BAUD_SCALED_MAX;
        Self {
            character_us,
            gap_us: if fast {
                T15_FAST_US
            } else {
                (character_us * 3).div_ceil(2)
            },
            silence_us: if fast {
                T35_FAST_US
            } else {
                (character_us * 7).div_ceil(2)
            },
            response_timeout_us: RESPONSE_TIMEOUT_US,
            turnaround_us: 0,
            retries: RETRIES,
        }
    }

    /// A line behind something that hands over its bytes in pieces: a USB adaptor, RTU over TCP.
    #[must_use]
    pub const fn buffered(baud: u32) -> Self {
        let mut line = Self::serial(baud);
        line.gap_us = GAP_BUFFERED_US;
        line
    }

    /// The same line with another response time-out, 1 ms to 60 s.
    #[must_use]
    pub const fn with_response_timeout_ms(mut self, timeout_ms: u32) -> Self {
        let bounded_ms = if timeout_ms > 60_000 { 60_000 } else { timeout_ms };
        self.response_timeout_us = if bounded_ms == 0 {
            1_000
        } else {
            bounded_ms * 1_000
        };
        self
    }

    /// The same line with this many retries, at most [`RETRIES_MAX`].
    #[must_use]
    pub const fn with_retries(mut self, retries: u8) -> Self {
        self.retries = if retries > RETRIES_MAX {
            RETRIES_MAX
        } else {
            retries
        };
        self
    }

    /// The same line behind a UART that tells of a character up to this many later, at most [`NOTICE_CHARACTERS_MAX`]: that
    /// long a silence within an answer, or before it, need not be one.
    #[must_use]
    pub const fn with_notice_characters(mut self, characters: u32) -> Self {
        let characters = if characters > NOTICE_CHARACTERS_MAX {
            NOTICE_CHARACTERS_MAX
        } else {
            characters
        };
        self.gap_us += characters * self.character_us;
        self.response_timeout_us += characters * self.character_us;
        self
    }

    /// The same line with a pause of up to 1 s between an answer and the next request.
    #[must_use]
    pub const fn with_turnaround_ms(mut self, turnaround_ms: u32) -> Self {
        self.turnaround_us = (if turnaround_ms > 1_000 {
            1_000
        } else {
            turnaround_ms
        }) * 1_000;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 9600 baud a character takes 1,146 µs; 1.5 of them are 1,719 µs and 3.5 are 4,011 µs.
    #[test]
    fn silences_scale_up_to_19200_baud_and_are_fixed_above() {
        let slow = BusLine::serial(9_600);
        assert_eq!(
            (slow.character_us, slow.gap_us, slow.silence_us),
            (1_146, 1_719, 4_011)
        );
        let edge = BusLine::serial(19_200);
        assert_eq!((edge.gap_us, edge.silence_us), (860, 2_006));
        for baud in [19_201, 38_400, 57_600, 115_200] {
            let fast = BusLine::serial(baud);
            assert_eq!((fast.gap_us, fast.silence_us), (750, 1_750));
        }
    }

    #[test]
    fn a_fifo_adds_to_the_patience_and_not_to_the_silence_between_frames() {
        let prompt = BusLine::serial(9_600);
        let fifo = prompt.with_notice_characters(4);
        assert_eq!(fifo.gap_us, prompt.gap_us + 4 * 1_146);
        assert_eq!(fifo.response_timeout_us, prompt.response_timeout_us + 4 * 1_146);
        assert_eq!(fifo.silence_us, prompt.silence_us);
        assert_eq!(
            prompt.with_notice_characters(u32::MAX),
            prompt.with_notice_characters(NOTICE_CHARACTERS_MAX)
        );
    }

    #[test]
    fn settings_stay_in_their_bounds() {
        assert_eq!(BusLine::serial(0), BusLine::serial(BAUD_MIN));
        assert_eq!(
            BusLine::serial(9_600)
                .with_response_timeout_ms(0)
                .response_timeout_us,
            1_000
        );
        assert_eq!(
            BusLine::serial(9_600)
                .with_response_timeout_ms(u32::MAX)
                .response_timeout_us,
            60_000_000
        );
        assert_eq!(BusLine::serial(9_600).with_retries(200).retries, RETRIES_MAX);
        assert_eq!(
            BusLine::serial(9_600).with_turnaround_ms(9_999).turnaround_us,
            1_000_000
        );
    }
}
