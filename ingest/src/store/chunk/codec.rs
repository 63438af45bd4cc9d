//! Records of a device-day into columns and back, to the last bit.
//!
//! Layout of [`FORMAT_COLUMNS`]: the number of shapes; of each shape one of its records (length, bytes) and how many it has; the shape of
//! each record, one block; then of each shape, column by column, its numbers: time, power where there is one, the others in their
//! order. [`FORMAT_RAW`]: the records one behind the other, in one block.

use taraz_telemetry::{RECORD_LEN_MAX, Reading, Record, Records};

use super::bytes::{Reader, put_block, put_len};
use super::column::{self, Beside};
use super::shape::{self, Key, TIME};

/// The records as they are, compressed as a whole.
pub(super) const FORMAT_RAW: u8 = 0;
/// Columns.
pub(super) const FORMAT_COLUMNS: u8 = 1;
/// The most shapes of one chunk; a device-day has a few. What has more is kept raw.
const SHAPES_MAX: usize = 255;

/// Readings of one shape.
struct Group {
    key: Key,
    shape: Reading,
    /// The bytes of the first one.
    bytes: Vec<u8>,
    /// A column per number.
    columns: Vec<Vec<i64>>,
}

/// The records (one behind the other in `records`) as columns, if they can be: they are readings in the one form that has them.
pub(super) fn to_columns(records: &[u8]) -> Option<Vec<u8>> {
    let (groups, order) = group(records)?;
    let mut bytes = Vec::with_capacity(records.len() / 4);
    put_len(&mut bytes, groups.len());
    for group in &groups {
        put_len(&mut bytes, group.bytes.len());
        bytes.extend_from_slice(&group.bytes);
        put_len(&mut bytes, group.columns.first().map_or(0, Vec::len));
    }
    put_block(&mut bytes, &order)?;
    for group in &groups {
        let power_at = shape::power_at(&group.shape);
        let empty = Vec::new();
        for at in order_of_columns(group.columns.len(), power_at) {
            let beside = Beside {
                times_ms: if at == TIME { &empty } else { &group.columns[TIME] },
                power_w: power_at
                    .filter(|&power| at != TIME && at != power)
                    .map_or(&empty, |power| &group.columns[power]),
            };
            column::encode(&mut bytes, &group.columns[at], beside)?;
        }
    }
    Some(bytes)
}

/// Time first, then power: what the others are predicted from.
fn order_of_columns(count: usize, power_at: Option<usize>) -> impl Iterator<Item = usize> {
    let others = (0..count).filter(move |&at| at != TIME && Some(at) != power_at);
    std::iter::once(TIME).chain(power_at).chain(others)
}

fn group(records: &[u8]) -> Option<(Vec<Group>, Vec<u8>)> {
    let (mut groups, mut order) = (Vec::<Group>::new(), Vec::new());
    let mut rest = Records::new(records);
    while let Some(next) = rest.next_with_bytes() {
        let (Record::Reading(reading), bytes) = next.ok()? else {
            return None;
        };
        let key = Key::of(&reading);
        let known = groups.iter().position(|group| group.key == key);
        let at = known.unwrap_or(groups.len());
        let row = shape::row(&reading)?;
        if known.is_none() {
            groups.push(Group {
                key,
                shape: reading,
                bytes: bytes.to_vec(),
                columns: vec![Vec::new(); row.len()],
            });
        }
        let columns = groups.get_mut(at)?.columns.iter_mut();
        columns.zip(row).for_each(|(column, number)| column.push(number));
        order.push(u8::try_from(at).ok().filter(|&at| usize::from(at) < SHAPES_MAX)?);
    }
    Some((groups, order))
}

/// The records again, one behind the other; `None` where the bytes are damaged.
pub(super) fn from_columns(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(bytes);
    let count = reader.len().filter(|&count| count <= SHAPES_MAX)?;
    let mut shapes = Vec::with_capacity(count);
    for _ in 0..count {
        let len = reader.len()?;
        let shape = shape::from_bytes(reader.bytes(len)?)?;
        let rows = reader.len().filter(|&rows| rows <= super::CHUNK_READINGS_MAX)?;
        shapes.push((shape, rows));
    }
    let order = reader.block()?;
    let mut groups = Vec::with_capacity(count);
    for (shape, rows) in shapes {
        groups.push((columns_of(&mut reader, &shape, rows)?, 0, shape));
    }
    let (mut records, mut row, mut buffer) = (Vec::new(), Vec::new(), [0; RECORD_LEN_MAX]);
    for at in order {
        let (columns, next, shape) = groups.get_mut(usize::from(at))?;
        row.clear();
        for column in columns.iter() {
            row.push(*column.get(*next)?);
        }
        *next += 1;
        let record = Record::Reading(shape::fill(shape, &row)?);
        records.extend_from_slice(record.encode(&mut buffer).ok()?);
    }
    reader.is_empty().then_some(records)
}

fn columns_of(reader: &mut Reader<'_>, shape: &Reading, rows: usize) -> Option<Vec<Vec<i64>>> {
    let count = shape::row(shape)?.len();
    let power_at = shape::power_at(shape);
    let mut columns = vec![Vec::new(); count];
    for at in order_of_columns(count, power_at) {
        let empty = Vec::new();
        let beside = Beside {
            times_ms: if at == TIME { &empty } else { &columns[TIME] },
            power_w: power_at
                .filter(|&power| at != TIME && at != power)
                .map_or(&empty, |power| &columns[power]),
        };
        let column = column::decode(reader, rows, beside)?;
        columns[at] = column;
    }
    Some(columns)
}

/// The records as one block.
pub(super) fn to_raw(records: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    put_block(&mut bytes, records).map(|()| bytes)
}

/// The records of one block.
pub(super) fn from_raw(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(bytes);
    let records = reader.block()?;
    reader.is_empty().then_some(records)
}
