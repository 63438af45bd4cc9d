//! `taraz quarantine`: what ingest rejected (in the gateway's spool) and what it holds back (in its store).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{bail, ensure};
use jiff::Timestamp;
use taraz_fleet::Fleet;
use taraz_gateway::{Quarantine, QuarantinedItem};
use taraz_ingest::{HeldFilter, Store, drop_held, held_groups, held_records};
use taraz_telemetry::{Outcome, Record, Records};

use crate::cli::{Chosen, ItemId, QuarantineCommand};
use crate::config::Config;
use crate::demo;
use crate::out::say;
use crate::runtime;

/// The most held records that `show` prints of one choice.
const SHOWN_MAX: u32 = 1_000;

/// `taraz quarantine …`
pub(crate) fn run(command: &QuarantineCommand) -> anyhow::Result<()> {
    let (room, chosen, act): (_, _, fn(&Room, &Chosen) -> anyhow::Result<()>) = match command {
        QuarantineCommand::List(chosen) => (Room::of(chosen)?, chosen, Room::list),
        QuarantineCommand::Show(chosen) => (Room::of(chosen)?, chosen, Room::show),
        QuarantineCommand::Retry(chosen) => (Room::told(chosen)?, chosen, Room::retry),
        QuarantineCommand::Drop(chosen) => (Room::told(chosen)?, chosen, Room::drop),
    };
    // Looked for first: what is dropped is there no more afterwards.
    let missing = room.missing(chosen)?;
    if missing.len() < chosen.ids.len() || chosen.ids.is_empty() {
        act(&room, chosen)?;
    }
    ensure!(
        missing.is_empty(),
        "not in the quarantine: {}; `taraz quarantine list` shows what is",
        missing.join(", ")
    );
    Ok(())
}

/// Where the two quarantines of an installation are; a part that it does not have is none.
struct Room {
    fleet: Arc<Fleet>,
    spool: Option<PathBuf>,
    store: Option<PathBuf>,
}

impl Room {
    fn of(chosen: &Chosen) -> anyhow::Result<Self> {
        let within = |name: &str| chosen.data.as_ref().map(|data| data.join(name));
        let room = if let Some(path) = &chosen.config {
            let config = Config::read(path)?;
            let spool = config.gateway().ok().map(|part| part.data_dir.clone());
            let store = config.ingest().ok().map(|part| part.data.clone());
            Self {
                spool: spool.map(|own| within("gateway").unwrap_or(own)),
                store: store.map(|own| within("ingest").unwrap_or(own)),
                fleet: config.fleet,
            }
        } else if let Some(data) = &chosen.data {
            let (fleet, store) = demo::installation(data)?;
            Self {
                spool: within("gateway"),
                store: Some(store),
                fleet: Arc::new(fleet),
            }
        } else {
            bail!("expected --config FILE or --data DIR");
        };
        let folders: Vec<_> = room.spool.iter().chain(&room.store).collect();
        ensure!(
            folders.iter().any(|folder| folder.is_dir()),
            "neither a gateway nor an ingest has ever run with {}: expected their data folder",
            folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect::<Vec<_>>()
                .join(" and ")
        );
        Ok(room)
    }

    /// For what changes something: nobody means everything by saying nothing.
    fn told(chosen: &Chosen) -> anyhow::Result<Self> {
        if chosen.ids.is_empty() && chosen.device.is_none() && chosen.reason.is_none() && !chosen.all {
            bail!(
                "which? name them (g7, h42), or say --device, --reason or --all; `taraz quarantine list` shows what there is"
            );
        }
        Self::of(chosen)
    }

    fn list(&self, chosen: &Chosen) -> anyhow::Result<()> {
        if let Some(folder) = &self.spool {
            let items = self.items(chosen)?;
            say!(
                "gateway, {}: {} that ingest rejected",
                folder.display(),
                count(items.len() as u64, "item")
            );
            for item in &items {
                say!("  {}", line_of(item));
            }
        }
        if let Some(folder) = &self.store {
            let mut groups = Vec::new();
            for filter in self.filters(chosen) {
                groups.extend(held_groups(folder, &filter)?);
            }
            let records = groups.iter().map(|group| group.records).sum();
            say!(
                "ingest, {}: {} held back",
                folder.display(),
                count(records, "record")
            );
            for group in groups {
                let meter = group.meter.map_or("-".to_owned(), |meter| meter.to_string());
                let times = group.times_ms.map_or("no known time".to_owned(), |(from, to)| {
                    format!("{} to {}", time(from), time(to))
                });
                say!(
                    "  {}  {}  meter {meter}  {}  {}  {times}",
                    names(group.ids),
                    group.device,
                    group.reason,
                    count(group.records, "record")
                );
            }
        }
        Ok(())
    }

