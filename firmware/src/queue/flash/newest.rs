//! Finding the newest page that counts among all that stand in the area.

use embedded_storage::nor_flash::NorFlash;

use super::layout::{PageHead, Seed};
use super::medium::Medium;
use super::ring::{FlashQueue, Outcome};

/// So many pages with a head may have been begun behind the newest one that counts: an opening that was cut leaves one that
/// does not.
const HEADS_MAX: u32 = 8;

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
        let (mut bound, mut highest) = (u32::MAX, None);
        for _ in 0..HEADS_MAX {
            let Some(best) = Self::newest_head(medium, bound, alive)? else {
                break;
            };
            let highest = *highest.get_or_insert(best.seed.page);
            if let Some(seed) = Self::newest_of(medium, &best, alive)? {
                let head = medium.page_head(seed.page)?.filter(|head| head.seed == seed);
                let newest = Newest {
                    seed,
                    head,
                    known: head.unwrap_or(best),
                    is_followed: highest > seed.page,
                };
                return Ok((Some(newest), Some(highest)));
            }
            bound = best.seed.page;
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

    /// The newest page that counts of the ring that this head is of, from that page on: the heads behind it may be damaged.
    fn newest_of(
        medium: &mut Medium<F>,
        best: &PageHead,
        alive: &mut dyn FnMut(),
    ) -> Outcome<Option<Seed>, F> {
        let (mut newest, mut page) = (None, best.seed.page);
        for tries in 0..HEADS_MAX {
            alive();
            let seed = Seed { page, ..best.seed };
            if Self::page_counts(medium, seed)? {
                newest = Some(seed);
            } else if tries > 0 {
                break;
            }
            page = best.retired.from(page.saturating_add(1), &medium.geometry);
        }
        Ok(newest)
    }

    /// Something stands in the page by which it counts.
    fn page_counts(medium: &mut Medium<F>, seed: Seed) -> Outcome<bool, F> {
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
