//! Who is taken into a commit when more waits than fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use taraz_fleet::Fleet;
use taraz_telemetry::{MasterKey, RecordRange};

use super::fair::{GROUP_FRAMES_MAX, Waiting};
use super::queue::{QUEUE_BYTES_MAX, Queue, Submission};
use super::*;
use crate::validate::{Accepted, KnownDevice, Validator};

/// What is known of so many devices.
fn devices(count: usize) -> Vec<Arc<KnownDevice>> {
    let plant = |n: usize| {
        format!(
            "[[plant]]\nid = \"p-{n}\"\nname = \"P\"\nname_fa = \"پ\"\nowner = \"o\"\ndistrict = \"d\"\nlatitude_deg = 36.5\n\
             longitude_deg = 53.0\naltitude_m = 20.0\ninverter_ac_w = 27600\ncommissioned = \"2024-03-20\"\n\
             arrays = [{{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }}]\n[[plant.device]]\nid = \"d-{n}\"\n\
             [[plant.device.meter]]\naddress = 1\nrole = \"inverter\"\nrated_w = 27600\n"
        )
    };
    let head = "[[district]]\nid = \"d\"\nname = \"D\"\nname_fa = \"د\"\n[[owner]]\nid = \"o\"\nname = \"O\"\n\
                name_fa = \"ا\"\nkind = \"municipality\"\n";
    let fleet = Fleet::parse(&(0..count).fold(head.to_owned(), |text, n| text + &plant(n))).unwrap();
    let validator = Validator::new(&fleet, &MasterKey::new([7; 32]), Fingerprints::default());
    (0..count)
        .map(|n| Arc::clone(validator.device(&format!("d-{n}").parse().unwrap()).unwrap()))
        .collect()
}

struct Bench {
    queue: Queue,
    done: Done,
    next: u64,
    waiting: Waiting,
}

impl Bench {
    fn new() -> Self {
        Self {
            // More than one commit takes waits in every case.
            queue: Queue::new(8 * QUEUE_BYTES_MAX),
            done: durable_channel().0,
            next: 0,
            waiting: Waiting::default(),
        }
    }

    fn add(&mut self, device: &Arc<KnownDevice>, is_live: bool, count: usize) {
        for _ in 0..count {
            let number = self.next;
            self.next += 1;
            let accepted = Accepted {
                device: Arc::clone(device),
                range: RecordRange {
                    incarnation: 1,
                    boot: 1,
                    first: 0,
                    last: 0,
                },
                bytes: [0; 50].into(),
                marks: Box::default(),
                is_live,
            };
            let (done, room) = (self.done.clone(), self.queue.try_reserve(50).unwrap());
            self.waiting
                .extend([Submission::new(room, accepted, 1, done, number)]);
        }
    }

    /// How many of each device and lane the next commit holds.
    fn take(&mut self) -> BTreeMap<(String, bool), usize> {
        let group = self.waiting.take_group(Vec::new());
        assert!(
            group.is_sorted_by_key(|each| each.number),
            "a device's frames keep their order"
        );
        let mut counts = BTreeMap::new();
        for each in group {
            let of = (each.accepted.device.id.to_string(), each.accepted.is_live);
            *counts.entry(of).or_default() += 1;
        }
        counts
    }
}

#[test]
fn what_fits_is_taken_as_it_stands() {
    let devices = devices(2);
    let mut waiting = Bench::new();
    waiting.add(&devices[0], false, GROUP_FRAMES_MAX - 1);
    waiting.add(&devices[1], true, 1);
    assert_eq!(waiting.take().values().sum::<usize>(), GROUP_FRAMES_MAX);
    assert!(waiting.waiting.is_empty());
}

#[test]
fn a_device_gone_mad_takes_only_its_turns() {
    let devices = devices(10);
    let mut waiting = Bench::new();
    waiting.add(&devices[0], true, 3 * GROUP_FRAMES_MAX);
    devices[1..]
        .iter()
        .for_each(|device| waiting.add(device, true, 128));
    let first = waiting.take();
    for n in 1..10 {
        assert_eq!(
            first[&(format!("d-{n}"), true)],
            128,
            "all of the good ones' are in the first commit"
        );
    }
    assert_eq!(first[&("d-0".to_owned(), true)], GROUP_FRAMES_MAX - 9 * 128);
}

#[test]
fn live_goes_before_backlog_and_backlog_gets_its_share() {
    let devices = devices(3);
    let mut waiting = Bench::new();
    waiting.add(&devices[0], false, 2 * GROUP_FRAMES_MAX);
    waiting.add(&devices[1], false, 100);
    waiting.add(&devices[2], true, 200);
    let first = waiting.take();
    assert_eq!(first[&("d-2".to_owned(), true)], 200);
    assert_eq!(first[&("d-1".to_owned(), false)], 100);
    assert_eq!(first.values().sum::<usize>(), GROUP_FRAMES_MAX);
    // More is live than fits: a backlog moves on nevertheless.
    waiting.add(&devices[2], true, 2 * GROUP_FRAMES_MAX);
    let second = waiting.take();
    assert_eq!(second[&("d-0".to_owned(), false)], GROUP_FRAMES_MAX / 8);
    assert_eq!(
        second[&("d-2".to_owned(), true)],
        GROUP_FRAMES_MAX - GROUP_FRAMES_MAX / 8
    );
}
