//! The bus of a board: meters as they were configured, or as they are found, and a desk for whoever asks in between.
//!
//! [`FieldBus`] is the [`MeterBus`](crate::MeterBus) of a board, over a [`SerialLine`]. It sets the line up, searches it when
//! nobody said what is there, and does what is asked at the [`BusDesk`] (a technician's `scan` and `read`) one request at a
//! time between polls: no poll waits for more than one request's time-out.
//!
//! What it never does: change a configuration, forget a meter that it has found (an inverter sleeps at night), write a
//! register.

mod bus;
mod desk;
mod port;

#[cfg(test)]
pub(crate) mod bench;
#[cfg(test)]
mod tests;

pub use bus::{FieldBus, FieldBusSettings};
pub use desk::{BusDesk, DeskRead, SearchState};
pub use port::SerialLine;
