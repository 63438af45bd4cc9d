//! One owner's part of the duty's HTML.

use taraz_analytics::duty::coverage;
use taraz_ingest::{ConsumptionSource, DutyReport, MonthDuty, OwnerDuty, ProjectedYear, Range};

use super::html::{escape, fill, table};
use super::numbers::{decimal, digits, kwh, month, percent, share, whole};
use super::words::{self, Words};
use crate::cli::Language;

const W_PER_KW: f64 = 1_000.0;
/// A bar is full at this multiple of the duty.
const BAR_DUTIES: f64 = 1.5;

/// A name in the report's language.
pub(super) const fn name<'a>(name: &'a str, name_fa: &'a str, language: Language) -> &'a str {
    match language {
        Language::Fa => name_fa,
        Language::En => name,
    }
}

/// A figure, or the word for what is not known.
pub(super) fn known(text: Option<String>, words: &Words) -> String {
    text.unwrap_or_else(|| format!("<span class=\"soft\">{}</span>", words.unknown))
}

/// A range of energies in kWh.
pub(super) fn range(range: Range, words: &Words, language: Language) -> String {
    format!(
        "{}{}{}",
        kwh(range.low, language),
        words.to,
        kwh(range.high, language)
    )
}

/// The power to be built in kWp.
pub(super) fn missing_kwp(end: &ProjectedYear, language: Language) -> Option<String> {
    end.missing_peak_w
        .map(|peak_w| kilowatts(peak_w as f64, language))
}

/// The owner's section.
pub(super) fn section(report: &DutyReport, owner: &OwnerDuty, language: Language) -> String {
    let words = words::of(language);
    let mut duty = match owner.share_per_myriad {
        Some(due) => fill(words.duty, &[&share(due, language)]),
        None => words.no_duty.to_owned(),
    };
    if owner.is_exception {
        duty += &format!(" ({})", words.exception);
    }
    format!(
        "<section class=\"owner\">\n<h2>{}</h2>\n<p class=\"soft\">{} · {duty} · {} {}</p>\n{}{}{}{}{}{}</section>\n",
        escape(name(&owner.name, &owner.name_fa, language)),
        words::kind(owner.kind, language),
        kilowatts(owner.peak_w as f64, language),
        words.kwp,
        cards(owner, words, language),
        notes(report, owner, words, language),
        year_end(owner, words, language),
        months(owner, words, language),
        plants(owner, words, language),
        sites(owner, words, language),
    )
}

/// The four figures that matter, and how far the bar is.
fn cards(owner: &OwnerDuty, words: &Words, language: Language) -> String {
    let end = owner.projection;
    let unit = |text: String, unit: &str| format!("{text} <small>{unit}</small>");
    let due = owner.share_per_myriad.map(|due| share(due, language));
    let covered = known(owner.covered_ratio.map(|ratio| percent(ratio, language)), words);
    let gap = known(
        owner.gap_wh.map(|gap_wh| unit(kwh(gap_wh, language), words.kwh)),
        words,
    );
    let end_gap = known(
        end.map(|end| unit(kwh(end.gap_wh.mid, language), words.kwh)),
        words,
    );
    let build = known(
        end.and_then(|end| missing_kwp(&end, language))
            .map(|kwp| unit(kwp, words.kwp)),
        words,
    );
    let card = |title: &str, number: &str, class: &str, below: String| {
        format!(
            "<div><dt>{title}</dt><dd class=\"number {class}\">{number}</dd><dd class=\"soft\">{below}</dd></div>\n"
        )
    };
    // What is known may be covered; what is not known makes no green figure.
    let is_whole = !owner
        .flags
        .iter()
        .any(|flag| matches!(*flag, "unmetered_site" | "shared_site" | "silent_site"));
    let class = |gap_wh: Option<i64>| match gap_wh {
        Some(0) if is_whole => "good",
        Some(0) => "",
        Some(_) => "bad",
        None => "",
    };
    let mut text = String::from("<dl class=\"cards\">\n");
    text += &card(
        words.covered,
        &covered,
        "",
        due.map_or(String::new(), |due| fill(words.of_due, &[&due])),
    );
    let due_so_far = owner
        .due_wh
        .map(|due_wh| fill(words.due_so_far, &[&kwh(due_wh, language)]));
    text += &card(
        words.gap_so_far,
        &gap,
        class(owner.gap_wh),
        due_so_far.unwrap_or_default(),
    );
    let between = end.map(|end| {
        format!(
            "{}{}{}",
            words.range,
            words.colon,
            range(end.gap_wh, words, language)
        )
    });
    text += &card(
        words.gap_at_end,
        &end_gap,
        class(end.map(|end| end.gap_wh.mid)),
        between.unwrap_or_default(),
    );
    text += &card(words.to_build, &build, "", words.at_own_yield.to_owned());
    text + "</dl>\n"
}