    fn show(&self, chosen: &Chosen) -> anyhow::Result<()> {
        for item in self.items(chosen)? {
            say!("{}", line_of(&item));
            let mut records = Records::new(&item.records);
            let mut sequence = item.first;
            while let Some(record) = records.next_with_bytes() {
                match record {
                    Ok((record, _)) => say!("  {sequence}  {}", said(&record)),
                    Err(error) => say!("  {sequence}  can't be read: {error}"),
                }
                sequence = sequence.wrapping_add(1);
            }
        }
        let Some(folder) = &self.store else { return Ok(()) };
        for filter in self.filters(chosen) {
            let records = held_records(folder, &filter, SHOWN_MAX)?;
            for held in &records {
                let record = Record::decode(&held.bytes).map_or_else(
                    |error| format!("can't be read: {error}"),
                    |(record, _)| said(&record),
                );
                say!(
                    "h{}  {}  boot {} record {}  {}  received {}\n  {}  {record}",
                    held.id,
                    held.device,
                    held.boot,
                    held.sequence,
                    held.reason,
                    time(held.received_ms),
                    held.time_ms.map_or("no known time".to_owned(), time),
                );
            }
            if records.len() as u64 == u64::from(SHOWN_MAX) {
                say!("… the first {SHOWN_MAX}; --device and --reason choose among them");
            }
        }
        Ok(())
    }

    fn retry(&self, chosen: &Chosen) -> anyhow::Result<()> {
        let filters = self.filters(chosen);
        ensure!(
            filters.is_empty()
                || chosen.config.is_some()
                || chosen.data.as_deref().is_some_and(demo::is_demo),
            "whose registry? held records are judged by it: name the installation's --config FILE"
        );
        let items = self.items(chosen)?;
        if let Some(folder) = self.spool.as_ref().filter(|_| !items.is_empty()) {
            let mut quarantine = Quarantine::open(folder)?;
            for item in &items {
                if quarantine.retry(item.position)? {
                    say!("g{}: goes to ingest again when the gateway runs", item.position);
                } else {
                    say!(
                        "g{}: stays: it is damaged, and ingest would never take it",
                        item.position
                    );
                }
            }
        }
        let Some(folder) = self.store.as_ref().filter(|_| !filters.is_empty()) else {
            return Ok(());
        };
        let before = self.held(&filters)?;
        if before == 0 {
            say!("ingest: nothing of it is held back");
            return Ok(());
        }
        // Everything that is held is judged when the store is opened, by the registry as it is now.
        let fleet = Arc::clone(&self.fleet);
        let store = Store::open(folder, fleet, Arc::new(now_ms))?;
        runtime()?.block_on(store.close());
        let after = self.held(&filters)?;
        say!(
            "ingest: {} held no longer, {after} still: correct fleet.toml, or drop them",
            count(before.saturating_sub(after), "record")
        );
        Ok(())
    }

    fn drop(&self, chosen: &Chosen) -> anyhow::Result<()> {
        let items = self.items(chosen)?;
        if let Some(folder) = self.spool.as_ref().filter(|_| !items.is_empty()) {
            let mut quarantine = Quarantine::open(folder)?;
            for item in &items {
                // Its last trace.
                say!("dropped: {}", line_of(item));
                quarantine.drop_item(item.position)?;
            }
        }
        let filters = self.filters(chosen);
        let Some(folder) = self.store.as_ref().filter(|_| !filters.is_empty()) else {
            return Ok(());
        };
        let mut dropped = 0;
        if self.held(&filters)? > 0 {
            for filter in &filters {
                dropped += drop_held(folder, filter, now_ms())?;
            }
        }
        say!(
            "ingest: {} dropped: kept in the store, and never counted",
            count(dropped, "record")
        );
        Ok(())
    }

