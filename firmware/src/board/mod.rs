//! What a board needs around its device, without the hardware: what is left to do there is pins, drivers and spawning.
//!
//! [`LastRun`] is what a program tells the next one through memory that a reset leaves alone; [`Health`] knows whether the
//! tasks are alive, so that a watchdog is fed for a reason; [`Trail`] reads a stack; [`Seed`] gathers what differs between devices and starts;
//! [`PageSectors`] reads and saves the configuration page, [`settings`] and [`identity`] turn it into what a device is made of.
//!
//! What it never does: touch memory, a register or a clock.

mod health;
mod last_run;
mod page;
mod pages;
mod seed;
mod trail;

pub use health::{Health, HealthProblem};
pub use last_run::{LastRun, RETAINED_LEN, RETAINED_TEXT_LEN_MAX};
pub use page::{hardware_address, identity, settings};
pub use pages::{PageLoadError, PageSectors};
pub use seed::Seed;
pub use trail::{TRAIL_LEN_MAX, Trail};