/// What bounds the figures.
fn notes(report: &DutyReport, owner: &OwnerDuty, words: &Words, language: Language) -> String {
    let mut notes = Vec::new();
    let mut named = |sentence: &str, names: Vec<String>| {
        if !names.is_empty() {
            notes.push(fill(sentence, &[&names.join(words.comma)]));
        }
    };
    let silent = owner.plants.iter().filter(|plant| plant.generated_wh.is_none());
    named(
        words.silent_plants,
        silent
            .map(|plant| escape(name(&plant.name, &plant.name_fa, language)))
            .collect(),
    );
    for (source, sentence) in [
        (ConsumptionSource::Unmetered, words.unmetered_sites),
        (ConsumptionSource::Shared, words.shared_sites),
    ] {
        let sites = owner.sites.iter().filter(|site| site.source == source);
        named(
            sentence,
            sites
                .map(|site| escape(name(&site.name, &site.name_fa, language)))
                .collect(),
        );
    }
    let is_metered = |source| matches!(source, ConsumptionSource::Meter | ConsumptionSource::Balance);
    let silent = owner
        .sites
        .iter()
        .filter(|site| is_metered(site.source) && site.consumed_wh.is_none());
    named(
        words.silent_sites,
        silent
            .map(|site| escape(name(&site.name, &site.name_fa, language)))
            .collect(),
    );
    if let Some(energy_wh) = owner.left_out_generated_wh {
        notes.push(fill(words.left_out, &[&kwh(energy_wh, language)]));
    }
    let left_out = report.days_so_far.saturating_sub(owner.known_days);
    if left_out > 0 {
        let count = |days: usize| digits(&days.to_string(), language);
        notes.push(fill(
            words.days_left_out,
            &[&count(left_out), &count(report.days_so_far)],
        ));
    }
    if notes.is_empty() {
        return String::new();
    }
    let lines: String = notes.iter().map(|note| format!("<li>{note}</li>\n")).collect();
    format!("<ul class=\"notes\">\n{lines}</ul>\n")
}

fn year_end(owner: &OwnerDuty, words: &Words, language: Language) -> String {
    let head = format!("<h3>{}</h3>\n", words.year_end);
    let Some(end) = owner.projection else {
        return format!("{head}<p class=\"soft\">{}</p>\n", words.no_projection);
    };
    let row = |title: &str, values: Range| {
        vec![
            title.to_owned(),
            kwh(values.mid, language),
            range(values, words, language),
        ]
    };
    let rows = [
        row(words.generated, end.generated_wh),
        row(words.consumed, end.consumed_wh),
        vec![words.due.to_owned(), kwh(end.due_wh, language), String::new()],
        row(words.gap, end.gap_wh),
    ];
    let price = end.gap_rial.map_or(String::new(), |rial| {
        format!(
            "<p>{}{}{} {}</p>\n",
            words.price,
            words.colon,
            whole(rial, language),
            words.rial
        )
    });
    format!(
        "{head}{}{price}",
        table(&[words.quantity, words.expected, words.range], &rows)
    )
}

