//! How much fits, how fast it opens, how little a walk reads, how much memory it takes.

use std::vec::Vec;

use taraz_telemetry::{
    Clock, Diagnostics, MeterAddress, MeterDiagnostics, Outcome, Quantities, RECORD_LEN_MAX, Reading, Record,
    Stamp,
};

use super::nor::{Nor, Tearing};
use super::{at, open, range, reopen};
use crate::queue::flash::FlashQueue;
use crate::queue::{Position, Queue};

/// A device's flash: 1 MiB in pages of 4 KiB.
type Board = Nor<4, 4096, 4>;
const PAGES: usize = 256;
/// The area in chunks of one read.
const CHUNKS: u32 = 4096;
/// What the ring may keep in memory, in bytes.
const MEMORY_LEN_MAX: usize = 2_048;

fn board() -> Board {
    Board::new(PAGES, 1, Tearing::Random)
}

fn encode(record: &Record) -> Vec<u8> {
    let mut buffer = [0; RECORD_LEN_MAX];
    record.encode(&mut buffer).unwrap().to_vec()
}

/// A three-phase inverter's reading with thirteen fields, years after its commissioning.
fn reading(meter: u8, stamp: Stamp) -> Record {
    let quantities = Quantities {
        ac_power_w: Some(23_417),
        energy_wh: Some(187_345_620),
        voltage_an_dv: Some(2_314),
        voltage_bn_dv: Some(2_318),
        voltage_cn_dv: Some(2_309),
        current_a_ca: Some(3_391),
        current_b_ca: Some(3_387),
        current_c_ca: Some(3_402),
        frequency_mhz: Some(49_985),
        dc_power_w: Some(24_120),
        temperature_dc: Some(452),
        state: Some(4),
        events: Some(0),
        ..Quantities::default()
    };
    Record::Reading(Reading {
        meter: MeterAddress::new(meter).unwrap(),
        stamp,
        outcome: Outcome::Values(quantities),
    })
}

fn diagnostics(meters: u8, stamp: Stamp) -> Record {
    let meters = (1..=meters).map(|meter| MeterDiagnostics {
        meter: MeterAddress::new(meter).unwrap(),
        requests: 500_000,
        crc_errors: 200,
        timeouts: 3_000,
        exceptions: 20,
    });
    Record::Diagnostics(Diagnostics {
        stamp,
        uptime_s: 600_000,
        queue_records: 12_000,
        queue_capacity_records: 14_000,
        dropped_records: 0,
        link_connects: 300,
        stack_high_water_bytes: Some(9_000),
        meters: meters.collect(),
    })
}

/// How many minutes of these meters' readings fit until the oldest would be dropped, diagnostics every 15 minutes included.
fn minutes_until_full(meters: u8) -> (u32, u32) {
    let mut queue = open(board());
    let mut minute = 0;
    loop {
        let stamp = Stamp {
            ms: 1_795_000_000_000 + u64::from(minute) * 60_000,
            clock: Clock::Synced,
        };
        let mut records: Vec<Record> = (1..=meters).map(|meter| reading(meter, stamp)).collect();
        if minute % 15 == 0 {
            records.push(diagnostics(meters, stamp));
        }
        for record in records {
            if queue.is_full() {
                return (minute, queue.pending_records());
            }
            queue.append(&encode(&record)).unwrap();
        }
        minute += 1;
    }
}

#[test]
fn a_mebibyte_holds_seven_days_of_one_meter() {
    let stamp = Stamp {
        ms: 1_795_000_000_000,
        clock: Clock::Synced,
    };
    println!(
        "1 MiB, one reading of {} bytes per meter and minute:",
        encode(&reading(1, stamp)).len()
    );
    for meters in 1..=8 {
        let (minutes, records) = minutes_until_full(meters);
        let tenths = minutes / 144;
        println!(
            "  {meters} meters: {}.{} days, {records} records",
            tenths / 10,
            tenths % 10
        );
        assert!(
            minutes >= 7 * 24 * 60 / u32::from(meters),
            "{meters} meters: {minutes} minutes"
        );
    }
}

