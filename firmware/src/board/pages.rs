//! The configuration page in its two sectors: the newest whole one counts, a save goes to the other.
//!
//! In: a flash and where the sectors are. Out: the page, or why there is none. What it never does: touch the sector whose page
//! counts, so that a power cut at any instant leaves the old page or the new one.

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use taraz_telemetry::{DevicePage, PAGE_LEN, PageError, second_page_counts};

use crate::console::PageSaveError;

/// A read that fails is tried so often.
const READ_TRIES_MAX: u32 = 3;
/// A sector that does not keep what is saved is tried so often.
const SAVE_TRIES_MAX: u32 = 2;
/// A page is compared in pieces of this many bytes.
const PIECE_LEN: usize = 64;

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageLoadError {
    /// Neither sector holds one.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The flash can't be read.
    #[error("the flash can't be read")]
    Memory,
}

/// Where a board's configuration page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSectors {
    /// The beginnings of the two sectors in the flash.
    pub at: [u32; 2],
}

/// What stands in one of them.
type Sector = Result<(DevicePage, u8), PageLoadError>;

impl PageSectors {
    /// Reads the page that counts.
    ///
    /// # Errors
    /// [`PageLoadError`]: neither sector holds one.
    pub fn load<F: ReadNorFlash>(&self, flash: &mut F) -> Result<DevicePage, PageLoadError> {
        let [first, second] = self.saves(flash);
        let found = |sector: &Result<u8, PageLoadError>| sector.as_ref().ok().copied();
        let is_second = second_page_counts(found(&first), found(&second));
        // What is wrong with the first is what an image mends; an erased one says nothing about the other.
        let is_erased = first == Err(PageLoadError::Page(PageError::Erased));
        let at = self.at[usize::from(is_second || is_erased && second.is_err())];
        self.read(flash, at).map(|(page, _)| page)
    }

    /// Writes a page to the sector whose page does not count, and sees that it stands there.
    ///
    /// # Errors
    /// [`PageSaveError`]: the page that counts is the one from before.
    pub fn save<F: NorFlash>(&self, flash: &mut F, page: &DevicePage) -> Result<(), PageSaveError> {
        let saves = self.saves(flash);
        let is_unreadable = saves.contains(&Err(PageLoadError::Memory));
        let [first, second] = saves.map(Result::ok);
        let is_second = second_page_counts(first, second);
        let (current, target) = match (first, second) {
            (None, None) => (None, self.at[0]),
            _ if is_second => (second, self.at[0]),
            _ => (first, self.at[1]),
        };
        let mut bytes = [0; PAGE_LEN];
        page.encode_save(current.map_or(0, |save| save.wrapping_add(1)), &mut bytes)?;
        if is_unreadable {
            // It may be the one that counts.
            return Err(PageSaveError::Memory);
        }
        for _ in 0..SAVE_TRIES_MAX {
            if write(flash, target, &bytes).is_ok_and(|is_kept| is_kept) {
                return Ok(());
            }
        }
        Err(PageSaveError::Memory)
    }

    /// Which saves stand in the two sectors.
    fn saves<F: ReadNorFlash>(&self, flash: &mut F) -> [Result<u8, PageLoadError>; 2] {
        self.at.map(|at| self.read(flash, at).map(|(_, save)| save))
    }

    #[inline(never)]
    fn read<F: ReadNorFlash>(&self, flash: &mut F, at: u32) -> Sector {
        let mut bytes = [0; PAGE_LEN];
        for _ in 0..READ_TRIES_MAX {
            if flash.read(at, &mut bytes).is_ok() {
                return DevicePage::decode_save(&bytes).map_err(PageLoadError::Page);
            }
        }
        Err(PageLoadError::Memory)
    }
}

