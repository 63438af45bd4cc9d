//! Finding the newest page that counts among all that stand in the area, and what may have been destroyed behind it.

use embedded_storage::nor_flash::NorFlash;

use super::layout::{BOOTS_APART_MAX, PageHead, Seed};
use super::medium::Medium;
use super::ring::{FlashQueue, Outcome};

/// So many pages behind a whole head may have a damaged one, or have had their place retired.
const BEHIND_MAX: u32 = 8;

/// The newest page that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) seed: Seed,
    /// Its head, if that is whole.
    pub(super) head: Option<PageHead>,
    /// The newest whole head of this ring.
    pub(super) known: PageHead,
    /// Pages with a whole head stand behind it and do not count. What is in them may waver: the first of them is begun anew.
    pub(super) is_followed: bool,
}

impl<F: NorFlash> FlashQueue<F> {
    /// The newest page that counts, and the highest number that any page has.
    pub(super) fn newest(
        medium: &mut Medium<F>,
        alive: &mut dyn FnMut(),
    ) -> Outcome<(Option<Newest>, Option<u32>), F> {
        let mut next = Self::newest_head(medium, u32::MAX, alive)?;
        let highest = next.map(|head| head.seed.page);
        // However many begun pages stand behind the newest one that counts: what does not count hides nothing. Each turn has a
        // lower number, so there are at most as many as pages.
        while let Some(best) = next {
            let mut seed = Self::newest_of(medium, &best, alive)?;
            if seed.is_none() {
                next = Self::newest_head(medium, best.seed.page, alive)?;
                let floor = next.map_or(0, |head| head.seed.page);
                seed = Self::newest_between(medium, floor, &best, alive)?;
            }
            if let Some(seed) = seed {
                let head = medium.page_head(seed.page)?.filter(|head| head.seed == seed);
                let newest = Newest {
                    seed,
                    head,
                    known: head.unwrap_or(best),
                    is_followed: highest > Some(seed.page),
                };
                return Ok((Some(newest), highest));
            }
        }
        Ok((None, highest))
    }

    /// The whole head with the highest number below `bound`.
    fn newest_head(
        medium: &mut Medium<F>,
        bound: u32,
        alive: &mut dyn FnMut(),
    ) -> Outcome<Option<PageHead>, F> {
        let mut best: Option<PageHead> = None;
        for slot in 0..medium.geometry.pages {
            alive();
            let head = medium.page_head(slot)?;
            if let Some(head) = head.filter(|head| head.seed.page < bound)
                && best.is_none_or(|best| best.seed.page < head.seed.page)
            {
                best = Some(head);
            }
        }
        Ok(best)
    }

    /// The newest page that counts of the ring that this head is of: that page or one behind it, whose head may be damaged.
    fn newest_of(
        medium: &mut Medium<F>,
        best: &PageHead,
        alive: &mut dyn FnMut(),
    ) -> Outcome<Option<Seed>, F> {
        let (mut newest, mut page) = (None, best.seed.page);
        for _ in 0..=BEHIND_MAX {
            alive();
            let seed = Seed { page, ..best.seed };
            // One that does not count ends nothing: its place may have been passed over.
            if Self::page_counts(medium, seed)? {
                newest = Some(seed);
            }
            page = best.retired.from(page.saturating_add(1), &medium.geometry);
        }
        Ok(newest)
    }

    /// The newest page that counts between two whole heads, of the ring of the second one: all heads between are damaged. A place
    /// that is retired there may have been begun anew since, so none is passed over.
    fn newest_between(
        medium: &mut Medium<F>,
        floor: u32,
        best: &PageHead,
        alive: &mut dyn FnMut(),
    ) -> Outcome<Option<Seed>, F> {
        let first = best
            .seed
            .page
            .saturating_sub(BEHIND_MAX)
            .max(floor.saturating_add(1));
        for page in (first..best.seed.page).rev() {
            alive();
            let seed = Seed { page, ..best.seed };
            if Self::page_counts(medium, seed)? {
                return Ok(Some(seed));
            }
        }
        Ok(None)
    }

    /// How many boots may have begun in pages behind the newest one that counts, if those were destroyed: their numbers must not
    /// be given again. An erasure that a power cut caught looks the same; then some numbers are passed over for nothing.
    pub(super) fn boots_destroyed(&mut self) -> Outcome<u32, F> {
        let geometry = self.medium.geometry;
        let (mut pages, mut page) = (0, self.head);
        while pages <= BEHIND_MAX {
            page = self.retired.from(page + 1, &geometry);
            if page >= self.tail + geometry.pages || !self.is_destroyed(page)? {
                break;
            }
            pages += 1;
        }
        // However often that happens, boots in one area stay apart by their low bits.
        let most = BOOTS_APART_MAX / geometry.pages;
        Ok((pages * geometry.boots_per_page()).min(most))
    }

    /// In this page's place stands neither nothing, nor a page that was only begun, nor an older one.
    fn is_destroyed(&mut self, page: u32) -> Outcome<bool, F> {
        let geometry = self.medium.geometry;
        if self.medium.page_head(page)?.is_some() {
            return Ok(false);
        }
        if self
            .medium
            .is_erased(page, geometry.entries_at(), geometry.page_len)?
        {
            return Ok(false);
        }
        let older = page.checked_sub(geometry.pages);
        let older = older.map(|page| {
            let seed = self.seed(page);
            Self::page_counts(&mut self.medium, seed)
        });
        // Their places are the same; only its number is another.
        Ok(!older.transpose()?.unwrap_or(false))
    }

    /// Something stands in the page by which it counts.
    fn page_counts(medium: &mut Medium<F>, seed: Seed) -> Outcome<bool, F> {
        if medium.page_head(seed.page)?.is_some_and(|head| head.seed != seed) {
            // Another page stands in its place.
            return Ok(false);
        }
        let (mut offset, page_len) = (medium.geometry.entries_at(), medium.geometry.page_len);
        while let Some((at, entry)) = medium.entry(seed, offset, page_len)? {
            offset = at + medium.geometry.entry_len(entry.kind, entry.len);
            // A record's head suffices.
            if entry.kind.counts() && (entry.is_record() || medium.is_sound(seed.page, at, &entry)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
