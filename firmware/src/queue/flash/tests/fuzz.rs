//! Power cuts: at any word of any write and in any erasure, in the middle of openings too.
//!
//! A *life* is a start of the device that ends by a power cut. A *campaign* is a few thousand lives of one flash, from one
//! seed. After every opening the ring is held against what the device was told:
//! - every record whose append had returned is pending, was released, or is named by a `Dropped` record;
//! - what is pending is byte for byte what was appended; nothing else is, but what was being appended when the power went
//!   and `Dropped` records that the ring wrote itself;
//! - what a returned release freed does not come back; a boot, and so an identity, is never used twice;
//! - an opening succeeds; what it reports as lost is at most the record that was being appended;
//! - all pages take turns;
//! - a device that finds another one's ring has none of its records, and an incarnation and a page's number that were never
//!   used; and if its opening was cut before its ring counted, the other device finds everything again.
//!
//! In some campaigns the flash itself fails as well: erasures, writes and reads by chance, and pages for ever. Then operations and
//! openings may fail, and records that nobody was promised may be named as lost; all the rest holds.
//!
//! `TARAZ_FLASH_CUTS` sets the number of power cuts of each of the tests (in all a million if it is not set), and
//! `TARAZ_FLASH_SEED` the first seed: `TARAZ_FLASH_CUTS=100000000 cargo test --release -p taraz-firmware power_cuts`.

use super::campaign::{Campaign, Failing};
use super::nor::Tearing;

/// Cuts of one flash: enough for every page's turn to come a hundred times.
const CAMPAIGN_CUTS: u64 = 2_500;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// Cuts the power so often, in campaigns with a seed each.
fn cut<const W: usize, const E: usize>(pages: usize, cuts: u64, tearing: Tearing) {
    cut_failing::<W, E>(pages, cuts, tearing, None);
}

/// … of a flash that fails.
fn cut_failing<const W: usize, const E: usize>(
    pages: usize,
    cuts: u64,
    tearing: Tearing,
    failing: Option<Failing>,
) {
    let cuts = setting("TARAZ_FLASH_CUTS").unwrap_or(cuts);
    let mut seed = setting("TARAZ_FLASH_SEED").unwrap_or(1);
    let (mut done, mut in_openings, mut records, mut erasures) = (0, 0, 0, 0u64);
    let (mut rings, mut dead, mut failed, mut failed_openings, mut retired) = (0, 0, [0; 3], 0, 0);
    while done < cuts {
        let mut campaign = Campaign::<W, E>::new(seed, pages, tearing, failing);
        while campaign.cuts < CAMPAIGN_CUTS {
            if let Err(error) = campaign.live() {
                panic!(
                    "seed {} ({W}-byte words, {pages} pages of {E} bytes, {tearing:?}), after {} cuts: {error}",
                    campaign.seed, campaign.cuts
                );
            }
        }
        let flash = campaign.flash.as_ref().expect("the flash");
        // Where a page's only mark wavers, its turn may come twice.
        let uneven_max = if tearing == Tearing::Unstable { 4 } else { 1 };
        let (least, most) = (
            flash.turns.iter().min().copied(),
            flash.turns.iter().max().copied(),
        );
        let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
        if failing.is_none() {
            assert!(
                most - least <= uneven_max,
                "seed {seed}: worn unevenly: {:?}",
                flash.turns
            );
            assert!(least >= 10, "seed {seed}: {:?}", flash.turns);
        }
        rings += campaign.incarnations.len();
        dead += flash.faults.dead.len();
        failed_openings += campaign.failed_openings;
        retired = retired.max(campaign.retired_max);
        for (sum, count) in failed.iter_mut().zip(flash.faults.failed) {
            *sum += count;
        }
        done += campaign.cuts;
        in_openings += campaign.cuts_in_openings;
        records += campaign.written;
        erasures += u64::from(flash.erasures);
        seed += 1;
    }
    println!(
        "{done} power cuts ({in_openings} within openings), {W}-byte words, {pages} pages of {E} bytes, torn bits {tearing:?}: \
         {records} records, {erasures} erasures, {rings} rings of two owners, nothing lost"
    );
    if failing.is_some() {
        let [erasures, writes, reads] = failed;
        println!(
            "  failed: {erasures} erasures, {writes} writes, {reads} reads, {dead} pages for ever (at most {retired} retired at a \
             time), {failed_openings} openings"
        );
        assert!(failed_openings * 4 < done, "the queue was away too often");
        assert!(retired > 0, "no page was retired");
    }
}

#[test]
fn power_cuts_with_words_of_four_bytes() {
    cut::<4, 768>(9, 500_000, Tearing::Random);
}

#[test]
fn power_cuts_with_words_of_one_byte() {
    cut::<1, 768>(9, 250_000, Tearing::Random);
}

#[test]
fn power_cuts_with_larger_pages() {
    cut::<4, 1024>(6, 150_000, Tearing::Random);
}

#[test]
fn power_cuts_with_words_of_sixteen_bytes() {
    cut::<16, 1024>(6, 50_000, Tearing::Random);
}

#[test]
fn power_cuts_of_a_flash_that_fails() {
    let failing = Failing { one_in: 60, pages: 3 };
    cut_failing::<4, 1024>(12, 100_000, Tearing::Random, Some(failing));
}

#[test]
fn power_cuts_of_a_flash_that_wears_out() {
    let failing = Failing { one_in: 0, pages: 4 };
    cut_failing::<4, 1024>(12, 100_000, Tearing::Random, Some(failing));
}

#[test]
fn power_cuts_that_leave_unstable_bits() {
    cut::<4, 768>(9, 100_000, Tearing::Unstable);
}