fn write<F: NorFlash>(flash: &mut F, at: u32, bytes: &[u8; PAGE_LEN]) -> Result<bool, F::Error> {
    let sector_len = u32::try_from(F::ERASE_SIZE).unwrap_or(u32::MAX);
    flash.erase(at, at.saturating_add(sector_len))?;
    flash.write(at, bytes)?;
    let mut address = at;
    for piece in bytes.chunks(PIECE_LEN) {
        let mut kept = [0; PIECE_LEN];
        flash.read(address, &mut kept[..piece.len()])?;
        if kept[..piece.len()] != *piece {
            return Ok(false);
        }
        address = address.saturating_add(u32::try_from(piece.len()).unwrap_or(0));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::board::page::tests::page;
    use crate::queue::nor::{Nor, Tearing};

    /// Three sectors of 4 KiB; the page's are the first and the last.
    const SECTORS: PageSectors = PageSectors { at: [0, 2 * 4_096] };

    fn page_at(poll_interval_ms: u32) -> DevicePage {
        DevicePage {
            poll_interval_ms,
            ..page()
        }
    }

    fn flash<const W: usize>(image: &DevicePage) -> Nor<W, 4_096> {
        let mut bytes = [0; PAGE_LEN];
        image.encode(&mut bytes).unwrap();
        let mut flash = Nor::new(3, 1, Tearing::Random);
        NorFlash::write(&mut flash, 0, &bytes).unwrap();
        flash
    }

    /// Cuts the power at every word of a save, the erasure included.
    fn cut_everywhere<const W: usize>() {
        let mut before = flash::<W>(&page_at(1_000));
        // On every kind of ground: the image's page alone, a first save, one over it, and many.
        for save in 0..4 {
            let (old, new) = (page_at(1_000 + save), page_at(1_001 + save));
            assert_eq!(SECTORS.load(&mut before), Ok(old.clone()));
            let mut seen = BTreeSet::new();
            let words = u32::try_from(PAGE_LEN / W).unwrap() + 1;
            for cut in 0..=words {
                for unstable in [Tearing::Random, Tearing::Unstable] {
                    let mut cut_flash = before.clone();
                    cut_flash.set_tearing(unstable);
                    cut_flash.power(Some(cut));
                    let saved = SECTORS.save(&mut cut_flash, &new);
                    assert_eq!(saved.is_ok(), cut == words, "cut at word {cut}");
                    cut_flash.power(None);
                    let found = SECTORS.load(&mut cut_flash).unwrap();
                    assert!(found == old || found == new, "cut at word {cut}: {found:?}");
                    seen.insert(found == new);
                    // Whatever stands there, the next save works.
                    let third = page_at(9_000);
                    SECTORS.save(&mut cut_flash, &third).unwrap();
                    assert_eq!(SECTORS.load(&mut cut_flash), Ok(third));
                }
            }
            assert_eq!(
                seen.len(),
                2,
                "some cuts leave the old page, the last one the new"
            );
            SECTORS.save(&mut before, &new).unwrap();
        }
    }

    #[test]
    fn a_power_cut_at_every_byte_of_a_save_leaves_the_old_page_or_the_new_one() {
        cut_everywhere::<1>();
        cut_everywhere::<4>();
        cut_everywhere::<256>();
    }

    #[test]
    fn saves_take_turns_for_ever() {
        let mut flash = flash::<4>(&page_at(1_000));
        for save in 1..600 {
            SECTORS.save(&mut flash, &page_at(1_000 + save)).unwrap();
            assert_eq!(SECTORS.load(&mut flash), Ok(page_at(1_000 + save)));
        }
        assert!(flash.turns[0] >= 299 && flash.turns[2] >= 299 && flash.turns[1] == 0);
    }

    #[test]
    fn an_image_over_a_saved_page_counts_and_one_of_before_is_read() {
        let mut flash = flash::<4>(&page_at(1_000));
        SECTORS.save(&mut flash, &page_at(2_000)).unwrap();
        // An image: the first sector written, the second erased.
        let mut image = [0; PAGE_LEN];
        page_at(3_000).encode(&mut image).unwrap();
        for at in SECTORS.at {
            flash.erase(at, at + 4_096).unwrap();
        }
        NorFlash::write(&mut flash, 0, &image).unwrap();
        assert_eq!(SECTORS.load(&mut flash), Ok(page_at(3_000)));
        // The second sector was never the page's before, and may hold anything.
        NorFlash::write(&mut flash, 2 * 4_096, &[0x5a; 4_096]).unwrap();
        assert_eq!(SECTORS.load(&mut flash), Ok(page_at(3_000)));
        SECTORS.save(&mut flash, &page_at(4_000)).unwrap();
        assert_eq!(SECTORS.load(&mut flash), Ok(page_at(4_000)));
    }

    #[test]
    fn without_a_page_the_problem_is_told_and_a_save_makes_one() {
        let mut flash = Nor::<4, 4_096>::new(3, 1, Tearing::Random);
        assert_eq!(
            SECTORS.load(&mut flash),
            Err(PageLoadError::Page(PageError::Erased))
        );
        NorFlash::write(&mut flash, 0, &[0; 16]).unwrap();
        assert_eq!(
            SECTORS.load(&mut flash),
            Err(PageLoadError::Page(PageError::Magic))
        );
        SECTORS.save(&mut flash, &page_at(1_000)).unwrap();
        assert_eq!(SECTORS.load(&mut flash), Ok(page_at(1_000)));
        flash.is_off = true;
        assert_eq!(SECTORS.load(&mut flash), Err(PageLoadError::Memory));
        assert_eq!(
            SECTORS.save(&mut flash, &page_at(1)),
            Err(PageSaveError::Page(PageError::Value {
                field: "poll_interval_ms",
                allowed: "200 to 86400000",
            }))
        );
        assert_eq!(
            SECTORS.save(&mut flash, &page_at(1_000)),
            Err(PageSaveError::Memory)
        );
    }

    /// What can't be read may be the page that counts: nothing is erased over it.
    #[test]
    fn a_save_beside_a_sector_that_can_not_be_read_is_refused() {
        for saves in 0..2 {
            let mut flash = flash::<4>(&page_at(1_000));
            for save in 0..saves {
                SECTORS.save(&mut flash, &page_at(2_000 + save)).unwrap();
            }
            let counts = SECTORS.load(&mut flash).unwrap();
            let before = flash.bytes.clone();
            for sector in [0, 2] {
                flash.faults.unreadable.insert(sector);
                assert_eq!(
                    SECTORS.save(&mut flash, &page_at(9_000)),
                    Err(PageSaveError::Memory)
                );
                flash.faults.unreadable.clear();
                assert_eq!(flash.bytes, before);
                assert_eq!(SECTORS.load(&mut flash).as_ref(), Ok(&counts));
            }
        }
    }
}
