//! What was received and is not answered yet, so that PUBACKs leave in the order in which the publishes came
//! (MQTT-4.6.0-2), whatever was refused at once and whatever waits for its commit.

use std::collections::VecDeque;

/// `K`: what is needed to answer; `C`: what a commit makes durable; `A`: the answer.
#[derive(Debug)]
pub(super) struct Pending<K, C, A> {
    slots: VecDeque<Slot<K, C, A>>,
    /// The number of the first slot.
    first: u64,
}

#[derive(Debug)]
struct Slot<K, C, A> {
    key: K,
    waits_for: Option<C>,
    answer: Option<A>,
}

impl<K, C, A> Default for Pending<K, C, A> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
        }
    }
}

impl<K, C, A> Pending<K, C, A> {
    /// A frame that waits for its commit; returns its number.
    pub(super) fn wait(&mut self, key: K, waits_for: C) -> u64 {
        self.slots.push_back(Slot {
            key,
            waits_for: Some(waits_for),
            answer: None,
        });
        self.first + self.slots.len() as u64 - 1
    }

    /// A message that is answered as soon as it is its turn.
    pub(super) fn answered(&mut self, key: K, answer: A) {
        self.slots.push_back(Slot {
            key,
            waits_for: None,
            answer: Some(answer),
        });
    }

    /// The commit of this number has returned; what it made durable.
    pub(super) fn committed(&mut self, number: u64, answer: A) -> Option<C> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get_mut(at)?;
        let committed = slot.waits_for.take()?;
        slot.answer = Some(answer);
        Some(committed)
    }

    /// The next answer whose turn it is.
    pub(super) fn next_answer(&mut self) -> Option<(K, A)> {
        self.slots.front()?.answer.as_ref()?;
        let slot = self.slots.pop_front()?;
        self.first += 1;
        slot.answer.map(|answer| (slot.key, answer))
    }

    /// Takes the newest back: it will not be submitted.
    pub(super) fn take_back_newest(&mut self) {
        self.slots.pop_back();
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_in_the_order_of_receipt() {
        let mut pending = Pending::default();
        let first = pending.wait(10, "a");
        pending.answered(11, false);
        let third = pending.wait(12, "b");
        assert_eq!(pending.next_answer(), None);
        assert_eq!(pending.committed(third, true), Some("b"));
        assert_eq!(pending.next_answer(), None, "the first has not committed");
        assert_eq!(pending.committed(first, true), Some("a"));
        assert_eq!(pending.committed(first, true), None, "once");
        assert_eq!(pending.next_answer(), Some((10, true)));
        assert_eq!(pending.next_answer(), Some((11, false)));
        assert_eq!(pending.next_answer(), Some((12, true)));
        assert_eq!((pending.next_answer(), pending.len()), (None, 0));
        assert_eq!(pending.committed(first, true), None, "long gone");
    }

    #[test]
    fn what_is_taken_back_is_not_waited_for() {
        let mut pending: Pending<u8, (), ()> = Pending::default();
        let number = pending.wait(1, ());
        pending.take_back_newest();
        assert_eq!(pending.committed(number, ()), None);
        assert_eq!(pending.len(), 0);
    }
}