    /// Ids that were named and are neither an item of the gateway nor a record that is held back.
    fn missing(&self, chosen: &Chosen) -> anyhow::Result<Vec<String>> {
        if chosen.ids.is_empty() {
            return Ok(Vec::new());
        }
        let items = self.items(chosen)?;
        let mut missing = Vec::new();
        for id in &chosen.ids {
            let is_there = match id {
                ItemId::Gateway(position) => items.iter().any(|item| item.position == *position),
                ItemId::Held(id) => {
                    let filter = HeldFilter {
                        id: Some(*id),
                        ..HeldFilter::default()
                    };
                    self.held(&[filter])? > 0
                }
            };
            if !is_there {
                missing.push(id.to_string());
            }
        }
        Ok(missing)
    }

    /// The chosen items of the gateway; a reason of ingest's chooses none of them.
    fn items(&self, chosen: &Chosen) -> anyhow::Result<Vec<QuarantinedItem>> {
        let Some(folder) = self.spool.as_ref().filter(|_| chosen.reason.is_none()) else {
            return Ok(Vec::new());
        };
        let mut items = Quarantine::list(folder)?;
        items.retain(|item| {
            let is_named = chosen.ids.is_empty() || chosen.ids.contains(&ItemId::Gateway(item.position));
            let device = chosen.device.as_ref();
            is_named && device.is_none_or(|device| device.as_str() == item.device)
        });
        Ok(items)
    }

    /// The chosen held records: one filter for each that is named, else one for all.
    fn filters(&self, chosen: &Chosen) -> Vec<HeldFilter> {
        if self.store.is_none() {
            return Vec::new();
        }
        if chosen.ids.is_empty() {
            return vec![HeldFilter {
                id: None,
                device: chosen.device.clone(),
                reason: chosen.reason,
            }];
        }
        let held = chosen.ids.iter().filter_map(|id| match id {
            ItemId::Held(id) => Some(HeldFilter {
                id: Some(*id),
                ..HeldFilter::default()
            }),
            ItemId::Gateway(_) => None,
        });
        held.collect()
    }

    fn held(&self, filters: &[HeldFilter]) -> anyhow::Result<u64> {
        let Some(folder) = &self.store else { return Ok(0) };
        let mut records = 0;
        for filter in filters {
            records += held_groups(folder, filter)?
                .iter()
                .map(|group| group.records)
                .sum::<u64>();
        }
        Ok(records)
    }
}

/// Ids of which each can be typed; between the first and the last there may be others'.
fn names((first, last): (i64, i64)) -> String {
    if first == last {
        ItemId::Held(first).to_string()
    } else {
        format!("{} to {}", ItemId::Held(first), ItemId::Held(last))
    }
}

fn line_of(item: &QuarantinedItem) -> String {
    let last = u64::from(item.first) + u64::from(item.count.max(1)) - 1;
    format!(
        "g{}  {}  boot {} records {} to {last}  received {}  rejected {}  {}{}",
        item.position,
        item.device,
        item.boot,
        item.first,
        time_of(item.received_ms),
        time_of(item.quarantined_ms),
        item.reason,
        if item.damaged {
            " (damaged on the disk)"
        } else {
            ""
        },
    )
}

/// A record in words; what it does not state is left out.
fn said(record: &Record) -> String {
    let Record::Reading(reading) = record else {
        return format!("{record:?}");
    };
    let head = format!("meter {}", reading.meter);
    match &reading.outcome {
        Outcome::Failed(failure) => format!("{head}  no values: {failure:?}"),
        Outcome::Values(values) => {
            let fields = taraz_telemetry::Field::ALL.iter();
            let stated = fields.filter_map(|&field| Some(format!("{} {}", field.name(), values.get(field)?)));
            format!("{head}  {}", stated.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A number of things, in words.
pub(crate) fn count(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// UTC, to the second.
pub(crate) fn time_of(ms: u64) -> String {
    time(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// UTC, to the second.
pub(crate) fn time(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms.div_euclid(1_000) * 1_000);
    time.map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

/// UTC ms.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