/// The whole ring, full of what was never acknowledged.
fn full() -> FlashQueue<Board> {
    let mut queue = open(board());
    let mut n = 0u32;
    while !queue.is_full() {
        queue.append(&[n.to_le_bytes()[0]; 47]).unwrap();
        n += 1;
    }
    queue
}

#[test]
fn opening_reads_each_page_once_and_the_newest_one_again() {
    let mut queue = full();
    let pending = queue.pending_records();
    let flash = queue.flash_mut();
    (flash.reads, flash.bytes_read) = (0, 0);
    let mut queue = reopen(queue);
    assert_eq!(queue.pending_records(), pending);
    let flash = queue.flash_mut();
    // Each page head twice (as a candidate and as its page's); each page once, chunk by chunk; of the newest page a few times
    // as much again (whether there is a newer one, whether it counts, its boot, its end, the boot that is written and read back); and once the place behind it.
    let reads_max = CHUNKS + 2 * 256 + 9 * 16;
    let bytes_max = (1 << 20) + 2 * 256 * 36 + 9 * 16 * 256;
    println!(
        "opening 1 MiB: {} reads, {} bytes; at most {reads_max} and {bytes_max}",
        flash.reads, flash.bytes_read
    );
    assert!(flash.reads <= reads_max && flash.bytes_read <= bytes_max);
}

#[test]
fn an_empty_ring_opens_with_its_page_heads() {
    let mut queue = full();
    let last = queue.next_sequence() - 1;
    queue.release(range(&queue, 1, 0, last)).unwrap();
    // The next page's head says that nothing in front of it counts.
    let page = queue.head;
    while queue.head == page {
        let sequence = queue.append(&[1; 40]).unwrap();
        queue.release(range(&queue, 1, sequence, sequence)).unwrap();
    }
    let flash = queue.flash_mut();
    flash.reads = 0;
    let mut queue = reopen(queue);
    let reads = queue.flash_mut().reads;
    println!("opening 1 MiB with nothing pending: {reads} reads");
    assert!(reads < 256 + 12 * 16, "{reads}");
}

#[test]
fn ten_thousand_pending_records_are_walked_with_few_reads() {
    let mut queue = full();
    let pending = queue.pending_records();
    assert!(pending > 10_000, "{pending}");
    queue.flash_mut().reads = 0;
    let mut buffer = [0; RECORD_LEN_MAX];
    let (mut walked, mut from) = (0, Position::START);
    // As the backfill lane does; the live lane looks for something new in between.
    while let Some(position) = queue.next_pending(from).unwrap() {
        assert!(queue.read(position, &mut buffer).unwrap().is_some());
        assert_eq!(queue.next_pending(queue.end()).unwrap(), None);
        from = position.after();
        walked += 1;
    }
    assert_eq!(walked, pending);
    let reads = queue.flash_mut().reads;
    println!("{pending} records walked: {reads} reads");
    // Each chunk once, and little besides.
    assert!(reads < 2 * CHUNKS, "{reads}");
}

#[test]
fn releasing_everything_in_batches_reads_little() {
    let mut queue = full();
    let last = queue.next_sequence() - 1;
    queue.flash_mut().reads = 0;
    for first in (0..=last).step_by(20) {
        let range = range(&queue, 1, first, (first + 19).min(last));
        queue.release(range).unwrap();
        // As the courier does for the flights that are left.
        queue.next_pending(at(1, first)).unwrap();
        queue.next_pending(at(1, first + 40)).unwrap();
    }
    let reads = queue.flash_mut().reads;
    println!("{} records released: {reads} reads", last + 1);
    assert_eq!(queue.pending_records(), 0);
    assert!(reads < 6 * CHUNKS, "{reads}");
}

#[test]
fn memory_is_bounded() {
    let len = size_of::<FlashQueue<()>>();
    println!("the ring keeps {len} bytes in memory");
    assert!(len <= MEMORY_LEN_MAX, "{len}");
}
