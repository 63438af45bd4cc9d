//! What periods a request asks for: the query parameters that several answers share.

use jiff::Timestamp;
use jiff::civil::Date;

use super::error::ApiError;
use crate::analytics::{PeriodStep, date_start_ms, day_end_ms, day_start_ms};

const TIME_ALLOWED: &str = "a date like 2026-11-23 (its midnight in Tehran) or an RFC 3339 time like 2026-11-23T10:00:00+03:30 \
                            (a plus in an address is written %2B), from 2000 to 2100";
/// 2000-01-01 and 2100-01-01 in UTC ms: no plant here is older, no question reaches further.
const TIMES_MS: std::ops::RangeInclusive<i64> = 946_684_800_000..=4_102_444_800_000;
pub(super) const DAY_MS: i64 = 86_400_000;

/// The query parameters that were given, each at most once.
#[derive(Debug)]
pub(super) struct Given<'q>(Vec<(&'static str, Option<&'q str>)>);

impl<'q> Given<'q> {
    /// Takes a query apart.
    ///
    /// # Errors
    /// A parameter that is none of `names`, or one given twice.
    pub(super) fn of(query: &'q [(String, String)], names: &[&'static str]) -> Result<Self, ApiError> {
        let mut given: Vec<(&'static str, Option<&str>)> = names.iter().map(|&name| (name, None)).collect();
        for (key, value) in query {
            match given.iter_mut().find(|(name, _)| name == key) {
                Some((_, slot @ None)) => *slot = Some(value.as_str()),
                _ => return Err(ApiError::parameter(key, value, keys_allowed(names))),
            }
        }
        Ok(Self(given))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'q str> {
        self.0
            .iter()
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| *value)
    }

    /// One of several words; the first when it was not given.
    pub(super) fn word<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<T, ApiError> {
        let Some(text) = self.get(name) else {
            return words
                .first()
                .map(|(_, value)| *value)
                .ok_or_else(|| ApiError::parameter(name, "", "nothing"));
        };
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            ApiError::parameter(name, text, alternatives(&names, "or"))
        })
    }

    /// `from` and `to` in UTC ms, `from` included, `to` excluded; left out, they mean today in Tehran. At most `days_max` days.
    pub(super) fn span(&self, now_ms: i64, days_max: i64) -> Result<(i64, i64), ApiError> {
        let (from, to) = (self.get("from"), self.get("to"));
        let from_ms = from.map_or(Ok(day_start_ms(now_ms)), |text| time("from", text))?;
        let to_ms = to.map_or(Ok(day_end_ms(now_ms.max(from_ms))), |text| time("to", text))?;
        let shown = to.unwrap_or("(today's end)");
        if to_ms <= from_ms {
            let allowed = "a time after \"from\"; \"to\" itself is not included";
            return Err(ApiError::parameter("to", shown, allowed));
        }
        // A day may have 25 hours.
        if to_ms - from_ms > days_max * DAY_MS + DAY_MS / 24 {
            let allowed = format!("at most {days_max} days after \"from\": ask for more in parts");
            return Err(ApiError::parameter("to", shown, allowed));
        }
        Ok((from_ms, to_ms))
    }

    /// A step of these.
    pub(super) fn step(&self, steps: &[PeriodStep]) -> Result<PeriodStep, ApiError> {
        let words: Vec<_> = steps.iter().map(|step| (step.as_str(), *step)).collect();
        self.word("step", &words)
    }
}

/// A date or an instant as UTC ms.
pub(super) fn time(key: &str, text: &str) -> Result<i64, ApiError> {
    // A date is a date only in whole: jiff would also read the front of a longer text.
    let date = (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten();
    let ms = match date {
        Some(date) => Some(date_start_ms(date)),
        None => text
            .parse::<Timestamp>()
            .ok()
            .map(|instant| instant.as_millisecond()),
    };
    ms.filter(|ms| TIMES_MS.contains(ms))
        .ok_or_else(|| ApiError::parameter(key, text, TIME_ALLOWED))
}

fn keys_allowed(names: &[&str]) -> String {
    format!(
        "the parameters are {}, each at most once",
        alternatives(names, "and")
    )
}

/// `a, b and c`.
fn alternatives(words: &[&str], last: &str) -> String {
    match words {
        [one] => (*one).to_owned(),
        [rest @ .., end] => format!("{} {last} {end}", rest.join(", ")),
        [] => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23 13:30 in Tehran.
    const NOW_MS: i64 = 1_795_428_000_000;

    fn query(text: &str) -> Vec<(String, String)> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn days_are_counted_with_the_hour_that_one_may_have_more() {
        let asked = query("from=2022-03-01&to=2022-10-01");
        let given = Given::of(&asked, &["from", "to"]).unwrap();
        assert!(given.span(NOW_MS, 214).is_ok());
        let error = format!("{:?}", given.span(NOW_MS, 213).unwrap_err());
        assert!(error.contains("at most 213 days"), "{error}");
    }

    #[test]
    fn a_word_is_one_of_several() {
        let asked = query("step=month");
        let given = Given::of(&asked, &["step"]).unwrap();
        assert_eq!(
            given.step(&[PeriodStep::Day, PeriodStep::Month]).unwrap(),
            PeriodStep::Month
        );
        let error = format!(
            "{:?}",
            given.step(&[PeriodStep::Day, PeriodStep::Quarter]).unwrap_err()
        );
        assert!(error.contains("1d or 15m"), "{error}");
        assert_eq!(
            Given::of(&[], &["step"])
                .unwrap()
                .step(&[PeriodStep::Day])
                .unwrap(),
            PeriodStep::Day
        );
        assert!(Given::of(&asked, &["from"]).is_err());
    }
}