fn months(owner: &OwnerDuty, words: &Words, language: Language) -> String {
    if owner.months.is_empty() {
        return String::new();
    }
    let energy = |energy_wh: Option<i64>| known(energy_wh.map(|energy_wh| kwh(energy_wh, language)), words);
    let row = |one: &MonthDuty| {
        let covered = one
            .generated_wh
            .zip(one.consumed_wh)
            .zip(owner.share_per_myriad)
            .map(|((generated, consumed), due)| coverage(due, generated, consumed));
        vec![
            month(one.month, language).to_owned(),
            fill(
                words.days_of,
                &[
                    &digits(&one.known_days.to_string(), language),
                    &digits(&one.days.to_string(), language),
                ],
            ),
            energy(one.generated_wh),
            energy(one.consumed_wh),
            energy(covered.map(|covered| covered.due_wh)),
            known(
                covered
                    .and_then(|covered| covered.ratio)
                    .map(|ratio| percent(ratio, language)),
                words,
            ),
            covered.map_or(String::new(), |covered| {
                bar(covered.generated_wh as f64, covered.due_wh as f64)
            }),
        ]
    };
    let rows: Vec<Vec<String>> = owner.months.iter().map(row).collect();
    let head = [
        words.month,
        words.known_days,
        words.generated,
        words.consumed,
        words.due,
        words.covered_ratio,
        words.against_duty,
    ];
    format!("<h3>{}</h3>\n{}", words.months, table(&head, &rows))
}

/// How far a generation is towards a duty, with a mark at the duty.
fn bar(generated_wh: f64, due_wh: f64) -> String {
    if due_wh <= 0.0 {
        return String::new();
    }
    let full = (generated_wh / due_wh / BAR_DUTIES).clamp(0.0, 1.0) * 100.0;
    format!(
        "<div class=\"track\"><i style=\"width:{full:.1}%\"></i><b style=\"inset-inline-start:{:.1}%\"></b></div>",
        100.0 / BAR_DUTIES
    )
}

fn plants(owner: &OwnerDuty, words: &Words, language: Language) -> String {
    let rows: Vec<Vec<String>> = owner
        .plants
        .iter()
        .map(|plant| {
            vec![
                escape(name(&plant.name, &plant.name_fa, language)),
                kilowatts(plant.peak_w as f64, language),
                known(
                    plant.generated_wh.map(|energy_wh| kwh(energy_wh, language)),
                    words,
                ),
                percent(plant.completeness, language),
                flags(&plant.flags, words, language),
            ]
        })
        .collect();
    let head = [
        words.plant,
        words.power,
        words.generated,
        words.completeness,
        words.remarks,
    ];
    format!("<h3>{}</h3>\n{}", words.plants, table(&head, &rows))
}

fn sites(owner: &OwnerDuty, words: &Words, language: Language) -> String {
    let rows: Vec<Vec<String>> = owner
        .sites
        .iter()
        .map(|site| {
            vec![
                escape(name(&site.name, &site.name_fa, language)),
                words::source(site.source, language).to_owned(),
                known(site.consumed_wh.map(|energy_wh| kwh(energy_wh, language)), words),
                percent(site.completeness, language),
                flags(&site.flags, words, language),
            ]
        })
        .collect();
    let head = [
        words.site,
        words.source,
        words.consumed,
        words.completeness,
        words.remarks,
    ];
    format!("<h3>{}</h3>\n{}", words.sites, table(&head, &rows))
}

/// Flags in words.
pub(super) fn flags(flags: &[&str], words: &Words, language: Language) -> String {
    let said: Vec<&str> = flags.iter().map(|flag| words::flag(flag, language)).collect();
    said.join(words.comma)
}

fn kilowatts(power_w: f64, language: Language) -> String {
    decimal(power_w / W_PER_KW, 1, language)
}
