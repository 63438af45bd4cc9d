//! Requests and answers: 48 bytes each, the same form both ways (RFC 5905, section 7.3).

/// Bytes of a packet without extension fields and authentication, which nobody needs to read (RFC 5905, figure 8).
pub const SNTP_LEN: usize = 48;

/// Leap indicator 0, version 4, mode 3 (client); everything else of a request may be zero (RFC 4330, section 5).
const REQUEST_HEAD: u8 = 0b00_100_011;
/// "LI 3: unknown (clock unsynchronized)" (RFC 5905, figure 9).
const LEAP_UNSYNCHRONISED: u8 = 3;
/// "mode 4: server" (RFC 5905, figure 10).
const MODE_SERVER: u8 = 4;
/// "The SNTP client … should accept … version 3 or 4": older servers answer with their own (RFC 4330, section 4).
const VERSIONS: core::ops::RangeInclusive<u8> = 3..=4;
/// "MAXSTRAT 16: maximum stratum number", which says unsynchronized (RFC 5905, figures 7 and 11).
const STRATUM_MAX: u8 = 15;
/// "MAXDISP 16: maximum dispersion (16 s)" (RFC 5905, figure 7); half the root delay plus the root dispersion stays below it
/// (appendix A.5.1.1).
const ROOT_DISTANCE_MS_MAX: u64 = 16_000;

/// Where each field begins (RFC 5905, figure 8).
mod at {
    pub(super) const HEAD: usize = 0;
    pub(super) const STRATUM: usize = 1;
    pub(super) const PRECISION: usize = 3;
    pub(super) const ROOT_DELAY: usize = 4;
    pub(super) const ROOT_DISPERSION: usize = 8;
    pub(super) const REFERENCE_ID: usize = 12;
    pub(super) const ORIGIN: usize = 24;
    pub(super) const RECEIVE: usize = 32;
    pub(super) const TRANSMIT: usize = 40;
}

/// 1970-01-01 in seconds of era 0, which began in 1900 (RFC 5905, figure 4).
const UNIX_EPOCH_S: u64 = 2_208_988_800;
/// Seconds of an era (RFC 5905, section 6).
const ERA_S: u64 = 1 << 32;
/// 2020-01-01T00:00:00Z: no device of this kind ran before; a server that says so has no time.
const UTC_MS_MIN: u64 = 1_577_836_800_000;

/// Why a server refuses to serve (RFC 5905, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KissCode {
    /// "RATE": asked too often; the client MUST ask less often.
    Rate,
    /// "DENY" or "RSTR": access denied; the client MUST stop sending.
    Denied,
    /// Any other: the answer is worth nothing, and nothing else follows from it.
    Other([u8; 4]),
}

impl core::fmt::Display for KissCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Rate => f.write_str("RATE"),
            Self::Denied => f.write_str("DENY"),
            Self::Other(code) => write!(f, "{}", code.escape_ascii()),
        }
    }
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SntpRefusal {
    /// Answers another question: late, repeated or not meant for us. The right answer may still come.
    #[error("the datagram answers something else than the last question; waiting for the right one")]
    Foreign,
    /// Cut short, or of a mode or version that is no server's.
    #[error("the datagram is no answer of an NTP server of version 3 or 4; check server and port")]
    Malformed,
    /// Kiss-o'-death.
    #[error("the time server refuses with the kiss code {0}; ask its operator, or configure another server")]
    Kiss(KissCode),
    /// The server itself has no time.
    #[error("the time server is not synchronised itself; wait for it, or configure another server")]
    Unsynchronised,
    /// Its time stamps can't be true.
    #[error("the time server's answer contradicts itself or the time it took; configure another server")]
    Implausible,
}

/// UTC at the instant an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeSample {
    /// The instant, in ms of the boot's monotonic time.
    pub(super) monotonic_ms: u64,
    /// UTC then, ms since 1970.
    pub(super) utc_ms: u64,
    /// How far off it may be: half of what the way took, the server's distance from its reference, and the clocks' grain.
    pub(super) error_ms: u32,
    /// What the way there and back took.
    pub(super) round_trip_ms: u32,
}

