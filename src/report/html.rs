//! The duty as one HTML file: nothing is fetched, Persian letters are in it, it prints on A4.

use taraz_ingest::{DutyReport, OwnerDuty, PERSIAN_FONT_WOFF2};

use super::numbers::{day, digits, kwh, percent, share, whole};
use super::owner::{flags, known, missing_kwp, name, range, section};
use super::words::{self, Words};
use crate::cli::Language;

const STYLE: &str = include_str!("style.css");

/// The whole document.
pub(super) fn document(report: &DutyReport, language: Language) -> String {
    let words = words::of(language);
    let title = fill(words.title, &[&digits(&report.year.to_string(), language)]);
    let mut body = format!(
        "<header>\n<h1>{title}</h1>\n<p class=\"soft\">{} {}</p>\n</header>\n",
        so_far(report, words, language),
        fill(words.made, &[&day(report.made_ms, language)]),
    );
    // With several owners, what holds for all of them comes first, and each begins a sheet.
    let has_summary = report.owners.len() > 1;
    if has_summary {
        body += &summary(report, words, language);
        body += &method(words);
    }
    for owner in &report.owners {
        body += &section(report, owner, language);
    }
    if !has_summary {
        body += &method(words);
    }
    let version = digits(env!("CARGO_PKG_VERSION"), Language::En);
    body += &format!("<footer>{}</footer>\n", fill(words.footer, &[&version]));
    format!(
        "<!doctype html>\n<html lang=\"{}\" dir=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        words.lang,
        words.dir,
        font()
    )
}

/// Puts texts in the places of a sentence.
pub(super) fn fill(sentence: &str, texts: &[&str]) -> String {
    texts
        .iter()
        .fold(sentence.to_owned(), |filled, text| filled.replacen("{}", text, 1))
}

/// A text that came from a file, for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A table with a head.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    let row = |row: &Vec<String>| {
        let cells: String = row.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

fn so_far(report: &DutyReport, words: &Words, language: Language) -> String {
    if report.days_so_far == 0 {
        return fill(words.none_so_far, &[&digits(&report.year.to_string(), language)]);
    }
    let count = |days: usize| digits(&days.to_string(), language);
    fill(
        words.so_far,
        &[
            &day(report.start_ms, language),
            &day(report.through_ms - 1, language),
            &count(report.days_so_far),
            &count(report.days_of_year),
        ],
    )
}

/// A row for each owner.
fn summary(report: &DutyReport, words: &Words, language: Language) -> String {
    let row = |owner: &OwnerDuty| {
        let end = owner.projection;
        vec![
            escape(name(&owner.name, &owner.name_fa, language)),
            known(owner.share_per_myriad.map(|due| share(due, language)), words),
            known(owner.covered_ratio.map(|ratio| percent(ratio, language)), words),
            known(owner.gap_wh.map(|gap_wh| kwh(gap_wh, language)), words),
            known(end.map(|end| kwh(end.gap_wh.mid, language)), words),
            known(end.map(|end| range(end.gap_wh, words, language)), words),
            known(end.and_then(|end| missing_kwp(&end, language)), words),
            fill(
                words.days_of,
                &[
                    &whole(i64::try_from(owner.known_days).unwrap_or(i64::MAX), language),
                    &digits(&report.days_so_far.to_string(), language),
                ],
            ),
            flags(&owner.flags, words, language),
        ]
    };
    let rows: Vec<Vec<String>> = report.owners.iter().map(row).collect();
    let unit = |text: &str, unit: &str| format!("{text} ({unit})");
    let head = [
        words.owner,
        words.against_share,
        words.covered,
        &unit(words.gap_so_far, words.kwh),
        &unit(words.gap_at_end, words.kwh),
        words.range,
        &unit(words.to_build, words.kwp),
        words.known_days,
        words.remarks,
    ];
    format!(
        "<section class=\"summary\">\n<h2>{}</h2>\n{}</section>\n",
        words.all_owners,
        table(&head, &rows)
    )
}

fn method(words: &Words) -> String {
    let lines: String = words
        .method
        .iter()
        .map(|line| format!("<li>{line}</li>\n"))
        .collect();
    format!(
        "<section class=\"method\">\n<h3>{}</h3>\n<ul>\n{lines}</ul>\n</section>\n",
        words.method_title
    )
}

/// Persian letters in the file itself: a report looks the same on a computer without them.
fn font() -> String {
    format!(
        "@font-face {{ font-family: \"Taraz Persian\"; font-weight: 100 900; unicode-range: U+0600-06FF, U+200C-200D, U+FB50-FDFF, U+FE70-FEFF; \
         src: url(data:font/woff2;base64,{}) format(\"woff2\"); }}\n",
        base64(PERSIAN_FONT_WOFF2)
    )
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place) & 0x3F) as usize];
            text.push(if place > chunk.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn names_can_not_become_markup() {
        assert_eq!(escape("<b>\"&\"</b>"), "&lt;b&gt;&quot;&amp;&quot;&lt;/b&gt;");
        assert_eq!(fill("{} of {}", &["1", "{}"]), "1 of {}");
    }
}
