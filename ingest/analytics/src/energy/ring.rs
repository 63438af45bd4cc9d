//! The last few of a sequence, without an allocation.

/// At most `N` items, oldest first.
#[derive(Clone, Copy)]
pub(super) struct Ring<T, const N: usize> {
    items: [T; N],
    first: usize,
    len: usize,
}

impl<T: Copy, const N: usize> Ring<T, N> {
    /// None yet; `fill` stands in the places that are not taken.
    pub(super) const fn new(fill: T) -> Self {
        Self {
            items: [fill; N],
            first: 0,
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len == N
    }

    const fn place(&self, index: usize) -> usize {
        let place = self.first + index;
        if place < N { place } else { place - N }
    }

    pub(super) fn get(&self, index: usize) -> Option<T> {
        (index < self.len).then(|| self.items[self.place(index)])
    }

    /// Panics beyond the end, as a slice does.
    pub(super) fn get_mut(&mut self, index: usize) -> &mut T {
        assert!(index < self.len, "item {index} of {}", self.len);
        let place = self.place(index);
        &mut self.items[place]
    }

    pub(super) fn last(&self) -> Option<T> {
        self.get(self.len.checked_sub(1)?)
    }

    /// Adds one at the end. Panics when it is full: whoever adds makes room first.
    pub(super) fn push(&mut self, item: T) {
        assert!(!self.is_full(), "a ring of {N} is full");
        let place = self.place(self.len);
        self.items[place] = item;
        self.len += 1;
    }

    pub(super) fn pop_first(&mut self) -> Option<T> {
        let item = self.get(0)?;
        self.first = self.place(1);
        self.len -= 1;
        Some(item)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, T)> + '_ {
        (0..self.len).map(|index| (index, self.items[self.place(index)]))
    }
}

impl<T: Copy + PartialEq, const N: usize> PartialEq for Ring<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: Copy + Eq, const N: usize> Eq for Ring<T, N> {}

impl<T: Copy + core::fmt::Debug, const N: usize> core::fmt::Debug for Ring<T, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter().map(|(_, item)| item)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_order_around_its_end_and_compares_by_content() {
        let mut ring = Ring::<i64, 3>::new(0);
        for item in 1..=5 {
            if ring.is_full() {
                assert_eq!(ring.pop_first(), Some(item - 3));
            }
            ring.push(item);
        }
        assert_eq!(ring.iter().map(|(_, item)| item).collect::<Vec<_>>(), [3, 4, 5]);
        *ring.get_mut(1) = 40;
        assert_eq!((ring.get(1), ring.get(3), ring.last()), (Some(40), None, Some(5)));
        let mut other = Ring::<i64, 3>::new(9);
        for item in [3, 40, 5] {
            assert_ne!(ring, other);
            other.push(item);
        }
        assert_eq!(ring, other);
    }
}
