//! Which places of the area pages are put into: all but those that were retired.

use heapless::Vec;

use super::geometry::Geometry;

/// The most places that a ring remembers as retired. If more wear out, the one that was retired first is tried again.
pub const FLASH_RETIRED_MAX: usize = 8;
/// No place.
const NONE: u16 = u16::MAX;

/// The places that are passed over, in the order of their retirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retired {
    slots: [u16; FLASH_RETIRED_MAX],
}

impl Retired {
    pub(super) const fn new() -> Self {
        Self {
            slots: [NONE; FLASH_RETIRED_MAX],
        }
    }

    pub(super) const fn encode(&self) -> [u16; FLASH_RETIRED_MAX] {
        self.slots
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let mut retired = Self::new();
        for (slot, bytes) in retired.slots.iter_mut().zip(bytes.chunks_exact(2)) {
            *slot = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        retired
    }

    fn slots(&self) -> impl Iterator<Item = usize> {
        self.slots
            .iter()
            .filter(|slot| **slot != NONE)
            .map(|slot| usize::from(*slot))
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.slots().count()).unwrap_or(u32::MAX)
    }

    pub(super) fn has(&self, slot: usize) -> bool {
        self.slots().any(|retired| retired == slot)
    }

    /// Retires one more.
    pub(super) fn add(&mut self, slot: usize) {
        let slots: Vec<usize, FLASH_RETIRED_MAX> = self.slots().collect();
        let surplus = usize::from(slots.is_full());
        let all = slots.into_iter().skip(surplus).chain([slot]);
        *self = Self::new();
        for (place, slot) in self.slots.iter_mut().zip(all) {
            *place = u16::try_from(slot).unwrap_or(NONE);
        }
    }
}

/// The numbers of pages that have a place.
impl Retired {
    /// The first one at or behind `page`.
    pub(super) fn from(&self, page: u32, geometry: &Geometry) -> u32 {
        // There is one: a ring keeps some places whatever fails.
        let mut page = page;
        while self.has(geometry.slot(page)) {
            page += 1;
        }
        page
    }

    /// The last one at or in front of `page`.
    pub(super) fn back_from(&self, page: u32, geometry: &Geometry) -> u32 {
        let mut page = page;
        while page > 0 && self.has(geometry.slot(page)) {
            page -= 1;
        }
        page
    }

    /// How many stand behind `page` and in front of `end`, which is at most one turn away.
    pub(super) fn between(&self, page: u32, end: u32, geometry: &Geometry) -> u32 {
        let all = end.saturating_sub(page + 1);
        let retired = self.slots().filter(|slot| {
            let first = geometry.slot(page + 1);
            let pages = geometry.pages as usize;
            (slot + pages - first) % pages < all as usize
        });
        all - u32::try_from(retired.count()).unwrap_or(all).min(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::flash::tests::nor::Nor;

    #[test]
    fn numbers_without_a_place_are_passed_over() {
        let geometry = Geometry::new::<Nor<4, 1024>>(&(0..10 * 1024), 10 * 1024).unwrap();
        let mut retired = Retired::new();
        for slot in [3, 4, 9] {
            retired.add(slot);
        }
        assert_eq!((retired.count(), Retired::decode(&bytes(&retired))), (3, retired));
        assert_eq!(
            [12, 13, 14, 15, 19].map(|page| retired.from(page, &geometry)),
            [12, 15, 15, 15, 20]
        );
        assert_eq!(
            [12, 13, 14, 19].map(|page| retired.back_from(page, &geometry)),
            [12, 12, 12, 18]
        );
        for page in 10..30 {
            for end in page..page + 10 {
                let counted = (page + 1..end)
                    .filter(|page| !retired.has(geometry.slot(*page)))
                    .count();
                assert_eq!(
                    retired.between(page, end, &geometry) as usize,
                    counted,
                    "{page} to {end}"
                );
            }
        }
    }

    #[test]
    fn the_first_one_is_forgotten_when_there_are_too_many() {
        let mut retired = Retired::new();
        for slot in 0..=FLASH_RETIRED_MAX {
            retired.add(slot);
        }
        assert!(!retired.has(0) && (1..=FLASH_RETIRED_MAX).all(|slot| retired.has(slot)));
        assert_eq!(retired.count() as usize, FLASH_RETIRED_MAX);
    }

    fn bytes(retired: &Retired) -> std::vec::Vec<u8> {
        retired
            .encode()
            .iter()
            .flat_map(|slot| slot.to_le_bytes())
            .collect()
    }
}
