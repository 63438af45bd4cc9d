//! Where something is asked of the bus in between polls, and where the search can be watched.

use core::cell::{Cell, RefCell};

use heapless::Vec;
use taraz_telemetry::MeterAddress;

use crate::app::Notify;
use crate::detect::{Detect, DetectPlan, DetectSummary, DetectedUnit, LineSettings};
use crate::modbus::{BusError, READ_REGISTERS_MAX, ReadRegisters};

/// The registers of one read, or why there are none.
pub type DeskRead = Result<Vec<u16, { READ_REGISTERS_MAX as usize }>, BusError>;

/// Who wanted a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedBy {
    /// The bus itself: nobody said what is on it.
    Bus,
    /// Somebody at the desk.
    Desk,
}

/// What the bus and whoever asks share; both run on one executor, one asks at a time.
#[derive(Debug, Default)]
pub struct BusDesk {
    read: Cell<Option<(MeterAddress, ReadRegisters)>>,
    /// The read on the bus is still waited for: another was not asked, and it was not given up.
    is_awaited: Cell<bool>,
    answer: RefCell<Option<DeskRead>>,
    search: RefCell<Option<(Detect, AskedBy)>>,
    line: Cell<Option<LineSettings>>,
    bus_wake: Notify,
    desk_wake: Notify,
}

impl BusDesk {
    /// Nothing is asked.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            read: Cell::new(None),
            is_awaited: Cell::new(false),
            answer: RefCell::new(None),
            search: RefCell::new(None),
            line: Cell::new(None),
            bus_wake: Notify::new(),
            desk_wake: Notify::new(),
        }
    }

    /// Reads registers of a unit, between two polls.
    ///
    /// # Errors
    /// [`BusError`] after the line's retries.
    pub async fn read(&self, unit: MeterAddress, read: ReadRegisters) -> DeskRead {
        self.answer.take();
        self.is_awaited.set(false);
        self.read.set(Some((unit, read)));
        self.bus_wake.notify();
        loop {
            if let Some(answer) = self.answer.take() {
                return answer;
            }
            self.desk_wake.wait().await;
        }
    }

    /// Begins a search in place of one under way; [`Self::search_changed`] tells when there is something new.
    pub fn search(&self, plan: DetectPlan) {
        self.begin(plan, AskedBy::Desk);
        self.bus_wake.notify();
    }

    /// Ends a search that was asked for here; a read is forgotten, and its answer if it has begun.
    pub fn cancel(&self) {
        self.read.set(None);
        self.is_awaited.set(false);
        let mut search = self.search.borrow_mut();
        if matches!(&*search, Some((_, AskedBy::Desk))) {
            *search = None;
        }
    }

    /// Waits until the search has made a request more, or is over.
    pub async fn search_changed(&self) {
        self.desk_wake.wait().await;
    }

    /// Looks at the search under way, or at the last one.
    pub fn with_search<T>(&self, look: impl FnOnce(SearchState<'_>) -> T) -> Option<T> {
        let search = self.search.borrow();
        search.as_ref().map(|(detect, _)| {
            look(SearchState {
                found: detect.found(),
                line: detect.line(),
                summary: detect.summary(),
                is_done: detect.is_done(),
            })
        })
    }

    /// The setting that the meters are read with; `None` while it is searched.
    #[must_use]
    pub fn line(&self) -> Option<LineSettings> {
        self.line.get()
    }

    /// A search is under way.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.search
            .borrow()
            .as_ref()
            .is_some_and(|(detect, _)| !detect.is_done())
    }

    pub(super) fn set_line(&self, line: Option<LineSettings>) {
        self.line.set(line);
    }

    pub(super) fn begin(&self, plan: DetectPlan, asked_by: AskedBy) {
        *self.search.borrow_mut() = Some((Detect::new(plan), asked_by));
        self.desk_wake.notify();
    }

    /// Ends the search under way, whoever wanted it.
    pub(super) fn end(&self) {
        *self.search.borrow_mut() = None;
    }

    /// Access to the search under way.
    pub(super) fn with_detect<T>(&self, access: impl FnOnce(&mut Detect, AskedBy) -> T) -> Option<T> {
        let mut search = self.search.borrow_mut();
        search
            .as_mut()
            .map(|(detect, asked_by)| access(detect, *asked_by))
    }

    pub(super) fn has_read(&self) -> bool {
        let read = self.read.take();
        self.read.set(read);
        read.is_some()
    }

    pub(super) fn take_read(&self) -> Option<(MeterAddress, ReadRegisters)> {
        let read = self.read.take();
        self.is_awaited.set(read.is_some());
        read
    }

    /// The answer to the read that was taken last, unless nobody waits for it any more.
    pub(super) fn answer(&self, answer: DeskRead) {
        if !self.is_awaited.take() {
            return;
        }
        *self.answer.borrow_mut() = Some(answer);
        self.desk_wake.notify();
    }

    pub(super) fn tell(&self) {
        self.desk_wake.notify();
    }

    pub(super) async fn asked(&self) {
        self.bus_wake.wait().await;
    }
}

/// A search as it is now.
#[derive(Clone, Copy, Debug)]
pub struct SearchState<'s> {
    /// The units found so far.
    pub found: &'s [DetectedUnit],
    /// The setting that is tried.
    pub line: LineSettings,
    /// What its requests came to.
    pub summary: DetectSummary,
    /// It is over.
    pub is_done: bool,
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::Poll;

    use embassy_futures::poll_once;

    use super::*;
    use crate::modbus::ReadFunction;

    #[test]
    fn the_answer_to_a_read_that_was_given_up_is_not_that_of_the_next() {
        let desk = BusDesk::new();
        let unit = |address| MeterAddress::new(address).unwrap();
        {
            let first = pin!(desk.read(unit(1), READ));
            assert!(poll_once(first).is_pending());
        }
        assert_eq!(desk.take_read(), Some((unit(1), READ)));
        let mut second = pin!(desk.read(unit(2), READ));
        assert!(poll_once(second.as_mut()).is_pending());
        desk.answer(Ok(Vec::from_slice(&[1]).unwrap()));
        assert!(poll_once(second.as_mut()).is_pending(), "that was unit 1");
        assert_eq!(desk.take_read(), Some((unit(2), READ)));
        desk.answer(Ok(Vec::from_slice(&[2]).unwrap()));
        let Poll::Ready(Ok(answer)) = poll_once(second) else {
            panic!("no answer")
        };
        assert_eq!(answer, [2]);
    }

    const READ: ReadRegisters = ReadRegisters {
        function: ReadFunction::Holding,
        start: 40_000,
        count: 1,
    };
}
