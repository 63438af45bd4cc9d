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

    /// Ends a search that was asked for here; a read that has not begun is forgotten.
    pub fn cancel(&self) {
        self.read.set(None);
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
        self.read.take()
    }

    pub(super) fn answer(&self, answer: DeskRead) {
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
