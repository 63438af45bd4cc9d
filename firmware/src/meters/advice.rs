//! What a poll without values says to whoever stands at the meter.

use taraz_telemetry::PollStatus;

/// What came, and what to look for: silence, damage and refusal have different causes.
#[must_use]
pub const fn poll_advice(status: PollStatus) -> &'static str {
    match status {
        PollStatus::Timeout => {
            "no answer: check address, wiring (A/B) and power; an inverter may sleep at night"
        }
        PollStatus::BadFrame => {
            "damaged answers: check baud rate, parity, termination, and that no two units or masters share the line"
        }
        PollStatus::Exception(code) => exception_advice(code),
        PollStatus::NotUnderstood => "it answers, but not as this driver expects: check the meter's driver",
        PollStatus::Unstable => "its scale factors changed while it was read; it is read again",
    }
}

/// A Modbus exception in words (*MODBUS Application Protocol* V1.1b3, 7).
#[must_use]
pub const fn exception_advice(code: u8) -> &'static str {
    match code {
        1 => "refused: it does not know this function; check the meter's driver",
        2 => "refused: it has no such registers; check the meter's driver",
        3 => "refused: it does not give so many registers; check the meter's driver",
        4 => "refused: it reports a failure of its own",
        5 | 6 => "refused: it is busy; asked again later",
        10 | 11 => "refused by a gateway: the unit behind it does not answer",
        _ => "refused with a code of its maker",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_damage_and_refusal_are_told_apart() {
        let said = [
            poll_advice(PollStatus::Timeout),
            poll_advice(PollStatus::BadFrame),
            poll_advice(PollStatus::Exception(2)),
            poll_advice(PollStatus::Exception(11)),
            poll_advice(PollStatus::NotUnderstood),
        ];
        for (at, one) in said.iter().enumerate() {
            assert!(said.iter().skip(at + 1).all(|other| other != one));
        }
        assert!(said[0].contains("address") && said[1].contains("baud rate") && said[2].contains("driver"));
    }
}