/// A question. Its transmit time stamp is `cookie`, at random: nobody who does not see the question can answer it, and the
/// device's clock is nobody's business (RFC 4330, section 5: any value will do).
pub(super) fn request(cookie: u64) -> [u8; SNTP_LEN] {
    let mut packet = [0; SNTP_LEN];
    packet[at::HEAD] = REQUEST_HEAD;
    packet[at::TRANSMIT..].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// Checks what came at `received_ms` for the question that went with `cookie` at `sent_ms` (monotonic, both).
pub(super) fn check(
    answer: &[u8],
    cookie: u64,
    sent_ms: u64,
    received_ms: u64,
) -> Result<TimeSample, SntpRefusal> {
    let packet: &[u8; SNTP_LEN] = answer.first_chunk().ok_or(SntpRefusal::Malformed)?;
    let (leap, version, mode) = (packet[0] >> 6, (packet[0] >> 3) & 7, packet[0] & 7);
    // Before everything else: whatever an answer says that is not ours means nothing, a kiss included.
    if u64_at(packet, at::ORIGIN) != cookie {
        return Err(SntpRefusal::Foreign);
    }
    if mode != MODE_SERVER || !VERSIONS.contains(&version) {
        return Err(SntpRefusal::Malformed);
    }
    match packet[at::STRATUM] {
        0 => return Err(SntpRefusal::Kiss(kiss_code(packet))),
        1..=STRATUM_MAX => {}
        _ => return Err(SntpRefusal::Unsynchronised),
    }
    if leap == LEAP_UNSYNCHRONISED {
        return Err(SntpRefusal::Unsynchronised);
    }
    sample(packet, sent_ms, received_ms).ok_or(SntpRefusal::Implausible)
}

fn sample(packet: &[u8; SNTP_LEN], sent_ms: u64, received_ms: u64) -> Option<TimeSample> {
    let server_received_ms = utc_ms(u64_at(packet, at::RECEIVE))?;
    let server_sent_ms = utc_ms(u64_at(packet, at::TRANSMIT))?;
    let held_ms = server_sent_ms.checked_sub(server_received_ms)?;
    let away_ms = received_ms.checked_sub(sent_ms)?;
    // Both ends count whole milliseconds, so what the server held may seem a little longer than we waited.
    let round_trip_ms = match away_ms.checked_sub(held_ms) {
        Some(round_trip_ms) => round_trip_ms,
        None if held_ms - away_ms <= 2 => 0,
        None => return None,
    };
    let root_ms =
        short_ms(u32_at(packet, at::ROOT_DELAY)).div_ceil(2) + short_ms(u32_at(packet, at::ROOT_DISPERSION));
    if root_ms >= ROOT_DISTANCE_MS_MAX {
        return None;
    }
    // RFC 5905, section 11.2: the root distance is half the delay plus the dispersion. Two instants here and two there were
    // cut to milliseconds; the server's grain comes on top.
    let error_ms = round_trip_ms.div_ceil(2) + root_ms + 2 + precision_ms(packet[at::PRECISION])?;
    Some(TimeSample {
        monotonic_ms: received_ms,
        utc_ms: server_sent_ms + round_trip_ms / 2,
        error_ms: u32::try_from(error_ms).ok()?,
        round_trip_ms: u32::try_from(round_trip_ms).ok()?,
    })
}

fn kiss_code(packet: &[u8; SNTP_LEN]) -> KissCode {
    match u32_at(packet, at::REFERENCE_ID).to_be_bytes() {
        code if code == *b"RATE" => KissCode::Rate,
        code if code == *b"DENY" || code == *b"RSTR" => KissCode::Denied,
        code => KissCode::Other(code),
    }
}

/// A time stamp (32 bits of seconds, 32 of their fraction) as UTC. Zero is "unknown", never a time (RFC 5905, section 6).
///
/// "If bit 0 is set, the UTC time is in the range 1968–2036 …; if bit 0 is not set, the time is in the range 2036–2104"
/// (RFC 4330, section 3).
fn utc_ms(timestamp: u64) -> Option<u64> {
    if timestamp == 0 {
        return None;
    }
    let (seconds, fraction) = (timestamp >> 32, timestamp & 0xFFFF_FFFF);
    let era_s = if seconds >> 31 == 1 { 0 } else { ERA_S };
    let unix_s = (seconds + era_s).checked_sub(UNIX_EPOCH_S)?;
    let utc_ms = unix_s * 1_000 + ((fraction * 1_000) >> 32);
    (utc_ms >= UTC_MS_MIN).then_some(utc_ms)
}

/// The short format (16 bits of seconds, 16 of their fraction), rounded up.
fn short_ms(short: u32) -> u64 {
    (u64::from(short) * 1_000).div_ceil(1 << 16)
}

/// The server's precision is a power of two in seconds (RFC 5905, section 7.3), rounded up; no clock ticks slower than once
/// in 8 s.
fn precision_ms(exponent: u8) -> Option<u64> {
    match exponent.cast_signed() {
        exponent @ 0..=3 => Some(1_000 << exponent),
        exponent @ -9..=-1 => Some((1_000 >> (-exponent).cast_unsigned()) + 1),
        exponent if exponent < 0 => Some(1),
        _ => None,
    }
}

fn u32_at(packet: &[u8; SNTP_LEN], at: usize) -> u32 {
    packet[at..]
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn u64_at(packet: &[u8; SNTP_LEN], at: usize) -> u64 {
    packet[at..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer captured from a public server of stratum 2, as published with ntpd-rs (`test_captured_server` of its
    /// `ntp-proto/src/packet/mod.rs`).
    const CAPTURED: [u8; SNTP_LEN] = [
        0x24, 0x02, 0x06, 0xe9, 0x00, 0x00, 0x02, 0x36, 0x00, 0x00, 0x03, 0xb7, 0xc0, 0x35, 0x67,
        0x6c, //
        0xe5, 0xf6, 0x61, 0xfd, 0x6f, 0x16, 0x5f, 0x03, 0xe5, 0xf6, 0x63, 0xa8, 0x76, 0x19, 0xef,
        0x40, //
        0xe5, 0xf6, 0x63, 0xa8, 0x79, 0x8c, 0x65, 0x81, 0xe5, 0xf6, 0x63, 0xa8, 0x79, 0x8e, 0xae, 0x2b,
    ];
    const COOKIE: u64 = 0xe5f6_63a8_7619_ef40;

    fn with(change: impl Fn(&mut [u8; SNTP_LEN])) -> Result<TimeSample, SntpRefusal> {
        let mut packet = CAPTURED;
        change(&mut packet);
        check(&packet, COOKIE, 5_000, 5_027)
    }

    /// 2022-04-05T06:43:52.474834Z. The server's root delay is 0x236 / 65,536 s = 8.64 ms, its dispersion 0x3b7 / 65,536 s =
    /// 14.51 ms, its precision 2^-23 s: 9 / 2 → 5, 15, 1 ms; half of the way's 27 ms is 14; 2 ms of grain.
    #[test]
    fn a_captured_answer_gives_the_time_it_was_captured() {
        let expected = TimeSample {
            monotonic_ms: 5_027,
            utc_ms: 1_649_141_032_474 + 13,
            error_ms: 14 + 5 + 15 + 2 + 1,
            round_trip_ms: 27,
        };
        assert_eq!(with(|_| {}), Ok(expected));
    }

    /// The first packet of the Wireshark wiki's `NTP_sync.pcap` was a question of a symmetric peer, version 3, and its 19th an
    /// answer to it: neither is a server's.
    #[test]
    fn what_is_no_servers_answer_is_refused() {
        let passive = [
            0x1a, 0x02, 0x0a, 0xec, 0x00, 0x00, 0x07, 0xc3, 0x00, 0x00, 0x2f, 0x80, 0xc6, 0x1e, 0x5c,
            0x02, //
            0xc5, 0x01, 0xf9, 0x95, 0x42, 0x50, 0x82, 0xcf, 0xc5, 0x02, 0x04, 0xec, 0xec, 0x42, 0xee,
            0x92, //
            0xc5, 0x02, 0x04, 0xeb, 0xd2, 0x35, 0x2e, 0xb5, 0xc5, 0x02, 0x04, 0xeb, 0xd2, 0x35, 0xd6, 0x7b,
        ];
        assert_eq!(
            check(&passive, 0xc502_04ec_ec42_ee92, 0, 60),
            Err(SntpRefusal::Malformed)
        );
        assert_eq!(with(|p| p[0] = 0x25), Err(SntpRefusal::Malformed), "broadcast");
        assert_eq!(with(|p| p[0] = 0x14), Err(SntpRefusal::Malformed), "version 2");
        assert_eq!(check(&CAPTURED[..47], COOKIE, 0, 27), Err(SntpRefusal::Malformed));
        assert_eq!(check(&[], COOKIE, 0, 27), Err(SntpRefusal::Malformed));
        assert!(with(|p| p[0] = 0x1c).is_ok(), "version 3");
    }

    #[test]
    fn a_question_says_nothing_but_its_cookie() {
        let packet = request(0x0102_0304_0506_0708);
        assert_eq!(packet[0], 0x23);
        assert!(packet[1..40].iter().all(|byte| *byte == 0));
        assert_eq!(packet[40..], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn an_answer_to_something_else_means_nothing_whatever_it_says() {
        assert_eq!(with(|p| p[31] ^= 1), Err(SntpRefusal::Foreign));
        let forged_kiss = with(|p| {
            p[31] ^= 1;
            p[1] = 0;
            p[12..16].copy_from_slice(b"DENY");
        });
        assert_eq!(forged_kiss, Err(SntpRefusal::Foreign));
    }

    #[test]
    fn a_kiss_is_understood_and_a_server_without_time_refused() {
        for (code, expected) in [
            (*b"RATE", KissCode::Rate),
            (*b"DENY", KissCode::Denied),
            (*b"RSTR", KissCode::Denied),
            (*b"INIT", KissCode::Other(*b"INIT")),
        ] {
            let kiss = with(|p| {
                // A kiss comes with leap indicator 3 and no times (RFC 5905, section 7.4).
                p[0] = 0xe4;
                p[1] = 0;
                p[12..16].copy_from_slice(&code);
                p[40..].fill(0);
            });
            assert_eq!(kiss, Err(SntpRefusal::Kiss(expected)));
        }
        assert_eq!(with(|p| p[0] = 0xe4), Err(SntpRefusal::Unsynchronised));
        assert_eq!(with(|p| p[1] = 16), Err(SntpRefusal::Unsynchronised));
    }

    #[test]
    fn times_that_cannot_be_true_are_refused() {
        let implausible = Err(SntpRefusal::Implausible);
        assert_eq!(with(|p| p[40..].fill(0)), implausible, "no transmit time");
        assert_eq!(with(|p| p[32..40].fill(0)), implausible, "no receive time");
        assert_eq!(with(|p| p[35] += 1), implausible, "sent before it was received");
        assert_eq!(with(|p| p[43] += 1), implausible, "held longer than we waited");
        assert_eq!(with(|p| p[4] = 0x80), implausible, "a negative root delay");
        assert_eq!(with(|p| p[9] = 16), implausible, "16 s from its reference");
        assert_eq!(with(|p| p[3] = 4), implausible, "a clock that ticks every 16 s");
        let old = with(|p| {
            p[32..36].copy_from_slice(&0xc502_04eb_u32.to_be_bytes());
            p[40..44].copy_from_slice(&0xc502_04eb_u32.to_be_bytes());
        });
        assert_eq!(old, implausible, "2004");
        assert!(
            check(&CAPTURED, COOKIE, 5_027, 5_000).is_err(),
            "received before it was sent"
        );
    }

    /// The era rolls over on 2036-02-07T06:28:16Z, 2,085,978,496 s after 1970.
    #[test]
    fn the_next_era_follows_this_one() {
        assert_eq!(utc_ms(0xFFFF_FFFF_8000_0000), Some(2_085_978_495_500));
        assert_eq!(utc_ms(0x0000_0000_8000_0000), Some(2_085_978_496_500));
        assert_eq!(utc_ms(0x7FFF_FFFF_0000_0000), Some(4_233_462_143_000));
        assert_eq!(utc_ms(0x8000_0000_0000_0000), None, "1968");
        assert_eq!(utc_ms(0), None);
        // A server that answers across the roll-over held the question for 2 ms.
        let across = with(|p| {
            p[32..40].copy_from_slice(&0xFFFF_FFFF_FFBE_76C9_u64.to_be_bytes());
            p[40..].copy_from_slice(&0x0000_0000_0041_8938_u64.to_be_bytes());
        });
        assert_eq!(across.map(|sample| sample.round_trip_ms), Ok(25));
    }

    proptest! {
        /// Wherever the two ways' delays lie, UTC is within the error of what was said.
        #[test]
        fn the_error_covers_every_asymmetry(there_ms in 0_u64..4_000, held_ms in 0_u64..100, back_ms in 0_u64..4_000) {
            const SENT_UTC_MS: u64 = 1_790_000_000_000;
            let stamp = |utc_ms: u64| {
                let (s, ms) = (utc_ms / 1_000 + UNIX_EPOCH_S, utc_ms % 1_000);
                (s << 32 | (ms << 32).div_ceil(1_000)).to_be_bytes()
            };
            let mut packet = CAPTURED;
            packet[32..40].copy_from_slice(&stamp(SENT_UTC_MS + there_ms));
            packet[40..].copy_from_slice(&stamp(SENT_UTC_MS + there_ms + held_ms));
            let away_ms = there_ms + held_ms + back_ms;
            let sample = check(&packet, COOKIE, 10, 10 + away_ms).unwrap();
            prop_assert_eq!(sample.round_trip_ms, u32::try_from(there_ms + back_ms).unwrap());
            prop_assert!(sample.utc_ms.abs_diff(SENT_UTC_MS + away_ms) <= u64::from(sample.error_ms));
        }

        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), cookie: u64) {
            let mut packet = bytes;
            let _ = check(&packet, cookie, 0, 100);
            if packet.len() >= 32 {
                packet[24..32].copy_from_slice(&cookie.to_be_bytes());
                let _ = check(&packet, cookie, 0, 100);
            }
        }
    }
}
