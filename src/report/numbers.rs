//! Numbers and dates as a language writes them.

use taraz_analytics::calendar::{Jalali, MONTH_NAMES, MONTH_NAMES_FA, date_of_ms};

use crate::cli::Language;

const WH_PER_KWH: u64 = 1_000;
/// Below this many kWh a decimal is shown.
const DECIMAL_BELOW_WH: u64 = 100 * WH_PER_KWH;

/// Digits and signs of a text of numbers: Persian ones where the language is.
pub(super) fn digits(text: &str, language: Language) -> String {
    if language == Language::En {
        return text.to_owned();
    }
    let digit = |c: char| match c {
        '0'..='9' => char::from_u32(u32::from('۰') + u32::from(c) - u32::from('0')).unwrap_or(c),
        ',' => '٬',
        '.' => '٫',
        '%' => '٪',
        other => other,
    };
    text.chars().map(digit).collect()
}

/// A whole number with its thousands apart.
pub(super) fn whole(number: i64, language: Language) -> String {
    let plain = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let sign = if number < 0 { "−" } else { "" };
    format!("{sign}{}", digits(&text, language))
}

/// Energy in kWh, rounded to the nearest, with one decimal below 100 kWh; without its unit.
pub(super) fn kwh(energy_wh: i64, language: Language) -> String {
    let sign = if energy_wh < 0 { -1 } else { 1 };
    let size = energy_wh.unsigned_abs();
    if size >= DECIMAL_BELOW_WH {
        let rounded = (size + WH_PER_KWH / 2) / WH_PER_KWH;
        return whole(sign * i64::try_from(rounded).unwrap_or(i64::MAX), language);
    }
    #[expect(clippy::cast_precision_loss, reason = "below 100,000 every integer is exact")]
    let number = size as f64 / WH_PER_KWH as f64;
    let sign = if energy_wh < 0 { "−" } else { "" };
    format!("{sign}{}", digits(&format!("{number:.1}"), language))
}

/// A ratio in percent with one decimal, such as `12.5 %` (not broken over a line).
pub(super) fn percent(ratio: f64, language: Language) -> String {
    let text = format!("{:.1}", ratio * 100.0);
    match language {
        Language::En => format!("{text}\u{a0}%"),
        Language::Fa => digits(&text, language) + "٪",
    }
}

/// A share in ten-thousandths: `10 %`, `12.5 %`.
pub(super) fn share(per_myriad: u16, language: Language) -> String {
    let text = (f64::from(per_myriad) / 100.0).to_string();
    match language {
        Language::En => format!("{text}\u{a0}%"),
        Language::Fa => digits(&text, language) + "٪",
    }
}

/// A number with a fixed count of decimals.
pub(super) fn decimal(number: f64, decimals: usize, language: Language) -> String {
    digits(&format!("{number:.decimals$}"), language)
}

/// A month's name.
pub(super) fn month(month: i8, language: Language) -> &'static str {
    let names = match language {
        Language::Fa => &MONTH_NAMES_FA,
        Language::En => &MONTH_NAMES,
    };
    let at = usize::try_from(month - 1).unwrap_or_default();
    names.get(at).copied().unwrap_or_default()
}

/// The local day of an instant: `2 Azar 1404`, in English with its Gregorian date; the Gregorian date alone outside the calendar.
pub(super) fn day(time_ms: i64, language: Language) -> String {
    let date = date_of_ms(time_ms);
    let Ok(jalali) = Jalali::from_gregorian(date) else {
        return digits(&date.to_string(), language);
    };
    let text = format!(
        "{} {} {}",
        jalali.day(),
        month(jalali.month(), language),
        jalali.year()
    );
    match language {
        Language::Fa => digits(&text, language),
        Language::En => format!("{text} ({date})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_language_does() {
        assert_eq!(whole(1_234_567, Language::En), "1,234,567");
        assert_eq!(whole(-1_000, Language::Fa), "−۱٬۰۰۰");
        assert_eq!(whole(0, Language::En), "0");
        assert_eq!(kwh(1_234_499, Language::En), "1,234");
        assert_eq!(kwh(1_234_500, Language::En), "1,235");
        assert_eq!(kwh(-99_940, Language::En), "−99.9");
        assert_eq!(kwh(50_250, Language::Fa), "۵۰٫۲");
        assert_eq!(percent(0.1234, Language::Fa), "۱۲٫۳٪");
        assert_eq!(percent(1.0, Language::En), "100.0\u{a0}%");
        assert_eq!(
            (share(500, Language::En), share(1_250, Language::Fa)),
            ("5\u{a0}%".into(), "۱۲٫۵٪".into())
        );
    }

    #[test]
    fn days_have_their_names() {
        // 2025-03-20T20:30Z: the first day of 1404 begins.
        let start_ms = 1_742_502_600_000;
        assert_eq!(day(start_ms, Language::En), "1 Farvardin 1404 (2025-03-21)");
        assert_eq!(day(start_ms, Language::Fa), "۱ فروردین ۱۴۰۴");
        assert_eq!(day(start_ms - 1, Language::En), "30 Esfand 1403 (2025-03-20)");
    }
}
